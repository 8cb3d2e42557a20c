// Held statements in the inbox. The first is an agent's own; of the others the API's answer is played, in the forms that are
// hard to have from a real database at will: cascades, masked samples, a hostile text.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { accessible } from "./axe.mjs";
import { PHONE, Stack } from "./stack.mjs";

const run = promisify(execFile);

const POLICIES = `
@id("connects") permit (principal, action == Action::"connect", resource);
@id("reads") permit (principal, action == Action::"read", resource);
@id("deletes") @review("group:dba") @preview
permit (principal, action == Action::"delete", resource) when { context.grant.role == "write" };
`;

const HOSTILE = `DELETE FROM orders -- <img src=x onerror="window.hit=1">\u202e\nWHERE true or status = '</pre><script>window.hit=1</script>'`;

/** What is sent of an approval, but for its bound. */
const ONCE = { reason: null, edited_sql: null, for_grant: false, free: [] };

const value = (text, masked = false) => ({ text, masked });

function review(changes) {
  return {
    id: "rev_1", status: "pending", principal: { kind: "agent", id: "agt_1", name: "cart-cleaner" }, on_behalf_of: null,
    grant_id: "grt_1", reason: "stale carts block the export", ticket: "OPS-88", session_id: "ses_1", connection: "demo", role: "write",
    statement: {
      sql: HOSTILE, sql_bytes: null, literals: [], tag: "DELETE", relations: ["public.orders"], policies: ["deletes"],
      message: "Somebody of dba looks at deletes.", not_boundable_because: null, editable: false, in_transaction: false,
    },
    preview: {
      effect: {
        exact: true, rows: 41,
        relations: [
          { relation: "public.orders", inserted: 0, updated: 0, deleted: 12, indirect: false, total: 48110 },
          { relation: "public.order_items", inserted: 0, updated: 0, deleted: 29, indirect: true, total: null },
        ],
        samples: [
          { relation: "public.orders", columns: ["id", "email"], before: [[value("7"), value("[pii.email]", true)]], after: [[value("8"), value(null)]] },
        ],
      },
      not_made: null, fails: null, notes: ["a lock is taken on public.orders"], plan: ["Seq Scan on orders (48,110 rows)"], at: null, duration_ms: 9,
    },
    needed: [{ groups: ["dba"], count: 1 }], escalate_to: [], escalates_at: null, escalated_at: null, votes: [], comments: [], waiting: 1,
    created_at: new Date().toISOString(), expires_at: new Date(Date.now() + 3_600_000).toISOString(), decided_at: null, decision: null,
    claimed_at: null, uses: 0, because: null, url: null,
    ...changes,
  };
}

describe("a held statement", () => {
  let stack;
  before(async () => (stack = await Stack.start()));
  after(() => stack?.stop());

  it("of an agent is approved by thumb, and runs", async () => {
    await stack.admin("POST", "/apply", { policies: [{ name: "reviews.cedar", text: POLICIES }], merge: true });
    const { id } = await stack.request("write", "late orders block the export");
    const { grant_id } = await stack.admin("POST", `/requests/${id}/approve`, {});
    const { user, secret, host, port, database } = await stack.agent("POST", `/grants/${grant_id}/credentials`, { use: "url" });
    const url = `postgresql://${user}:${secret}@${host}:${port}/${database}`;
    const page = await stack.signedIn("/inbox", PHONE);
    await page.getByRole("heading", { name: "Nothing waits for you" }).waitFor();
    const sent = run("psql", [url, "-qAtc", "delete from payments where id <= 3 returning id"]);
    // Nobody loads anything again: it is told.
    await page.getByRole("button", { name: /on demo/ }).tap();
    await page.getByText("payments").first().waitFor();
    await accessible(page, "an agent's held statement");
    await page.waitForTimeout(500);
    await page.getByRole("button", { name: "Approve 3 rows, once" }).tap();
    assert.equal((await sent).stdout.trim(), "1\n2\n3");
    const [{ status, votes }] = await stack.admin("GET", "/reviews");
    assert.deepEqual([status, votes.length], ["claimed", 1]);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  /** A page on which these are held, and what it sends about them. */
  async function held(reviews, options) {
    const page = await stack.signedIn("/ask", options);
    const sent = [];
    await page.route("**/api/v1/reviews**", (route) => {
      const request = route.request();
      if (request.method() === "GET") return route.fulfill({ json: reviews });
      sent.push([new URL(request.url()).pathname.split("/").slice(-2).join("/"), request.postDataJSON()]);
      return route.fulfill({ json: { ...reviews[0], status: "approved" } });
    });
    await page.goto(`${stack.url}/inbox`);
    return { page, sent };
  }

  it("is approved by thumb for the rows that were counted", async () => {
    const { page, sent } = await held([review({})], PHONE);
    await page.getByRole("button", { name: /DELETE on demo/ }).tap();
    await page.getByText("always true").first().waitFor();
    await page.getByText("by cascade or trigger").waitFor();
    await page.getByText("U+202E").waitFor();
    assert.equal(await page.evaluate("window.hit"), undefined);
    assert.ok(await page.evaluate("document.documentElement.scrollWidth <= 360"), "nothing is wider than the screen");
    await accessible(page, "a held statement on a phone");
    const approve = page.getByRole("button", { name: "Approve 41 rows, once" });
    assert.ok((await approve.boundingBox()).height >= 44);
    await page.waitForTimeout(500);
    await approve.tap();
    await page.getByText("Approved. It runs now, or when it is sent again.", { exact: true }).waitFor();
    assert.deepEqual(sent, [["rev_1/approve", { ...ONCE, max_rows: 41 }]]);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("is approved with another bound, for the grant; and is denied", async () => {
    const { page, sent } = await held([review({})]);
    await page.getByLabel("At most").fill("12");
    await page.getByRole("radio", { name: "For this grant" }).click();
    await page.waitForTimeout(500);
    await page.getByRole("button", { name: "Approve 12 rows", exact: false }).click();
    await page.getByText("Approved. It runs now", { exact: false }).first().waitFor();
    await page.getByLabel("At most").fill("a few");
    assert.ok(await page.getByRole("button", { name: /^Approve/ }).isDisabled(), "a bound is a number");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: /^Deny/ }).click();
    await page.getByLabel("Why").fill("Which ones?");
    await page.getByRole("dialog").getByRole("button", { name: "Deny" }).click();
    await page.getByText("Denied. They read your reason.", { exact: true }).waitFor();
    assert.deepEqual(sent, [
      ["rev_1/approve", { ...ONCE, max_rows: 12, for_grant: true }],
      ["rev_1/deny", { reason: "Which ones?" }],
    ]);
    await page.context().close();
  });

  it("is approved as it was edited, by keys alone", async () => {
    const statement = { ...review({}).statement, sql: "delete from orders where status = 'stale'", editable: true };
    const { page, sent } = await held([review({ statement })]);
    await page.getByText("What they did recently").waitFor();
    await page.waitForTimeout(500);
    await page.keyboard.press("e");
    const text = page.getByLabel("Run this instead");
    await text.fill("");
    assert.ok(await page.getByRole("button", { name: /^Approve/ }).isDisabled(), "nothing is no statement");
    await text.fill("delete from orders where status = 'stale' and id < 9");
    await accessible(page, "a statement that is edited");
    await page.keyboard.press("Control+Enter");
    await page.keyboard.press("b");
    await page.keyboard.type("3");
    await page.keyboard.press("Enter");
    await page.getByRole("button", { name: "Approve as edited, 3 rows, once" }).waitFor();
    await page.keyboard.press("a");
    await page.getByText("Approved. It runs now, or when it is sent again.", { exact: true }).waitFor();
    assert.deepEqual(sent, [["rev_1/approve", { ...ONCE, max_rows: 3, edited_sql: "delete from orders where status = 'stale' and id < 9" }]]);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("shows the other reviewer's text, and is left as it was sent", async () => {
    const statement = { ...review({}).statement, sql: "delete from orders", editable: true };
    const approves = { max_rows: 5, edited_sql: `delete from orders where note = '</pre><img src=x onerror="window.hit=1">'`, for_grant: false, free: [] };
    const vote = { reviewer: { kind: "user", id: "usr_9", name: "rui" }, approves, reason: null, at: new Date().toISOString() };
    const { page, sent } = await held([review({ statement, votes: [vote] })], PHONE);
    await page.getByRole("button", { name: /DELETE on demo/ }).tap();
    await page.getByText("at most 5 rows, once, with another text").waitFor();
    assert.equal(await page.evaluate("window.hit"), undefined);
    await page.getByRole("button", { name: "Edit…" }).tap();
    assert.equal(await page.getByLabel("Run this instead").inputValue(), approves.edited_sql);
    assert.ok(await page.evaluate("document.documentElement.scrollWidth <= 360"), "nothing is wider than the screen");
    await accessible(page, "a statement that somebody else has edited, on a phone");
    await page.getByRole("button", { name: "Edit…" }).tap();
    await page.getByRole("button", { name: "Approve 41 rows, once" }).tap();
    await page.getByText("Approved. It runs now, or when it is sent again.", { exact: true }).waitFor();
    assert.deepEqual(sent, [["rev_1/approve", { ...ONCE, max_rows: 41 }]]);
    await page.context().close();
  });

  it("asks for messages of the system only when that is pressed", async () => {
    const page = await stack.open();
    await page.addInitScript(() => {
      window.asked = 0;
      class Notification {
        static permission = "default";
        static requestPermission() {
          window.asked += 1;
          Notification.permission = "granted";
          return Promise.resolve("granted");
        }
      }
      window.Notification = Notification;
    });
    await page.goto(`${stack.url}/inbox`);
    await page.getByLabel("API token").fill(stack.dev.admin_token);
    await page.getByRole("button", { name: "Sign in" }).click();
    const button = page.getByRole("button", { name: "Notify me" });
    await button.waitFor();
    assert.equal(await page.evaluate("window.asked"), 0);
    await button.click();
    await button.waitFor({ state: "detached" });
    assert.equal(await page.evaluate("window.asked"), 1);
    await page.context().close();
  });

  it("says why its effect is not known", async () => {
    const preview = { effect: null, not_made: "DDL is never run for show", fails: null, notes: [], plan: [], at: null, duration_ms: 0 };
    const statement = { ...review({}).statement, sql: "DROP TABLE orders", tag: "DROP TABLE", not_boundable_because: "it changes no rows" };
    const { page } = await held([review({ preview, statement, waiting: 0 })]);
    await page.getByText("It was not tried:").waitFor();
    await page.getByText("It cannot be held to a number of rows").waitFor();
    await page.getByText("removes it for good").waitFor();
    await accessible(page, "a statement without a preview");
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });
});
