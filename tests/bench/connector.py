#!/usr/bin/env python3
"""What an operation of the connectors' module costs: rows a second of a loop that builds dicts, and of one that upserts
them, in processor time of the connector's thread.

    connector.py --build DIR [--rows N] [--rounds N]

1,000,000 rows of ten declared columns by default, one of them a UTC_DATETIME given as text. The pipe is drained by a
program that does not look at it, so that the connector's side alone is measured: what the writer makes of the rows are
other cases. DIR is a build without sanitizers.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "connectors"))
import wherry_side

CONNECTOR = """
import os, time
from fivetran_connector_sdk import Connector, Operations as op

NAMES, CITIES = [f"customer {i}" for i in range(1000)], ["Oslo", "Lima", "Kyoto", "Accra"]

def schema(configuration):
    return [{"table": "orders", "primary_key": ["id"], "columns": {
        "id": "LONG", "quantity": "INT", "sequence": "LONG", "price": "DOUBLE", "weight": "DOUBLE", "name": "STRING",
        "city": "STRING", "note": "STRING", "status": "STRING", "updated_at": "UTC_DATETIME"}}]

def bare(count):
    for i in range(count):
        row = {"id": i, "quantity": i % 1000, "sequence": i * 7, "price": i * 0.01, "weight": i / 7,
               "name": NAMES[i % 1000], "city": CITIES[i & 3], "note": "a note of some length", "status": "open",
               "updated_at": "2024-02-09T01:02:03Z"}

def upserts(count):
    for i in range(count):
        op.upsert("orders", {"id": i, "quantity": i % 1000, "sequence": i * 7, "price": i * 0.01, "weight": i / 7,
               "name": NAMES[i % 1000], "city": CITIES[i & 3], "note": "a note of some length", "status": "open",
               "updated_at": "2024-02-09T01:02:03Z"})

def update(configuration, state):
    count = int(configuration["rows"])
    for loop in (bare, upserts):
        start = time.thread_time()
        loop(count)
        print(time.thread_time() - start, flush=True)

connector = Connector(update=update, schema=schema)
"""


class Drained(wherry_side.Run):
    """Nobody takes the rows apart."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.drain_process = subprocess.Popen(["cat"], stdin=self.pipe, stdout=subprocess.DEVNULL)
        self.pipe_frames.feed = lambda data: None

    def close(self):
        super().close()
        self.drain_process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "connector.py").write_text(CONNECTOR)
        for _ in range(arguments.rounds):
            run = Drained(
                folder, arguments.build, configuration={"rows": str(arguments.rows)}, python="/usr/bin/python3"
            )
            result = run.finish(600)
            if result.error:
                sys.exit(f"connector.py: {result.error}")
            bare, upserts = (float(line) for line in result.output.split())
            ratios.append(bare / upserts)
            print(
                f"dicts alone {arguments.rows / bare:>12,.0f} rows/s   upserted {arguments.rows / upserts:>12,.0f} rows/s   "
                f"{bare / upserts:.0%} (goal 80%)"
            )
    print(f"median {statistics.median(ratios):.0%}")


main()
