// node-postgres, with pg-cursor and pg-copy-streams: a pure JavaScript implementation of the protocol.
//
// A check gets a client and returns everything that it saw; it runs straight at PostgreSQL and through Postern, and
// both must be the same. One line for each check; out at the first failure.

import assert from "node:assert/strict";
import crypto from "node:crypto";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { inspect } from "node:util";

// The modules are not beside this file but in a cache.
const require = createRequire(`${process.env.POSTERN_TEST_NODE_MODULES}/package.json`);
const pg = require("pg");
const Cursor = require("pg-cursor");
const { from: copyFrom, to: copyTo } = require("pg-copy-streams");

const POSTERN = process.env.POSTERN_TEST_URL;
const DIRECT = process.env.POSTERN_TEST_DIRECT_URL;
const BIG = 100 * 1024 * 1024;
const COLUMNS = 1600;

// libpq's parameters mean something else to node-postgres: it is told of TLS by itself.
const plainUrl = (url) => url.split("?")[0];

async function connect(url, options = {}) {
  const client = new pg.Client({ connectionString: plainUrl(url), ...options });
  await client.connect();
  return client;
}

async function check(name, run) {
  const start = performance.now();
  const took = () => `${((performance.now() - start) / 1000).toFixed(2)} s`;
  try {
    await run();
    console.log(`ok   node: ${name} (${took()})`);
  } catch (error) {
    console.log(`FAIL node: ${name} (${took()}): ${String(error.stack).slice(0, 3000)}`);
    process.exit(1);
  }
}

function same(name, run, options) {
  return check(name, async () => {
    const results = [];
    for (const url of [DIRECT, POSTERN]) {
      const client = await connect(url, options);
      results.push(await run(client));
      assert.equal((await client.query("select 'still here' as a")).rows[0].a, "still here");
      await client.end();
    }
    const [direct, postern] = results.map((result) =>
      inspect(result, { depth: null, maxArrayLength: null, maxStringLength: null, breakLength: 200 }).split("\n"));
    const at = postern.findIndex((line, i) => line !== direct[i]);
    if (at >= 0 || direct.length !== postern.length) {
      throw new Error(`line ${at} is\n${postern[at]}\nnot\n${direct[at]}`);
    }
  });
}

// Every field of an error, without the stack.
async function error(promise) {
  try {
    await promise;
  } catch (found) {
    const { stack, ...fields } = found;
    return { message: found.message, ...fields };
  }
  throw new Error("there was no error");
}

const shown = (result) => {
  const one = ({ command, rowCount, rows, fields }) => ({ command, rowCount, rows, fields: fields.map((f) => ({ ...f, tableID: 0 })) });
  return Array.isArray(result) ? result.map(one) : one(result);
};

const TYPES = `select 1::int2 a, 2::int4 b, 3::int8 c, 1.5::float4 d, 'NaN'::float8 e, 12.5::numeric f, true g, 'é 漢' h,
  '\\x00ff'::bytea i, timestamptz '2024-02-29 01:02:03+03' j, '{"a": [1, null]}'::jsonb k, array[1, null, 3] l,
  interval '1 day 02:03' m, point '(1,2)' n, null o`;

await check("with TLS", async () => {
  const client = await connect(POSTERN, { ssl: { rejectUnauthorized: false } });
  assert.equal(client.connection.stream.encrypted, true);
  assert.equal((await client.query("select 1 as a")).rows[0].a, 1);
  await client.end();
});

await same("simple", async (client) => {
  const seen = [];
  for (const text of [TYPES, "select generate_series(1, 500)", "", "create temp table s (a int)", "insert into s values (1), (2)",
    "update s set a = 3", "table s", "drop table s"]) {
    seen.push(shown(await client.query(text)));
  }
  return seen;
});

for (const binary of [false, true]) {
  await same(`extended, ${binary ? "binary" : "text"}`, async (client) => {
    const seen = [];
    for (const [value, type] of [[1, "int4"], ["é", "text"], [Buffer.from([0, 255]), "bytea"], [null, "text"], [true, "bool"],
      [[1, null], "int4[]"], [{ a: 1 }, "jsonb"], [new Date(0), "timestamptz"], [1.5, "float8"]]) {
      seen.push(shown(await client.query({ text: `select $1::${type} as a`, values: [value], binary: binary && !["int4[]", "jsonb"].includes(type) })));
    }
    seen.push(shown(await client.query({ text: TYPES, values: [], rowMode: "array" })));
    seen.push(await error(client.query("select $1::int / $2::int", [1, 0])));
    return seen;
  });
}

await same("prepared", async (client) => {
  const seen = [];
  for (let i = 0; i < 200; i++) {
    seen.push(shown(await client.query({ name: "double", text: "select $1::int * 2 as doubled", values: [i] })));
  }
  // Rows by portions of a portal.
  seen.push(shown(await client.query({ name: "series", text: "select generate_series(1, 100)", rows: 30 })));
  seen.push(await error(client.query({ name: "broken", text: "select nonsense" })));
  seen.push(shown(await client.query({ name: "broken", text: "select 'mended' as a" })));
  return seen;
});

await same("queued queries, and an error among them", async (client) => {
  const queries = [];
  for (let i = 0; i < 2000; i++) {
    queries.push(i % 500 === 250 ? error(client.query("select $1::int / 0", [i])) : client.query("select $1::int as a", [i]).then(shown));
  }
  return Promise.all(queries);
});

await same("pipelined queries, and an error among them", async (client) => {
  const queries = Array.from({ length: 2000 }, (_, i) =>
    i % 500 === 250 ? error(client.query("select $1::int / 0", [i])) : client.query("select $1::int as a", [i]).then(shown));
  return Promise.all(queries);
}, { pipeline: true });

await same("COPY in and out", async (client) => {
  const seen = [];
  await client.query("create temp table c (a int, b text)");
  const into = client.query(copyFrom("copy c from stdin"));
  await pipeline(Readable.from((function* () {
    for (let i = 0; i < 20000; i++) yield `${i}\té ${i}\n`;
  })()), into);
  seen.push(into.rowCount);
  const read = async (text) => {
    const hash = crypto.createHash("sha256");
    const out = client.query(copyTo(text));
    for await (const chunk of out) hash.update(chunk);
    return [hash.digest("hex"), out.rowCount];
  };
  seen.push(await read("copy c to stdout"));
  seen.push(await read("copy (select a, b from c where a < 100 order by a) to stdout (format binary)"));
  seen.push(await read("copy (select repeat('x', 1000) from generate_series(1, 30000)) to stdout"));
  seen.push(await error(pipeline(Readable.from(["1\tfine\nnot a number\tx\n"]), client.query(copyFrom("copy c from stdin")))));
  seen.push(shown(await client.query("select count(*) from c")));
  return seen;
});

await same("cursors", async (client) => {
  const seen = [];
  const cursor = client.query(new Cursor("select i, 'row ' || i as t from generate_series(1, $1::int) i", [1000]));
  for (;;) {
    const rows = await cursor.read(73);
    if (rows.length === 0) break;
    seen.push(rows);
  }
  const closed = client.query(new Cursor("select generate_series(1, 1000000)"));
  seen.push(await closed.read(5));
  await closed.close();
  await client.query("begin; declare c cursor for select generate_series(1, 100)");
  seen.push(shown(await client.query("fetch 10 from c; move 20 in c; fetch 2 from c; close c; commit")));
  return seen;
});

await same("LISTEN and NOTIFY", async (client) => {
  const seen = [];
  const other = await connect(DIRECT);
  await client.query('listen some_channel');
  const last = new Promise((resolve) => client.on("notification", (n) => {
    seen.push([n.channel, n.payload, n.processId === client.processID]);
    if (n.payload === "last") resolve();
  }));
  await client.query("notify some_channel, 'mine'");
  await other.query("notify some_channel, 'theirs'; notify some_channel, 'last'");
  await last;
  await other.end();
  return seen;
});

await same("notices", async (client) => {
  const seen = [];
  client.on("notice", (n) => seen.push([n.severity, n.code, n.message, n.detail, n.hint, n.where, n.routine]));
  await client.query("do $$ begin for i in 1..200 loop raise notice 'n % é', i using hint = 'h', detail = 'd'; end loop; end $$");
  await client.query("drop table if exists not_there");
  return seen;
});

await same("large objects", async (client) => {
  const seen = [];
  await client.query("begin");
  const { rows: [{ oid }] } = await client.query("select lo_from_bytea(0, $1) as oid", [Buffer.alloc(1000000, "abc")]);
  seen.push((await client.query("select lo_put($1, 10, $2), lo_get($1, 0, 30) as got", [oid, Buffer.from("written")])).rows);
  seen.push((await client.query("select md5(lo_get($1)) as sum", [oid])).rows);
  seen.push((await client.query("select lo_unlink($1)", [oid])).rows);
  await client.query("commit");
  return seen;
});

await same("several statements in one string", async (client) => {
  const seen = [shown(await client.query("create temp table m (a int); insert into m values (1), (2); select * from m; select 'x' as y"))];
  seen.push(await error(client.query("insert into m values (3); select 1/0; insert into m values (4)")));
  seen.push(shown(await client.query("select count(*) from m")));
  seen.push(await error(client.query("select $1::int; select 2", [1])));
  return seen;
});

await same("transaction states after errors", async (client) => {
  const seen = [];
  await client.query("begin");
  seen.push(await error(client.query("selec 1")));
  seen.push(await error(client.query("select 1")));
  seen.push(shown(await client.query("commit")));
  await client.query("begin");
  await client.query("savepoint s");
  seen.push(await error(client.query("select $1::int", ["x"])));
  seen.push(shown(await client.query("rollback to s")));
  seen.push(shown(await client.query("select 1 as a")));
  await client.query("rollback");
  seen.push(await error(client.query("select * from nowhere")));
  return seen;
});

await same(`${COLUMNS} columns`, async (client) => {
  const columns = Array.from({ length: COLUMNS }, (_, i) => `${i} as c${i}`).join(", ");
  const seen = [shown(await client.query(`select ${columns} from generate_series(1, 5)`))];
  seen.push(shown(await client.query({ text: `select ${columns}`, values: [], rowMode: "array" })));
  return seen;
});

await check("100 MB both ways", async () => {
  const client = await connect(POSTERN);
  const value = Buffer.alloc(BIG, crypto.randomBytes(1 << 20));
  const { rows: [{ back }] } = await client.query("select $1::bytea as back", [value]);
  assert.ok(value.equals(back));
  assert.equal((await client.query("select 1 as a")).rows[0].a, 1);
  await client.end();
});

await check("cancel", async () => {
  const client = await connect(POSTERN);
  const other = await connect(DIRECT);
  for (let i = 0; i < 3; i++) {
    const query = new pg.Query("select pg_sleep(60)");
    const ended = new Promise((resolve) => query.on("error", resolve));
    client.query(query);
    for (;;) {
      const active = "select 1 from pg_stat_activity where pid = $1 and state = 'active' and query like '%pg_sleep%'";
      if ((await other.query(active, [client.processID])).rowCount === 1) break;
    }
    if (i < 2) {
      // node-postgres' own way: a second client, which sends a cancel request with the first one's key.
      new pg.Client({ connectionString: plainUrl(POSTERN) }).cancel(client, query);
    } else {
      await other.query("select pg_cancel_backend($1)", [client.processID]);
    }
    assert.equal((await ended).code, "57014");
    assert.equal((await client.query("select 1 as a")).rows[0].a, 1);
  }
  await client.end();
  await other.end();
});

await check("20,000 pipelined queries, results read later", async () => {
  const client = await connect(POSTERN, { pipeline: true });
  client.connection.stream.pause();
  const results = Array.from({ length: 20000 }, async (_, i) => {
    const { rows } = await client.query({ name: "pressed", text: "select $1::int as a, repeat('x', 500) as b", values: [i] });
    assert.equal(rows[0].a, i);
    assert.equal(rows[0].b.length, 500);
  });
  await new Promise((resolve) => setTimeout(resolve, 500));
  client.connection.stream.resume();
  await Promise.all(results);
  await client.end();
});

await check("a slow reader of a long result", async () => {
  const client = await connect(POSTERN);
  const out = client.query(copyTo("copy (select repeat('x', 10000) from generate_series(1, 5000)) to stdout"));
  let bytes = 0;
  let chunks = 0;
  for await (const chunk of out) {
    bytes += chunk.length;
    if (chunks++ < 20) await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.equal(bytes, 5000 * 10001);
  await client.end();
});

await check("a client that vanishes", async () => {
  const other = await connect(DIRECT);
  const program = `
    const pg = require(${JSON.stringify(require.resolve("pg"))});
    const client = new pg.Client({ connectionString: ${JSON.stringify(plainUrl(POSTERN))} });
    client.connect().then(() => { console.log(client.processID); client.query("select pg_sleep(600)"); });`;
  const child = spawn(process.execPath, ["--input-type=commonjs", "-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  const [pid] = await once(child.stdout, "data");
  const alive = async (state) =>
    (await other.query(`select 1 from pg_stat_activity where pid = $1 ${state}`, [Number(pid)])).rowCount === 1;
  while (!(await alive("and state = 'active' and query like '%pg_sleep%'")));
  child.kill("SIGKILL");
  const start = performance.now();
  while (await alive("")) {
    assert.ok(performance.now() - start < 10000, "the backend outlives its client");
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await other.end();
});

await check("a pool of 20", async () => {
  const pool = new pg.Pool({ connectionString: plainUrl(POSTERN), max: 20 });
  const tasks = Array.from({ length: 2000 }, async (_, i) => {
    if (i % 50 === 0) {
      // pool.query would close the connection after an error.
      const client = await pool.connect();
      const found = await error(client.query("select 1/0"));
      client.release();
      return found;
    }
    const { rows } = await pool.query("select $1::int as a, pg_backend_pid() as pid", [i]);
    assert.equal(rows[0].a, i);
    return rows[0].pid;
  });
  const seen = new Set((await Promise.all(tasks)).filter((pid) => typeof pid === "number"));
  // A connection that came late may have found nothing left to do.
  assert.ok(seen.size > 1 && seen.size <= 20, `${seen.size}`);
  // Held all at once, each is a session of its own.
  const clients = await Promise.all(Array.from({ length: 20 }, () => pool.connect()));
  const held = await Promise.all(clients.map((client) => client.query("select pg_backend_pid() as pid")));
  assert.equal(new Set(held.map(({ rows }) => rows[0].pid)).size, 20);
  for (const client of clients) client.release();
  await pool.end();
});

process.exit(0);
