// The overview and the masking page, on the real stack.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { accessible } from "./axe.mjs";
import { PHONE, Stack } from "./stack.mjs";

const run = promisify(execFile);

describe("the overview", () => {
  let stack;
  before(async () => (stack = await Stack.start()));
  after(() => stack?.stop());

  /** Approves a request; gives the URL of its grant. */
  async function connect(id) {
    const { grant_id } = await stack.admin("POST", `/requests/${id}/approve`, {});
    const { user, secret, host, port, database } = await stack.agent("POST", `/grants/${grant_id}/credentials`, { use: "url" });
    return `postgresql://${user}:${secret}@${host}:${port}/${database}`;
  }

  it("is empty at first, and counts what happens while it is looked at", async () => {
    const page = await stack.signedIn("/overview");
    await page.getByText("Nobody has answered anything in this time.").waitFor();
    await page.getByText("Nothing was run in this time.").waitFor();
    await accessible(page, "an empty overview");
    const asked = stack.request("read", "to be counted");
    // It is told of what was asked: nobody loads the page again.
    await page.getByText("1 request, 0 statements").first().waitFor();
    const url = await connect((await asked).id);
    const denied = await stack.request("all", "no");
    await stack.admin("POST", `/requests/${denied.id}/deny`, { reason: "too much" });
    const reviewers = page.getByRole("group", { name: "Reviewers" });
    // Answered at once, as no person does who reads.
    await reviewers.getByRole("row", { name: /admin person 1 1 \d s 1 \(100 %\)/ }).waitFor();
    await run("psql", [url, "-c", "select email from customers limit 3", "-c", "select 1"]);
    await run("psql", [url, "-c", "delete from orders"]).catch(() => {});
    for (;;) {
      const { principals } = await stack.admin("GET", "/overview");
      if (principals[0]?.statements === 3) {
        assert.deepEqual([principals[0].principal.name, principals[0].denied, principals[0].masked_values], ["agent", 1, 3]);
        break;
      }
      await page.waitForTimeout(200);
    }
    await page.reload();
    await page.getByRole("group", { name: "Who ran most" }).getByRole("row", { name: /agent agent 3 1 3/ }).waitFor();
    await page.getByRole("img", { name: "Statements over time: 3, 1 refused" }).waitFor();
    await page.getByRole("radio", { name: "90 days" }).click();
    await page.waitForURL(/range=quarter/);
    await page.getByRole("img", { name: "Masked values over time: 3" }).waitFor();
    await page.getByText("As numbers: Statements", { exact: true }).click();
    await accessible(page, "an overview");
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("fits a phone, and is not for those who may not read everything", async () => {
    const page = await stack.signedIn("/overview", PHONE);
    await page.getByRole("img", { name: /Requests over time/ }).waitFor();
    assert.ok(await page.evaluate("document.documentElement.scrollWidth <= 360"), "nothing is wider than the screen");
    await accessible(page, "an overview on a phone");
    await page.context().close();
    const agent = await stack.signedIn("/overview", { token: stack.dev.agent_token });
    await agent.getByRole("alert").getByText("Only auditors and admins read everybody's audit.").waitFor();
    await accessible(agent, "an overview that is refused");
    assert.equal(await agent.getByRole("link", { name: "Overview" }).count(), 0);
    await agent.context().close();
  });

  it("shows what masks show, proposes tags with their evidence, and applies them", async () => {
    const url = await connect((await stack.request("all", "a new table")).id);
    await run("psql", [url, "-c", "create table leads (id int, email text)"]);
    const before = await stack.admin("GET", "/connections/demo/masking");
    const page = await stack.signedIn("/masking");
    const masked = page.getByRole("group", { name: "Masked columns" });
    await masked.getByRole("row", { name: /customers\.email pii\.email email/ }).getByText("m***").waitFor();
    await accessible(page, "masked columns");
    await page.getByRole("radio", { name: "email", exact: true }).click();
    await page.getByLabel("A made-up value (text)").fill(`<img src=x onerror="window.hit=1">@b.com`);
    await page.getByRole("status").getByText("[redacted]").waitFor();
    assert.equal(await page.evaluate("window.hit"), undefined);
    await page.getByRole("radio", { name: "date_year" }).click();
    await page.getByRole("status").getByText("1984-01-01").waitFor();
    await page.getByRole("button", { name: "Look for more" }).click();
    await page.getByText(/tables were looked at as/).waitFor();
    await accessible(page, "proposed tags");
    const proposed = page.getByRole("group", { name: "Proposed tags" });
    await proposed.getByRole("row", { name: /public\.leads\.email text pii\.email email .*its name says email/ }).waitFor();
    // What is not wanted is left out.
    const button = page.getByRole("button", { name: "Tag and mask 1 column" });
    await proposed.getByRole("checkbox").uncheck();
    assert.ok(await page.getByRole("button", { name: "Tag and mask 0 columns" }).isDisabled());
    await proposed.getByRole("checkbox").check();
    await button.click();
    await page.getByText("1 column is masked from now on.", { exact: true }).waitFor();
    await masked.getByRole("row", { name: /public\.leads\.email/ }).waitFor();
    await page.getByRole("heading", { name: "There is nothing more to tag" }).waitFor();
    const { tags } = await stack.admin("GET", "/connections/demo/masking");
    assert.deepEqual(tags, { ...before.tags, "public.leads.email": "pii.email" });
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });
});
