"""psycopg 3, which is libpq: through Postern it must do exactly what it does without."""

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time

import psycopg
from psycopg.types.json import Jsonb

from checks import BIG, COLUMNS, DIRECT, POSTERN, Check, equal, seal, until


def connect(url, **options):
    return psycopg.connect(url, autocommit=True, **options)


def same(name, check, **options):
    """The check, given a connection, has the same result on both ways."""
    with Check(name):
        results = []
        for url in (DIRECT, POSTERN):
            with connect(url, **options) as conn:
                results.append(check(conn))
                # Whatever it was, the connection is still good for another statement.
                conn.rollback()
                equal(conn.execute("select 'still here'").fetchone()[0], "still here")
        equal(results[1], results[0])


def error(call):
    """Every field of the error that the call must end with."""
    try:
        call()
    except psycopg.Error as found:
        diag = found.diag
        names = [name for name in dir(diag) if not name.startswith("_")]
        return type(found).__name__, str(found), {name: getattr(diag, name) for name in names}
    raise AssertionError("there was no error")


def described(cursor):
    columns = [
        (c.name, c.type_code, c.internal_size, c.precision, c.scale) for c in cursor.description or []
    ]
    return columns, cursor.statusmessage, cursor.rowcount, cursor.fetchall() if columns else None


ALL_TYPES = """select 1::int2 a, 2::int4 b, 3::int8 c, 1.5::float4 d, 'NaN'::float8 e, 123456.789::numeric(12,3) f,
    true g, 'text é 漢 \U0001f600' h, 'x'::char(4) i, 'v'::varchar(9) j, '\\x00ff10'::bytea k, date '2024-02-29' l,
    time '12:34:56.789' m, timestamp '2024-02-29 01:02:03' n, timestamptz '2024-02-29 01:02:03+03' o,
    interval '1 day 02:03' p, '6f7a1c1e-0e0e-4b44-9d6f-0d6a1f3b2c11'::uuid q, '{"a": [1, null]}'::jsonb r,
    array[1, null, 3] s, array['a', null, 'b"c'] t, '10.1.2.0/24'::cidr u, int4range(1, 5) v, null w,
    '(1,2)'::point x, B'1010' y, row(1, 'a') z, ''::text empty"""


def startup(conn):
    """All that the server told at the start, and what of it comes back when settings change."""
    names = [
        "server_version", "server_encoding", "client_encoding", "is_superuser", "session_authorization",
        "DateStyle", "IntervalStyle", "TimeZone", "integer_datetimes", "standard_conforming_strings",
        "default_transaction_read_only", "in_hot_standby",
    ]
    before = {name: conn.pgconn.parameter_status(name.encode()) for name in names}
    # application_name is Postern's: it tells the database's people who is there. The client's own is what it is told.
    conn.execute("set timezone to 'Asia/Tokyo'; set datestyle to 'German'; set client_encoding to 'latin1'")
    after = {name: conn.pgconn.parameter_status(name.encode()) for name in names}
    rows = conn.execute("select now() at time zone 'UTC' is not null, 'é', date '2024-02-29'::text").fetchall()
    return before, after, rows, conn.info.server_version, conn.info.backend_pid == one(conn, "select pg_backend_pid()")


def one(conn, text, *args, **options):
    return conn.execute(text, *args, **options).fetchone()[0]


def options_passed(conn):
    return [one(conn, f"show {name}") for name in ("work_mem", "search_path", "DateStyle", "geqo")]


def simple(conn):
    seen = []
    # A statement without parameters, not prepared, goes by PQexec when the format is text: the simple protocol.
    for text in [ALL_TYPES, "select generate_series(1, 1000)", "", "  -- nothing\n", "create temp table s (a int)",
                 "insert into s values (1), (2), (3)", "update s set a = a + 1", "delete from s where a = 2",
                 "table s", "select", "show server_version_num", "explain (costs off) select 1", "drop table s"]:
        result = conn.pgconn.exec_(text.encode())
        seen.append((result.status, result.command_status, result.command_tuples,
                     [[result.get_value(r, c) for c in range(result.nfields)] for r in range(result.ntuples)],
                     [(result.fname(c), result.ftype(c), result.fmod(c), result.fsize(c)) for c in range(result.nfields)]))
    return seen


def extended(binary):
    def check(conn):
        seen = [described(conn.execute(ALL_TYPES, (), binary=binary))]
        values = [1, 2**40, 1.25, "a'b\\c é", b"\x00\xff", None, True, [1, None, 2], ["x", None], Jsonb({"k": [1]})]
        for value in values:
            seen.append(described(conn.execute("select %s::text, %s", (str(value), value), binary=binary)))
            seen.append(described(conn.execute("select %b", (value if value is not None else 0,), binary=binary)))
        conn.execute("create temp table e (a int primary key, b text)")
        with conn.cursor(binary=binary) as cursor:
            cursor.executemany("insert into e values (%s, %s) returning a", [(i, f"row {i}") for i in range(500)], returning=True)
            rows = []
            while True:
                rows += cursor.fetchall()
                if not cursor.nextset():
                    break
            seen.append(rows)
        seen.append(described(conn.execute("select count(*), sum(a), min(b) from e where a > %s", (10,), binary=binary)))
        return seen

    return check


def prepared(conn):
    seen = []
    conn.prepare_threshold = 0
    for i in range(200):
        seen.append(one(conn, "select %s::int * 2 as doubled", (i,)))
    # More statements than psycopg keeps: it deallocates the oldest.
    for i in range(150):
        seen.append(one(conn, f"select %s::int + {i}", (i,)))
    # By SQL, too; and a plan that changes under a prepared statement.
    conn.execute("prepare p (int) as select $1 * 3", prepare=False)
    seen.append(conn.execute("execute p(14)", prepare=False).fetchall())
    conn.execute("create temp table t (a int); insert into t values (1)", prepare=False)
    conn.pgconn.prepare(b"all of t", b"select * from t")
    seen.append(conn.pgconn.exec_prepared(b"all of t", None).get_value(0, 0))
    conn.execute("alter table t add column b text default 'new'", prepare=False)
    seen.append(conn.pgconn.exec_prepared(b"all of t", None).error_message)
    seen.append(conn.execute("select * from t", prepare=False).fetchall())
    conn.execute("deallocate all", prepare=False)
    seen.append(error(lambda: conn.execute("execute p(1)", prepare=False)))
    # libpq's own functions: prepare, describe, run with text and binary results.
    pg = conn.pgconn
    seen.append(pg.prepare(b"mine", b"select $1::int, $2::text").status)
    about = pg.describe_prepared(b"mine")
    seen.append(([about.param_type(i) for i in range(about.nparams)], [about.ftype(i) for i in range(about.nfields)]))
    for fmt in (0, 1):
        result = pg.exec_prepared(b"mine", [b"7", b"seven"], [0, 0], fmt)
        seen.append([result.get_value(0, 0), result.get_value(0, 1), result.fformat(0)])
    return seen


def pipeline(conn):
    seen = []
    conn.execute("create temp table p (a int primary key)")
    with conn.pipeline():
        cursors = [conn.execute("insert into p values (%s) returning a", (i,)) for i in range(1000)]
        seen.append([c.fetchone()[0] for c in cursors])
        seen.append(conn.execute("select count(*) from p").fetchone())
    seen.append(one(conn, "select sum(a) from p"))
    return seen


def pipeline_error(conn):
    seen = []
    conn.execute("create temp table p (a int primary key)")

    def broken():
        with conn.pipeline() as p:
            conn.execute("insert into p values (1)")
            conn.execute("insert into p values (2)")
            conn.execute("insert into p values (1)")
            conn.execute("insert into p values (3)")
            p.sync()

    seen.append(error(broken))
    # An implicit transaction up to the Sync: nothing of it is there.
    seen.append(conn.execute("select a from p order by a").fetchall())
    # By hand, with each result's status: psycopg raises the error at whichever statement it sees it.
    pg = conn.pgconn
    pg.enter_pipeline_mode()
    for text in (b"select 'a'", b"select nonsense", b"select 'b'"):
        pg.send_query_params(text, None)
    pg.pipeline_sync()
    pg.send_query_params(b"select 'c'", None)
    pg.pipeline_sync()
    statuses, syncs = [], 0
    while syncs < 2:
        result = pg.get_result()
        if result is None:
            continue
        statuses.append(psycopg.pq.ExecStatus(result.status).name)
        syncs += statuses[-1] == "PIPELINE_SYNC"
    seen.append(statuses)
    pg.exit_pipeline_mode()
    return seen


def copy_out_and_in(conn):
    seen = []
    conn.execute("create temp table c (a int, b text, c bytea)")
    rows = [(i, None if i % 7 == 0 else f"tab\t line\n back\\slash é {i}", bytes([i % 256])) for i in range(20000)]
    with conn.cursor() as cursor:
        with cursor.copy("copy c from stdin") as copy:
            for row in rows:
                copy.write_row(row)
        seen.append(cursor.statusmessage)
        with cursor.copy("copy c from stdin (format binary)") as copy:
            copy.set_types(["int4", "text", "bytea"])
            for row in rows[:1000]:
                copy.write_row(row)
        seen.append((cursor.statusmessage, cursor.rowcount))
        with cursor.copy("copy (select * from c order by a, b) to stdout") as copy:
            seen.append(b"".join(bytes(block) for block in copy))
        with cursor.copy("copy (select * from c where a < 100 order by a) to stdout (format binary)") as copy:
            copy.set_types(["int4", "text", "bytea"])
            seen.append(list(copy.rows()))
        with cursor.copy("copy (select 1 where false) to stdout (format csv, header)") as copy:
            seen.append(b"".join(bytes(block) for block in copy))
        # The server refuses a row; the client gives up; the client leaves early.
        def bad_row():
            with cursor.copy("copy c from stdin") as copy:
                copy.write(b"1\tfine\t\\\\x00\n" + b"not a number\tx\ty\n" * 3)

        seen.append(error(bad_row))

        def gives_up():
            with cursor.copy("copy c from stdin") as copy:
                copy.write(b"1\tfine\t\\\\x00\n")
                raise psycopg.DataError("enough")

        seen.append(error(gives_up))
        try:
            with cursor.copy("copy (select repeat('x', 1000) from generate_series(1, 50000)) to stdout") as copy:
                seen.append([len(copy.read()) for _ in range(3)])
                raise KeyError("leaves early: psycopg cancels the statement")
        except KeyError:
            pass
        seen.append(cursor.execute("select count(*) from c").fetchall())
    return seen


def server_cursors(conn):
    seen = []
    with conn.transaction():
        with conn.cursor("mine") as cursor:
            cursor.itersize = 100
            cursor.execute("select i, 'row ' || i from generate_series(1, 2500) i")
            seen.append([cursor.fetchone(), cursor.fetchmany(3)])
            seen.append(list(cursor))
        with conn.cursor("scrolls", scrollable=True, binary=True) as cursor:
            cursor.execute("select generate_series(1, 100)")
            cursor.scroll(50)
            seen.append(cursor.fetchone())
            cursor.scroll(-2)
            seen.append(cursor.fetchmany(2))
            cursor.scroll(99, mode="absolute")
            seen.append(cursor.fetchall())
    with conn.cursor("held", withhold=True) as cursor:
        cursor.execute("select generate_series(1, 10)")
        seen.append(cursor.fetchmany(20))
    with conn.transaction():
        conn.execute("create temp table u (a int); insert into u select generate_series(1, 5)")
        conn.execute("declare up cursor for select a from u for update")
        conn.execute("fetch 2 from up")
        seen.append(conn.execute("update u set a = 100 where current of up").rowcount)
        seen.append(conn.execute("select a from u order by a").fetchall())
        conn.execute("close up")
    return seen


def large_objects(conn):
    seen = []
    with conn.transaction():
        oid = one(conn, "select lo_from_bytea(0, %s)", (b"start" + bytes(range(256)) * 4000,))
        fd = one(conn, "select lo_open(%s, 393216)", (oid,))
        seen.append(conn.execute("select lo_lseek64(%s, 5, 0)", (fd,)).fetchall())
        seen.append(conn.execute("select loread(%s, 300)", (fd,)).fetchall())
        seen.append(conn.execute("select lowrite(%s, %b)", (fd, b"written")).fetchall())
        seen.append(conn.execute("select lo_close(%s)", (fd,)).fetchall())
        seen.append(one(conn, "select lo_get(%s)", (oid,), binary=True))
        seen.append(one(conn, "select lo_unlink(%s)", (oid,)))
    return seen


def multi(conn):
    """Several statements in one string: all results in order, one implicit transaction."""
    seen = []
    cursor = conn.execute(
        "create temp table m (a int); insert into m values (1), (2); select a from m; select 'x' as y; drop table m"
    )
    while True:
        seen.append(described(cursor))
        if not cursor.nextset():
            break
    conn.execute("create temp table m (a int)")
    seen.append(error(lambda: conn.execute("insert into m values (1); select 1/0; insert into m values (2)")))
    seen.append(conn.execute("select * from m").fetchall())
    seen.append(error(lambda: conn.execute("insert into m values (1); commit; insert into m values (2); begin; selec 1")))
    # Several statements with parameters are the server's to refuse.
    seen.append(error(lambda: conn.execute("select %s; select 2", (1,))))
    conn.execute("begin; insert into m values (7); commit; begin; insert into m values (8); rollback")
    seen.append(conn.execute("select * from m").fetchall())
    return seen


def errors(conn):
    """Errors with all their fields, and the transaction's state as the client is told it."""
    seen = []

    def state():
        seen.append(psycopg.pq.TransactionStatus(conn.pgconn.transaction_status).name)

    conn.execute("create temp table f (a int primary key constraint positive check (a > 0), b text not null)")
    # By the parser, the planner, the executor, after rows have gone out; with and without a position.
    for text in ["select nonsense", "selec 1", "select * from nowhere", "insert into f values (-1, 'x')", "select 1/0",
                 "insert into f values (1, null)", "insert into f values (1, 'x'), (1, 'y')", "select 'x'::int", "select $1::int",
                 "do $$ begin raise exception 'own' using errcode = 'ZZ123', detail = 'd', hint = 'h', table = 't'; end $$",
                 "select 1/(i - 999) from generate_series(1, 1000) i", "select '", 'select ";\u00e9']:
        seen.append(error(lambda: conn.execute(text)))
        seen.append(error(lambda: conn.execute(text, prepare=True)))
        state()
    conn.execute("begin")
    state()
    conn.execute("insert into f values (1, 'kept?')")
    conn.execute("savepoint one")
    seen.append(error(lambda: conn.execute("select 1/0")))
    state()
    seen.append(error(lambda: conn.execute("select 1")))
    conn.execute("rollback to one")
    state()
    conn.execute("commit")
    state()
    seen.append(conn.execute("table f").fetchall())
    conn.execute("begin; select 1")
    seen.append(error(lambda: conn.execute("select 1/0")))
    seen.append(conn.execute("commit").statusmessage)
    state()
    # An error at COMMIT.
    conn.execute("create temp table d (a int unique deferrable initially deferred)")
    conn.execute("begin; insert into d values (1), (1)")
    seen.append(error(lambda: conn.execute("commit")))
    state()
    return seen


def notices(conn):
    seen = []
    conn.add_notice_handler(lambda diag: seen.append((diag.severity, diag.sqlstate, diag.message_primary, diag.message_detail,
                                                      diag.message_hint, diag.context, diag.source_function)))
    conn.execute("set client_min_messages to debug1")
    conn.execute("do $$ begin for i in 1..300 loop raise notice 'notice % é', i using detail = 'd', hint = 'h'; end loop; end $$")
    conn.execute("do $$ begin raise warning 'w'; raise debug 'd'; raise info 'i'; raise log 'l'; end $$")
    conn.execute("drop table if exists not_there")
    conn.execute("begin; begin; commit; commit")
    return [note for note in seen if note[0] != "DEBUG" or note[2] == "d"]


def notifications(conn):
    seen = []
    conn.execute("listen some_channel; listen \"Other é\"")
    with connect(DIRECT) as sender:
        # While nothing is asked, in a transaction, several at once, the longest there is.
        sender.execute("notify some_channel, 'while idle'")
        sender.execute("select pg_notify('Other é', repeat('x', 7999))")
        got = list(conn.notifies(timeout=10, stop_after=2))
        seen.append([(n.channel, n.payload, n.pid == sender.info.backend_pid) for n in got])
        sender.execute("begin; notify some_channel, 'one'; notify some_channel, 'two'; notify some_channel, 'one'; commit")
        got = list(conn.notifies(timeout=10, stop_after=2))
        seen.append([(n.channel, n.payload) for n in got])
    # From oneself, and through Postern to someone else: the sender is the backend's true process id.
    conn.execute("notify some_channel, 'mine'")
    got = list(conn.notifies(timeout=10, stop_after=1))
    seen.append([(n.channel, n.payload, n.pid == conn.info.backend_pid) for n in got])
    with connect(DIRECT) as listener:
        listener.execute("listen back")
        conn.execute("notify back, 'hello'")
        got = list(listener.notifies(timeout=10, stop_after=1))
        seen.append([(n.payload, n.pid == conn.info.backend_pid) for n in got])
    conn.execute("unlisten *")
    conn.execute("notify some_channel, 'not heard'")
    seen.append([n.payload for n in conn.notifies(timeout=0.2)])
    return seen


def wide(conn):
    columns = ", ".join(f"{i} as c{i}" for i in range(COLUMNS))
    names = ", ".join(f"c{i} int" for i in range(COLUMNS))
    seen = [described(conn.execute(f"select {columns}")), described(conn.execute(f"select {columns}", binary=True))]
    conn.execute(f"create temp table wide ({names})")
    for _ in range(3):
        conn.execute(f"insert into wide values ({', '.join(['%s'] * COLUMNS)})", list(range(COLUMNS)))
    seen.append(conn.execute("select * from wide").fetchall())
    seen.append(error(lambda: conn.execute(f"create temp table wider ({names}, one_more int)")))
    seen.append(error(lambda: conn.execute(f"select {columns}, " + ", ".join("1" for _ in range(100)))))
    # As many parameters as the protocol can count.
    values = ", ".join(["(%s)"] * 65535)
    seen.append(one(conn, f"select count(*) from (values {values}) v", list(range(65535))))
    return seen


def big():
    """100 MB up and down, with parameters and results in text and binary; only through Postern, it takes long enough."""
    value = os.urandom(1024 * 1024) * (BIG // (1024 * 1024))
    with connect(POSTERN) as conn:
        found = one(conn, "select %b", (value,), binary=True)
        assert found == value
        del found
        text = "é" * (BIG // 2)
        length, digest = conn.execute("select octet_length(v), md5(v) from (select %s::text as v) t", (text,)).fetchone()
        equal((length, digest), (BIG, hashlib.md5(text.encode()).hexdigest()))
        found = one(conn, "select repeat('é', %s)", (BIG // 2,))
        assert found == text
        equal(one(conn, "select 'after'"), "after")


def cancel():
    """All of libpq's ways to cancel, in and out of a pipeline; the connection goes on."""
    with connect(POSTERN) as conn, connect(DIRECT) as other:
        active = "select count(*) from pg_stat_activity where pid = %s and query like '%%pg_sleep%%' and state = 'active'"
        for way in ("cancel", "cancel_safe", "pipeline"):
            outcome = []

            def later():
                try:
                    until("the statement runs", lambda: one(other, active, (conn.info.backend_pid,)))
                    conn.cancel() if way == "cancel" else conn.cancel_safe(timeout=10)
                    outcome.append("sent")
                except Exception as failure:
                    outcome.append(failure)

            thread = threading.Thread(target=later)
            thread.start()
            start = time.monotonic()
            if way == "pipeline":
                with conn.pipeline() as pipeline:
                    conn.execute("select pg_sleep(%s)", (60,))
                    conn.execute("select 'discarded'")
                    found = error(pipeline.sync)
                    equal(conn.execute("select 'next'").fetchone(), ("next",))
            else:
                found = error(lambda: conn.execute("select pg_sleep(60)"))
            thread.join()
            equal(outcome, ["sent"], f"the outcome of {way}")
            equal((found[0], found[2]["sqlstate"]), ("QueryCanceled", "57014"), way)
            assert time.monotonic() - start < 10
            equal(one(conn, "select 1"), 1)
        # While nothing runs it does nothing to what comes next.
        for i in range(20):
            conn.cancel_safe(timeout=10)
            equal(one(conn, "select pg_sleep(0.003), %s::int", (i,)), "")


def statement_timeout(conn):
    conn.execute("set statement_timeout to 200")
    return error(lambda: conn.execute("select pg_sleep(20)"))


def vanish():
    """A client that is killed: idle, in a transaction, in the middle of a statement, while it reads and while it writes."""
    ways = {
        "idle": "conn.execute('select 1')",
        "in a transaction": "conn.execute('begin; create table vanished (a int)')",
        "while a statement runs": "print(conn.info.backend_pid, flush=True); conn.execute('select pg_sleep(600)')",
        "while rows come": "print(conn.info.backend_pid, flush=True); "
                           "conn.pgconn.send_query(b\"select repeat('x', 10000) from generate_series(1, 10000000)\")",
        "in COPY": "c = conn.cursor(); conn.execute('create temp table v (a text)'); "
                   "context = c.copy('copy v from stdin'); copy = context.__enter__(); copy.write(b'x' * 100000)",
    }
    children = {}
    for way, text in ways.items():
        program = (f"import psycopg, sys, time\nconn = psycopg.connect({POSTERN!r}, autocommit=True)\n{text}\n"
                   "print(conn.info.backend_pid, flush=True)\ntime.sleep(600)")
        children[way] = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        with connect(DIRECT) as other:
            alive = lambda pids: one(other, "select count(*) from pg_stat_activity where pid = any(%s)", (pids,))
            pids = {way: int(child.stdout.readline()) for way, child in children.items()}
            until("the statements run", lambda: one(other, "select count(*) from pg_stat_activity where pid = any(%s) and state = 'active'",
                                                    ([pids["while a statement runs"], pids["while rows come"]],)) == 2)
            equal(alive(list(pids.values())), len(pids), "backends")
            for child in children.values():
                child.send_signal(signal.SIGKILL)
                child.wait()
            start = time.monotonic()
            left = dict(pids)
            while left:
                left = {way: pid for way, pid in left.items() if alive([pid])}
                if time.monotonic() - start > 10:
                    raise AssertionError(f"backends outlive their clients: {sorted(left)}")
                time.sleep(0.05)
            equal(one(other, "select to_regclass('vanished')"), None)
    finally:
        for child in children.values():
            child.kill()


def pressure():
    """20,000 statements in a pipeline before the first result is looked at."""
    count = 20_000
    for padding in (10, 1500):
        with connect(POSTERN) as conn, conn.pipeline():
            cursors = [conn.execute("select %s::int, repeat('x', %s)", (i, padding), prepare=True) for i in range(count)]
            for i, cursor in enumerate(cursors):
                row = cursor.fetchone()
                if row[0] != i or len(row[1]) != padding:
                    raise AssertionError(f"statement {i} has {row}")


def copy_both_ways_at_once():
    """A long COPY out of one connection feeds a COPY into another."""
    with connect(POSTERN) as source, connect(POSTERN) as target:
        target.execute("create temp table copied (a text)")
        with source.cursor() as out, target.cursor() as into:
            with out.copy("copy (select repeat('y', 2000) from generate_series(1, 20000)) to stdout") as reading:
                with into.copy("copy copied from stdin") as writing:
                    for block in reading:
                        writing.write(block)
            equal(into.rowcount, 20000)


def tls():
    """With and without TLS, with and without channel binding, as libpq knows them."""
    info = psycopg.conninfo.conninfo_to_dict(POSTERN)
    for change in ({"sslmode": "require"}, {"sslmode": "disable"}, {"sslmode": "require", "channel_binding": "require"},
                   {"gssencmode": "prefer"}, {"sslmode": "require", "sslnegotiation": "direct"},
                   {"min_protocol_version": "3.2", "max_protocol_version": "3.2"}):
        try:
            conn = connect("", **(info | change))
        except psycopg.ProgrammingError as unknown:
            # libpq of an older PostgreSQL.
            assert "invalid connection option" in str(unknown), unknown
            continue
        with conn:
            if "sslmode" in change:
                equal(conn.pgconn.ssl_in_use, change["sslmode"] == "require", f"TLS with {change}")
            equal(one(conn, "select 1"), 1)


if __name__ == "__main__":
    seal()
    same("start-up and ParameterStatus", startup)
    same("start-up options", options_passed,
         options="-c work_mem=7MB -c search_path=pg_catalog,public -c DateStyle=SQL,DMY -c geqo=off")
    with Check("TLS, channel binding, protocol versions"):
        tls()
    same("simple", simple)
    same("extended, text", extended(False))
    same("extended, binary", extended(True))
    same("prepared", prepared)
    same("pipelined", pipeline)
    same("errors in a pipeline", pipeline_error)
    same("COPY in and out, text and binary", copy_out_and_in)
    same("server-side cursors", server_cursors)
    same("large objects", large_objects)
    same("several statements in one string", multi)
    same("errors and transaction states", errors)
    same("notices", notices)
    same("LISTEN and NOTIFY", notifications)
    same(f"{COLUMNS} columns, 65535 parameters", wide)
    same("statement_timeout", statement_timeout)
    with Check("100 MB both ways"):
        big()
    with Check("cancel"):
        cancel()
    with Check("a client that vanishes"):
        vanish()
    with Check("20,000 pipelined statements, results read later"):
        pressure()
    with Check("COPY from one connection into another"):
        copy_both_ways_at_once()
