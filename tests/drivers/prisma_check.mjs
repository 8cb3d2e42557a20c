// Prisma for a reader: introspection, and the client's queries. The same as without Postern.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

// This is a copy in a folder of its own, with the modules in it.
const require = createRequire(import.meta.url);
const { POSTERN_TEST_URL: POSTERN, POSTERN_TEST_DIRECT_URL: DIRECT } = process.env;

function prisma(url, ...args) {
  const options = { env: { ...process.env, POSTERN_TEST_URL: url }, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] };
  return execFileSync("node_modules/.bin/prisma", [...args, "--config", "prisma.config.mjs", "--schema", "shop.prisma"], options);
}

async function queried(url) {
  const { PrismaClient } = require("./client");
  const { PrismaPg } = require("@prisma/adapter-pg");
  const adapter = new PrismaPg({ connectionString: url.split("?")[0] }, { schema: "shop" });
  const db = new PrismaClient({ adapter });
  const found = [
    await db.customers.findMany({
      include: { orders: { include: { items: true }, orderBy: { id: "asc" } } },
      where: { OR: [{ name: { contains: "a", mode: "insensitive" } }, { tags: { has: "x" } }] },
      orderBy: [{ name: "asc" }],
      take: 10,
    }),
    await db.customers.findMany({ where: { orders: { some: { total: { gt: 1 } } } }, cursor: { id: 1 }, distinct: ["name"] }),
    await db.customers.findUnique({ where: { id: 1 }, select: { name: true, _count: { select: { orders: true } } } }),
    await db.orders.aggregate({ _sum: { total: true }, _count: true, _max: { placed: true } }),
    await db.orders.groupBy({ by: ["status"], _avg: { total: true }, having: { total: { _avg: { gt: 0 } } } }),
    await db.$queryRaw`select count(*) from shop.customers where name = ${"Ann"}`,
    await db.$transaction([db.customers.count(), db.products.findFirst()], { isolationLevel: "RepeatableRead" }),
    await db.$transaction(async (own) => [await own.customers.count(), await own.orders.findFirstOrThrow()]),
  ];
  const changes = [
    () => db.customers.create({ data: { name: "Eve" } }),
    () => db.customers.updateMany({ data: { name: "Eve" } }),
    () => db.orders.deleteMany(),
    () => db.$executeRaw`truncate shop.queue`,
  ];
  const refused = await Promise.allSettled(changes.map((change) => url === POSTERN && change()));
  await db.$disconnect();
  return { found, refused };
}

const pulled = [DIRECT, POSTERN].map((url) => {
  prisma(url, "db", "pull", "--force");
  return readFileSync("shop.prisma", "utf8");
});
assert.equal(pulled[1], pulled[0]);
assert.match(pulled[1], /model customers \{/);
console.log("ok   prisma: db pull");
prisma(POSTERN, "generate");
const [direct, postern] = [await queried(DIRECT), await queried(POSTERN)];
assert.deepEqual(postern.found, direct.found);
console.log("ok   prisma: the client's queries");
for (const { reason } of postern.refused) {
  assert.match(String(reason), /permission denied by Postern/);
}
console.log("ok   prisma: changes are refused");
