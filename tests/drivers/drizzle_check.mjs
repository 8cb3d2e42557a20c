// Drizzle for a reader: introspection, and queries by the schema that it wrote. The same as without Postern.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, renameSync, rmSync } from "node:fs";
import { and, count, desc, eq, exists, gt, ilike, sql, sum } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { bigint, integer, jsonb, numeric, pgSchema, text, timestamp } from "drizzle-orm/pg-core";
import { relations } from "drizzle-orm";
import pg from "pg";

const { POSTERN_TEST_URL: POSTERN, POSTERN_TEST_DIRECT_URL: DIRECT } = process.env;

function pulled(url) {
  rmSync("pulled", { recursive: true, force: true });
  const options = { env: { ...process.env, POSTERN_TEST_URL: url.split("?")[0] }, stdio: ["ignore", "pipe", "pipe"] };
  execFileSync("node_modules/.bin/drizzle-kit", ["pull", "--config", "drizzle.config.mjs"], options);
  return readFileSync("pulled/schema.ts", "utf8");
}

const shop = pgSchema("shop");
const customers = shop.table("customers", {
  id: integer().primaryKey(), name: text().notNull(), email: text(), tags: text().array(), extra: jsonb(),
});
const orders = shop.table("orders", {
  id: bigint({ mode: "number" }).primaryKey(), customerId: integer("customer_id"), status: text(), total: numeric(),
  placed: timestamp({ withTimezone: true }),
});
const customersRelations = relations(customers, ({ many }) => ({ orders: many(orders) }));
const ordersRelations = relations(orders, ({ one }) => ({
  customer: one(customers, { fields: [orders.customerId], references: [customers.id] }),
}));

async function queried(url) {
  const pool = new pg.Pool({ connectionString: url.split("?")[0], max: 3 });
  const db = drizzle(pool, { schema: { customers, orders, customersRelations, ordersRelations } });
  const spent = db.$with("spent").as(db.select({ id: orders.customerId, all: sum(orders.total).as("all") }).from(orders).groupBy(orders.customerId));
  const any = db.select().from(orders).where(eq(orders.customerId, customers.id));
  const byId = db.select().from(customers).where(eq(customers.id, sql.placeholder("id"))).prepare("by_id");
  const found = [
    await db.select().from(customers).where(and(ilike(customers.name, "a%"), exists(any))).limit(5).offset(0),
    await db.with(spent).select({ name: customers.name, all: spent.all }).from(customers).leftJoin(spent, eq(spent.id, customers.id)),
    await db.select({ status: orders.status, n: count() }).from(orders).groupBy(orders.status).having(gt(count(), 0)),
    await db.query.customers.findMany({ with: { orders: { orderBy: [desc(orders.id)], limit: 2 } }, orderBy: customers.id }),
    await byId.execute({ id: 1 }),
    (await db.execute(sql`select name, array_length(tags, 1) from shop.customers`)).rows,
    await db.transaction(async (tx) => [await tx.$count(orders), await tx.transaction((inner) => inner.$count(customers))],
      { isolationLevel: "repeatable read", accessMode: "read only" }),
  ];
  const changes = url === POSTERN ? [
    db.insert(customers).values({ id: 7, name: "Eve" }), db.update(customers).set({ name: "Eve" }), db.delete(orders),
    db.select().from(orders).for("update"),
  ] : [];
  const refused = await Promise.allSettled(changes);
  await pool.end();
  return { found, refused };
}

const [direct, postern] = [pulled(DIRECT), pulled(POSTERN)];
assert.equal(postern, direct);
assert.match(postern, /customers/);
console.log("ok   drizzle: pull");
const [left, right] = [await queried(DIRECT), await queried(POSTERN)];
assert.deepEqual(right.found, left.found);
console.log("ok   drizzle: queries");
for (const { reason } of right.refused) {
  assert.equal(reason?.cause?.code, "42501", String(reason));
}
console.log("ok   drizzle: changes are refused");
