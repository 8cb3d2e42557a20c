// Pictures of every page, in light, in dark and of a phone's size, into web/screenshots/.
import { execFile, spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { promisify } from "node:util";
import { PHONE, Stack } from "../tests/stack.mjs";

const OUT = new URL("../screenshots/", import.meta.url).pathname;
const run = promisify(execFile);

const REASONS = [
  ["read", "10m", "How many orders are late this week, and by how many days?"],
  ["all", "2h", "Add the column orders.shipped_at and its index; the migration was reviewed in the pull request."],
  ["write", "1h", "Remove the stale carts that block the nightly export, as agreed in OPS-88."],
  ["read", "30m", "A customer says that their refund never arrived. I want to see the payments of their last three orders."],
];

const STATEMENTS = [
  "select status, count(*), sum(total) from orders group by status order by 2 desc",
  "select id, name, email, city from customers where country = 'PT' order by id limit 20",
  "select o.id, sum(i.quantity * i.price) as total from orders o join order_items i on i.order_id = o.id where o.status = 'pending' and o.ordered_at < now() - interval '7 days' group by o.id order by total desc limit 10",
  "delete from orders where status = 'stale'",
  "select * from nothing_there",
];

const stack = await Stack.start();
let idle;
try {
  const { id } = await stack.request("read", "Late orders of this week", "1h");
  const { grant_id } = await stack.admin("POST", `/requests/${id}/approve`, {});
  const { user, secret, host, port, database } = await stack.agent("POST", `/grants/${grant_id}/credentials`, { use: "url" });
  const url = `postgresql://${user}:${secret}@${host}:${port}/${database}`;
  for (const sql of STATEMENTS) await run("psql", [url, "-c", sql]).catch(() => {});
  idle = spawn("psql", [url], { env: { ...process.env, PGAPPNAME: "nightly-export" }, stdio: ["pipe", "ignore", "ignore"] });
  idle.stdin.write("select count(*) from orders;\n");
  for (const [role, duration, reason] of REASONS) await stack.request(role, reason, duration);
  const sessions = async () => (await stack.admin("GET", "/sessions"))[0]?.id;
  const session = (await sessions()) ?? (await new Promise((resolve) => setTimeout(() => resolve(sessions()), 2000)));
  const pages = { inbox: "/inbox", ask: "/ask", sessions: "/sessions", session: `/sessions/${session}`, audit: "/audit", policies: "/policies", connections: "/connections", people: "/people" };

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
      await page.waitForLoadState("networkidle");
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
  idle?.kill();
  await stack.stop();
}
