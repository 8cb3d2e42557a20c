"""Writes TPC-H and TPC-DS as duckdb's extensions have them into a folder: tables with a few rows, and queries.

Run by masking.py with a Python that has requirements.txt.
"""

import importlib.util
import json
import sys
from pathlib import Path

import duckdb

# So much of each table: what is measured is which queries are refused, not how fast they are.
ROWS = 2000


def main():
    folder = Path(sys.argv[1])
    connection = duckdb.connect()
    benchmarks = {}
    for name, generator in (("tpch", "dbgen"), ("tpcds", "dsdgen")):
        package = Path(importlib.util.find_spec(f"duckdb_extension_{name}").origin).parent
        extension = next(package.glob(f"extensions/*/{name}.duckdb_extension"))
        connection.execute(f"load '{extension}'")
        connection.execute(f"create schema {name}_data")
        connection.execute(f"use {name}_data")
        connection.execute(f"call {generator}(sf = 0.01)")
        listed = "select table_name from information_schema.tables where table_schema = ?"
        tables = {}
        for (table,) in connection.execute(listed, [f"{name}_data"]).fetchall():
            tables[table] = [row[:2] for row in connection.execute(f"describe {table}").fetchall()]
            connection.execute(f"copy (from {table} limit {ROWS}) to '{folder / name}.{table}.csv' (header false)")
        queries = [query for (query,) in connection.execute(f"select query from {name}_queries()").fetchall()]
        benchmarks[name] = {"tables": tables, "queries": queries}
    (folder / "benchmarks.json").write_text(json.dumps(benchmarks))


main()
