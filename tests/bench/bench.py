#!/usr/bin/env python3
"""Wherry against the native tool, in turn, in one run: what counts is the ratio, since machines drift.

    bench.py --build DIR [--rows N] [--rounds N] [--json FILE] [--only NAME,…] [--work DIR]

Prints a table (and writes a JSON file): each case's median seconds on both sides, the median of the pairwise ratios, the
goal, and whether it was met. A goal that is missed does not fail the bench: it measures, it does not judge.
DIR is a build without sanitizers.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import generate
import keyed
from connector_cases import ConnectorCases
from duckdb_cases import DuckdbCases
from postgres_cases import PostgresCases

ROOT = Path(__file__).resolve().parents[2]


class Bench(PostgresCases, DuckdbCases, ConnectorCases):
    def __init__(self, arguments):
        self.build = Path(arguments.build).resolve()
        self.rows = arguments.rows
        self.rounds = arguments.rounds
        self.work = Path(arguments.work or tempfile.mkdtemp(prefix="wherry-bench-", dir="/var/tmp"))
        self.work.mkdir(parents=True, exist_ok=True)
        self.results = []

    # --- the two sides ---

    def wherryd(self):
        return str(self.build / "daemon/wherryd/wherryd")

    def pipeline(self, name, format, pattern, database, source_dir):
        columns = "".join(f"  - {{source: {n}, dest: {n}, type: {t}}}\n" for n, t in generate.COLUMNS)
        path = self.work / f"{name}.yaml"
        path.write_text(
            f"frequency: manual\nsource: {{type: files, dir: {source_dir}}}\nfile_pattern: '{pattern}'\nformat: {format}\n"
            f"dest_table: lineitem\ncolumns:\n{columns}destination: {{type: sqlite, path: {database}}}\n"
        )
        return path

    def sync(self, pipeline, state):
        """One `wherryd --once`, as a whole process."""
        shutil.rmtree(state, ignore_errors=True)
        return self.timed(
            [self.wherryd(), "--once", "--file", str(pipeline), "--state-dir", str(state), "--json"], cwd=self.work
        )

    def timed(self, command, stdin=None, cwd=None):
        start = time.perf_counter()
        run = subprocess.run(command, input=stdin, capture_output=True, text=True, cwd=cwd, check=False)
        seconds = time.perf_counter() - start
        if run.returncode != 0:
            sys.exit(f"bench: {command[0]} failed with {run.returncode}:\n{run.stdout}{run.stderr}")
        return seconds

    def create_table(self):
        columns = ", ".join(f"{name} {generate.SQLITE_TYPES[type]}" for name, type in generate.COLUMNS)
        return f"CREATE TABLE IF NOT EXISTS lineitem ({columns});\n"

    def native_csv(self, database, file):
        return self.timed(
            ["sqlite3", str(database)], self.create_table() + f".mode csv\n.import --skip 1 {file} lineitem\n"
        )

    def native_json(self, database, file):
        fields = ", ".join(f"json_extract(line, '$.{name}')" for name, _ in generate.COLUMNS)
        return self.timed(
            ["sqlite3", str(database)],
            self.create_table()
            + 'CREATE TEMP TABLE raw (line TEXT);\n.mode ascii\n.separator "\\001" "\\n"\n'
            + f".import {file} raw\nINSERT INTO lineitem SELECT {fields} FROM raw;\n",
        )

    # --- measuring ---

    def compare(self, name, ours, theirs, goal, setup=None):
        pairs = []
        for i in range(self.rounds + 1):
            if setup:
                setup()
            pair = (ours(), theirs())
            if i > 0:  # the first round warms the page cache
                pairs.append(pair)
        ratios = [a / b for a, b in pairs]
        self.report(
            name,
            f"{statistics.median(ratios):.2f}",
            f"≤ {goal:.2f} ×",
            statistics.median(ratios) <= goal,
            seconds=statistics.median(a for a, _ in pairs),
            against=statistics.median(b for _, b in pairs),
            ratios=ratios,
        )

    def report(self, name, figure, goal, met, **details):
        self.results.append({"name": name, "figure": figure, "goal": goal, "met": met, **details})
        times = f"{details['seconds']:.2f} s : {details['against']:.2f} s" if "seconds" in details else ""
        print(f"{name:<44} {figure:>12} {goal:>12}  {'met' if met else 'MISSED':<7} {times}", flush=True)

    # --- data ---

    def data(self, extension, repeat=1):
        folder = self.work / f"{extension}-{repeat}"
        file = folder / f"lineitem.{extension}"
        if not file.exists():
            folder.mkdir(exist_ok=True)
            partial = folder / "partial.tmp"
            if extension == "csv":
                generate.write_csv(partial, self.rows, repeat)
            elif extension == "parquet":
                self.duck_parquet(self.data("csv"), partial)
            else:
                generate.write_ndjson(partial, self.rows)
            partial.rename(file)
        return file

    def fresh(self, name):
        path = self.work / name
        for suffix in ("", "-journal", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        return path

    # --- cases ---

    def case_csv_new(self):
        file = self.data("csv")
        ours, theirs = self.work / "ours.db", self.work / "theirs.db"
        pipeline = self.pipeline("csv_new", "csv", "*.csv", ours, file.parent)

        def setup():
            self.fresh("ours.db"), self.fresh("theirs.db")

        self.compare(
            "csv into a new table",
            lambda: self.sync(pipeline, self.work / "state"),
            lambda: self.native_csv(theirs, file),
            0.67,
            setup,
        )
        self.check_count(ours, self.rows)

    def case_csv_existing(self):
        file = self.data("csv")
        other = self.work / "second"
        other.mkdir(exist_ok=True)
        second = other / "second.csv"
        if not second.exists():
            second.write_bytes(file.read_bytes() + b"1,1,1,1,1,1,0,0,N,O,1995-01-01,1995-01-01,1995-01-01,x,y,z\n")
        base, native_base = self.fresh("base.db"), self.fresh("native-base.db")
        self.sync(self.pipeline("base", "csv", "*.csv", base, file.parent), self.work / "state")
        self.native_csv(native_base, file)
        ours, theirs = self.work / "ours.db", self.work / "theirs.db"
        pipeline = self.pipeline("csv_existing", "csv", "*.csv", ours, other)
        # the table's owner is the connection that filled it first
        with sqlite3.connect(base) as db:
            for table in ("_wherry_tables", "_wherry_state", "_wherry_files"):
                db.execute(f"UPDATE {table} SET connection = 'csv_existing'")
        db.close()

        def setup():
            self.fresh("ours.db"), self.fresh("theirs.db")
            shutil.copy(base, ours), shutil.copy(native_base, theirs)
            os.sync()

        self.compare(
            f"csv into a table of {self.rows:,} rows",
            lambda: self.sync(pipeline, self.work / "state"),
            lambda: self.native_csv(theirs, second),
            0.9,
            setup,
        )
        self.check_count(ours, 2 * self.rows + 1)

    def case_ndjson(self):
        file = self.data("ndjson")
        ours, theirs = self.work / "ours.db", self.work / "theirs.db"
        pipeline = self.pipeline("ndjson", "ndjson", "*.ndjson", ours, file.parent)

        def setup():
            self.fresh("ours.db"), self.fresh("theirs.db")

        self.compare(
            "ndjson against sqlite3's JSON functions",
            lambda: self.sync(pipeline, self.work / "state"),
            lambda: self.native_json(theirs, file),
            0.5,
            setup,
        )
        self.check_count(ours, self.rows)

    def case_ndjson_csv(self):
        file, csv = self.data("ndjson"), self.data("csv")
        ours, theirs = self.work / "ours.db", self.work / "theirs.db"
        first = self.pipeline("ndjson", "ndjson", "*.ndjson", ours, file.parent)
        second = self.pipeline("csv_new", "csv", "*.csv", theirs, csv.parent)

        def setup():
            self.fresh("ours.db"), self.fresh("theirs.db")

        self.compare(
            "ndjson against our own csv",
            lambda: self.sync(first, self.work / "state"),
            lambda: self.sync(second, self.work / "state2"),
            1.3,
            setup,
        )

    def keyed_base(self, texts=False):
        """A keyed table of --rows rows, which destination-sqlite has made."""
        base = self.work / ("keyed-texts.db" if texts else "keyed-base.db")
        if not base.exists():
            path, rows = self.work / "keyed-base.frames", keyed.numbered(keyed.base_ids(self.rows), 1)
            self.keyed_frames(path, rows, texts)
            keyed.run(self.destination(), path, base)
            path.unlink()
        return base

    def keyed_frames(self, path, rows, texts):
        """What was written to PATH, as a list."""
        rows = list(keyed.texts(rows) if texts else rows)
        keyed.write_frames(path, rows, keyed.TEXT_COLUMNS if texts else keyed.COLUMNS)
        return rows

    def destination(self):
        return str(self.build / "connectors/destinations/sqlite/destination-sqlite")

    def case_upserts(self):
        base, count = self.keyed_base(), self.rows // 10
        ours, theirs = self.work / "ours.db", self.work / "theirs.db"
        path, fresh = self.work / "keyed.frames", self.fresh("keyed-fresh.db")
        ids, peaks = keyed.upsert_ids(count, self.rows), []
        keyed.write_frames(path, keyed.numbered(ids, 2))
        keyed.write_database(fresh, keyed.numbered(ids, 2))

        def setup():
            self.fresh("ours.db"), self.fresh("theirs.db")
            shutil.copy(base, ours), shutil.copy(base, theirs)
            os.sync()

        def run():
            seconds, peak = keyed.run(self.destination(), path, ours)
            peaks.append(peak)
            return seconds

        self.compare(
            f"{count:,} upserts into {self.rows:,} rows",
            run,
            lambda: self.timed(["sqlite3", str(theirs)], keyed.native_merge(fresh)),
            1.1,
            setup,
        )
        keyed.check(ours, self.rows + count // 2)
        keyed.check(theirs, self.rows + count // 2)
        self.report("… peak memory of the writer", f"{max(peaks) / 1024:.1f} MB", "≤ 40 MB", max(peaks) <= 40 << 10)

    def case_upserts_random(self):
        self.random_upserts(self.rows // 10, False, "… at random, against row by row")

    def case_upserts_texts(self):
        count = self.rows // 2
        self.random_upserts(count, True, f"{count:,} of random text keys, against row by row")

    def random_upserts(self, count, texts, what):
        base = self.keyed_base(texts)
        ours, theirs = self.work / "ours.db", self.work / "theirs.db"
        path, ids = self.work / "keyed.frames", keyed.shuffled(keyed.upsert_ids(count, self.rows))
        rows = self.keyed_frames(path, keyed.numbered(ids, 2), texts)

        def setup():
            self.fresh("ours.db"), self.fresh("theirs.db")
            shutil.copy(base, ours), shutil.copy(base, theirs)
            os.sync()

        self.compare(
            what,
            lambda: keyed.run(self.destination(), path, ours)[0],
            lambda: keyed.row_by_row(theirs, rows),
            0.33,
            setup,
        )
        keyed.check(ours, self.rows + count // 2)

    def case_memory(self):
        peaks = {}
        for repeat in (1, 10):
            file = self.data("csv", repeat)
            ours = self.fresh("ours.db")
            pipeline = self.pipeline(f"memory_{repeat}", "csv", "*.csv", ours, file.parent)
            peaks[repeat] = self.peak_memory(
                [
                    self.wherryd(),
                    "--once",
                    "--file",
                    str(pipeline),
                    "--state-dir",
                    str(self.work / f"memory-state-{repeat}"),
                ]
            )
            shutil.rmtree(self.work / f"memory-state-{repeat}", ignore_errors=True)
            total = sum(peaks[repeat].values())
            self.report(
                f"peak memory, worker + writer, {self.rows * repeat:,} rows",
                f"{total / 1024:.1f} MB",
                "≤ 32 MB",
                total <= 32 * 1024,
                kilobytes=peaks[repeat],
            )
        self.fresh("ours.db")
        small, large = (sum(peaks[repeat].values()) for repeat in (1, 10))
        self.report("… and flat: ten times the rows", f"{large / small:.2f}", "≤ 1.10 ×", large <= small * 1.10)

    def peak_memory(self, command):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self.work)
        peaks = {}

        def watch():
            while process.poll() is None:
                for pid in children(process.pid):
                    name, kilobytes = peak_of(pid)
                    if name and name.startswith(("source-", "destination-")):
                        peaks[name] = max(peaks.get(name, 0), kilobytes)
                time.sleep(0.01)

        thread = threading.Thread(target=watch)
        thread.start()
        _, errors = process.communicate()
        thread.join()
        if process.returncode != 0:
            sys.exit(f"bench: {command[0]} failed:\n{errors.decode()}")
        return peaks

    def case_latency(self):
        folder = Path(tempfile.mkdtemp(prefix="wherry-bench-", dir="/dev/shm"))
        try:
            (folder / "config/pipelines.d").mkdir(parents=True)
            source = folder / "in"
            source.mkdir()
            template = (
                "frequency: manual\nsource: {{type: files, dir: {dir}}}\nformat: csv\ndest_table: {name}\n"
                "columns: [{{source: a, type: integer}}]\ndestination: {{type: sqlite, path: {db}}}\n"
            )
            for name in ("empty", "one_row"):
                text = template.format(
                    dir=source if name == "one_row" else folder / "missing", name=name, db=folder / f"{name}.db"
                )
                (folder / f"config/pipelines.d/{name}.yaml").write_text(text)
            with RunningDaemon(self.wherryd(), folder) as daemon:
                for name in ("empty", "one_row"):
                    times = []
                    for i in range(60):
                        if name == "one_row":
                            partial = source / "partial.tmp"
                            partial.write_text(f"a\n{i}\n")
                            partial.rename(source / f"{i:03d}.csv")
                        start = time.perf_counter()
                        reply = daemon.call("Sync", {"connection": name, "wait": True})
                        times.append((time.perf_counter() - start) * 1000)
                        assert reply["parameters"]["run"]["outcome"] == "succeeded", reply
                        if name == "one_row":
                            assert reply["parameters"]["run"]["rows_committed"] == 1, reply
                            (source / f"{i:03d}.csv").unlink()
                    median = statistics.median(times[10:])
                    self.report(
                        f"{name.replace('_', '-')} sync, call to answer",
                        f"{median:.1f} ms",
                        "≤ 10 ms",
                        median <= 10,
                        milliseconds=times,
                    )
        finally:
            shutil.rmtree(folder)

    def case_idle(self):
        folder = Path(tempfile.mkdtemp(prefix="wherry-bench-", dir="/dev/shm"))
        count = 10000
        try:
            pipelines = folder / "config/pipelines.d"
            pipelines.mkdir(parents=True)
            for i in range(count):
                (pipelines / f"c{i:05d}.yaml").write_text(
                    f"frequency: 1h\nsource: {{type: files, dir: {folder}/missing}}\nformat: csv\ndest_table: t{i}\n"
                    f"columns: [{{source: a, type: integer}}]\ndestination: {{type: sqlite, path: {folder}/db/{i}.db}}\n"
                )
            (folder / "db").mkdir()
            with RunningDaemon(self.wherryd(), folder, watchdog=False) as daemon:
                deadline = time.monotonic() + 900
                while daemon.unsettled() and time.monotonic() < deadline:
                    time.sleep(2)
                kilobytes = resident(daemon.pid)
                self.report(
                    f"{count:,} hourly connections, resident",
                    f"{kilobytes / 1024:.1f} MB",
                    "≤ 40 MB",
                    kilobytes <= 40960,
                )
                needless, due = daemon.needless_wakeups(30)
                self.report("… wakeups in 30 s with nothing due", str(needless), "0", needless == 0, due=due)
        finally:
            shutil.rmtree(folder)

    def check_count(self, database, expected):
        with sqlite3.connect(database) as db:
            count = db.execute("SELECT count(*) FROM lineitem").fetchone()[0]
            settings = {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "page_size")}
        db.close()
        if count != expected:
            sys.exit(f"bench: {database} has {count} rows, not {expected}")
        self.results[-1]["settings"] = settings


class RunningDaemon:
    """A wherryd that says when it is ready, and a control call without the cost of a process."""

    def __init__(self, wherryd, folder, watchdog=False):
        self.folder = folder
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify"))
        self.notify.settimeout(120)
        environment = {"PATH": os.environ["PATH"], "NOTIFY_SOCKET": str(folder / "notify")}
        self.log = open(folder / "log", "wb")
        self.process = subprocess.Popen(
            [
                wherryd,
                "--config-dir",
                str(folder / "config"),
                "--state-dir",
                str(folder / "state"),
                "--runtime-dir",
                str(folder / "run"),
            ],
            env=environment,
            stderr=self.log,
            stdout=self.log,
        )
        self.pid = self.process.pid

    def __enter__(self):
        while b"READY=1" not in self.notify.recv(65536):
            pass
        self.notify.close()  # nobody would read what follows
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)
        self.log.close()

    def call(self, method, parameters):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(self.folder / "run/org.wherry.Manager"))
            peer.sendall(
                json.dumps({"method": f"org.wherry.Manager.{method}", "parameters": parameters}).encode() + b"\0"
            )
            reply = b""
            while not reply.endswith(b"\0"):
                reply += peer.recv(1 << 20)
        return json.loads(reply[:-1])

    def unsettled(self):
        connections = self.call("List", {})["parameters"]["connections"]
        return any(c["state"] != "idle" or not c["last_started_at"] for c in connections)

    def needless_wakeups(self, seconds):
        """Returns of epoll_wait further than a second from any start or end of a sync."""
        trace = self.folder / "trace"
        runs_before = self.runs()
        tracer = subprocess.Popen(
            ["strace", "-ttt", "-e", "trace=epoll_wait,epoll_pwait", "-o", str(trace), "-p", str(self.pid)],
            stderr=subprocess.DEVNULL,
        )
        time.sleep(seconds)
        tracer.terminate()
        tracer.wait()
        wakes = [float(line.split()[0]) for line in trace.read_text().splitlines() if "epoll" in line and " = " in line]
        starts = [t for run_id, t in self.runs().items() if run_id not in runs_before]
        return sum(1 for wake in wakes if not any(abs(wake - start) < 1 for start in starts)), len(starts)

    def runs(self):
        from datetime import datetime

        runs = self.call("Runs", {"limit": 2000})["parameters"]["runs"]
        return {
            run["run_id"]: datetime.fromisoformat(run["started_at"].replace("Z", "+00:00")).timestamp() for run in runs
        }


def children(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def peak_of(pid):
    try:
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return fields["Name"].strip(), int(fields["VmHWM"].split()[0])
    except (OSError, KeyError):
        return None, 0


def resident(pid):
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0])


CASES = [
    "latency",
    "csv_new",
    "csv_existing",
    "ndjson",
    "ndjson_csv",
    "upserts",
    "upserts_random",
    "upserts_texts",
    "memory",
    "idle",
    "pg_new",
    "pg_existing",
    "pg_parquet",
    "pg_upserts",
    "pg_upserts_many",
    "pg_memory",
    "duck_new",
    "duck_memory",
    "connector_rows",
    "connector_sqlite",
    "connector_one",
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", default="bench.json")
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--work")
    arguments = parser.parse_args()
    bench = Bench(arguments)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Linux {platform.release()}; {bench.rows:,} rows"
    )
    print(f"{'case':<44} {'figure':>12} {'goal':>12}  {'':<7} wherry : native")
    try:
        for name in arguments.only.split(","):
            if name not in CASES:
                parser.error(f"no case “{name}”; there are {', '.join(CASES)}")
            getattr(bench, f"case_{name}")()
    finally:
        if not arguments.work:
            shutil.rmtree(bench.work)
    Path(arguments.json).write_text(json.dumps({"rows": bench.rows, "results": bench.results}, indent=1))


if __name__ == "__main__":
    main()
