"""psql and pgbench, as people run them."""

import os
import signal
import subprocess
import tempfile
import time

from checks import DIRECT, POSTERN, Check, equal, seal, until

BIG_TEXT = 100 * 1024 * 1024


def psql(url, *args, script=None):
    done = subprocess.run(["psql", "-X", "-d", url, *args], input=script, capture_output=True, timeout=100,
                          env=os.environ | {"PSQLRC": "/dev/null", "PGTZ": "UTC"})
    return done.returncode, done.stdout, done.stderr


def same(name, script, *args):
    """psql says the same on both ways: results, errors with their positions, notices, exit code."""
    with Check(name):
        direct = psql(DIRECT, "-v", "VERBOSITY=verbose", *args, script=script.encode())
        postern = psql(POSTERN, "-v", "VERBOSITY=verbose", *args, script=script.encode())
        equal(postern, direct)
        assert direct[1] or direct[2], "psql said nothing"


TABLES = """
create temp table t (a int primary key, b text, c bytea);
\\copy t from pstdin
1\tone\t\\\\x00ff
2\t\\N\t\\\\x
\\.
copy t from stdin;
3\té 漢\t\\\\xaa
\\.
\\copy (select * from t order by a) to pstdout csv header
copy t to stdout;
copy (select a, b from t) to stdout (format csv, force_quote *);
table t;
\\d t
"""

TRANSACTIONS = """
create temp table t (a int unique);
\\set AUTOCOMMIT off
insert into t values (1);
insert into t values (1);
select 1;
rollback;
\\set ON_ERROR_ROLLBACK on
insert into t values (2);
insert into t values (2);
select * from t;
commit;
\\set AUTOCOMMIT on
select * from t;
begin \\; select 1 as one \\; select 2 as two \\; commit;
select 1 \\; select 1/0 \\; select 3;
selec 1;
select nonsense from t;
select 'a
multi-line' ||
 error;
\\echo :SQLSTATE :ERROR :LAST_ERROR_MESSAGE
"""

CURSORS = """
\\set FETCH_COUNT 100
select i, repeat('x', i % 7) from generate_series(1, 1050) i;
\\set FETCH_COUNT 0
begin;
declare c scroll cursor with hold for select generate_series(1, 100) as n;
fetch 5 from c; move 50 in c; fetch backward 3 from c; fetch last from c;
commit;
fetch first from c;
close c;
"""

OTHERS = """
do $$ begin raise notice 'a notice' using detail = 'd', hint = 'h'; raise warning 'a warning'; end $$;
drop table if exists not_there;
select lo_from_bytea(777001, '\\x0102') \\; select lo_get(777001) \\; select lo_unlink(777001);
select $1::int + $2::int as sum \\bind 1 2 \\g
prepare p as select $1::int * 2 as doubled;
execute p(21);
select 1 as a, 2 as b \\gset
\\echo :a :b
select format('select %s as made', i) from generate_series(1, 3) i \\gexec
select 1 as x, 'two' as y \\gdesc
select * from generate_series(1, 3) \\crosstabview
set client_encoding to 'latin1';
select 'abc';
set client_encoding to 'utf8';
\\encoding
explain (costs off) select * from pg_class where oid = 1;
\\dn
\\l template1
\\timing off
select n from generate_series(1, 2000) n \\g /dev/null
"""


def notify():
    """A notification comes with the next statement."""
    script = "listen c;\nnotify c, 'payload';\nselect 1;\n"
    code, out, err = psql(POSTERN, "-A", "-t", script=script.encode())
    assert code == 0 and b'notification "c" with payload "payload" received from server process with PID' in out, (out, err)


def interrupted():
    """Ctrl-C."""
    process = subprocess.Popen(["psql", "-X", "-d", POSTERN, "-c", "select pg_sleep(60) /* ctrl-c */"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    running = "select count(*) from pg_stat_activity where query like '%/* ctrl-c */' and state = 'active' and pid <> pg_backend_pid()"
    until("the statement runs", lambda: psql(DIRECT, "-At", "-c", running)[1] == b"1\n")
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert b"canceling statement due to user request" in err, err
    # psql says that it has sent the request, and not why it could not.
    assert b"Cancel request sent" in err, err
    assert time.monotonic() - start < 5


def long_copy():
    """A result of a hundred megabytes through a pipe, and back."""
    rows = BIG_TEXT // 1000
    out = subprocess.Popen(["psql", "-X", "-d", POSTERN, "-c", f"copy (select repeat('x', 999) from generate_series(1, {rows})) to stdout"],
                           stdout=subprocess.PIPE)
    back = subprocess.run(["psql", "-X", "-A", "-t", "-q", "-d", POSTERN, "-c", "create temp table v (v text)", "-c", "\\copy v from pstdin",
                           "-c", f"select sum(length(v)), count(*) from v"], stdin=out.stdout, capture_output=True, timeout=60)
    equal(out.wait(), 0)
    equal((back.returncode, back.stdout.split()[-1]), (0, f"{rows * 999}|{rows}".encode()))


def pgbench():
    """All three protocols, a pipeline, and a transaction for each of its clients; no statement fails."""
    def run(url, *args):
        done = subprocess.run(["pgbench", *args, url], capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, (args, done.stdout, done.stderr)
        return done.stdout + done.stderr

    database = "drivers_bench"
    assert psql(DIRECT, "-c", f"drop schema if exists {database} cascade", "-c", f"create schema {database}")[0] == 0
    os.environ["PGOPTIONS"] = f"-c search_path={database}"
    run(POSTERN, "-i", "-s", "1", "-q")
    for mode in ("simple", "extended", "prepared"):
        told = run(POSTERN, "-n", "-M", mode, "-c", "8", "-j", "2", "-t", "40")
        assert "number of transactions actually processed: 320/320" in told, told
        assert "number of failed transactions: 0 " in told, told
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write("\\startpipeline\nselect 1;\nselect count(*) from pgbench_branches;\nselect :client_id;\n\\endpipeline\n")
        script.flush()
        told = run(POSTERN, "-n", "-M", "prepared", "-c", "4", "-t", "50", "-f", script.name)
        assert "number of transactions actually processed: 200/200" in told, told
    total = "select (select sum(delta) from pgbench_history) = (select sum(abalance) from pgbench_accounts), count(*) from pgbench_history"
    equal(psql(DIRECT, "-At", "-c", total)[1], b"t|960\n")
    assert psql(DIRECT, "-q", "-c", f"drop schema {database} cascade")[0] == 0
    del os.environ["PGOPTIONS"]


if __name__ == "__main__":
    seal()
    same("COPY by psql and by the server, tables, \\d", TABLES)
    same("transactions, several statements in one string, errors", TRANSACTIONS)
    same("cursors and FETCH_COUNT", CURSORS)
    same("notices, large objects, \\bind, \\gset, \\gexec, \\gdesc, encodings", OTHERS)
    same("\\d of everything", "\\d pg_catalog.pg_class\n\\df pg_catalog.pg_sl*\n\\du\n\\dT pg_catalog.int*\n", "-A")
    with Check("one transaction, and the first error ends it"):
        found = [psql(url, "-1", "-v", "ON_ERROR_STOP=1", script=b"create temp table x (a int);\nselect 1/0;\nselect 2;\n")
                 for url in (DIRECT, POSTERN)]
        equal(found[1], found[0])
        equal(found[1][0], 3)
    with Check("LISTEN and NOTIFY"):
        notify()
    with Check("Ctrl-C"):
        interrupted()
    with Check("100 MB of COPY out and in"):
        long_copy()
    with Check("pgbench: simple, extended, prepared, pipelined"):
        pgbench()
