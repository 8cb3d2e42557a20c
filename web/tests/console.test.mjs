// The console in a real browser, on the real stack.
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { accessible } from "./axe.mjs";
import { PHONE, Stack } from "./stack.mjs";

/** What a hostile client would write, in a reason or a statement. */
const HOSTILE = `<img src=x onerror="window.hit=1"><script>window.hit=1</script>"'\`\${1}</textarea>{{7*7}} \u202Egnp.exe javascript:alert(1)`;

describe("the console", () => {
  let stack;
  before(async () => (stack = await Stack.start()));
  after(() => stack?.stop());

  it("signs in with a token, keeps no secret, and signs out", async () => {
    const page = await stack.open();
    await page.goto(`${stack.url}/inbox`);
    await page.getByLabel("API token").fill("postern_wrong");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("alert").getByText(/^The token is unknown, expired or revoked/).waitFor();
    await accessible(page, "signing in, refused");
    await page.getByLabel("API token").fill(stack.dev.admin_token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByRole("heading", { name: "Nothing waits for you" }).waitFor();
    await accessible(page, "the empty inbox");
    const kept = await page.evaluate(() => JSON.stringify([{ ...window.localStorage }, { ...window.sessionStorage }, document.cookie, window.location.href]));
    assert.ok(!kept.includes("postern_") && !kept.includes("posternweb_"), kept);
    const [cookie] = await page.context().cookies();
    assert.equal(cookie.httpOnly && cookie.sameSite, "Strict");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByLabel("API token").waitFor();
    const answer = await fetch(`${stack.url}/api/v1/whoami`, { headers: { cookie: `${cookie.name}=${cookie.value}` } });
    assert.equal(answer.status, 401, "the session is over at the server too");
    assert.ok(page.asked.every((url) => url.startsWith(stack.url)), "everything comes from the control plane");
    await page.context().close();
  });

  it("lets no inline script run and no text become markup", async () => {
    const page = await stack.signedIn();
    const answer = await page.request.get(`${stack.url}/inbox`);
    const policy = answer.headers()["content-security-policy"];
    for (const part of ["default-src 'none'", "script-src 'self';", "style-src 'self';", "require-trusted-types-for 'script'"]) {
      assert.ok(policy.includes(part), policy);
    }
    const tried = await page.evaluate(() => {
      const script = document.createElement("script");
      try {
        script.text = "window.hit = 1";
      } catch (error) {
        return error.name;
      }
      document.body.append(script);
      return window.hit ?? "no hit";
    });
    assert.ok(["TypeError", "no hit"].includes(tried), String(tried));
    await page.context().close();
  });

  it("approves by key, and shows what a hostile client wrote as text", async () => {
    const { id } = await stack.request("read", HOSTILE);
    const page = await stack.signedIn("/inbox");
    await page.getByRole("heading", { name: "agent agent" }).waitFor();
    await page.getByText('<img src=x onerror="window.hit=1">').last().waitFor();
    await page.getByText("U+202E").last().waitFor();
    assert.equal(await page.evaluate("window.hit"), undefined);
    await accessible(page, "the inbox with a request");
    // A key that comes with the page is not meant for it.
    await page.waitForTimeout(500);
    await page.keyboard.press("a");
    await page.getByText("Approved: read on demo for 30 min.", { exact: true }).waitFor();
    const { status, votes } = await stack.admin("GET", `/requests/${id}`);
    assert.deepEqual([status, votes.length], ["approved", 1]);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("denies with a reason", async () => {
    const { id } = await stack.request("write", "tidy up");
    const page = await stack.signedIn("/inbox");
    await page.getByText("asks for write on demo").waitFor();
    await page.keyboard.press("d");
    const dialog = page.getByRole("dialog", { name: "Deny the request" });
    assert.ok(await dialog.getByRole("button", { name: "Deny" }).isDisabled(), "not without a reason");
    await dialog.getByLabel("Why").fill("Say which rows, and why.");
    await accessible(page, "the dialog to deny");
    await dialog.getByRole("button", { name: "Deny" }).click();
    await page.getByText("Denied. They read your reason.", { exact: true }).waitFor();
    const { status, votes } = await stack.admin("GET", `/requests/${id}`);
    assert.deepEqual([status, votes[0].reason], ["denied", "Say which rows, and why."]);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("approves a request for less time on a phone", async () => {
    const { id } = await stack.request("read", "Which orders are late?", "1h");
    const page = await stack.signedIn("/inbox", PHONE);
    await page.getByRole("button", { name: /read on demo for 1 h/ }).tap();
    await page.getByRole("radio", { name: "15 min" }).tap();
    const approve = page.getByRole("button", { name: "Approve for 15 min" });
    const { height } = await approve.boundingBox();
    assert.ok(height >= 44, `a thumb needs 44 px, and has ${height}`);
    assert.ok(await page.evaluate("document.documentElement.scrollWidth <= 360"), "nothing is wider than the screen");
    await accessible(page, "a request on a phone");
    await approve.tap();
    await page.getByText("Approved: read on demo for 15 min.", { exact: true }).waitFor();
    const request = await stack.admin("GET", `/requests/${id}`);
    assert.deepEqual([request.status, request.duration], ["approved", "15m"]);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("approves for less time by keys alone", async () => {
    const { id } = await stack.request("read", "Which orders are early?", "1h");
    const page = await stack.signedIn("/inbox");
    await page.getByRole("button", { name: "Approve for 1 h" }).waitFor();
    await page.waitForTimeout(500);
    await page.keyboard.press("s");
    await page.keyboard.press("s");
    await page.getByRole("button", { name: "Approve for 15 min" }).waitFor();
    await page.keyboard.press("a");
    await page.getByText("Approved: read on demo for 15 min.", { exact: true }).waitFor();
    assert.equal((await stack.admin("GET", `/requests/${id}`)).duration, "15m");
    await page.context().close();
  });

  it("hears of emergencies, and of their end, without being loaded again", async () => {
    const documents = [
      { kind: "User", name: "olga", groups: ["oncall"] },
      { kind: "Connection", name: "demo", roles: { read: { break_glass: { groups: ["oncall"], duration: "10m" } } } },
    ];
    await stack.admin("POST", "/apply", { documents: documents.map((document) => ({ source: {}, document })), merge: true });
    const { token } = await stack.admin("POST", "/tokens", { principal: { kind: "user", name: "olga" }, name: "a test" });
    const page = await stack.signedIn("/inbox");
    await page.getByRole("heading", { name: "Nothing waits for you" }).waitFor();
    // Sooner than the page looks by itself.
    const soon = { timeout: 8_000 };
    const ask = { connection: "demo", role: "read", duration: "5m", reason: "Orders are stuck.", break_glass: true };
    const { id } = await stack.call(token, "POST", "/requests", ask);
    const row = page.getByRole("button", { name: /olga/ });
    await row.waitFor(soon);
    await accessible(page, "an emergency");
    await stack.admin("POST", `/requests/${id}/close`, { reason: "They were." });
    await row.waitFor({ state: "detached", ...soon });
    await page.getByRole("heading", { name: "Nothing waits for you" }).waitFor();
    // What is in no list any more is found by its address.
    await page.goto(`${stack.url}/inbox?item=${id}`);
    await page.getByText("Looked at by admin").waitFor();
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("says what of others is in it", async () => {
    const answer = await fetch(`${stack.url}/licences.txt`);
    assert.match(answer.headers.get("content-type"), /^text\/plain/);
    const text = await answer.text();
    for (const name of ["react-dom ", "@codemirror/view ", "@fontsource-variable/inter ", "MIT License", "SIL OPEN FONT LICENSE"]) assert.ok(text.includes(name), name);
  });

  // Promised is one second; beside whatever else a machine that tests has to do, an unoptimised build gets three.
  it("is there at once", async (test) => {
    const page = await stack.signedIn("/inbox");
    const cold = await stack.browser.newContext({ storageState: await page.context().storageState() });
    const fresh = await cold.newPage();
    await fresh.goto(`${stack.url}/inbox`, { waitUntil: "commit" });
    await fresh.getByRole("radio", { name: /^For me/ }).waitFor();
    const took = await fresh.evaluate("performance.now()");
    test.diagnostic(`usable after ${Math.round(took)} ms`);
    assert.ok(took < 3000, `it took ${took} ms`);
    const scripts = await fresh.evaluate(() =>
      window.performance.getEntriesByType("resource").filter(({ name }) => name.endsWith(".js")).map(({ encodedBodySize }) => encodedBodySize),
    );
    const bytes = scripts.reduce((sum, size) => sum + size, 0);
    assert.ok(scripts.length > 0 && bytes > 0 && bytes < 250_000, `${scripts.length} scripts have ${bytes} bytes`);
    await cold.close();
    await page.context().close();
  });
});
