#!/usr/bin/env python3
"""Measures how long searches of the audit take, over a million statements that were really sent.

Two agents send them, one of them a handful at the very beginning, so that finding these means to look through all. Each search
is a call of the REST API; an export is the file of all that is found.
"""

import argparse
import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from datetime import datetime, timezone
from pathlib import Path

from bench import ROOT, Database, Postern, resident, scratch, wait_for

POLICY = '@id("reads") permit (principal, action in [Action::"connect", Action::"read"], resource);'


class Audited(Postern):
    """Postern with two agents, each with a grant."""

    def prepare(self):
        self.admin = self.env["POSTERN_TOKEN"]
        (self.folder / "reads.cedar").write_text(POLICY)
        agents = [{"kind": "Agent", "name": name} for name in ("seldom", "often")]
        (self.folder / "agents.yaml").write_text("\n---\n".join(map(json.dumps, agents)))
        self.cli("apply", "--merge", str(self.folder / "agents.yaml"), str(self.folder / "reads.cedar"))
        return [self.granted(agent["name"]) for agent in agents]

    def granted(self, agent):
        self.env["POSTERN_TOKEN"] = self.admin
        made = json.loads(self.cli("tokens", "create", "--for", f"agent:{agent}", "--name", "bench", "--json"))
        self.env["POSTERN_TOKEN"] = made["token"]
        return self.grant("write")

    def get(self, path, query):
        url = f"http://127.0.0.1:{self.ports['http']}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, headers={"authorization": f"Bearer {self.admin}"})
        return urllib.request.urlopen(request, timeout=120)

    def search(self, **query):
        began = time.time()
        found = json.loads(self.get("audit/events", query).read())
        return found, time.time() - began

    def export(self, **query):
        """Bytes, lines, seconds, and by how much the control plane has grown meanwhile."""
        process = self.parts["control-plane"].pid
        before, most, began, size, lines = resident(process), 0, time.time(), 0, 0
        with self.get("audit/events.jsonl", query) as answer:
            while chunk := answer.read(1 << 20):
                size, lines = size + len(chunk), lines + chunk.count(b"\n")
                most = max(most, resident(process))
        return size, lines, time.time() - began, most - before


def send(url, script, clients, each):
    command = ["pgbench", "-n", "-M", "prepared", "-f", script, "-c", str(clients), "-j", "1", "-t", str(each), url]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench: pgbench failed:\n{done.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=ROOT / "target/release/postern")
    parser.add_argument("--statements", type=int, default=1_000_000)
    options = parser.parse_args()
    with scratch() as folder:
        database = Database(folder)
        run = lambda where, sql: subprocess.run(["psql", database.url(where), "-Xqc", sql], check=True)
        run("postgres", "create database bench")
        run("bench", "create table seldom as select 1 as id; create table often as select n as id from generate_series(1, 1000) n")
        postern = Audited(folder, database, str(options.binary))
        seldom, often = postern.prepare()
        (folder / "seldom.sql").write_text("select id from seldom;\n")
        (folder / "often.sql").write_text("\\set n random(1, 1000)\nselect :n from often limit 1;\n")
        send(seldom, folder / "seldom.sql", 1, 10)
        half = datetime.now(timezone.utc).isoformat()
        send(often, folder / "often.sql", 20, options.statements // 20)
        subprocess.run(["psql", often, "-Xqc", "select 'the last'"], check=True, stdout=subprocess.DEVNULL)
        wait_for("the last statement in the audit", lambda: postern.search(limit=1, text="the last")[0])
        print(f"Searches of {options.statements:,} statements, milliseconds:")
        print("| what is looked for | found | first | again |\n|---|---|---|---|")
        for what, query in [
            ("the newest 100", {}),
            ("the newest 10,000", {"limit": 10_000}),
            ("by agent, the newest 100 of many", {"agent": "often"}),
            ("by agent, ten that are the oldest", {"agent": "seldom"}),
            ("by connection, none", {"connection": "other"}),
            ("by table, ten that are the oldest", {"table": "public.seldom"}),
            ("by decision, none", {"decision": "deny"}),
            ("by text, ten that are the oldest", {"text": "from seldom"}),
            ("by time, the oldest", {"until": half}),
        ]:
            (found, first), (_, again) = postern.search(**query), postern.search(**query)
            print(f"| {what} | {len(found):,} | {first * 1000:.0f} | {again * 1000:.0f} |", flush=True)
        size, lines, took, grown = postern.export()
        print(f"\nAll of it as JSON Lines: {lines:,} lines, {size / 1e6:.0f} MB in {took:.1f} s; the control plane grows by {grown / 1e6:.0f} MB.")


if __name__ == "__main__":
    main()
