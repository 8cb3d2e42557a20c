// People sign in at another real identity provider, which was written by others in another language.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { Glewlwyd } from "./glewlwyd.mjs";
import { SECRET } from "./provider.mjs";
import { Stack, until } from "./stack.mjs";

/** The provider is asked once a minute. */
const REMOVED_MS = 90_000;

describe("signing in at glewlwyd", () => {
  let stack, provider;

  before(async () => {
    process.env.POSTERN_SECRET_CORP_OIDC = SECRET;
    stack = await Stack.start();
    provider = await Glewlwyd.start(stack.folder, stack.url);
    await stack.admin("POST", "/apply", { documents: [{ document: provider.document() }] });
  });
  after(async () => {
    provider?.stop();
    await stack?.stop();
  });

  it("lets people in with their groups, and out once they are disabled there", async () => {
    const page = await stack.open();
    await page.goto(`${stack.url}/ask`);
    await page.getByRole("link", { name: "Sign in with corp" }).click();
    await Glewlwyd.signInThere(page, "zoe");
    await page.getByRole("button", { name: "Continue" }).click();
    await page.getByRole("navigation", { name: "Pages" }).waitFor();
    assert.equal(page.url(), `${stack.url}/ask`);
    const whoami = () => page.evaluate(async () => (await fetch("/api/v1/whoami")).json());
    const me = await whoami();
    assert.deepEqual([me.name, me.groups, me.signed_in.provider], ["zoe", ["agents", "dba"], "corp"]);
    await provider.disable("zoe");
    await until("the session is over", async () => (await whoami()).error?.code === "unauthenticated", REMOVED_MS);
    const removed = (await stack.admin("GET", "/audit/events?type=control")).filter((event) => event.action === "user.removed");
    assert.equal(removed.length, 1);
    await page.context().close();
  });
});
