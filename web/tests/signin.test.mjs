// People sign in at a real identity provider, in a real browser, and their command line with them.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { accessible } from "./axe.mjs";
import { consent, IdentityProvider, SECRET, signInThere } from "./provider.mjs";
import { POSTERN, Stack, until } from "./stack.mjs";

/** The provider is asked once a minute. */
const REMOVED_MS = 90_000;

describe("signing in at an identity provider", () => {
  const accounts = {
    zoe: { preferred_username: "zoe", email: "zoe@example.com", groups: ["dba", "agents"] },
    yan: { preferred_username: "yan", groups: [] },
    eve: { preferred_username: "admin", groups: ["dba"] },
  };
  let stack, provider;

  before(async () => {
    process.env.POSTERN_SECRET_CORP_OIDC = SECRET;
    stack = await Stack.start();
    provider = await IdentityProvider.start(stack.url, accounts);
    await stack.admin("POST", "/apply", { documents: [{ document: provider.document() }] });
  });
  after(async () => {
    provider?.stop();
    await stack?.stop();
  });

  /** A page on which this account is signed in. */
  async function signedIn(name, path = "/inbox") {
    const page = await stack.open();
    await page.goto(stack.url + path);
    await page.getByRole("link", { name: "Sign in with corp" }).click();
    await signInThere(page, name);
    await consent(page);
    return page;
  }

  const whoami = (page) => page.evaluate(async () => (await fetch("/api/v1/whoami")).json());

  it("brings people back to their page, with the provider's groups", async () => {
    const page = await stack.open();
    await page.goto(`${stack.url}/inbox?item=none`);
    const link = page.getByRole("link", { name: "Sign in with corp" });
    await link.waitFor();
    await accessible(page, "signing in with a provider");
    await link.click();
    await signInThere(page, "zoe");
    await consent(page);
    await page.getByRole("navigation", { name: "Pages" }).waitFor();
    assert.equal(page.url(), `${stack.url}/inbox?item=none`);
    // What the provider's own pages lack is not ours.
    page.complaints.length = 0;
    const me = await whoami(page);
    assert.deepEqual([me.name, me.groups, me.roles, me.signed_in.provider], ["zoe", ["agents", "dba"], ["reviewer"], "corp"]);
    // The provider has its own, on the same host.
    const cookies = (await page.context().cookies(stack.url)).filter(({ name }) => name.startsWith("postern"));
    assert.deepEqual(cookies.map(({ name, httpOnly, sameSite }) => [name, httpOnly, sameSite]), [["postern", true, "Strict"]]);
    await page.goto(`${stack.url}/people`);
    await page.getByText("this browser").waitFor();
    await accessible(page, "the browsers in which somebody is signed in");
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("lets nobody in without a group, nor as somebody else", async () => {
    for (const [account, why] of [
      ["yan", "names no group"],
      ["eve", "does not sign in there"],
    ]) {
      const page = await signedIn(account);
      await page.getByRole("heading", { name: "You are not signed in" }).waitFor();
      assert.ok((await page.textContent("body")).includes(why));
      await page.context().close();
    }
    const events = await stack.admin("GET", "/audit/events?type=control");
    const refused = events.filter((event) => event.action === "sign_in.refused").map((event) => event.detail.subject);
    assert.deepEqual(refused, ["eve", "yan"]);
  });

  it("signs a command line in, asks for a fresh sign-in to approve, and signs out everywhere", async () => {
    const page = await signedIn("zoe");
    await page.getByRole("navigation", { name: "Pages" }).waitFor();
    const home = mkdtempSync(join(stack.folder, "home-"));
    const env = { PATH: process.env.PATH, HOME: home, POSTERN_URL: stack.url };
    const postern = (...args) => spawn(POSTERN, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    const login = postern("login", "--no-browser", "--json");
    let said = "";
    let answer = "";
    login.stderr.on("data", (text) => (said += text));
    login.stdout.on("data", (text) => (answer += text));
    await until("the command says where to go", () => said.includes("shows the code"));
    const [, address] = said.match(/Open (\S+)/);
    const [, code] = said.match(/the code (\S+)/);
    await page.goto(address);
    await page.getByText(code, { exact: true }).waitFor();
    await accessible(page, "signing a command line in");
    await page.getByRole("button", { name: "Yes, sign it in" }).click();
    await page.getByRole("heading", { name: "Your command line is signed in" }).waitFor();
    if (login.exitCode === null) await once(login, "exit");
    assert.equal(login.exitCode, 0, said);
    assert.equal(JSON.parse(answer).name, "zoe");
    const exit = async (...args) => (await once(postern(...args), "exit"))[0];
    assert.equal(await exit("whoami"), 0);

    // A connection on which who approves has signed in just now.
    const demo = { kind: "Connection", name: "demo", reviews: { fresh: "5s" } };
    await stack.admin("POST", "/apply", { documents: [{ document: demo }], merge: true });
    const { id } = await stack.request("read", "something that needs care");
    await sleep(5_000);
    await page.goto(`${stack.url}/inbox?item=${id}`);
    const approve = page.getByRole("button", { name: "Approve for 30 min" });
    await approve.waitFor();
    await page.waitForTimeout(500);
    await approve.click();
    await page.getByRole("link", { name: "Sign in again" }).click();
    await signInThere(page, "zoe");
    await approve.waitFor();
    await page.waitForTimeout(500);
    await approve.click();
    await page.getByText("Approved: read on demo for 30 min.", { exact: true }).waitFor();
    assert.equal((await stack.admin("GET", `/requests/${id}`)).status, "approved");

    // That session is another than the one by which the command line was signed in.
    await page.goto(`${stack.url}/people`);
    await page.getByRole("navigation", { name: "Pages" }).getByRole("button", { name: "Sign out" }).click();
    await page.waitForURL(`${provider.url}/**`);
    await page.getByRole("button", { name: /yes/i }).click();
    await page.getByRole("link", { name: "Sign in with corp" }).waitFor();
    await until("leaving the provider ends what it gave", async () => (await exit("whoami")) === 1);
    await page.context().close();
  });

  it("ends everything of somebody who is gone at the provider", async () => {
    const page = await signedIn("zoe");
    await page.getByRole("navigation", { name: "Pages" }).waitFor();
    const { id } = await stack.agent("POST", "/requests", { connection: "demo", role: "read", duration: "30m", reason: "for zoe", on_behalf_of: "zoe" });
    const demo = { kind: "Connection", name: "demo", reviews: { fresh: null } };
    await stack.admin("POST", "/apply", { documents: [{ document: demo }], merge: true });
    await stack.admin("POST", `/requests/${id}/approve`, {});
    assert.equal((await stack.agent("GET", "/grants")).filter((grant) => grant.on_behalf_of?.name === "zoe").length, 1);
    delete accounts.zoe;
    await until("the session is over", async () => (await whoami(page)).error?.code === "unauthenticated", REMOVED_MS);
    const grants = await stack.agent("GET", "/grants");
    assert.equal(grants.filter((grant) => grant.on_behalf_of?.name === "zoe").length, 0);
    await page.context().close();
  });
});
