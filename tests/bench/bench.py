#!/usr/bin/env python3
"""Measures Postern against PgBouncer and a direct connection, in turn within one run.

Starts PostgreSQL, PgBouncer (session mode) and Postern's three parts as processes of their own, runs pgbench and
bulk reads against each in turn, several rounds, and prints ratios of medians and CPU time per transaction of each
proxy. Writes target/bench/latest.md and latest.json, and compares with tests/bench/baseline.json.

Everything listens on loopback. The client leg is without TLS on both sides; Postern's tunnel is under mTLS and
recording is on.
"""

import argparse
import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
STARTED = []

# Seconds of each pgbench run that do not count.
WARM_UP = 3


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for(what, condition, seconds=30):
    deadline = time.time() + seconds
    while time.time() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    sys.exit(f"bench: waited {seconds} s in vain for {what}")


def start(command, log, **options):
    process = subprocess.Popen(command, stdout=open(log, "ab"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, **options)
    STARTED.append(process)
    return process


def stop_all():
    for process in reversed(STARTED):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def scratch():
    """A folder that all users can read; with it ends all that was started."""
    folder = Path(tempfile.mkdtemp(prefix="postern-bench-"))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        stop_all()
        shutil.rmtree(folder, ignore_errors=True)


def cpu_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid):
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def as_postgres():
    """Options for a child that runs as user postgres when we are root."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


class Database:
    """A throwaway PostgreSQL cluster."""

    def __init__(self, folder):
        binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        if not binaries:
            sys.exit("bench: no PostgreSQL server is installed: run `make setup`")
        self.bin, self.port = binaries[-1], free_port()
        self.folder = folder / "pg"
        self.folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        data = self.folder / "data"
        with open(self.folder / "password", "w") as file:
            file.write("bench\n")
        run = dict(check=True, stdout=subprocess.DEVNULL, **as_postgres())
        subprocess.run([self.bin / "initdb", "-D", data, "-U", "bench", "-A", "scram-sha-256", "--pwfile", self.folder / "password", "--no-sync"], **run)
        settings = {
            "port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": str(self.folder),
            "max_connections": 1100, "shared_buffers": "256MB", "fsync": "off", "log_min_messages": "fatal",
            "log_statement": "none", "autovacuum": "off", "ssl": "off",
        }
        options = [f"-c{name}={value}" for name, value in settings.items()]
        start([self.bin / "postgres", "-D", data, *options], self.folder / "log", **as_postgres())
        wait_for("PostgreSQL", lambda: subprocess.run([self.bin / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode == 0)

    def url(self, database="postgres"):
        return f"postgresql://bench:bench@127.0.0.1:{self.port}/{database}"


def start_pgbouncer(folder, database):
    program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not Path(program).exists():
        sys.exit("bench: pgbouncer is not installed: run `make setup`")
    port, home = free_port(), folder / "pgbouncer"
    home.mkdir()
    (home / "users").write_text('"bench" "bench"\n')
    (home / "ini").write_text(
        f"[databases]\nbench = host=127.0.0.1 port={database.port} dbname=bench\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
        f"listen_port={port}\nauth_type=scram-sha-256\nauth_file={home}/users\npool_mode=session\nmax_client_conn=2000\n"
        f"default_pool_size=1050\nlogfile={home}/log\npidfile={home}/pid\nunix_socket_dir=\nlog_connections=0\nlog_disconnections=0\n"
    )
    if os.geteuid() == 0:
        for path in [home, *home.iterdir()]:
            shutil.chown(path, "postgres", "postgres")
    process = start([program, home / "ini"], home / "out", **as_postgres())
    wait_for("PgBouncer", lambda: port_open(port))
    return process, f"postgresql://bench:bench@127.0.0.1:{port}/bench?sslmode=disable"


def port_open(port):
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


class Postern:
    """Control plane, gateway and connector, each a process."""

    def __init__(self, folder, database, binary):
        self.binary, self.folder = binary, folder / "postern"
        self.folder.mkdir()
        self.ports = {name: free_port() for name in ("http", "grpc", "clients", "connectors")}
        self.parts = {}
        at = {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}
        self.run("control-plane", {
            "data_dir": str(self.folder / "control-plane"), "http": {"listen": at["http"]}, "grpc": {"listen": at["grpc"]},
            "clients": {"address": at["clients"], "sslmode": "prefer"},
        })
        token_file = self.folder / "control-plane" / "admin.token"
        wait_for("the control plane", lambda: token_file.exists() and token_file.read_text().strip() and self.healthy())
        self.env = {**os.environ, "POSTERN_URL": f"http://{at['http']}", "POSTERN_TOKEN": token_file.read_text().strip()}
        self.run("gateway", {
            "data_dir": str(self.folder / "gateway"), "control_plane": {"address": at["grpc"]},
            "join_token": {"value": self.join("gateway", "front")}, "workers": 1,
            "clients": {"listen": at["clients"], "client_tls": "optional"}, "connectors": {"listen": at["connectors"]},
        })
        (self.folder / "apply.yaml").write_text(json.dumps({
            "kind": "Connection", "name": "bench", "database": f"postgresql://127.0.0.1:{database.port}/bench?sslmode=disable",
            "connector": "next-to-it",
            # What `write` sends is understood and decided by policies, statement by statement; `all` may do anything.
            "roles": {
                role: {"mode": "login", "database_role": "bench", "approvals": 0, "max_duration": "24h", "application_name": "unchanged"}
                for role in ("all", "write")
            } | {"own": {"mode": "ephemeral", "database_role": "worker", "approvals": 0, "max_duration": "24h"}},
        }))
        self.cli("apply", str(self.folder / "apply.yaml"))
        self.run("agent", {
            "data_dir": str(self.folder / "agent"), "gateways": [at["connectors"]], "workers": 1,
            "join_token": {"value": self.join("connector", "next-to-it")},
            "connections": {"bench": {"logins": {login: {"password": {"value": "bench"}} for login in ("bench", "analyst")},
                                      "ephemeral": {"user": "maker", "password": {"value": "bench"}}}},
        })
        self.url, self.decided_url, self.own_url = self.grant("all"), self.grant("write"), self.grant("own")
        wait_for("a session", lambda: subprocess.run(["psql", self.url, "-Atc", "select 1"], capture_output=True).returncode == 0)

    def grant(self, role):
        self.cli("request", "bench", "--role", role, "--for", "2h", "--reason", "bench", "--wait")
        return self.cli("url", "bench", "--role", role).strip().split("?")[0] + "?sslmode=disable"

    def run(self, part, config):
        path = self.folder / f"{part}.yaml"
        path.touch(mode=0o600)
        path.write_text(json.dumps(config))
        env = {**os.environ, "RUST_LOG": "warn"}
        self.parts[part] = start([self.binary, part, "--config", str(path)], self.folder / f"{part}.log", env=env)

    def healthy(self):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{self.ports['http']}/healthz", timeout=1).status == 200
        except OSError:
            return False

    def cli(self, *arguments):
        done = subprocess.run([self.binary, *arguments], env=self.env, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"bench: postern {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def join(self, kind, name):
        return json.loads(self.cli("join-token", kind, name, "--json"))["token"]


def pgbench(url, mode, clients, seconds, cpu=lambda: ()):
    """Transactions a second, and what `cpu` counted for each transaction, once the backends have warmed up: those of
    PgBouncer outlive a run, direct ones and Postern's are new in each."""
    command = ["pgbench", "-n", "-S", "-P", "1", "-M", mode, "-c", str(clients), "-j", "1", "-T", str(WARM_UP + seconds), url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    rates, heard = [], []
    for line in process.stderr:
        heard.append(line)
        if line.startswith("progress: "):
            rates.append(float(line.split()[3]))
            if len(rates) == WARM_UP:
                before = cpu()
            if len(rates) == WARM_UP + seconds:
                after = cpu()
    if process.wait() != 0 or len(rates) < WARM_UP + seconds:
        sys.exit(f"bench: pgbench failed:\n{''.join(heard)}")
    done = sum(rates[WARM_UP : WARM_UP + seconds])
    return done / seconds, [(then - now) * 1e6 / done for now, then in zip(before, after)]


def timed_read(url, sql):
    began = time.time()
    subprocess.run(["psql", url, "-Xqc", sql, "-o", "/dev/null"], check=True)
    return time.time() - began


def connects(url, seconds):
    output = subprocess.run(["pgbench", "-n", "-S", "-C", "-c", "8", "-j", "1", "-T", str(seconds), url], capture_output=True, text=True)
    for line in output.stdout.splitlines():
        if line.startswith("tps = "):
            return float(line.split()[2])
    sys.exit(f"bench: pgbench -C failed:\n{output.stdout}{output.stderr}")


def opening(url, seconds):
    """Milliseconds that a client waits for a session and its first row."""
    output = subprocess.run(["pgbench", "-n", "-S", "-C", "-c", "1", "-T", str(seconds), url], capture_output=True, text=True)
    for line in output.stdout.splitlines():
        if line.startswith("tps = "):
            return 1000 / float(line.split()[2])
    sys.exit(f"bench: pgbench -C failed:\n{output.stdout}{output.stderr}")


def idle_memory(url, pids, sessions):
    """Bytes for each session that is open and idle, over these processes."""
    before = sum(resident(pid) for pid in pids)
    command = ["pgbench", "-n", "-f", "/dev/stdin", "-c", str(sessions), "-j", "4", "-T", "1000", url]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    holder.stdin.write(b"select 1;\n\\sleep 600 s\n")
    holder.stdin.close()
    try:
        count = lambda: int(subprocess.run(["psql", url, "-XAtc", "select count(*) from pg_stat_activity where backend_type = 'client backend'"], capture_output=True, text=True).stdout or 0)
        wait_for(f"{sessions} sessions", lambda: count() >= sessions, 120)
        time.sleep(2)
        return (sum(resident(pid) for pid in pids) - before) / sessions
    finally:
        holder.kill()
        holder.wait()


def measure(options, targets, cpu_pids, postern):
    rounds = {}

    def note(name, target, value, cpu=None):
        rounds.setdefault(name, {}).setdefault(target, []).append(value)
        if cpu is not None:
            rounds.setdefault(f"{name}, CPU µs", {}).setdefault(target, []).append(cpu)

    for number in range(options.rounds):
        for mode in ("simple", "prepared"):
            for clients in (1, 32):
                what = f"{mode}, {clients} clients"

                def run(what, target, url):
                    pids = cpu_pids[target]
                    count = lambda: (sum(map(cpu_seconds, pids)), cpu_seconds(postern.parts["control-plane"].pid))
                    tps, (proxy, beside) = pgbench(url, mode, clients, options.seconds, count)
                    note(f"{what}, tps", target, tps, proxy if pids else None)
                    if target == "postern":
                        note(f"{what}, control plane's CPU µs", target, beside)
                    return tps

                each = {target: run(what, target, url) for target, url in targets.items()}
                decided = f"{what}, each statement decided"
                run(decided, "postern", postern.decided_url)
                note(f"{decided}, tps", "pgbouncer", each["pgbouncer"])
        for target, url in targets.items():
            note("1 M rows by SELECT, s", target, timed_read(url, "select aid, bid, abalance, filler from pgbench_accounts limit 1000000"))
            note("200 MB by COPY, s", target, timed_read(url, "copy (select repeat('x', 200) from generate_series(1, 1000000)) to stdout"))
            note("connects/s", target, connects(url, options.seconds))
            note("opening, ms", target, opening(url, options.seconds))
        for name, url in (("decided by policies", postern.decided_url), ("with a role of its own", postern.own_url)):
            note(f"opening, {name}, ms", "postern", opening(url, options.seconds))
        print(f"round {number + 1} of {options.rounds} done", file=sys.stderr)
    return {name: {target: statistics.median(values) for target, values in row.items()} for name, row in rounds.items()}


def table(result):
    lines = ["| measure | direct | PgBouncer | Postern | Postern / PgBouncer | Postern / direct |", "|---|---|---|---|---|---|"]
    for name, row in result.items():
        cell = lambda target: f"{row[target]:,.1f}" if target in row else ""
        speed = name.endswith((" s", " ms"))

        def ratio(other):
            if "postern" not in row or not row.get(other):
                return ""
            value = row[other] / row["postern"] if speed else row["postern"] / row[other]
            return f"{value:.2f}"

        lines.append(f"| {name} | {cell('direct')} | {cell('pgbouncer')} | {cell('postern')} | {ratio('pgbouncer')} | {ratio('direct')} |")
    return "\n".join(lines)


def moved(result, baseline):
    lines = []
    for name, row in result.items():
        old = baseline.get(name, {})
        for other in ("pgbouncer", "direct"):
            if row.get(other) and old.get(other) and "postern" in row and "postern" in old:
                now, then = row["postern"] / row[other], old["postern"] / old[other]
                if abs(now / then - 1) > 0.05:
                    lines.append(f"{name}: Postern / {other} was {then:.2f}, is {now:.2f}")
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=ROOT / "target/release/postern")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--scale", type=int, default=10)
    parser.add_argument("--save-baseline", action="store_true")
    options = parser.parse_args()
    with scratch() as folder:
        database = Database(folder)
        subprocess.run(["psql", database.url(), "-Xqc", "create database bench"], check=True)
        subprocess.run(["pgbench", "-i", "-q", "-s", str(options.scale), database.url("bench")], check=True, stderr=subprocess.DEVNULL)
        roles = "create role maker login createrole password 'bench'; create role worker; grant select on all tables in schema public to worker; grant worker to maker with admin option"
        subprocess.run(["psql", database.url("bench"), "-Xqc", roles], check=True)
        bouncer, bouncer_url = start_pgbouncer(folder, database)
        postern = Postern(folder, database, str(options.binary))
        targets = {"direct": database.url("bench") + "?sslmode=disable", "pgbouncer": bouncer_url, "postern": postern.url}
        relay = [postern.parts["gateway"].pid, postern.parts["agent"].pid]
        cpu_pids = {"direct": [], "pgbouncer": [bouncer.pid], "postern": relay}
        # Before the load, whose freed buffers would hide what a session takes.
        memory = {
            "pgbouncer": idle_memory(bouncer_url, [bouncer.pid], options.sessions) / 1024,
            "postern": idle_memory(postern.url, relay, options.sessions) / 1024,
        }
        result = measure(options, targets, cpu_pids, postern)
        result[f"idle memory at {options.sessions} sessions, KiB"] = memory
    out = ROOT / "target/bench"
    out.mkdir(parents=True, exist_ok=True)
    text = table(result)
    (out / "latest.md").write_text(text + "\n")
    (out / "latest.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(text)
    baseline = ROOT / "tests/bench/baseline.json"
    if options.save_baseline:
        shutil.copy(out / "latest.json", baseline)
    elif baseline.exists():
        print("\nMoved by more than 5 per cent since the baseline:")
        print("\n".join(moved(result, json.loads(baseline.read_text()))) or "nothing")


if __name__ == "__main__":
    main()
