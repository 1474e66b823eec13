"""What a writer takes, whatever a batch is like: its peak is read from /proc, of the build without sanitizers."""

import re
from pathlib import Path

import frames
import harness
import pytest
import writers
from frames import ABSENT, KEY

MOST = 40 << 10  # kilobytes, for worker and writer together
COLUMNS = [("id", "integer", KEY), ("large", "string"), ("n", "integer")]


@pytest.fixture
def destination(plain_build, tmp_path):
    found = writers.Destination(plain_build.destination("sqlite"), tmp_path)
    yield found
    for writer in found.writers:
        writer.kill()


def peak_of(destination, *parts):
    """In kilobytes, of a batch of operations that is committed."""
    writer = destination.start(files=False)
    writer.opened()
    writer.put(frames.hello() + b"".join(parts) + frames.encode("CHECKPOINT", number=1, state="{}"))
    writer.expect("TAKEN"), writer.expect("COMMITTED")
    peak = int(re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{writer.process.pid}/status").read_text()).group(1))
    writer.put(frames.encode("END"))
    assert writer.finish() == 0
    return peak


def shown(capsys, what, peak):
    with harness.aloud(capsys):
        print(f"\n{what}: peak of the writer {peak / 1024:.1f} MB")


def test_small_updates_of_one_large_row_in_one_frame(destination, capsys):
    """Each makes a new copy of the row, a thousand times the size of its own bytes."""
    row = frames.rows([(1, "x" * 1_000_000, 0)], operation="upsert")
    updates = frames.rows([(1, ABSENT, i) for i in range(2000)], operation="update")
    peak = peak_of(destination, frames.table("t", COLUMNS), row, updates)
    shown(capsys, "2000 updates of a row of 1 MB", peak)
    assert peak <= MOST
    assert destination.query("SELECT id, length(large), n FROM t") == [(1, 1_000_000, 1999)]


def test_a_large_row_in_each_of_many_tables(destination, capsys):
    """What one row of a table needed is not kept for the next one's sake."""
    parts = []
    for number in range(200):
        parts.append(frames.table(f"t{number}", COLUMNS, number))
        parts.append(frames.rows([(1, "x" * 300_000, number)], number, "upsert"))
    peak = peak_of(destination, *parts)
    shown(capsys, "200 tables with a row of 300 kB", peak)
    assert peak <= MOST
    assert destination.query("SELECT sum(n) FROM (SELECT n FROM t0 UNION ALL SELECT n FROM t199)") == [(199,)]


def test_many_operations_in_one_batch(destination, capsys):
    parts = [frames.table("t", COLUMNS)]
    for start in range(0, 200_000, 1000):
        ids = [(i * 7919) % 100_000 for i in range(start, start + 1000)]
        parts.append(frames.rows([(i, "x" * 100, i) for i in ids], operation="upsert"))
    peak = peak_of(destination, *parts)
    shown(capsys, "200,000 upserts of 100,000 keys in one batch", peak)
    assert peak <= MOST
    assert destination.query("SELECT count(*), sum(n) FROM t") == [(100_000, sum(range(100_000)))]


def unordered(table=0):
    """Rows that are set aside: each frame's keys come before those of the frame before."""
    for start in range(0, 100_000, 1000):
        ids = [(i * 7919) % 100_003 for i in range(start, start + 1000)]
        yield frames.rows([(i, "", 0) for i in ids], table, "upsert")


def test_a_large_row_set_aside_in_each_of_many_tables(destination, capsys):
    """What one table needed to give its rows back is not kept for the next one's sake."""
    parts = [frames.table("t0", COLUMNS), *unordered()]
    for number in range(1, 61):
        parts.append(frames.table(f"t{number}", COLUMNS, number))
        parts.append(frames.rows([(1, "x" * 1_000_000, number)], number, "upsert"))
    peak = peak_of(destination, *parts)
    shown(capsys, "60 tables with a row of 1 MB that is set aside", peak)
    assert peak <= MOST
    assert destination.query("SELECT length(large), n FROM t60") == [(1_000_000, 60)]


def test_updates_of_one_row_that_is_large_in_all(destination, capsys):
    """Each has room, and so has each run of rows; the row that they make together has not."""
    columns = [("id", "integer", KEY)] + [(f"c{i}", "string") for i in range(60)]
    parts = [frames.table("t", columns), frames.rows([(2,) + (None,) * 60, (1,) + (None,) * 60], operation="upsert")]
    for i in range(60):
        row = [1] + [ABSENT] * 60
        row[1 + i] = "x" * 2_000_000
        parts.append(frames.rows([tuple(row)], operation="update"))
    peak = peak_of(destination, *parts)
    shown(capsys, "60 updates that make a row of 120 MB", peak)
    # SQLite itself holds a row of that size while it changes it, some three times over
    assert peak <= 500 << 10
    assert destination.query("SELECT length(c0), length(c59) FROM t WHERE id = 1") == [(2_000_000, 2_000_000)]
