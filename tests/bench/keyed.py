"""Upserts into a keyed table, by destination-sqlite alone and by hand: what both sides of bench.py's cases run.

The frames come from a file, as a pipe would bring them; the native side finds its rows in an attached database, or has
them in memory. Both write into a copy of the same table of a million rows.
"""

import hashlib
import json
import os
import random
import resource
import sqlite3
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import frames
import generate
from frames import KEY
from writer import date_number, peak_kib

COLUMNS = [("id", "integer", KEY), *generate.COLUMNS[1:]]  # 16 in all
TEXT_COLUMNS = [("id", "string", KEY), *COLUMNS[1:]]
NAMES = [column[0] for column in COLUMNS]
PER_FRAME = 800


def numbered(ids, seed):
    """Rows with these ids for a key, dates as text."""
    for number, row in zip(ids, generate.rows(len(ids), seed)):
        yield (number, *row[1:])


def texts(rows):
    """The same rows with a text of 32 bytes for a key, as random as a UUID."""
    for row in rows:
        yield (hashlib.sha256(str(row[0]).encode()).hexdigest()[:32], *row[1:])


def base_ids(count):
    return range(0, 2 * count, 2)


def upsert_ids(count, table):
    """Half of them in the table, from all over it, in order."""
    step = 2 * table // count
    return [i * step + i % 2 for i in range(count)]


def shuffled(ids):
    ids = list(ids)
    random.Random(7).shuffle(ids)
    return ids


def write_frames(path, rows, columns=COLUMNS):
    days = {}
    with open(path, "wb") as file:
        file.write(frames.hello() + frames.table("lineitem", columns))
        batch = []

        def flush():
            file.write(frames.rows(batch, operation="upsert"))
            batch.clear()

        for row in rows:
            dates = [frames.date(days.setdefault(d, 0) or days.setdefault(d, date_number(d))) for d in row[10:13]]
            batch.append([*row[:10], *dates, *row[13:]])
            if len(batch) == PER_FRAME:
                flush()
        if batch:
            flush()
        file.write(frames.encode("CHECKPOINT", number=1, state='{"at": 1}') + frames.encode("END"))


def write_database(path, rows):
    """The rows as a table “fresh” of a database of its own, with the columns that the writer adds."""
    database = sqlite3.connect(path)
    database.execute(f"CREATE TABLE fresh ({', '.join(NAMES)}, _fivetran_synced, _fivetran_deleted)")
    places = ", ".join("?" * len(NAMES))
    database.executemany(f"INSERT INTO fresh VALUES ({places}, '2026-01-01T00:00:00.000001Z', 0)", rows)
    database.commit()
    database.close()


def run(program, path, destination):
    """Seconds, and the peak of the writer in KiB. DESTINATION: a SQLite database's path, or what a pipeline file says."""
    if not isinstance(destination, dict):
        destination = {"type": "sqlite", "path": os.path.abspath(destination)}
    configuration = {"connection": "bench", "run_id": "bench", "files": False, "destination": destination}
    start, peak = time.perf_counter(), 0
    writer = frames.Writer(program, configuration)
    with open(path, "rb") as file:
        while os.sendfile(writer.pipe, file.fileno(), None, 1 << 20):
            peak = max(peak, peak_kib(writer.process.pid))
    while not any(frame.type == "COMMITTED" for frame in writer.seen):
        writer.next()
        peak = max(peak, peak_kib(writer.process.pid))
    if writer.finish() != 0 or not writer.frames("DONE"):
        sys.exit(f"bench: {program} failed: {writer.seen[-3:]}")
    return time.perf_counter() - start, peak


def upsert_statement(values):
    columns = [*NAMES, "_fivetran_synced", "_fivetran_deleted"]
    sets = ", ".join(f"{name} = excluded.{name}" for name in columns[1:])
    return f"INSERT INTO lineitem ({', '.join(columns)}) {values} ON CONFLICT (id) DO UPDATE SET {sets}"


def native_merge(fresh):
    """For the sqlite3 shell."""
    return f"ATTACH '{fresh}' AS fresh;\n{upsert_statement('SELECT * FROM fresh.fresh WHERE true')};\n"


def row_by_row(database, rows):
    """Seconds of one transaction, a statement per row, as a connector's author would write it."""
    start = time.perf_counter()
    connection = sqlite3.connect(database)
    places = ", ".join("?" * len(NAMES))
    statement = upsert_statement(f"VALUES ({places}, '2026-01-01T00:00:00.000001Z', 0)")
    with connection:
        connection.executemany(statement, rows)
    connection.close()
    return time.perf_counter() - start


def check(database, expected):
    connection = sqlite3.connect(database)
    (count,) = connection.execute("SELECT count(*) FROM lineitem").fetchone()
    connection.close()
    if count != expected:
        sys.exit(f"bench: {database} has {count} rows, not {expected}")


if __name__ == "__main__":
    # keyed.py PROGRAM FRAMES DATABASE: one run, to be profiled
    seconds, peak = run(sys.argv[1], sys.argv[2], sys.argv[3])
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps({"wall_s": round(seconds, 3), "cpu_s": round(usage.ru_utime + usage.ru_stime, 3), "peak_kib": peak})
    )
