// What is shown of SQL: token by token what was sent, whatever that is.
import assert from "node:assert/strict";
import { it } from "node:test";
import { build } from "vite";

/** The modules as they are built, without the page around them. */
async function load(name) {
  const entry = new URL(`../src/sql/${name}.ts`, import.meta.url).pathname;
  const [{ output }] = await build({
    configFile: false,
    logLevel: "silent",
    build: { write: false, minify: false, lib: { entry, formats: ["es"], fileName: name } },
  });
  return import(`data:text/javascript;base64,${Buffer.from(output[0].code).toString("base64")}`);
}

const [{ lex }, { format }, { dangers }] = await Promise.all(["lex", "format", "dangers"].map(load));

const STATEMENTS = [
  "",
  "select 1",
  "select a, b from t where x = 'it''s' and y = E'\\'--' and z = $1 or $tag$ ' -- $tag$ = w order by 1 limit 2",
  "delete from orders o using carts c where o.id = c.id and c.at between now() - interval '1 day' and now() returning o.id, o.total",
  "with gone as (delete from a where id in (select id from b where c > 1e-3 and d is distinct from e) returning *) insert into c select * from gone",
  "insert into t (a, b) values (1, 'x') on conflict (a) do update set b = excluded.b where t.b <> excluded.b",
  "select /* a /* nested */ comment */ 1 -- the rest\n, 2 from t left outer join u on t.a=u.a cross join lateral (select 1) v where a->>'b' @> '{}'::jsonb",
  "update t set a = 'unfinished",
  "select \"odd \"\" name\", U&'\\0061', b'01', 0xff, 1_000 from \"\u202etable\" where (((a)))) and )",
  "select a from x for update of x nowait; truncate a, b cascade; drop table t",
];

const shown = (tokens) => tokens.filter((token) => token.kind !== "space").map((token) => token.text);

it("keeps each token, in its order", () => {
  for (const sql of STATEMENTS) {
    assert.equal(lex(sql).map((token) => token.text).join(""), sql);
    assert.deepEqual(shown(format(sql)), shown(lex(sql)), sql);
    // What is shown is read again as the same tokens: no line break ends or begins a comment or a string.
    assert.deepEqual(shown(lex(format(sql).map((token) => token.text).join(""))), shown(lex(sql)), sql);
  }
});

it("keeps each token of whatever else is sent", () => {
  const pieces = ["select", "'", '"', "$$", "$a$", "--", "/*", "*/", "\n", " ", "(", ")", ";", "E'", "\\", "::", "1.5e", "and", "from", "\u202e", "é", "😀", "?"];
  let seed = 7;
  const next = (below) => (seed = (seed * 48271) % 2147483647) % below;
  for (let round = 0; round < 3000; round += 1) {
    const sql = Array.from({ length: next(60) }, () => pieces[next(pieces.length)]).join(next(2) ? "" : " ");
    assert.equal(lex(sql).map((token) => token.text).join(""), sql);
    assert.deepEqual(shown(lex(format(sql).map((token) => token.text).join(""))), shown(lex(sql)), JSON.stringify(sql));
  }
});

it("breaks clauses into lines", () => {
  const text = format("select a, b from t join u on t.id = u.id where a = 1 and b in (select c from v where d between 1 and 2) order by a");
  assert.equal(
    text.map((token) => token.text).join(""),
    [
      "select a, b",
      "from t",
      "join u",
      "  on t.id = u.id",
      "where a = 1",
      "  and b in (",
      "  select c",
      "  from v",
      "  where d between 1 and 2",
      ")",
      "order by a",
    ].join("\n"),
  );
});

it("marks what deserves a second look, and not its twin", () => {
  const marked = (sql) => [...dangers(lex(sql)).values()];
  for (const [sql, expected] of [
    ["delete from orders", ["no WHERE: every row of the table"]],
    ["delete from orders where id = 1", []],
    ["with x as (delete from a returning *) select * from x where y = 1", ["no WHERE: every row of the table"]],
    ["update t set a = 1", ["no WHERE: every row of the table"]],
    ["update t set a = 1 where b = 2", []],
    ["insert into t values (1) on conflict do nothing", []],
    ["insert into t values (1) on conflict (a) do update set a = 2", []],
    ["select * from t for update", []],
    ["delete from t where true", ["always true"]],
    ["delete from t where a = 1 or 1=1", ["always true"]],
    ["delete from t where a = 1 or 1=b", []],
    ["truncate t", ["empties the whole table"]],
    ["select truncate from t", []],
    ["drop table t cascade", ["removes it for good", "also what depends on it"]],
    ["copy t to program 'sh'", ["runs a program on the database server"]],
    ["set role postgres", ["acts as another database role"]],
    ["select * from \u0430ccounts", ["letters outside ASCII: it may look like another name"]],
    ["select 'drop table t'", []],
  ]) {
    assert.deepEqual(marked(sql), expected, sql);
  }
});
