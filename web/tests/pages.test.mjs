// The pages around the inbox, on the real stack.
import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { accessible } from "./axe.mjs";
import { PHONE, Stack } from "./stack.mjs";

const run = promisify(execFile);
const HOSTILE = `select '<img src=x onerror="window.hit=1"><script>window.hit=1</script>' as "</pre>\u202e"`;

describe("the pages", () => {
  let stack;
  before(async () => (stack = await Stack.start()));
  after(() => stack?.stop());

  /** A grant of the agent's, and its URL. */
  async function grant(role) {
    const { id } = await stack.request(role, "a test");
    const { grant_id } = await stack.admin("POST", `/requests/${id}/approve`, {});
    const { user, secret, host, port, database } = await stack.agent("POST", `/grants/${grant_id}/credentials`, { use: "url" });
    return { id: grant_id, url: `postgresql://${user}:${secret}@${host}:${port}/${database}` };
  }

  it("asks, is approved, and connects by what is shown once", async () => {
    const page = await stack.signedIn("/ask", { token: stack.dev.agent_token });
    await page.getByText("Nothing. What is approved opens here").waitFor();
    await page.getByLabel("Access to").selectOption("demo · read (only reads)");
    await page.getByText("People will be asked. The role needs 1 of dba.").waitFor();
    await accessible(page, "asking");
    await page.getByRole("radio", { name: "15 min" }).click();
    await page.getByLabel("Why").fill("How many orders are late?");
    await page.getByText("As commands", { exact: true }).click();
    await page.getByLabel("Commands").getByText("postern request demo --role read --for 15m --reason 'How many orders are late?' --wait").waitFor();
    await accessible(page, "asking, as commands");
    await page.getByRole("button", { name: "Ask", exact: true }).click();
    await page.getByRole("heading", { name: "read on demo for 15 min" }).waitFor();
    const [asked] = await stack.admin("GET", "/requests");
    assert.deepEqual([asked.reason, asked.duration], ["How many orders are late?", "15m"]);
    await stack.admin("POST", `/requests/${asked.id}/approve`, {});
    await page.getByRole("button", { name: "Connect…" }).click();
    await page.getByRole("button", { name: "Make the secret" }).click();
    await accessible(page, "the secret");
    await page.getByRole("radio", { name: "DATABASE_URL" }).click();
    const command = await page.getByLabel("Command", { exact: true }).innerText();
    const url = /'(.*)'/.exec(command)[1];
    const { stdout } = await run("psql", [url, "-Atc", "select count(*) > 0 from orders"]);
    assert.equal(stdout.trim(), "t");
    await page.getByRole("radio", { name: "MCP" }).click();
    const config = await page.getByLabel("Command", { exact: true }).innerText();
    const { command: program, args, env } = JSON.parse(config).mcpServers.postern;
    assert.deepEqual([program, args, Object.keys(env)], ["postern", ["mcp"], ["POSTERN_URL"]]);
    assert.ok(!config.includes(new URL(url).password));
    await page.getByText("run postern login first").waitFor();
    await accessible(page, "for an agent's program");
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.ok(!(await page.content()).includes(new URL(url).password), "the secret is gone from the page");
    await page.getByRole("button", { name: "I am done" }).click();
    await page.getByRole("button", { name: "I am done – sure?" }).click();
    await page.getByText("Nothing. What is approved opens here").waitFor();
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("shows who is connected, and ends a session and an agent", async () => {
    const { url } = await grant("all");
    const page = await stack.signedIn("/sessions");
    await page.getByRole("heading", { name: "Nobody is connected" }).waitFor();
    await accessible(page, "no sessions");
    const connect = () => spawn("psql", [url, "-c", "select pg_sleep(600)"], { env: { ...process.env, PGAPPNAME: "nightly" }, stdio: "ignore" });
    const [one, two] = [connect(), connect()];
    const ended = (child) => new Promise((resolve) => child.on("exit", resolve));
    const ends = [one, two].map(ended);
    await page.getByText("2 open").waitFor();
    await accessible(page, "sessions");
    await page.getByRole("button", { name: "Kill" }).first().click();
    await page.getByRole("button", { name: "Kill – sure?" }).click();
    await page.getByText("1 open").waitFor();
    await Promise.race(ends);
    await page.getByRole("button", { name: "Stop this agent…" }).click();
    await page.getByLabel("Why").fill("It sleeps.");
    await accessible(page, "stopping an agent");
    await page.getByRole("button", { name: "Stop it" }).click();
    await page.getByText("0 open").waitFor();
    await Promise.all(ends);
    const grants = await stack.admin("GET", "/grants?all=true");
    assert.ok(grants.every((one) => one.status !== "open"));
    await stack.admin("POST", "/principals/agent:agent/resume", {});
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("finds statements, shows them as text, and gives them as files", async () => {
    const { url } = await grant("read");
    await run("psql", [url, "-c", HOSTILE, "-c", "select email from customers limit 3"]);
    await run("psql", [url, "-c", "delete from orders"]).catch(() => {});
    const page = await stack.signedIn("/audit");
    await page.getByLabel("Part of the statement").fill("onerror");
    // It is there within two seconds of the statement.
    await page.waitForTimeout(2000);
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByText("The newest 1.").waitFor();
    await page.getByLabel("SQL").getByText("<img src=x").waitFor();
    assert.equal(await page.evaluate("window.hit"), undefined);
    await accessible(page, "a hostile statement");
    const download = page.waitForEvent("download");
    await page.getByRole("button", { name: "JSON Lines" }).click();
    const lines = readFileSync(await (await download).path(), "utf8").split("\n");
    assert.equal(JSON.parse(lines[0]).sql, HOSTILE);
    const table = page.waitForEvent("download");
    await page.getByRole("button", { name: "Export CSV" }).click();
    const csv = readFileSync(await (await table).path(), "utf8");
    assert.ok(csv.startsWith("id,at,type,principal,") && csv.includes(HOSTILE.replaceAll('"', '""')), csv);
    const recorded = await stack.admin("GET", "/audit/events?type=control&action=audit.exported");
    assert.deepEqual(recorded.map(({ detail }) => [detail.format, detail.text]), [["csv", "onerror"], ["jsonl", "onerror"]]);
    await page.getByLabel("Part of the statement").fill("customers");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByText("Masked: 3 values").waitFor();
    await page.getByLabel("Part of the statement").fill("delete from orders");
    await page.getByRole("button", { name: "Search" }).click();
    await page.locator(".detail").getByText("denied", { exact: true }).waitFor();
    await page.getByRole("link", { name: "all its statements" }).click();
    await page.getByRole("heading", { name: "Session" }).waitFor();
    await accessible(page, "a session");
    await page.goto(`${stack.url}/audit?text=nothing-of-the-kind`);
    await page.getByRole("heading", { name: "Nothing was found" }).waitFor();
    await accessible(page, "nothing found");
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("searches on a phone", async () => {
    const page = await stack.signedIn("/audit?type=control", PHONE);
    await page.locator(".row").first().tap();
    await page.getByRole("button", { name: "Audit" }).waitFor();
    assert.ok(await page.evaluate("document.documentElement.scrollWidth <= 360"), "nothing is wider than the screen");
    await accessible(page, "an event on a phone");
    await page.context().close();
  });

  it("edits, checks, tries and applies policies", async () => {
    const page = await stack.signedIn("/policies");
    const editor = page.getByLabel("Policies of default.cedar");
    await editor.getByText("default-connect").waitFor();
    await accessible(page, "policies");
    await editor.click();
    await page.keyboard.press("Control+End");
    await page.keyboard.type('\n@id("nobody") forbid (principal, action == Action::"raed", resource);');
    await page.getByText("to mend").waitFor();
    await page.getByText(/Line \d+, column \d+:/).first().waitFor();
    assert.ok(await page.getByRole("button", { name: "Apply…" }).isDisabled());
    await accessible(page, "policies with a mistake");
    await page.getByRole("button", { name: "Undo all" }).click();
    await editor.click();
    await page.keyboard.press("Control+End");
    await page.keyboard.type('\n@id("no-payments") forbid (principal, action == Action::"read", resource == Table::"demo/public.payments");');
    await page.getByText("valid with all the others").waitFor();
    // What it would mean, before it is in force.
    await page.getByLabel("Who").selectOption("agent (agent)");
    await page.getByLabel("Where").selectOption("demo · read");
    await page.getByLabel("Statement to try").click();
    await page.keyboard.type("select * from payments");
    await page.getByRole("button", { name: "Try with the change" }).click();
    await page.getByText("no-payments").last().waitFor();
    await page.getByText("denied", { exact: true }).first().waitFor();
    await page.getByRole("button", { name: "Decide anew" }).click();
    await page.getByText(/would be decided otherwise/).waitFor();
    await accessible(page, "what a change would mean");
    await page.getByRole("button", { name: "Apply…" }).click();
    await page.getByLabel("What changes").getByText('+ @id("no-payments")').waitFor();
    await accessible(page, "what changes");
    await page.getByRole("button", { name: "Apply", exact: true }).click();
    await page.getByText("default.cedar is in force.", { exact: true }).waitFor();
    const { text, version } = await stack.admin("GET", "/policies/default.cedar");
    assert.ok(text.includes("no-payments") && version > 0);
    // And back: what was before is applied as any change is.
    const versions = page.getByRole("list", { name: "Versions" });
    await versions.getByText(`Version ${version}`, { exact: true }).waitFor();
    await page.getByRole("button", { name: `What it changed in version ${version}` }).click();
    await page.getByLabel(`What version ${version} changed`).getByText('+ @id("no-payments")').waitFor();
    await accessible(page, "the history of a file");
    await stack.admin("POST", "/apply", { policies: [{ name: "default.cedar", text: `${text}\n// a second change` }], merge: true });
    await page.reload();
    await page.getByRole("button", { name: `Go back to it… to version ${version}` }).click();
    await page.getByText("valid with all the others").waitFor();
    await page.getByRole("button", { name: "Apply…" }).click();
    await page.getByLabel("What changes").getByText("- // a second change").waitFor();
    await page.getByRole("button", { name: "Apply", exact: true }).click();
    await page.getByText("default.cedar is in force.", { exact: true }).waitFor();
    const back = await stack.admin("GET", "/policies/default.cedar");
    assert.deepEqual([back.text, back.version], [text, version + 2]);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("freezes a connection and enrols a connector", async () => {
    const page = await stack.signedIn("/connections");
    await page.getByRole("heading", { name: "demo" }).waitFor();
    await page.getByRole("row", { name: /connector attached/ }).waitFor();
    await accessible(page, "connections");
    await page.getByRole("button", { name: "Test demo" }).click();
    await page.getByText(/reaches the database: it has answered within [\d,.]+ ms/).first().waitFor();
    assert.equal(await page.getByText("reaches the database").count(), 3, "by each of the access roles");
    await accessible(page, "a connection that was tested");
    await page.getByRole("button", { name: "Freeze changes" }).click();
    await page.getByText("reading goes on, nothing is changed").waitFor();
    assert.ok((await stack.admin("GET", "/connections"))[0].freeze);
    await accessible(page, "a frozen connection");
    await page.getByRole("button", { name: "Lift the freeze" }).click();
    await page.getByRole("button", { name: "Freeze changes" }).waitFor();
    await page.getByRole("button", { name: "Enrol a connector…" }).click();
    await page.getByLabel("Name").fill("orders");
    await page.getByRole("button", { name: "Make a join token" }).click();
    await page.getByLabel("Command").getByText(/gateways: \["127\.0\.0\.1:\d+"\][^]*systemctl enable --now postern-agent\)$/).waitFor();
    await accessible(page, "a join token");
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("makes and deletes tokens", async () => {
    const page = await stack.signedIn("/people");
    await page.getByRole("row", { name: /agent agent agents/ }).waitFor();
    await accessible(page, "people");
    await page.getByRole("button", { name: "New token…" }).click();
    await page.getByLabel("Whose").selectOption("agent (agent)");
    await page.getByLabel("What it is for").fill("a test");
    await page.getByRole("button", { name: "Make it" }).click();
    const token = await page.getByLabel("Token", { exact: true }).innerText();
    assert.equal((await stack.call(token, "GET", "/whoami")).name, "agent");
    await accessible(page, "a new token");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Delete a test" }).click();
    await page.getByRole("button", { name: "Delete a test – sure?" }).click();
    await page.getByText("Deleted: it is refused from now on.", { exact: true }).waitFor();
    await assert.rejects(stack.call(token, "GET", "/whoami"), /401/);
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("lets an auditor see who reaches what, and judge what policies say", async () => {
    await stack.admin("POST", "/users", { name: "audrey", auditor: true });
    const { token } = await stack.admin("POST", "/tokens", { principal: { kind: "user", name: "audrey" }, name: "a test" });
    const page = await stack.signedIn("/connections/demo/people", { token });
    await page.getByRole("link", { name: "agent agent" }).first().click();
    await page.getByRole("row", { name: /^read only reads/ }).getByText("for people to answer").waitFor();
    assert.equal(await page.getByRole("button", { name: "Stop this agent…" }).count(), 0);
    await page.goto(`${stack.url}/policies`);
    await page.getByLabel("Who").fill("agent:agent");
    await page.getByLabel("Where").selectOption("demo · read");
    await page.getByLabel("Statement to try").click();
    await page.keyboard.type("select count(*) from orders");
    await page.getByRole("button", { name: "Try", exact: true }).click();
    await page.getByText("runs", { exact: true }).first().waitFor();
    await accessible(page, "policies, for an auditor");
    assert.deepEqual(page.complaints, []);
    await page.context().close();
  });

  it("shows what others change, and loses nothing that is being written", async () => {
    const page = await stack.signedIn("/connections");
    await page.getByText("up", { exact: true }).waitFor();
    // Sooner than the page looks by itself.
    const soon = { timeout: 6_000 };
    await stack.admin("POST", "/connections/demo/freeze", { reason: "a test" });
    await page.getByText("frozen", { exact: true }).waitFor(soon);
    await stack.admin("POST", "/connections/demo/unfreeze", {});
    await page.getByText("frozen", { exact: true }).waitFor({ state: "detached", ...soon });
    const file = (text) => stack.admin("POST", "/apply", { policies: [{ name: "others.cedar", text }], merge: true });
    await file('@id("one") permit (principal, action == Action::"connect", resource);');
    await page.goto(`${stack.url}/policies?file=others.cedar`);
    const editor = page.getByLabel("Policies of others.cedar");
    await editor.getByText("one").waitFor();
    await file('@id("two") permit (principal, action == Action::"connect", resource);');
    await editor.getByText("two").waitFor(soon);
    await editor.click();
    await page.keyboard.press("Control+End");
    await page.keyboard.type("\n// mine");
    await file('@id("three") permit (principal, action == Action::"connect", resource);');
    await page.getByRole("alert").getByText("Another version was applied").waitFor(soon);
    await editor.getByText("// mine").waitFor();
    await accessible(page, "another version was applied");
    await page.getByText("valid with all the others").waitFor();
    await page.getByRole("button", { name: "Apply…" }).click();
    await page.getByLabel("What changes").getByText('- @id("three")').waitFor();
    assert.deepEqual(page.complaints, []);
    await page.context().close();
    await stack.admin("POST", "/apply", { documents: [{ source: {}, document: { kind: "Policy", name: "others.cedar", delete: true } }], merge: true });
  });

  it("tells what somebody can reach and why, and who can reach a connection", async () => {
    await stack.admin("POST", "/users", { name: "olga", groups: [] });
    await stack.admin("POST", "/agents", { name: "owned", owner: "olga", groups: [] });
    const page = await stack.signedIn("/people");
    await page.getByRole("link", { name: "agent agent" }).first().click();
    await page.getByRole("heading", { name: "What they can reach" }).waitFor();
    const read = page.getByRole("row", { name: /^read only reads/ });
    await read.getByText("for people to answer").waitFor();
    await read.getByText("The role needs 1 of dba.").waitFor();
    await read.getByText("let in").waitFor();
    await accessible(page, "what an agent can reach");
    // What changes is there without another look.
    const { url } = await grant("read");
    await read.getByText(/left$/).waitFor();
    await run("psql", [url, "-c", "select 1"]);
    await page.getByRole("link", { name: "demo", exact: true }).click();
    await page.getByRole("heading", { name: "Who can reach demo" }).waitFor();
    await page.getByRole("row", { name: /agent agent read/ }).getByText(/left$/).waitFor();
    await accessible(page, "who can reach a connection");
    await page.goto(`${stack.url}/people/agent:nobody`);
    await page.getByRole("alert").getByText(/nobody/).waitFor();
    await accessible(page, "there is nobody of that name");
    // Stopped by whoever answers for it, who cannot lift that; an admin can.
    await page.goto(`${stack.url}/people/agent:owned`);
    await page.getByRole("button", { name: "Stop this agent…" }).click();
    await page.getByLabel("Why").fill("It was sold.");
    await page.getByRole("button", { name: "Stop it" }).click();
    await page.getByText(": It was sold.", { exact: true }).waitFor();
    await page.getByRole("row", { name: /^all/ }).getByText(/was stopped by admin/).waitFor();
    await accessible(page, "an agent that is stopped");
    await page.getByRole("button", { name: "Lift the stop" }).click();
    await page.getByRole("button", { name: "Lift the stop – sure?" }).click();
    await page.getByText(": It was sold.", { exact: true }).waitFor({ state: "detached" });
    const phone = await stack.signedIn("/people/agent:agent", PHONE);
    await phone.getByText("for people to answer").first().waitFor();
    assert.ok(await phone.evaluate("document.documentElement.scrollWidth <= 360"), "nothing is wider than the screen");
    await accessible(phone, "what an agent can reach, on a phone");
    assert.deepEqual(page.complaints, []);
    await phone.context().close();
    await page.context().close();
  });

  it("says what to do when the control plane cannot be reached", async () => {
    const page = await stack.signedIn("/ask");
    await page.route("**/api/**", (route) => route.abort());
    await page.getByLabel("Why").fill("x");
    await page.getByRole("button", { name: "Ask", exact: true }).click();
    await page.getByRole("alert").getByText("The control plane cannot be reached.").waitFor();
    await accessible(page, "an error");
    await page.context().close();
  });
});
