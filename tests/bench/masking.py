#!/usr/bin/env python3
"""Measures what masking costs: whoever works with the data, and the database's throughput.

Usability: the queries of TPC-H and TPC-DS, with the customers' names, addresses, phones, e-mails, birth dates and balances
tagged, and what tools and agents send to look around. It prints the share that is refused, and why each is. The
queries are read from Python packages (requirements.txt), which are fetched into target/bench.

Speed: a million rows of ten columns, two of them masked, and nothing masked, against a direct connection.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from bench import ROOT, Database, Postern, scratch, timed_read

HERE = Path(__file__).resolve().parent
CORPUS = ROOT / "crates/sql/tests/corpus"

# The tags of what is the customers' own, by column.
TAGS = {
    "tpch.customer": {
        "c_name": "pii.name", "c_address": "pii.address", "c_phone": "pii.phone", "c_acctbal": "finance.balance",
    },
    "tpcds.customer": {
        "c_first_name": "pii.name", "c_last_name": "pii.name", "c_email_address": "pii.email",
        "c_birth_day": "pii.birth", "c_birth_month": "pii.birth", "c_birth_year": "pii.birth",
    },
    "tpcds.customer_address": {
        "ca_street_number": "pii.address", "ca_street_name": "pii.address", "ca_street_type": "pii.address",
        "ca_suite_number": "pii.address",
    },
    "shop.customers": {"name": "pii.name", "email": "pii.email", "ssn": "pii.ssn", "born": "pii.birth", "home": "pii.address"},
}

# Masks as an owner chooses them who has not thought of analysts, and as one who has: hashes can be grouped by, and `any` lets
# their queries sort and compare by what they do not see.
MASKS = {
    "strict": {
        "pii.name": "redact", "pii.address": "redact", "pii.phone": "redact", "pii.email": "email",
        "pii.birth": "redact", "pii.ssn": "redact", "finance.balance": "redact",
    },
    "for analysts": {
        "pii.name": {"mask": "hash", "compare": "any"}, "pii.address": {"mask": "redact", "compare": "any"},
        "pii.phone": {"mask": "redact", "compare": "any"}, "pii.email": {"mask": "email", "compare": "any"},
        "pii.birth": {"mask": "redact", "compare": "any"}, "pii.ssn": "redact",
        "finance.balance": {"mask": "noise", "compare": "any"},
    },
}

# duckdb's names of types, where PostgreSQL's is another.
TYPES = {"VARCHAR": "text"}

# Tables whose first column is not their key alone.
FACTS = {
    "lineitem", "partsupp", "inventory", "store_sales", "store_returns", "catalog_sales", "catalog_returns", "web_sales",
    "web_returns",
}

WIDE = """
    create schema wide;
    create table wide.rows as select n as id, 'name ' || n as name, n % 97 as kind, n * 3.25 as amount, now() as at,
        'user' || n || '@example.org' as email, '4000' || lpad(n::text, 12, '0') as card, n % 2 = 0 as live,
        repeat('x', 20) as note, n % 1000 as place
        from generate_series(1, {rows}) n;
    create table wide.open as table wide.rows;
    grant usage on schema wide to analyst;
    grant select on all tables in schema wide to analyst;
"""


def read_queries(folder):
    """The benchmarks, by a Python of its own that has the packages."""
    python = ROOT / "target/bench/venv/bin/python"
    wanted = (HERE / "requirements.txt").read_text()
    stamp = ROOT / "target/bench/venv/made-of"
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(python.parents[1], ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", HERE / "requirements.txt"], check=True)
        stamp.write_text(wanted)
    subprocess.run([python, HERE / "queries.py", folder], check=True)
    return json.loads((folder / "benchmarks.json").read_text())


def psql(url, sql, check=True):
    command = ["psql", url, "-XqAt", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose", "-f", "-"]
    done = subprocess.run(command, input=sql, capture_output=True, text=True)
    if check and done.returncode != 0:
        sys.exit(f"bench: {sql[:200]}: {done.stderr}")
    return done.returncode == 0, done.stderr


def fill(url, name, benchmark, folder):
    script = [f"create schema {name}; set search_path = {name};"]
    for table, columns in benchmark["tables"].items():
        listed = ", ".join(f"{column} {TYPES.get(kind, kind)}" for column, kind in columns)
        key = "" if table in FACTS else f", primary key ({columns[0][0]})"
        script += [f"create table {table} ({listed}{key});", f"\\copy {table} from '{folder / name}.{table}.csv' csv"]
    script += ["analyze;", f"grant usage on schema {name} to analyst;", f"grant select on all tables in schema {name} to analyst;"]
    psql(url, "\n".join(script))


def statements(benchmarks):
    """What is tried: whose it is, its name, and its text."""
    for name, benchmark in benchmarks.items():
        for number, query in enumerate(benchmark["queries"], 1):
            yield name, f"query {number}", f"set search_path = {name};\n{query.strip().rstrip(';')};"
    for entry in ("\n" + (CORPUS / "readers.txt").read_text()).split("\n## ")[1:]:
        title, rest = entry.split("\n", 1)
        lines = [line for line in rest.splitlines() if not line.startswith("= ")]
        yield "introspection", title, "set search_path = shop, public;\n" + "\n".join(lines).strip().rstrip(";") + ";"


class Masked(Postern):
    """Postern with a role that reads, and with tags."""

    def apply(self, masks, tables):
        tags = {f"{table}.{column}": tag for table in tables for column, tag in TAGS.get(table, {}).items()}
        role = {"mode": "login", "database_role": "analyst", "read_only": True, "approvals": 0, "max_duration": "24h"}
        document = {"kind": "Connection", "name": "bench", "roles": {"read": role}, "tags": tags, "masks": masks}
        path = self.folder / "masks.yaml"
        path.write_text(json.dumps(document))
        self.cli("apply", "--merge", str(path))


def usability(options, database, postern, folder):
    benchmarks = read_queries(folder)
    url = database.url("bench")
    for name, benchmark in benchmarks.items():
        fill(url, name, benchmark, folder)
    psql(url, (CORPUS / "schema.sql").read_text() + "\ngrant usage on schema shop, hidden, ext to analyst;"
         "grant select on all tables in schema shop, public, hidden to analyst;")
    direct = url.replace("bench:bench@", "analyst:bench@")
    tried = [one for one in statements(benchmarks) if psql(direct, one[2], check=False)[0]]
    lines = ["| masks | of | statements | refused | share |", "|---|---|---|---|---|"]
    refusals, shares = [], {}
    for choice, masks in MASKS.items():
        postern.apply(masks, TAGS)
        through = postern.grant("read")
        refused = {}
        for whose, title, sql in tried:
            done, told = psql(through, sql, check=False)
            if not done:
                refused.setdefault(whose, []).append((title, told))
        count = lambda whose: sum(1 for one in tried if whose in (one[0], None))
        for whose in dict.fromkeys([one[0] for one in tried]):
            number = len(refused.get(whose, []))
            lines.append(f"| {choice} | {whose} | {count(whose)} | {number} | {number / count(whose):.1%} |")
        number = sum(map(len, refused.values()))
        shares[choice] = number / len(tried)
        lines.append(f"| {choice} | all | {len(tried)} | {number} | {shares[choice]:.1%} |")
        for whose, each in refused.items():
            for title, told in each:
                message = re.sub(r"\s+", " ", re.sub(r"(?s)^.*?ERROR: +", "", told)).replace(" DETAIL: ", "; ").split(" LOCATION: ")[0]
                refusals.append(f"{choice}: {whose}, {title}: {message}")
    return "\n".join(lines), refusals, shares


def speed(options, database, postern, folder):
    psql(database.url("bench"), WIDE.format(rows=options.rows))
    TAGS["wide.rows"] = {"email": "pii.email", "card": "pci.card"}
    postern.apply({"pii.email": "email", "pci.card": {"partial": 4}}, ["wide.rows"])
    direct, through = database.url("bench").replace("bench:bench@", "analyst:bench@"), postern.grant("read")
    took = {}
    for _ in range(options.rounds):
        for what, url, table in (("direct", direct, "rows"), ("two masked", through, "rows"), ("nothing masked", through, "open")):
            for way, sql in (("SELECT", f"select * from wide.{table}"), ("COPY", f"copy wide.{table} to stdout")):
                took.setdefault((way, what), []).append(timed_read(url, sql))
    lines = ["| rows of ten columns | by | direct, s | masked, s | direct / masked |", "|---|---|---|---|---|"]
    for way in ("SELECT", "COPY"):
        base = statistics.median(took[way, "direct"])
        for what in ("two masked", "nothing masked"):
            value = statistics.median(took[way, what])
            lines.append(f"| {options.rows:,}, {what} | {way} | {base:.2f} | {value:.2f} | {base / value:.2f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=ROOT / "target/release/postern")
    parser.add_argument("--only", choices=["usability", "speed"])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    out = ROOT / "target/bench"
    out.mkdir(parents=True, exist_ok=True)
    with scratch() as folder:
        database = Database(folder)
        psql(database.url(), "create role analyst login password 'bench'")
        psql(database.url(), "create database bench")
        postern = Masked(folder, database, str(options.binary))
        texts = []
        if options.only != "speed":
            text, refusals, _ = usability(options, database, postern, folder)
            texts += [text, "Each refusal:\n" + "\n".join(f"- {line}" for line in refusals)]
        if options.only != "usability":
            texts.append(speed(options, database, postern, folder))
    (out / "masking.md").write_text("\n\n".join(texts) + "\n")
    print("\n\n".join(texts))


if __name__ == "__main__":
    main()
