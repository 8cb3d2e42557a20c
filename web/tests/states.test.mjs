// Every page in each of its states: with something on it, with nothing, when the control plane fails, and when everything
// that others can write is hostile.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { accessible } from "./axe.mjs";
import { PHONE, Stack, until } from "./stack.mjs";

const POLICIES = `
@id("all") permit (principal, action, resource);
@id("held") @review("group:dba") @preview @message("Deletes are looked at.") permit (principal, action == Action::"delete", resource);
@id("no-deletes-unseen") forbid (principal, action == Action::"truncate", resource);
`;

/** Longer than any screen of a phone, without a place to break it. */
const HOSTILE = `<img src=x onerror="window.hit=1"><script>window.hit=1</script>\u202e${"W".repeat(80)}javascript:window.hit=1`;

/** What clients, agents, databases and those who write documents choose. */
const OTHERS = new Set(
  ("reason because rule message hint detail sql edited_sql text ticket application_name database_role client_address version problem policy_reason " +
    "end_reason because_of tag shows login mask evidence until_version applied_by").split(" "),
);

function poisoned(value, key) {
  if (Array.isArray(value)) return value.map((one) => (typeof one === "string" && ["policies", "relations", "groups", "members"].includes(key) ? HOSTILE : poisoned(one, key)));
  if (value === null || typeof value !== "object") return typeof value === "string" && OTHERS.has(key) ? HOSTILE : value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, poisoned(one, name)]));
}

describe("every page", () => {
  let stack, session, client;
  const pages = () => ["/inbox", "/ask", "/sessions", `/sessions/${session}`, "/audit?type=all", "/overview?range=day", "/policies", "/masking", "/connections", "/connections/demo/people", "/people", "/people/agent:agent"];

  before(async () => {
    stack = await Stack.start();
    await stack.admin("POST", "/apply", { policies: [{ name: "held.cedar", text: POLICIES }], merge: true });
    const { id } = await stack.request("write", "Payments that were booked twice.");
    const { grant_id } = await stack.admin("POST", `/requests/${id}/approve`, {});
    const { user, secret, host, port, database } = await stack.agent("POST", `/grants/${grant_id}/credentials`, { use: "url" });
    const url = `postgresql://${user}:${secret}@${host}:${port}/${database}`;
    client = spawn("psql", [url, "-c", "select count(*) from orders", "-c", "delete from payments where order_id < 9"], { stdio: "ignore" });
    await until("a held statement", async () => (await stack.admin("GET", "/reviews")).length > 0);
    [{ session_id: session }] = await stack.admin("GET", "/reviews");
    await stack.request("read", "How many orders are late?");
  });
  after(async () => {
    client?.kill();
    await stack?.stop();
  });

  /** Opens each page, with what answers its calls; `check` looks at it. */
  async function each(options, answer, check) {
    const page = await stack.signedIn("/device", options);
    if (answer) await page.route("**/api/v1/**", (route) => (/^\/(whoami$|events$|web\/)/.test(new URL(route.request().url()).pathname.slice(7)) ? route.fallback() : answer(route)));
    for (const path of pages()) {
      await page.goto(stack.url + path);
      await page.locator("h1, [role=alert]").first().waitFor();
      await page.waitForTimeout(400);
      await check(page, path);
      assert.equal(await page.evaluate("window.hit"), undefined, path);
    }
    const complaints = page.complaints.filter((text) => !answer || !/status of 503/.test(text));
    assert.deepEqual(complaints, []);
    await page.context().close();
  }

  const fits = async (page, path) => {
    const width = await page.evaluate("document.documentElement.scrollWidth");
    assert.ok(width <= 360, `${path} is ${width} wide`);
  };

  it("with what is there, and a statement held", () => each({}, null, (page, path) => accessible(page, path)));

  it("on a phone", () =>
    each(PHONE, null, async (page, path) => {
      await fits(page, path);
      await accessible(page, `${path} on a phone`);
    }));

  it("with nothing", () =>
    each({}, async (route) => {
      const answer = await route.fetch();
      const body = answer.ok() ? await answer.json() : null;
      return route.fulfill(Array.isArray(body) ? { response: answer, json: [] } : { response: answer });
    }, (page, path) => accessible(page, `${path} without anything`)));

  it("when the control plane fails", () =>
    each({}, (route) => route.fulfill({ status: 503, json: { error: { code: "invalid", message: "the store cannot be reached", hint: "look at its log", detail: null, field: null } } }), async (page, path) => {
      await page.getByRole("alert").first().getByText("The store cannot be reached.").waitFor().catch((error) => assert.fail(`${path}: ${error.message}`));
      await page.getByRole("alert").first().getByText("Look at its log.").waitFor();
      await accessible(page, `${path} that fails`);
    }));

  it("with what hostile clients write", () =>
    each(PHONE, async (route) => {
      const answer = await route.fetch();
      const kind = answer.headers()["content-type"] ?? "";
      return route.fulfill(kind.includes("json") ? { response: answer, json: poisoned(await answer.json(), "") } : { response: answer });
    }, fits));
});
