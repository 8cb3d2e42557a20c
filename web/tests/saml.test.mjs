// People sign in by SAML at a real identity provider, in a real browser, and their command line with them.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { SimpleSamlPhp } from "./simplesamlphp.mjs";
import { POSTERN, Stack, until } from "./stack.mjs";

describe("signing in by SAML at simplesamlphp", () => {
  let stack, provider;

  before(async () => {
    stack = await Stack.start();
    provider = await SimpleSamlPhp.start(stack.folder);
    provider.knows(stack.url);
    await apply({ metadata: await (await fetch(provider.metadataUrl)).text() });
  });
  after(async () => {
    provider?.stop();
    await stack?.stop();
  });

  const apply = (metadata) => stack.admin("POST", "/apply", { documents: [{ document: provider.document(metadata) }] });

  /** A page on which somebody has signed in at the provider; or is refused. */
  async function signedIn(path = "/inbox") {
    const page = await stack.open();
    await page.goto(stack.url + path);
    await page.getByRole("link", { name: "Sign in with corp" }).click();
    await SimpleSamlPhp.signInThere(page, "zoe");
    return page;
  }

  const inside = (page) => page.getByRole("navigation", { name: "Pages" }).waitFor();
  const whoami = (page) => page.evaluate(async () => (await fetch("/api/v1/whoami")).json());
  const recorded = async (action) => (await stack.admin("GET", "/audit/events?type=control")).filter((event) => event.action === action);

  /** Nobody is signed in, and it is recorded why. */
  async function refused(page, why) {
    await page.getByRole("heading", { name: "You are not signed in" }).waitFor();
    const [last] = await recorded("sign_in.refused");
    assert.ok(last.detail.why.includes(why), last.detail.why);
    await page.goto(stack.url);
    assert.equal((await whoami(page)).error.code, "unauthenticated");
    await page.context().close();
  }

  it("brings people back to their page, with the provider's groups of that time", async () => {
    const page = await signedIn("/inbox?item=none");
    await inside(page);
    assert.equal(page.url(), `${stack.url}/inbox?item=none`);
    const me = await whoami(page);
    assert.deepEqual([me.name, me.groups, me.signed_in.provider], ["zoe", ["agents", "dba"], "corp"]);
    const cookies = (await page.context().cookies(stack.url)).filter(({ name }) => name.startsWith("postern"));
    assert.deepEqual(cookies.map(({ name, httpOnly, sameSite }) => [name, httpOnly, sameSite]), [["postern", true, "Strict"]]);
    const [signed] = await recorded("user.signed_in");
    assert.deepEqual([signed.detail.subject, signed.detail.email, signed.detail.rechecked], ["zoe", "zoe@example.com", false]);
    provider.people({ zoe: ["dba"] });
    const later = await signedIn();
    await inside(later);
    assert.deepEqual((await whoami(later)).groups, ["dba"]);
    assert.deepEqual((await whoami(page)).groups, ["dba"]);
    provider.people({ zoe: ["dba", "agents"] });
    // Whoever has signed out here has to go by the provider again.
    await later.getByRole("navigation", { name: "Pages" }).getByRole("button", { name: "Sign out" }).click();
    await later.getByRole("link", { name: "Sign in with corp" }).waitFor();
    assert.equal((await whoami(later)).error.code, "unauthenticated");
    await later.context().close();
    await page.context().close();
  });

  it("removes whom the provider has taken all groups from", async () => {
    const page = await signedIn();
    await inside(page);
    provider.people({ zoe: [] });
    await refused(await signedIn(), "names no group");
    assert.equal((await whoami(page)).error.code, "unauthenticated");
    assert.equal((await recorded("user.removed")).length, 1);
    provider.people({ zoe: ["dba", "agents"] });
    await page.context().close();
  });

  it("signs a command line in, and asks for a fresh sign-in to approve", async () => {
    const page = await signedIn();
    await inside(page);
    const home = mkdtempSync(join(stack.folder, "home-"));
    const env = { PATH: process.env.PATH, HOME: home, POSTERN_URL: stack.url };
    const login = spawn(POSTERN, ["login", "--no-browser", "--json"], { env, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    let answer = "";
    login.stderr.on("data", (text) => (said += text));
    login.stdout.on("data", (text) => (answer += text));
    await until("the command says where to go", () => said.includes("shows the code"));
    await page.goto(said.match(/Open (\S+)/)[1]);
    await page.getByRole("button", { name: "Yes, sign it in" }).click();
    if (login.exitCode === null) await once(login, "exit");
    assert.equal(JSON.parse(answer).name, "zoe");

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
    await SimpleSamlPhp.signInThere(page, "zoe");
    await approve.waitFor();
    await page.waitForTimeout(500);
    await approve.click();
    await until("it is approved", async () => (await stack.admin("GET", `/requests/${id}`)).status === "approved");
    await page.context().close();
  });

  it("believes nothing that the provider sends of itself, or signs by what is too weak, or by another key", async () => {
    const page = await stack.open();
    await page.goto(`${provider.url}saml2/idp/SSOService.php?spentityid=${encodeURIComponent(`${stack.url}/saml/corp/metadata`)}`);
    await SimpleSamlPhp.signInThere(page, "zoe");
    await refused(page, "to no sign-in that was begun here");
    for (const [options, why] of [
      [{ "signature.algorithm": "http://www.w3.org/2000/09/xmldsig#rsa-sha1" }, "algorithm is not allowed"],
      [{ "saml20.sign.assertion": false }, "not directly covered"],
      [{ "saml20.sign.assertion": false, "saml20.sign.response": false }, "signature missing"],
      [{ "assertion.lifetime": -120 }, "time window"],
    ]) {
      provider.knows(stack.url, options);
      await refused(await signedIn(), why);
    }
    provider.knows(stack.url);
    provider.signsWith("other");
    await refused(await signedIn(), "certificate mismatch");
    provider.signsWith("idp");
    const good = await signedIn();
    await inside(good);
    await good.context().close();
  });

  it("opens what is encrypted for it, and finds metadata by their address", async () => {
    await apply({ metadata_url: provider.metadataUrl });
    for (const options of [{}, { sharedkey_algorithm: "http://www.w3.org/2009/xmlenc11#aes256-gcm" }]) {
      await provider.encryptsFor(stack.url, options);
      const page = await signedIn();
      await inside(page);
      assert.deepEqual((await whoami(page)).groups, ["agents", "dba"]);
      await page.context().close();
    }
    // What is encrypted so that nobody knows whether it is whole has to be within what is.
    await provider.encryptsFor(stack.url, { "saml20.sign.response": false });
    await refused(await signedIn(), "signature missing");
    await provider.encryptsFor(stack.url, { "saml20.sign.assertion": false });
    await refused(await signedIn(), "signature missing");
  });
});
