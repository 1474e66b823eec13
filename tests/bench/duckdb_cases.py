"""The DuckDB cases of bench.py, against DuckDB's own COPY FROM in Python's duckdb, of the same version as our library.

Both sides make a new database with the same eighteen columns and end with it closed, checkpointed and on disk. The other
side's time is that of its statements and its close, without the start of Python.
"""

import json
import shutil
import subprocess
import sys

import generate

TYPES = {"integer": "BIGINT", "float": "DOUBLE", "string": "VARCHAR", "date": "DATE"}
MEMORY_LIMIT_MB = 64  # where memory is measured; the least that may be set
COPY = """
import sys, time
import duckdb
database, file, columns, names = sys.argv[1:]
start = time.perf_counter()
connection = duckdb.connect(database, config={"threads": int(%d)})
connection.execute("SET enable_progress_bar = false")
connection.execute(f"CREATE TABLE lineitem ({columns}, _source_file_hash VARCHAR NOT NULL DEFAULT '{'0' * 64}',"
                   " _ingested_at TIMESTAMP NOT NULL DEFAULT now()::TIMESTAMP)")
connection.execute(f"COPY lineitem ({names}) FROM '{file}' (FORMAT csv, HEADER)")
connection.close()
print(time.perf_counter() - start)
"""
THREADS = 2


class DuckdbCases:
    """Mixed into Bench."""

    def duck_folder(self, name):
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder / "out.duckdb"

    def duck_pipeline(self, name, database, source_dir, **keys):
        path = self.pipeline(name, "csv", "*.csv", "unused.db", source_dir)
        text = path.read_text().rsplit("destination:", 1)[0]
        path.write_text(
            f"{text}destination: {json.dumps({'type': 'duckdb', 'path': str(database), 'threads': THREADS, **keys})}\n"
        )
        return path

    def duck_copy(self, database, file):
        columns = ", ".join(f"{name} {TYPES[kind]}" for name, kind in generate.COLUMNS)
        names = ", ".join(name for name, _ in generate.COLUMNS)
        command = [sys.executable, "-c", COPY % THREADS, str(database), str(file), columns, names]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            sys.exit(f"bench: DuckDB's COPY failed:\n{run.stderr}")
        return float(run.stdout.split()[-1])

    def duck_parquet(self, csv, file):
        """The same rows as Parquet, as DuckDB writes it by itself."""
        columns = json.dumps({name: TYPES[kind] for name, kind in generate.COLUMNS}).replace('"', "'")
        command = f"COPY (FROM read_csv('{csv}', header = true, columns = {columns})) TO '{file}' (FORMAT parquet)"
        subprocess.run(
            [
                sys.executable,
                "-c",
                f'import duckdb; duckdb.sql("SET enable_progress_bar = false"); duckdb.sql("""{command}""")',
            ],
            check=True,
        )

    def duck_count(self, database):
        command = f"import duckdb; print(duckdb.connect({str(database)!r}).execute('SELECT count(*) FROM lineitem').fetchone()[0])"
        run = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True)
        if int(run.stdout) != self.rows:
            sys.exit(f"bench: {database} has {run.stdout.strip()} rows, not {self.rows}")

    def case_duck_new(self):
        file = self.data("csv")
        ours, theirs = self.work / "duck-ours/out.duckdb", self.work / "duck-theirs/out.duckdb"
        pipeline = self.duck_pipeline("duck_new", ours, file.parent)

        def setup():
            self.duck_folder("duck-ours"), self.duck_folder("duck-theirs")

        self.compare(
            "csv into a new DuckDB table",
            lambda: self.sync(pipeline, self.work / "state"),
            lambda: self.duck_copy(theirs, file),
            1.0,
            setup,
        )
        self.duck_count(ours)

    def case_duck_memory(self):
        file = self.data("csv")
        database = self.duck_folder("duck-memory")
        pipeline = self.duck_pipeline("duck_memory", database, file.parent, memory_limit=f"{MEMORY_LIMIT_MB}M")
        state = self.work / "duck-state"
        shutil.rmtree(state, ignore_errors=True)
        peaks = self.peak_memory([self.wherryd(), "--once", "--file", str(pipeline), "--state-dir", str(state)])
        shutil.rmtree(state, ignore_errors=True)
        total = sum(peaks.values()) / 1024
        self.report(
            f"peak memory into DuckDB, limit {MEMORY_LIMIT_MB} MB apart",
            f"{total - MEMORY_LIMIT_MB:.1f} MB",
            "≤ 40 MB",
            total <= MEMORY_LIMIT_MB + 40,
            kilobytes=peaks,
        )
