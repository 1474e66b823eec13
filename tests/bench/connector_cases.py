"""The cases of Fivetran connectors of bench.py, against a loop that only builds the dicts and against Fivetran's own SDK
(MIT 2.13.1).

Ten declared columns, one of them a UTC_DATETIME given as text. Where it is about the module alone, every value is looked
at at the other end of the pipe and none is kept (sink.c); the loops take turns of a few thousand rows in one process,
and are compared by the processor time of the connector's thread. Rows a second, by the clock, are compared to those of
the same connector under the SDK, with a client in a process of its own that only counts: a tenth of the rows, since they
are that much slower. The SDK is in the virtual environment that tests/connectors makes; without it, its cases are left
out.
"""

import fcntl
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "connectors"))
import wherry_side

PYTHON = "/usr/bin/python3"
MIT = Path(__file__).resolve().parents[2] / ".venv-mit/bin/python"
ROWS_LEAST = 100_000  # what is measured must last

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
            sys.exit("bench: the sink refused what came")
        self.rows = int(rows)


ONE_ROW = """
import os, time
from fivetran_connector_sdk import Connector, Operations as op

def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "LONG"}}]

def update(configuration, state):
    op.upsert("t", {"id": 1})
    op.checkpoint({"at": 1})
    while os.path.exists("wait"):
        time.sleep(0.02)

connector = Connector(update=update, schema=schema)
"""


class ConnectorCases:
    """Mixed into Bench."""

    def connector_project(self, program):
        folder = self.work / "project"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "connector.py").write_text(program)
        return folder

    def connector_rows(self):
        return max(ROWS_LEAST, self.rows // ROWS_LEAST * ROWS_LEAST)

    def module_alone(self, folder, rows):
        """Seconds of bare and upserts: of the thread, then by the clock."""
        configuration = {"rows": str(rows), "loops": "bare upserts"}
        run = Drained(folder, self.build, configuration=configuration, python=PYTHON)
        result = run.finish(600)
        if result.error:
            sys.exit(f"bench: {result.error}")
        if run.rows != rows:
            sys.exit(f"bench: {run.rows} rows came of {rows}")
        return [float(word) for word in result.output.split()]

    @staticmethod
    def official(folder, rows):
        """Seconds by the clock."""
        configuration = json.dumps({"rows": str(rows), "loops": "upserts"})
        command = [MIT, "-B", Path(__file__).with_name("mit_rows.py"), folder, configuration]
        came, seconds = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.split()
        if int(came) != rows:
            sys.exit(f"bench: {came} rows came of {rows} from Fivetran's SDK")
        return float(seconds)

    def against_official(self, what, ours, goal):
        """OURS and the SDK's: seconds for all rows."""
        if not MIT.exists():
            print(f"{what}: left out, {MIT} is not there (tests/connectors/install-mit makes it)")
            return
        ratios = [theirs / seconds for seconds, theirs in ours]
        ratio = statistics.median(ratios)
        self.report(
            what,
            f"{ratio:.1f}",
            f"≥ {goal} ×",
            ratio >= goal,
            seconds=statistics.median(seconds for seconds, _ in ours),
            against=statistics.median(theirs for _, theirs in ours),
            ratios=ratios,
        )

    def official_or_zero(self, folder, rows):
        return self.official(folder, rows // 10) * 10 if MIT.exists() else 0

    def case_connector_rows(self):
        folder, rows = self.connector_project(CONNECTOR), self.connector_rows()
        shares, pairs = [], []
        for _ in range(self.rounds):
            bare, upserts, _, elapsed = self.module_alone(folder, rows)
            shares.append(bare / upserts)
            pairs.append((elapsed, self.official_or_zero(folder, rows)))
        share = statistics.median(shares)
        self.report(
            f"{rows:,} upserts of a connector, to dicts alone", f"{share:.0%}", "≥ 80 %", share >= 0.8, shares=shares
        )
        self.against_official("… rows/s, against Fivetran's own SDK", pairs, 10)

    def case_connector_sqlite(self):
        folder, rows = self.connector_project(CONNECTOR), self.connector_rows()
        pipeline = self.work / "connector.yaml"
        source = {"type": "fivetran", "project": str(folder), "python": PYTHON}
        source["configuration"] = {"rows": str(rows), "loops": "upserts"}
        destination = {"type": "sqlite", "path": str(self.work / "ours.db")}
        pipeline.write_text(json.dumps({"frequency": "manual", "source": source, "destination": destination}))
        pairs = []
        for _ in range(self.rounds):
            self.fresh("ours.db")
            pairs.append((self.sync(pipeline, self.work / "state"), self.official_or_zero(folder, rows)))
        self.against_official("… into SQLite, against its producing alone", pairs, 5)
        self.fresh("ours.db")

    def case_connector_one(self):
        from bench import RunningDaemon, children

        folder = Path(tempfile.mkdtemp(prefix="wherry-bench-", dir="/dev/shm"))
        try:
            (folder / "config/pipelines.d").mkdir(parents=True)
            project = self.connector_project(ONE_ROW)
            pipeline = {
                "frequency": "manual",
                "source": {"type": "fivetran", "project": str(project), "python": PYTHON},
                "destination": {"type": "sqlite", "path": str(folder / "one.db")},
            }
            (folder / "config/pipelines.d/one.yaml").write_text(json.dumps(pipeline))
            with RunningDaemon(self.wherryd(), folder) as daemon:
                times = []
                for _ in range(30):
                    start = time.perf_counter()
                    reply = daemon.call("Sync", {"connection": "one", "wait": True})
                    times.append((time.perf_counter() - start) * 1000)
                    assert reply["parameters"]["run"]["outcome"] == "succeeded", reply
                median = statistics.median(times[5:])
                self.report(
                    "one-row connector, call to answer",
                    f"{median:.0f} ms",
                    "≤ 150 ms",
                    median <= 150,
                    milliseconds=times,
                )
                (project / "wait").touch()
                daemon.call("Sync", {"connection": "one", "wait": False})
                self.report_overhead(daemon, children)
                (project / "wait").unlink()
        finally:
            shutil.rmtree(folder)

    def report_overhead(self, daemon, children):
        """Of source-fivetran and the connector it runs, over an interpreter that does nothing."""
        most, deadline = 0, time.monotonic() + 3
        while time.monotonic() < deadline:
            workers = [pid for pid in children(daemon.pid) if b"source-fivetran" in command_line(pid)]
            most = max(most, sum(resident(pid) for worker in workers for pid in family(worker, children)))
            time.sleep(0.02)
        bare = subprocess.Popen(
            [PYTHON, "-c", "print(flush=True); input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        bare.stdout.readline()
        over = most - resident(bare.pid)
        bare.communicate(b"\n")
        self.report(
            "… its worker, resident over a bare interpreter", f"{over / 1024:.1f} MB", "≤ 12 MB", over <= 12 << 10,
            kilobytes=over,
        )  # fmt: skip


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def resident(pid):
    """In KiB; of one that has just ended, or waits to be reaped, nothing."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") >> 10


def family(pid, children):
    return [pid] + [other for child in children(pid) for other in family(child, children)]
