"""asyncpg: its own implementation of the protocol, binary throughout, everything prepared."""

import asyncio
import io
import logging
import os
import time

import asyncpg

from checks import BIG, COLUMNS, DIRECT, POSTERN, Check, equal, seal
from psycopg_check import ALL_TYPES


async def same(name, check):
    with Check(name):
        results = []
        for url in (DIRECT, POSTERN):
            conn = await asyncpg.connect(url)
            try:
                results.append(await check(conn))
                equal(await conn.fetchval("select 'still here'"), "still here")
            finally:
                await conn.close(timeout=10)
        equal(results[1], results[0])


async def error(awaitable):
    try:
        await awaitable
    except asyncpg.PostgresError as found:
        return type(found).__name__, str(found), {k: v for k, v in found.as_dict().items()}
    raise AssertionError("there was no error")


async def simple(conn):
    """execute() without arguments is the simple protocol."""
    seen = []
    for text in ["create temp table s (a int)", "insert into s values (1), (2)", "select 1; update s set a = 3; select 2",
                 "drop table s", "set timezone to 'Asia/Tokyo'", "begin; rollback"]:
        seen.append(await conn.execute(text))
    seen.append(await error(conn.execute("create temp table s (a int); insert into s values (1); select 1/0")))
    seen.append(await error(conn.execute("select * from s")))
    seen.append(conn.get_settings().TimeZone)
    return seen


async def extended(conn):
    seen = [dict((await conn.fetch(ALL_TYPES))[0])]
    for value, kind in [(1, "int4"), (2**62, "int8"), (1.5, "float8"), ("é'", "text"), (b"\x00\xff", "bytea"), (None, "text"),
                        ([1, None], "int4[]"), (True, "bool"), ('{"a": 1}', "jsonb"), (["a", None], "text[]")]:
        seen.append(await conn.fetchval(f"select $1::{kind}", value))
    await conn.execute("create type pg_temp.mood as enum ('sad', 'ok'); create type pg_temp.pair as (a int, b pg_temp.mood)")
    # asyncpg looks these up in the catalog by long recursive statements of its own.
    seen.append(await conn.fetchrow("select $1::pg_temp.mood, $2::pg_temp.pair, array[$2::pg_temp.pair]", "ok", (1, "sad")))
    seen.append(await conn.execute("create temp table e (a int)"))
    seen.append(await conn.execute("insert into e select generate_series(1, $1)", 10))
    seen.append(await error(conn.fetch("select $1::int / $2", 1, 0)))
    seen.append(await error(conn.fetch("select * from nowhere")))
    return seen


async def prepared(conn):
    seen = []
    statement = await conn.prepare("select $1::int + i as sum, 'x' as x from generate_series(1, $2::int) i")
    seen.append([(a.name, a.type.name) for a in statement.get_attributes()] + [p.name for p in statement.get_parameters()])
    for i in range(200):
        seen.append([tuple(row) for row in await statement.fetch(i, i % 5)])
    # More than its cache keeps.
    for i in range(150):
        seen.append(await conn.fetchval(f"select $1::int * {i}", i))
    seen.append(statement.get_statusmsg())
    await conn.execute("create temp table t (a int); insert into t values (1)")
    seen.append([tuple(r) for r in await conn.fetch("select * from t")])
    await conn.execute("alter table t add b text default 'new'")
    # asyncpg prepares again by itself.
    seen.append([tuple(r) for r in await conn.fetch("select * from t")])
    return seen


async def many(conn):
    """executemany sends Bind and Execute in one long run."""
    seen = []
    await conn.execute("create temp table m (a int primary key, b text)")
    seen.append(await conn.executemany("insert into m values ($1, $2)", [(i, "x" * (i % 300)) for i in range(20_000)]))
    seen.append(tuple(await conn.fetchrow("select count(*), sum(a), sum(length(b)) from m")))
    seen.append([tuple(r) for r in await conn.fetchmany("select $1::int * 2", [(i,) for i in range(2000)])])
    # A duplicate in the middle: nothing of the run remains.
    rows = [(i, "y") for i in range(20_000, 25_000)] + [(3, "duplicate")] + [(i, "z") for i in range(30_000, 40_000)]
    seen.append(await error(conn.executemany("insert into m values ($1, $2)", rows)))
    seen.append(await conn.fetchval("select count(*) from m"))
    return seen


async def copies(conn):
    seen = []
    await conn.execute("create temp table c (a int, b text, c bytea)")
    rows = [(i, None if i % 7 == 0 else f"é\t{i}", bytes([i % 256])) for i in range(20_000)]
    seen.append(await conn.copy_records_to_table("c", records=rows))
    out = io.BytesIO()
    seen.append(await conn.copy_from_table("c", output=out, format="csv", header=True))
    seen.append(out.getvalue())
    out.seek(0)
    seen.append(await conn.copy_to_table("c", source=out, format="csv", header=True))
    out = io.BytesIO()
    seen.append(await conn.copy_from_query("select * from c where a < $1 order by a, b", 500, output=out, format="binary"))
    seen.append(out.getvalue())
    seen.append(await error(conn.copy_to_table("c", source=io.BytesIO(b"1\tx\t\\\\x00\nnot a number\tx\ty\n"))))

    async def failing():
        yield b"1\tx\t\\\\x00\n"
        raise KeyError("the source fails")

    try:
        await conn.copy_to_table("c", source=failing())
    except KeyError as found:
        seen.append(str(found))
    seen.append(await conn.fetchval("select count(*) from c"))
    return seen


async def cursors(conn):
    seen = []
    async with conn.transaction():
        async for row in conn.cursor("select i from generate_series(1, $1) i", 1000, prefetch=37):
            seen.append(row[0])
        cursor = await conn.cursor("select generate_series(1, 100)")
        seen.append([tuple(r) for r in await cursor.fetch(10)])
        seen.append(await cursor.forward(20))
        seen.append(tuple(await cursor.fetchrow()))
        seen.append([tuple(r) for r in await cursor.fetch(1000)])
    return seen


async def notified(conn):
    seen, came = [], asyncio.Event()

    def heard(_, pid, channel, payload):
        seen.append((pid == conn.get_server_pid(), channel, payload))
        if payload == "last":
            came.set()

    await conn.add_listener("some_channel", heard)
    other = await asyncpg.connect(DIRECT)
    await conn.execute("notify some_channel, 'mine'")
    await other.execute("notify some_channel, 'theirs'")
    await other.execute("notify some_channel, 'last'")
    await asyncio.wait_for(came.wait(), 10)
    await other.close()
    await conn.remove_listener("some_channel", heard)
    return seen


async def notices(conn):
    seen = []
    conn.add_log_listener(lambda _, message: seen.append(message.as_dict()))
    await conn.execute("do $$ begin for i in 1..200 loop raise notice 'n % é', i using hint = 'h', detail = 'd'; end loop; end $$")
    await conn.execute("drop table if exists not_there")
    await asyncio.sleep(0)
    return seen


async def transactions(conn):
    seen = []

    async def failing():
        async with conn.transaction():
            await conn.execute("create temp table t (a int primary key)")
            try:
                async with conn.transaction():
                    await conn.execute("insert into t values (1), (1)")
            except asyncpg.UniqueViolationError:
                seen.append("rolled back to the savepoint")
            await conn.execute("insert into t values (2)")
            seen.append(await conn.fetchval("select count(*) from t"))
            await conn.execute("select 1/0")

    seen.append(await error(failing()))
    seen.append(conn.is_in_transaction())
    await conn.execute("begin")
    seen.append(await error(conn.fetch("select nonsense")))
    seen.append(await error(conn.fetch("select 1")))
    seen.append(conn.is_in_transaction())
    await conn.execute("rollback")
    seen.append(conn.is_in_transaction())
    async with conn.transaction(isolation="serializable", readonly=True, deferrable=True):
        seen.append(await error(conn.execute("create table refused (a int)")))
    return seen


async def large_objects(conn):
    seen = []
    async with conn.transaction():
        oid = await conn.fetchval("select lo_from_bytea(0, $1)", bytes(range(256)) * 8000)
        fd = await conn.fetchval("select lo_open($1, 393216)", oid)
        seen.append(await conn.fetchval("select loread($1, 1000)", fd))
        seen.append(await conn.fetchval("select lowrite($1, $2)", fd, b"written"))
        seen.append(await conn.fetchval("select lo_get($1)", oid))
        seen.append(await conn.fetchval("select lo_unlink($1)", oid))
    return seen


async def wide(conn):
    columns = ", ".join(f"{i} as c{i}" for i in range(COLUMNS))
    seen = [[tuple(r.items()) for r in await conn.fetch(f"select {columns} from generate_series(1, 20)")]]
    seen.append(await error(conn.fetch(f"select {columns}, {columns}")))
    places = ", ".join(f"(${i + 1}::int)" for i in range(32767))
    seen.append(await conn.fetchval(f"select sum(v) from (values {places}) t (v)", *range(32767)))
    return seen


async def big():
    conn = await asyncpg.connect(POSTERN)
    value = os.urandom(1024 * 1024) * (BIG // (1024 * 1024))
    assert await conn.fetchval("select $1::bytea", value) == value
    equal(await conn.fetchval("select 'after'"), "after")
    await conn.close()


async def timeouts():
    """A timeout is a cancel request. The statement ends, the connection goes on."""
    conn, other = await asyncpg.connect(POSTERN), await asyncpg.connect(DIRECT)
    for _ in range(3):
        start = time.monotonic()
        try:
            await conn.fetch("select pg_sleep(60)", timeout=0.3)
            raise AssertionError("no timeout")
        except TimeoutError:
            pass
        equal(await conn.fetchval("select 1", timeout=10), 1)
        assert time.monotonic() - start < 10
    # The task that waits is cancelled.
    task = asyncio.ensure_future(conn.fetch("select pg_sleep(60)"))
    await asyncio.sleep(0.2)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass
    equal(await conn.fetchval("select 2", timeout=10), 2)
    running = "select count(*) from pg_stat_activity where pid = $1 and state = 'active'"
    equal(await other.fetchval(running, conn.get_server_pid()), 0)
    await conn.close()
    await other.close()


async def pooled():
    """20 connections, 2,000 tasks, some of which fail or leave a transaction open."""
    pool = await asyncpg.create_pool(POSTERN, min_size=20, max_size=20)

    async def task(i):
        async with pool.acquire() as conn:
            if i % 50 == 0:
                await conn.execute("begin")
                await error(conn.fetch("select 1/0"))
                return i
            if i % 7 == 0:
                await conn.execute("set search_path to pg_catalog; listen x")
            return await conn.fetchval("select $1::int + count(*) - 10 from generate_series(1, 10)", i)

    with_pool = await asyncio.gather(*(task(i) for i in range(2000)))
    equal(with_pool, list(range(2000)))
    pids = set()
    connections = [await pool.acquire() for _ in range(20)]
    for conn in connections:
        pids.add(await conn.fetchval("select pg_backend_pid()"))
        # What the pool resets between users is reset.
        equal(await conn.fetchval("select setting = reset_val from pg_settings where name = 'search_path'"), True)
        await pool.release(conn)
    equal(len(pids), 20)
    await pool.close()


async def pressed():
    """Many tasks, each with a long run of Bind and Execute of its own, at once."""
    async def run(i):
        conn = await asyncpg.connect(POSTERN)
        await conn.execute("create temp table p (a int, b text)")
        await conn.executemany("insert into p values ($1, $2)", [(j, "x" * 200) for j in range(5000)])
        count = await conn.fetchval("select count(*) from p")
        rows = await conn.fetch("select repeat('y', 1000) from generate_series(1, 5000)")
        await conn.close()
        return count, len(rows)

    equal(await asyncio.gather(*(run(i) for i in range(4))), [(5000, 5000)] * 4)


async def main():
    await same("simple", simple)
    await same("extended, binary", extended)
    await same("prepared", prepared)
    await same("executemany, and an error in the middle of it", many)
    await same("COPY in and out", copies)
    await same("server-side cursors", cursors)
    await same("LISTEN and NOTIFY", notified)
    await same("notices", notices)
    await same("transaction states after errors", transactions)
    await same("large objects", large_objects)
    await same(f"{COLUMNS} columns, 32767 parameters", wide)
    with Check("100 MB both ways"):
        await big()
    with Check("timeouts and cancelled tasks"):
        await timeouts()
    with Check("a pool of 20"):
        await pooled()
    with Check("runs of statements on several connections"):
        await pressed()


if __name__ == "__main__":
    seal()
    # The pool says of each connection that it resets that it does.
    logging.disable()
    asyncio.run(main())
