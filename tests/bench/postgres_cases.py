"""The PostgreSQL cases of bench.py, against psql by hand, on a server of their own with its durable settings as they come.

Both sides run on the same server, in databases of the same content; only max_wal_size is raised, so that no checkpoint falls
into one side's time.
"""

import atexit
import csv
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import generate
import keyed
import postgres

TYPES = {"integer": "bigint", "float": "double precision", "string": "text", "date": "date"}


class PostgresCases:
    """Mixed into Bench."""

    _server = None

    def server(self):
        if not self._server:
            self._server = postgres.Server(shared_buffers="128MB", max_wal_size="8GB", checkpoint_timeout="1h")
            atexit.register(self._server.close)
        return self._server

    def psql(self, database, *commands):
        arguments = [argument for command in commands for argument in ("-c", command)]
        url = self.server().url(database)
        return self.timed(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *arguments, url])

    def database(self, name, template="template1"):
        server = self.server()
        server.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", database="postgres")
        server.execute(f"CREATE DATABASE {name} TEMPLATE {template}", "CHECKPOINT", database="postgres")
        return name

    def pg_pipeline(self, name, database, source_dir, format="csv"):
        path = self.pipeline(name, format, f"*.{format}", "unused.db", source_dir)
        text = path.read_text().rsplit("destination:", 1)[0]
        path.write_text(f"{text}destination: {{type: postgres, url: '{self.server().url(database)}'}}\n")
        return path

    def bare_table(self):
        columns = ", ".join(f"{name} {TYPES[kind]}" for name, kind in generate.COLUMNS)
        return f"CREATE TABLE lineitem ({columns})"

    def pg_count(self, database, expected):
        ((count,),) = self.server().query("SELECT count(*) FROM lineitem", database)
        if int(count) != expected:
            sys.exit(f"bench: {database} has {count} rows, not {expected}")
        names = ("server_version", "fsync", "synchronous_commit", "wal_level", "shared_buffers")
        self.results[-1]["settings"] = {name: self.server().query(f"SHOW {name}", database)[0][0] for name in names}

    def case_pg_new(self):
        file = self.data("csv")
        pipeline = self.pg_pipeline("pg_new", "ours", file.parent)
        copy = f"\\copy lineitem FROM '{file}' WITH (FORMAT csv, HEADER)"

        def setup():
            self.database("ours"), self.database("theirs")
            self.psql("theirs", self.bare_table())

        self.compare(
            "csv into a new PostgreSQL table",
            lambda: self.sync(pipeline, self.work / "state"),
            lambda: self.psql("theirs", copy),
            1.0,
            setup,
        )
        self.pg_count("ours", self.rows)

    def case_pg_existing(self):
        file = self.data("csv")
        other = self.work / "pg-second"
        other.mkdir(exist_ok=True)
        second = other / "second.csv"
        if not second.exists():
            second.write_bytes(file.read_bytes() + b"1,1,1,1,1,1,0,0,N,O,1995-01-01,1995-01-01,1995-01-01,x,y,z\n")
        self.database("base"), self.database("native_base")
        self.sync(self.pg_pipeline("pg_existing", "base", file.parent), self.work / "state")
        self.psql("native_base", self.bare_table(), f"\\copy lineitem FROM '{file}' WITH (FORMAT csv, HEADER)")
        pipeline = self.pg_pipeline("pg_existing", "ours", other)
        copy = f"\\copy lineitem FROM '{second}' WITH (FORMAT csv, HEADER)"

        def setup():
            self.database("ours", "base"), self.database("theirs", "native_base")

        self.compare(
            f"csv into {self.rows:,} rows of PostgreSQL",
            lambda: self.sync(pipeline, self.work / "state"),
            lambda: self.psql("theirs", copy),
            1.25,
            setup,
        )
        self.pg_count("ours", 2 * self.rows + 1)

    def case_pg_parquet(self):
        """Both formats wait for the server where it has a core for itself, and then take the same time: of 300,000 rows it
        needed 1.4 s of CPU, the writer 0.37 s, and the worker 0.42 s for Parquet, 0.50 s for CSV."""
        file, csv = self.data("parquet"), self.data("csv")
        parquet_pipeline = self.pg_pipeline("pg_parquet", "ours", file.parent, "parquet")
        csv_pipeline = self.pg_pipeline("pg_csv", "theirs", csv.parent)

        def setup():
            self.database("ours"), self.database("theirs")

        self.compare(
            "parquet into PostgreSQL, against our own csv",
            lambda: self.sync(parquet_pipeline, self.work / "state"),
            lambda: self.sync(csv_pipeline, self.work / "state"),
            0.8,
            setup,
        )
        self.pg_count("theirs", self.rows)
        self.pg_count("ours", self.rows)

    # --- keyed ---

    def pg_merge(self, path, database):
        """Seconds, and the peak of the writer in KiB."""
        program = str(self.build / "connectors/destinations/postgres/destination-postgres")
        return keyed.run(program, path, {"type": "postgres", "url": self.server().url(database)})

    def pg_keyed_base(self):
        if not self.server().query("SELECT 1 FROM pg_database WHERE datname = 'keyed_base'", "postgres"):
            path = self.work / "pg-keyed-base.frames"
            keyed.write_frames(path, keyed.numbered(keyed.base_ids(self.rows), 1))
            self.database("keyed_base")
            self.pg_merge(path, "keyed_base")
            self.psql("keyed_base", "VACUUM ANALYZE")
            path.unlink()
        return "keyed_base"

    def upserts(self, count, goal, title):
        path, fresh = self.work / "pg-keyed.frames", self.work / "pg-keyed.csv"
        ids, peaks = keyed.upsert_ids(count, self.rows), []
        keyed.write_frames(path, keyed.numbered(ids, 2))
        with open(fresh, "w", newline="") as file:
            writer = csv.writer(file)
            for row in keyed.numbered(ids, 2):
                writer.writerow([*row, "2026-01-01T00:00:00.000001Z", "f"])
        columns = [*keyed.NAMES, "_fivetran_synced", "_fivetran_deleted"]
        sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in columns[1:])
        names = ", ".join(columns)
        by_hand = [
            "BEGIN",
            "CREATE TEMP TABLE s (LIKE lineitem) ON COMMIT DROP",
            f"\\copy s ({names}) FROM '{fresh}' WITH (FORMAT csv)",
            f"INSERT INTO lineitem ({names}) SELECT {names} FROM s ON CONFLICT (id) DO UPDATE SET {sets}",
            "COMMIT",
        ]
        base = self.pg_keyed_base()

        def setup():
            self.database("ours", base), self.database("theirs", base)

        def run():
            seconds, peak = self.pg_merge(path, "ours")
            peaks.append(peak)
            return seconds

        self.compare(title, run, lambda: self.psql("theirs", *by_hand), goal, setup)
        inserted = sum(number % 2 for number in ids)
        self.pg_count("ours", self.rows + inserted)
        self.pg_count("theirs", self.rows + inserted)
        self.report("… peak memory of the writer", f"{max(peaks) / 1024:.1f} MB", "≤ 40 MB", max(peaks) <= 40 << 10)

    def case_pg_upserts(self):
        self.upserts(self.rows // 10, 1.1, f"{self.rows // 10:,} upserts into {self.rows:,} rows of PostgreSQL")

    def case_pg_upserts_many(self):
        self.upserts(self.rows, 1.3, f"{self.rows:,} upserts into {self.rows:,} rows of PostgreSQL")

    def case_pg_memory(self):
        file = self.data("csv")
        self.database("ours")
        state = self.work / "pg-memory-state"
        pipeline = self.pg_pipeline("pg_memory", "ours", file.parent)
        command = [self.wherryd(), "--once", "--file", str(pipeline), "--state-dir", str(state)]
        peaks = self.peak_memory(command)
        shutil.rmtree(state, ignore_errors=True)
        total = sum(peaks.values())
        title = f"peak memory, worker + PostgreSQL's writer, {self.rows:,} rows"
        self.report(title, f"{total / 1024:.1f} MB", "≤ 40 MB", total <= 40 * 1024, kilobytes=peaks)
