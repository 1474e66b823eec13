"""destination-sqlite by itself, for the tests that feed it op frames: a database path and the writers started on it."""

import sqlite3

import frames
from frames import REQUIRED

COLUMNS = [("id", "integer", REQUIRED), ("note", "string"), ("price", "float")]
FILE_TABLE = (
    'CREATE TABLE orders ("_id" INTEGER PRIMARY KEY, "id" INTEGER, "note" TEXT, "price" REAL, '
    '"_source_file_hash" TEXT NOT NULL, "_ingested_at" TEXT NOT NULL)'
)


def configuration(run, destination, connection, write_mode, files, **more):
    """What BEGIN says to a writer in the RUN-th run of CONNECTION."""
    return {
        "connection": connection,
        "run_id": f"run-{run}",
        "files": files,
        "write_mode": write_mode,
        "commit_interval": 0,
        "sandbox": {"mode": "default"},
        "destination": destination,
        **({"dest_table": "orders"} if files else {}),
        **more,
    }


class Destination:
    """A database path and the writers started on it; all end with the test."""

    def __init__(self, program, folder):
        self.program, self.folder, self.path = program, folder, folder / "orders.db"
        self.writers = []

    def configuration(self, connection="orders", write_mode="append", path=None, files=True, **more):
        own = {k: more.pop(k) for k in ("journal_mode", "busy_timeout") if k in more}
        destination = {"type": "sqlite", "path": str(path or self.path), **own}
        return configuration(len(self.writers) + 1, destination, connection, write_mode, files, **more)

    def start(self, **options):
        prefix = options.pop("prefix", [])
        writer = frames.Writer([*prefix, str(self.program)], self.configuration(**options))
        self.writers.append(writer)
        return writer

    def load(self, *parts, columns=COLUMNS, end=True, **options):
        """A whole sync. The writer, with `.status`."""
        writer = self.start(**options)
        writer.put(frames.hello() + frames.table("orders", columns) + b"".join(parts))
        if end:
            writer.put(frames.encode("END"))
        writer.status = writer.finish()
        return writer

    def query(self, sql, *parameters):
        with sqlite3.connect(self.path) as database:
            result = database.execute(sql, parameters).fetchall()
        database.close()
        return result

    def execute(self, *statements):
        database = sqlite3.connect(self.path)
        for statement in statements:
            database.execute(statement)
        database.commit()
        database.close()

    def rows(self):
        return self.query("SELECT id, note, price FROM orders ORDER BY _id")

    def ledger(self):
        return self.query("SELECT name, row_count FROM _wherry_files ORDER BY name")

    def is_locked(self):
        """Whether somebody is in a writing transaction."""
        database = sqlite3.connect(self.path, isolation_level=None, timeout=0)
        try:
            database.execute("BEGIN IMMEDIATE")
            return False
        except sqlite3.OperationalError:
            return True
        finally:
            database.close()

    def intact(self):
        return self.query("PRAGMA integrity_check") == [("ok",)]


def items(count, start=0):
    return [(i, f"note {i}", i / 4) for i in range(start, start + count)]


def failure(writer):
    assert writer.status == 1
    return writer.error()


def upserts(*ids):
    return frames.rows([(i,) for i in ids], operation="upsert")
