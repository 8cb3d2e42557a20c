#!/usr/bin/env python3
"""Measures how long a statement takes from a reviewer's yes until PostgreSQL runs it.

An agent's statement writes PostgreSQL's clock into a row and is held; a reviewer says yes by the REST API, on a connection
that is open; the time between the call and what stands in the row is what is measured, on one machine's clock.
"""

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench import ROOT, Database, Postern, scratch

# From a reviewer's click to the first byte at PostgreSQL.
BOUND_MS = 50

POLICY = """
@id("reads") permit (principal, action in [Action::"connect", Action::"read"], resource);
@id("ticks-are-reviewed") @review("group:dba") permit (principal, action == Action::"update", resource);
"""


class Reviewed(Postern):
    """Postern with an agent whose changes are reviewed, and a reviewer."""

    def prepare(self):
        (self.folder / "ticks.cedar").write_text(POLICY)
        documents = [
            {"kind": "Agent", "name": "ticker"},
            {"kind": "User", "name": "reviewer", "groups": ["dba"]},
        ]
        (self.folder / "people.yaml").write_text("\n---\n".join(json.dumps(document) for document in documents))
        self.cli("apply", "--merge", str(self.folder / "people.yaml"), str(self.folder / "ticks.cedar"))
        self.reviewer = self.token("user:reviewer")
        self.env["POSTERN_TOKEN"] = self.token("agent:ticker")
        self.ticker_url = self.grant("write")
        self.http = http.client.HTTPConnection("127.0.0.1", self.ports["http"])

    def token(self, principal):
        return json.loads(self.cli("tokens", "create", "--for", principal, "--name", "bench", "--json"))["token"]

    def call(self, method, path):
        # What nobody reads of a call's body closes the connection.
        body = "{}" if method == "POST" else None
        self.http.request(method, f"/api/v1/{path}", body, {"authorization": f"Bearer {self.reviewer}"})
        answer = self.http.getresponse()
        body = json.loads(answer.read())
        if answer.status != 200:
            sys.exit(f"bench: {method} {path}: {body}")
        return body


def held(postern, seconds=20):
    """The review that waits with its client."""
    until = time.time() + seconds
    while time.time() < until:
        waiting = [review for review in postern.call("GET", "reviews?status=pending") if review["waiting"]]
        if waiting:
            return waiting[0]["id"]
        time.sleep(0.01)
    sys.exit("bench: the statement is not held")


def one(postern, database, number):
    statement = f"update ticks set at = clock_timestamp() where id = {number}"
    client = subprocess.Popen(["psql", postern.ticker_url, "-Xqc", statement], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    review = held(postern)
    clicked = time.time()
    postern.call("POST", f"reviews/{review}/approve")
    _, said = client.communicate(timeout=30)
    if client.returncode != 0:
        sys.exit(f"bench: {said.decode()}")
    read = f"select extract(epoch from at) from ticks where id = {number}"
    ran = subprocess.run(["psql", database.url("bench"), "-XAtc", read], check=True, capture_output=True, text=True)
    return (float(ran.stdout) - clicked) * 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", default=ROOT / "target/release/postern")
    parser.add_argument("--statements", type=int, default=40)
    options = parser.parse_args()
    with scratch() as folder:
        database = Database(folder)
        run = lambda where, sql: subprocess.run(["psql", database.url(where), "-Xqc", sql], check=True)
        run("postgres", "create database bench")
        run("bench", f"create table ticks as select n as id, null::timestamptz as at from generate_series(1, {options.statements}) n")
        postern = Reviewed(folder, database, str(options.binary))
        postern.prepare()
        took = sorted(one(postern, database, number + 1) for number in range(options.statements))
    median = statistics.median(took)
    print("Reviews, from a reviewer's yes until PostgreSQL runs the statement, milliseconds:")
    print("| statements | p50 | p95 | most |")
    print("|---|---|---|---|")
    print(f"| {len(took)} | {median:.1f} | {took[int(len(took) * 0.95) - 1]:.1f} | {took[-1]:.1f} |")
    if median >= BOUND_MS:
        sys.exit(f"bench: the median is {median:.0f} ms; it has to be under {BOUND_MS}")


if __name__ == "__main__":
    main()
