#!/usr/bin/env python3
"""What an operation of the connectors' module costs, against a loop that only builds the dicts, and against Fivetran's
own SDK (MIT 2.13.1).

    connector.py --build DIR [--rows N] [--rounds N] [--mit PYTHON]

1,000,000 rows of ten declared columns by default, one of them a UTC_DATETIME given as text. At the other end of the
pipe every value is looked at and none is kept (sink.c). The loops take turns of a few thousand rows in one process, and
are compared by the processor time of the connector's thread; their rows a second, by the clock, are compared to those
of the same connector under the SDK, with a client in a process of its own that only counts: a tenth of the rows, since
they are that much slower. PYTHON is of the virtual environment that tests/connectors makes, .venv-mit beside it by
default. DIR is a build without sanitizers.
"""

import argparse
import fcntl
import json
import os
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

TURN = 10000
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
    loops = [globals()[name] for name in configuration["loops"].split()]
    spent, elapsed = [0] * len(loops), [0] * len(loops)
    for _ in range(int(configuration["rows"]) // TURN):
        for i, loop in enumerate(loops):
            start, began = time.thread_time(), time.monotonic()
            loop(TURN)
            spent[i] += time.thread_time() - start
            elapsed[i] += time.monotonic() - began
    print(*spent, *elapsed, flush=True)

connector = Connector(update=update, schema=schema)
"""


class Drained(wherry_side.Run):
    """The sink has the pipe, and what is its end here is not read."""

    def __init__(self, project, build, **options):
        super().__init__(project, build, **options)
        fcntl.fcntl(self.pipe, fcntl.F_SETPIPE_SZ, 1 << 20)  # as wherryd's
        self.sink = subprocess.Popen([f"{build}/tests/bench/bench-sink"], stdin=self.pipe, stdout=subprocess.PIPE)
        null = os.open("/dev/null", os.O_RDONLY)
        os.dup2(null, self.pipe)
        os.close(null)

    def close(self):
        super().close()
        rows = self.sink.communicate()[0]
        if self.sink.returncode != 0:
            sys.exit("connector.py: the sink refused what came")
        self.rows = int(rows)


def wherry(folder, build, rows):
    """Seconds of bare and upserts: of the thread, then by the clock."""
    run = Drained(folder, build, configuration={"rows": str(rows), "loops": "bare upserts"}, python="/usr/bin/python3")
    result = run.finish(600)
    if result.error:
        sys.exit(f"connector.py: {result.error}")
    if run.rows != rows:
        sys.exit(f"connector.py: {run.rows} rows came of {rows}")
    return [float(word) for word in result.output.split()]


def official(folder, python, rows):
    """Seconds by the clock."""
    configuration = json.dumps({"rows": str(rows), "loops": "upserts"})
    command = [python, "-B", Path(__file__).with_name("mit_rows.py"), folder, configuration]
    came, seconds = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
    if int(came) != rows:
        sys.exit(f"connector.py: {came} rows came of {rows} from Fivetran's SDK")
    return float(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mit", default=Path(__file__).resolve().parents[2] / ".venv-mit/bin/python")
    arguments = parser.parse_args()
    if arguments.rows % 100_000 != 0:
        parser.error("--rows must be a multiple of 100000")
    rows, bares, mits = arguments.rows, [], []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "connector.py").write_text(CONNECTOR)
        for _ in range(arguments.rounds):
            bare, upserts, _, elapsed = wherry(folder, arguments.build, rows)
            mit = official(folder, arguments.mit, rows // 10) * 10
            bares.append(bare / upserts)
            mits.append(mit / elapsed)
            print(
                f"dicts alone {rows / bare:>11,.0f} rows/s   upserted {rows / upserts:>11,.0f}   {bares[-1]:.0%}   |   "
                f"by the clock {rows / elapsed:>11,.0f}   MIT SDK {rows / mit:>9,.0f}   {mits[-1]:.1f} x"
            )
    print(
        f"median: {statistics.median(bares):.0%} of dicts alone (goal 80%), {statistics.median(mits):.1f} x MIT SDK (goal 10)"
    )


main()
