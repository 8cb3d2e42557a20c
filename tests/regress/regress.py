#!/usr/bin/env python3
"""Runs PostgreSQL's own regression suite directly and through Postern, and compares what the two put out.

Both runs start from the same fresh cluster, at the same paths and port, with the same settings, so that their outputs
are equal byte for byte unless Postern changed something. Then libpq's pipeline test program runs both ways; of those
of its tests that have a trace of the protocol in PostgreSQL's source, the traces are compared too.

A file whose difference is the one noted in tests/regress/differences/ passes; docs/regression.md has the rule behind
each. Outputs, differences (NAME.diff), and what is to be noted of them (NAME.short) are left in target/regress/. The
last line is "N passed, N failed".
"""

import difflib
import hashlib
import itertools
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import unquote, urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
POSTERN = Path(os.environ.get("POSTERN", TARGET / "debug" / "postern")).resolve()
KEPT = TARGET / "regress"

SUPERUSER, DATABASE = "postgres", "regression"
# What must hold of the files of the suite.
EQUAL_AT_LEAST, DIFFERING_AT_MOST = 0.98, 4
# One run of the suite takes about a minute; a hanging one is to be seen as such.
SUITE_WITHIN, PIPELINE_WITHIN = 1200, 120
# As many rows as PostgreSQL's own script for the pipeline tests asks for: the traces hang on it.
PIPELINE_ROWS = "700"
# How much of a difference is shown and noted: this many lines of a run of lines, this many characters of a line. What
# is left out goes in as a hash.
RUN_LENGTH, LINE_LENGTH = 12, 110


class Failure(Exception):
    """Something without which there is nothing to compare."""


class Processes:
    """What this script has started and must end."""

    def __init__(self):
        self.running = []

    def start(self, command, log, **options):
        with open(log, "ab") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options)
        self.running.append(process)
        return process

    def stop(self, process, how=signal.SIGTERM):
        self.running.remove(process)
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def stop_all(self):
        for process in list(reversed(self.running)):
            self.stop(process, signal.SIGINT)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what, condition, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Failure(f"waited in vain for {what}")
        time.sleep(0.05)


def as_server():
    """Options for a child that must not run as root: the server, and the suite, which shares files with it."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def give_to_server(folder):
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", "postgres:postgres", folder], check=True)


class Cluster:
    """A throwaway cluster that can be had fresh again and again, with the same object ids each time."""

    def __init__(self, folder, bin_folder, processes, env):
        self.folder, self.bin, self.processes, self.env = folder, bin_folder, processes, env
        self.port, self.server = free_port(), None
        self.template, self.data = folder / "template", folder / "data"
        password = folder / "password"
        password.write_text(env["PGPASSWORD"] + "\n")
        give_to_server(folder)
        self.run(self.bin / "initdb", "-D", self.template, "-U", SUPERUSER, "-A", "scram-sha-256",
                 "--pwfile", password, "--no-locale", "-E", "UTF8", "--no-sync")
        password.unlink()

    def run(self, *command):
        done = subprocess.run(command, env=self.env, capture_output=True, text=True, **as_server())
        if done.returncode != 0:
            raise Failure(f"{Path(command[0]).name} failed: {done.stderr.strip()}")

    def start_fresh(self):
        self.stop()
        if self.data.exists():
            shutil.rmtree(self.data)
        self.run("cp", "-a", self.template, self.data)
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off",
            # As pg_regress sets it for a cluster of its own.
            "max_prepared_transactions": 2,
        }
        options = [f"-c{name}={value}" for name, value in settings.items()]
        self.server = self.processes.start(
            [self.bin / "postgres", "-D", self.data, *options], self.folder / "server.log", env=self.env, **as_server())
        ready = [self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_for("PostgreSQL", lambda: subprocess.run(ready).returncode == 0, self.server)
        self.create_database()

    def create_database(self):
        """As pg_regress does it, which through a gateway cannot."""
        settings = {"lc_messages": "C", "lc_monetary": "C", "lc_numeric": "C", "lc_time": "C", "bytea_output": "hex",
                    "timezone_abbreviations": "Default"}
        self.sql(f"CREATE DATABASE {DATABASE} TEMPLATE template0",
                 *(f"ALTER DATABASE {DATABASE} SET {name} TO '{value}'" for name, value in settings.items()))

    def recreate_database(self):
        self.sql(f"DROP DATABASE {DATABASE} WITH (FORCE)")
        self.create_database()

    def sql(self, *statements):
        commands = [f"--command={statement}" for statement in statements]
        self.run(self.bin / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(self.port),
                 "-U", SUPERUSER, "-d", "postgres", *commands)

    def stop(self):
        if self.server:
            # A fast shutdown.
            self.processes.stop(self.server, signal.SIGINT)
            self.server = None

    def way(self):
        return Way("direct", "127.0.0.1", self.port, SUPERUSER, self.env["PGPASSWORD"], DATABASE)


class Way:
    """How to connect: to the server itself, or to Postern."""

    def __init__(self, name, host, port, user, password, database):
        self.name, self.host, self.port = name, host, port
        self.user, self.password, self.database = user, password, database

    @classmethod
    def of_url(cls, name, url):
        parts = urlsplit(url)
        return cls(name, parts.hostname, parts.port, unquote(parts.username), unquote(parts.password),
                   unquote(parts.path.lstrip("/")))

    def conninfo(self):
        """Without the password, which goes by the environment."""
        return f"host={self.host} port={self.port} user={self.user} dbname={self.database}"


class Dev:
    """`postern dev` in front of the cluster."""

    def __init__(self, folder, cluster, processes, env):
        self.env, self.folder = env, folder / "postern"
        self.folder.mkdir()
        url = f"postgresql://{SUPERUSER}@127.0.0.1:{cluster.port}/{DATABASE}"
        self.process = processes.start(
            [POSTERN, "dev", "--postgres", url, "--data-dir", self.folder / "data", "--pg-port", str(free_port()),
             "--http-port", str(free_port())], folder / "postern.log", env=env)
        told = self.folder / "data" / "dev.json"
        wait_for("postern dev", told.exists, self.process)
        self.told = json.loads(told.read_text())

    def command(self, token, *arguments):
        """Runs `postern` as the owner of a token."""
        env = {**self.env, "POSTERN_URL": self.told["http_url"], "POSTERN_TOKEN": self.told[token]}
        done = subprocess.run([POSTERN, *arguments], env=env, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failure(f"postern {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def way(self):
        asked = self.command("agent_token", "request", "demo", "--role", "all", "--for", "2h", "--reason",
                             "PostgreSQL's regression suite", "--json")
        self.command("admin_token", "approve", json.loads(asked)["id"])
        return Way.of_url("postern", self.command("agent_token", "url", "demo", "--role", "all"))


class Suite:
    """What prepare.sh has built, where the server can read it."""

    def __init__(self, source, folder, bin_folder, env):
        self.source, self.folder, self.bin, self.env = source, folder / "suite", bin_folder, env
        built = source / "src" / "test" / "regress"
        self.folder.mkdir()
        for name in ("sql", "expected", "data"):
            shutil.copytree(built / name, self.folder / name)
        for name in ("parallel_schedule", "resultmap", "pg_regress", *(path.name for path in built.glob("*.so"))):
            shutil.copy(built / name, self.folder / name)
        self.pipeline = shutil.copy(source / "src/test/modules/libpq_pipeline/libpq_pipeline", self.folder)
        give_to_server(self.folder)

    def run(self, way):
        """Runs all of its files one way, and gives the folder with their outputs."""
        # The same path for both, since paths come up in outputs.
        out = self.folder / "out"
        out.mkdir()
        give_to_server(out)
        command = [
            self.folder / "pg_regress", "--use-existing", f"--dbname={DATABASE}", f"--host={way.host}",
            f"--port={way.port}", f"--user={way.user}", f"--bindir={self.bin}", f"--inputdir={self.folder}",
            f"--outputdir={out}", f"--dlpath={self.folder}", f"--schedule={self.folder / 'parallel_schedule'}",
            "--max-concurrent-tests=20",
        ]
        began = time.monotonic()
        env = {**self.env, "PGPASSWORD": way.password}
        try:
            done = subprocess.run(command, cwd=out, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, errors="replace", timeout=SUITE_WITHIN, **as_server())
        except subprocess.TimeoutExpired:
            raise Failure(f"the suite did not end in {SUITE_WITHIN} s, {way.name}") from None
        finally:
            kept = KEPT / way.name
            shutil.copytree(out, kept)
            shutil.rmtree(out)
        (kept / "pg_regress.log").write_text(done.stdout)
        verdict = [line.strip() for line in done.stdout.splitlines() if line.startswith(" ") and " tests " in line]
        print(f"regress: {way.name}: {time.monotonic() - began:.0f} s; against the outputs that PostgreSQL expects: "
              f"{verdict[-1] if verdict else 'no verdict, see pg_regress.log'}", flush=True)
        return kept / "results"

    def pipeline_tests(self):
        return subprocess.run([self.pipeline, "tests"], check=True, capture_output=True, text=True).stdout.split()

    def run_pipeline(self, test, way):
        """Runs one of libpq's pipeline tests. Gives what went wrong, if anything, and its trace, if it has one."""
        trace = self.folder / f"{test}.{way.name}.trace"
        traced = (self.source / "src/test/modules/libpq_pipeline/traces" / f"{test}.trace").exists()
        command = [self.pipeline, "-r", PIPELINE_ROWS, *(["-t", trace] if traced else []), test, way.conninfo()]
        env = {**self.env, "PGPASSWORD": way.password}
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PIPELINE_WITHIN, **as_server())
        except subprocess.TimeoutExpired:
            return f"did not end in {PIPELINE_WITHIN} s", None
        wrong = f"exit status {done.returncode}: {done.stderr.strip()}" if done.returncode != 0 else None
        return wrong, trace.read_text() if traced and trace.exists() else None


def reduced(direct, through):
    """Only the lines that differ, without their numbers, which change from version to version."""
    lines = difflib.unified_diff(direct.splitlines(), through.splitlines(), "direct", "postern", lineterm="", n=0)
    return "".join(f"{line}\n" for line in lines if not line.startswith(("--- ", "+++ ", "@@ ")))


def abbreviated(difference):
    """A difference short enough to read and to note, that is still equal only to itself."""
    short = []
    for _, run in itertools.groupby(difference.splitlines(), key=lambda line: line[:1]):
        run = list(run)
        long = len(run) > RUN_LENGTH or any(len(line) > LINE_LENGTH for line in run)
        if long:
            # Long ones are tables, whose rows come in no certain order.
            run.sort()
        short += [line[:LINE_LENGTH] for line in run[:RUN_LENGTH]]
        if long:
            whole = "\n".join(run).encode("utf-8", "surrogateescape")
            short.append(f"… {len(run)} lines of together {len(whole)} bytes, SHA-256 {hashlib.sha256(whole).hexdigest()}")
    return "".join(f"{line}\n" for line in short)


def text_of(path):
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""


def compare(direct, through):
    """Compares the outputs file by file. Gives the names of the equal, the known and the unknown."""
    equal, known, unknown = [], [], []
    names = sorted({path.name for folder in (direct, through) for path in folder.glob("*.out")})
    for name in names:
        left, right = text_of(direct / name), text_of(through / name)
        noted = HERE / "differences" / Path(name).with_suffix(".diff").name
        if left == right:
            equal.append(name)
            continue
        difference = reduced(left, right)
        short = abbreviated(difference)
        (KEPT / noted.name).write_text(difference, errors="surrogateescape")
        (KEPT / noted.with_suffix(".short").name).write_text(short, errors="surrogateescape")
        is_known = noted.exists() and noted.read_text() == short
        (known if is_known else unknown).append(name)
        print(f"differs as noted: {name}" if is_known else f"differs: {name}; see {KEPT / noted.name}")
        if not is_known:
            print("".join(f"    {line}\n" for line in short.splitlines()).encode("utf-8", "replace").decode())
    return equal, known, unknown


def suite_verdict(equal, known, unknown):
    total = len(equal) + len(known) + len(unknown)
    if total < 100:
        raise Failure(f"the suite put out only {total} files")
    share, differing = len(equal) / total, len(known) + len(unknown)
    print(f"suite: {total} files, {len(equal)} equal ({share:.1%}), {len(known)} differ as noted, {len(unknown)} differ otherwise")
    if share < EQUAL_AT_LEAST or differing > DIFFERING_AT_MOST:
        print(f"suite: at least {EQUAL_AT_LEAST:.0%} must be equal, and at most {DIFFERING_AT_MOST} files may differ")
        # Even those that are noted count as failed then.
        return len(equal), differing
    return len(equal) + len(known), len(unknown)


def pipeline_verdict(suite, cluster, through):
    passed = failed = 0
    for test in suite.pipeline_tests():
        # Some of them leave tables behind, and then say less the next time.
        cluster.recreate_database()
        wrong_direct, trace_direct = suite.run_pipeline(test, cluster.way())
        cluster.recreate_database()
        wrong, trace = suite.run_pipeline(test, through)
        if wrong_direct:
            wrong = f"fails directly too: {wrong_direct}"
        elif not wrong and trace != trace_direct:
            wrong = "its trace differs:\n" + reduced(trace_direct or "", trace or "")
        passed, failed = passed + (not wrong), failed + bool(wrong)
        print(f"libpq_pipeline {test}: {wrong or ('ok, same trace' if trace else 'ok')}")
    return passed, failed


def run(folder, processes):
    source = subprocess.run([HERE / "prepare.sh"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    major = (Path(source).parent.name.split("-"))[1]
    bin_folder = Path(f"/usr/lib/postgresql/{major}/bin")
    # Nothing of the caller's settings gets in.
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "PGPASSWORD": secrets.token_hex(16)}
    cluster_folder = folder / "cluster"
    cluster_folder.mkdir()
    cluster = Cluster(cluster_folder, bin_folder, processes, env)
    suite = Suite(Path(source), folder, bin_folder, env)

    cluster.start_fresh()
    direct_out = suite.run(cluster.way())

    cluster.start_fresh()
    dev = Dev(folder, cluster, processes, env)
    through = dev.way()
    through_out = suite.run(through)

    suite_passed, suite_failed = suite_verdict(*compare(direct_out, through_out))
    pipeline_passed, pipeline_failed = pipeline_verdict(suite, cluster, through)
    processes.stop(dev.process)
    cluster.stop()
    return suite_passed + pipeline_passed, suite_failed + pipeline_failed


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if not POSTERN.exists():
        sys.exit(f"regress: {POSTERN} is missing: run `cargo build --package postern-cli`, or name another in POSTERN")
    shutil.rmtree(KEPT, ignore_errors=True)
    KEPT.mkdir(parents=True)
    folder = Path(tempfile.mkdtemp(prefix="postern-regress-"))
    folder.chmod(0o755)
    processes = Processes()
    try:
        passed, failed = run(folder, processes)
    except (Failure, subprocess.CalledProcessError) as error:
        print(f"regress: {error}", flush=True)
        passed, failed = 0, 1
    finally:
        processes.stop_all()
        for log in (folder / "postern.log", folder / "cluster" / "server.log"):
            if log.exists():
                shutil.copy(log, KEPT)
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
