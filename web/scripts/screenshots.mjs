// Pictures of every page, in light, in dark and of a phone's size, into web/screenshots/.
import { execFile, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { PHONE, Stack } from "../tests/stack.mjs";

const OUT = new URL("../screenshots/", import.meta.url).pathname;
const run = promisify(execFile);

/** Who asks for what, and why. */
const REQUESTS = [
  ["report-bot", null, "read", "10m", "How many orders are late this week, and by how many days?"],
  ["schema-bot", null, "all", "2h", "Add the column orders.shipped_at and its index; the migration was reviewed in the pull request."],
  ["support-bot", "maria", "read", "30m", "A customer says that their refund never arrived. I want to see the payments of their last three orders."],
];

const HELD = "delete from payments where order_id in (select id from orders where status = 'paid' order by ordered_at, id limit 9)";

const POLICIES = `@id("connects") permit (principal, action == Action::"connect", resource);
@id("reads") permit (principal, action == Action::"read", resource);
@id("writes") permit (principal, action in [Action::"insert", Action::"update"], resource) when { context.grant.role == "write" };
@id("deletes-are-reviewed") @review("group:dba") @preview @message("Deletes are looked at by somebody of dba.")
permit (principal, action == Action::"delete", resource) when { context.grant.role == "write" };
`;

const STATEMENTS = [
  "select status, count(*), sum(total) from orders group by status order by 2 desc",
  "select id, name, email, city from customers where country = 'PT' order by id limit 20",
  "select o.id, sum(i.quantity * i.price) as total from orders o join order_items i on i.order_id = o.id where o.status = 'pending' and o.ordered_at < now() - interval '7 days' group by o.id order by total desc limit 10",
  "delete from orders where status = 'stale'",
  "select * from nothing_there",
];

const stack = await Stack.start();
let idle;
// Who has waited for long enough asks again, and finds the same review.
const hold = (url) => {
  idle = spawn("psql", [url, "-c", HELD], { env: { ...process.env, PGAPPNAME: "nightly-export" }, stdio: "ignore" });
  idle.on("exit", () => idle && hold(url));
};
try {
  await stack.admin("POST", "/users", { name: "maria", groups: [] });
  const token = async (name) => {
    await stack.admin("POST", "/agents", { name, owner: "maria", groups: ["agents"] });
    return (await stack.admin("POST", "/tokens", { principal: { kind: "agent", name }, name: "pictures" })).token;
  };
  const ask = async (of, behalf, role, duration, reason) =>
    (await stack.call(of, "POST", "/requests", { connection: "demo", role, duration, reason, ...(behalf && { on_behalf_of: behalf }) })).id;
  const grant = async (of, behalf, ...what) => {
    const { grant_id } = await stack.admin("POST", `/requests/${await ask(of, behalf, ...what)}/approve`, {});
    const { user, secret, host, port, database } = await stack.call(of, "POST", `/grants/${grant_id}/credentials`, { use: "url" });
    return `postgresql://${user}:${secret}@${host}:${port}/${database}`;
  };
  const cleaner = await token("cart-cleaner");
  const read = await grant(cleaner, null, "read", "1h", "Late orders of this week");
  for (const sql of STATEMENTS) await run("psql", [read, "-c", sql]).catch(() => {});
  await stack.admin("POST", "/apply", { policies: [{ name: "reviews.cedar", text: POLICIES }], merge: true });
  for (const [name, ...what] of REQUESTS) await ask(await token(name), ...what);
  const write = await grant(cleaner, "maria", "write", "1h", "Payments that were booked twice block the nightly export, as agreed in OPS-88.");
  hold(write);
  while ((await stack.admin("GET", "/reviews")).length === 0) await sleep(200);
  const [{ session_id: session }] = await stack.admin("GET", "/reviews");
  const pages = { inbox: "/inbox", ask: "/ask", sessions: "/sessions", session: `/sessions/${session}`, audit: "/audit", overview: "/overview?range=day", policies: "/policies", masking: "/masking", connections: "/connections", people: "/people", access: "/people/agent:cart-cleaner", reach: "/connections/demo/people" };

  mkdirSync(OUT, { recursive: true });
  for (const [look, options] of [
    ["light", {}],
    ["dark", { colorScheme: "dark" }],
    ["phone", PHONE],
  ]) {
    const signIn = await stack.open(options);
    await signIn.goto(`${stack.url}/`);
    await signIn.getByLabel("API token").waitFor();
    await signIn.screenshot({ path: `${OUT}/sign-in-${look}.png` });
    await signIn.context().close();
    const page = await stack.signedIn("/inbox", options);
    for (const [name, path] of Object.entries(pages)) {
      await page.goto(stack.url + path);
      await page.locator("h1").first().waitFor();
      await page.waitForTimeout(800);
      await page.screenshot({ path: `${OUT}/${name}-${look}.png` });
      if (look === "phone" && name === "inbox") {
        await page.locator(".row").first().tap();
        await page.getByRole("button", { name: /^Approve/ }).waitFor();
        await page.screenshot({ path: `${OUT}/decide-${look}.png` });
      }
    }
    await page.context().close();
  }
  console.log(`Look at ${OUT}`);
} finally {
  const last = idle;
  idle = null;
  last?.kill();
  await stack.stop();
}
