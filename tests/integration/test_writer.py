"""destination-sqlite by itself: op frames in, a database and reports out; every failure a user can cause, by its text."""

import array
import fcntl
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import termios
import threading
import time
from pathlib import Path

import frames
import harness
import pytest
from frames import KEY, REQUIRED

COLUMNS = [("id", "integer", REQUIRED), ("note", "string"), ("price", "float")]
FILE_TABLE = (
    'CREATE TABLE orders ("_id" INTEGER PRIMARY KEY, "id" INTEGER, "note" TEXT, "price" REAL, '
    '"_source_file_hash" TEXT NOT NULL, "_ingested_at" TEXT NOT NULL)'
)


class Destination:
    """A database path and the writers started on it; all end with the test."""

    def __init__(self, program, folder):
        self.program, self.folder, self.path = program, folder, folder / "orders.db"
        self.writers = []

    def configuration(self, connection="orders", write_mode="append", path=None, files=True, **more):
        own = {k: more.pop(k) for k in ("journal_mode", "busy_timeout") if k in more}
        table = {"dest_table": "orders"} if files else {}
        return {
            "connection": connection,
            "run_id": f"run-{len(self.writers) + 1}",
            "files": files,
            "write_mode": write_mode,
            "commit_interval": 0,
            "sandbox": {"mode": "default"},
            "destination": {"type": "sqlite", "path": str(path or self.path), **own},
            **table,
            **more,
        }

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


@pytest.fixture
def destination(build, tmp_path):
    found = Destination(build.destination("sqlite"), tmp_path)
    yield found
    for writer in found.writers:
        writer.kill()
    # What a killed writer's caretaker has left to do takes a moment.
    harness.wait_for(lambda: not harness.leftovers(), "the end of all writers")


def items(count, start=0):
    return [(i, f"note {i}", i / 4) for i in range(start, start + count)]


def failure(writer):
    assert writer.status == 1
    return writer.error()


# --- loading ---


def test_values_keep_their_meaning(destination):
    columns = [
        ("s", "string"), ("i", "integer"), ("f", "float"), ("b", "boolean"), ("d", "date"), ("t", "timestamp"),
        ("n", "decimal"), ("j", "json"), ("x", "binary"),
    ]  # fmt: skip
    row = [
        "é\0\n", -(2**63), 0.1, False, frames.date(-719162), frames.timestamp(0, 1, 330),
        frames.decimal("-123456789012345678901234567890.10"), frames.json_value('{"a": [1]}'), b"\0\xff",
    ]  # fmt: skip
    writer = destination.load(frames.file_frames("a", [row, [None] * 9, [""] + [frames.ABSENT] * 8]), columns=columns)
    assert writer.status == 0
    sql = "SELECT s, i, f, b, d, t, n, j, x FROM orders ORDER BY _id"
    assert destination.query(sql) == [
        (
            "é\0\n", -(2**63), 0.1, 0, "0001-01-01", "1970-01-01T05:30:00.000000001+05:30",
            "-123456789012345678901234567890.10", '{"a": [1]}', b"\0\xff",
        ),
        (None,) * 9,
        ("",) + (None,) * 8,
    ]  # fmt: skip
    types = "typeof(s), typeof(i), typeof(f), typeof(b), typeof(d), typeof(t), typeof(n), typeof(j), typeof(x)"
    assert destination.query(f"SELECT {types} FROM orders WHERE _id = 1") == [
        ("text", "integer", "real", "integer", "text", "text", "text", "text", "blob")
    ]


def test_tables_are_as_filedge_makes_them(destination):
    assert destination.load(frames.file_frames("a", items(1))).status == 0
    assert destination.query("SELECT name, type, \"notnull\", pk FROM pragma_table_info('orders')") == [
        ("_id", "INTEGER", 0, 1),
        ("id", "INTEGER", 0, 0),
        ("note", "TEXT", 0, 0),
        ("price", "REAL", 0, 0),
        ("_source_file_hash", "TEXT", 1, 0),
        ("_ingested_at", "TEXT", 1, 0),
    ]
    assert destination.query("SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'orders'") == [
        ("orders_source_file_hash_idx",)
    ]
    ((hash_, time_),) = destination.query("SELECT _source_file_hash, _ingested_at FROM orders")
    assert hash_ == frames.digest(b"a").hex()
    assert len(time_) == 32 and time_.endswith("+00:00")


def test_a_file_is_a_transaction_and_a_report(destination):
    writer = destination.load(frames.file_frames("a", items(2500)), frames.file_frames("b", items(3)), run_id="me")
    done = writer.frames("FILE_DONE")
    assert [(d["outcome"], d["rows"], d["sequence"]) for d in done] == [(1, 2500, 1), (1, 3, 2)]
    assert [d["hash"] for d in done] == [frames.digest(b"a"), frames.digest(b"b")]
    assert writer.frames("DONE") == [{"rows": 2503, "bytes": 0}]
    assert destination.rows() == items(2500) + items(3)
    assert destination.ledger() == [("a", 2500), ("b", 3)]
    assert destination.query("SELECT connection, sequence, epoch, run_id, state FROM _wherry_state") == [
        ("orders", 2, 1, "me", "{}")
    ]
    again = destination.start()
    assert again.opened().fields == {"sequence": 2, "epoch": 1, "run_id": "me", "state": "{}"}


def test_the_same_file_replaces_its_rows(destination):
    destination.load(frames.file_frames("a", items(3)), frames.file_frames("b", items(2)))
    writer = destination.load(frames.file_frames("a", items(4, 10)))
    assert writer.status == 0
    assert destination.rows() == items(2) + items(4, 10)
    assert destination.ledger() == [("a", 4), ("b", 2)]


def test_truncate_leaves_the_last_file(destination):
    destination.load(frames.file_frames("a", items(3)), write_mode="truncate")
    destination.load(frames.file_frames("b", items(2)), frames.file_frames("c", items(5, 7)), write_mode="truncate")
    assert destination.rows() == items(5, 7)
    assert destination.query("SELECT count(*) FROM sqlite_schema WHERE name = 'orders_source_file_hash_idx'") == [(1,)]


def test_a_file_without_rows_makes_its_table(destination):
    writer = destination.load(frames.file_frames("a", []))
    assert [(d["outcome"], d["rows"]) for d in writer.frames("FILE_DONE")] == [(1, 0)]
    assert destination.rows() == []
    assert destination.ledger() == [("a", 0)]


def test_table_inside_the_file_and_twice(destination):
    begin, rows, end = (
        frames.encode("FILE_BEGIN", hash=frames.digest(b"a"), name="a"),
        frames.rows(items(2)),
        frames.encode("FILE_END", outcome=frames.LOADED, hash=frames.digest(b"a"), rows=4),
    )
    writer = destination.start()
    table = frames.table("orders", COLUMNS)
    writer.put(frames.hello() + begin + table + rows + table + rows + end + frames.encode("END"))
    assert writer.finish() == 0
    assert destination.rows() == items(2) * 2  # the second TABLE deletes nothing


def test_an_empty_sync_writes_nothing(destination):
    assert destination.load().status == 0
    assert list(destination.folder.iterdir()) == []
    assert destination.load(frames.file_frames("a", items(1), outcome=frames.FAILED)).status == 0
    assert list(destination.folder.iterdir()) == []
    destination.load(frames.file_frames("a", items(1)))
    before = destination.path.read_bytes()
    assert destination.load().status == 0
    assert destination.path.read_bytes() == before


def test_a_killed_writer_leaves_no_empty_database(destination):
    writer = destination.start()
    writer.opened()
    assert destination.path.exists()
    writer.kill()
    deadline = time.monotonic() + 10
    while destination.path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert list(destination.folder.iterdir()) == []


# --- files that fail ---


def test_a_bad_file_does_not_stop_the_next(destination):
    writer = destination.load(
        frames.file_frames("bad", [*items(5), (None, "x", 1.0), *items(2000)], rows=1),
        frames.file_frames("good", items(2)),
    )
    assert writer.status == 0
    bad, good = writer.frames("FILE_DONE")
    assert (bad["outcome"], bad["rows"], bad["sequence"]) == (frames.FAILED, 0, 0)
    assert bad["error"] == 'bad: row 6, column "id": no value, but the column is required'
    assert (good["outcome"], good["rows"], good["sequence"]) == (frames.LOADED, 2, 1)
    assert destination.rows() == items(2)
    assert destination.ledger() == [("good", 2)]


def test_a_bad_file_that_came_first_undoes_its_table(destination):
    writer = destination.load(frames.file_frames("bad", [(None, "x", 1.0)]))
    assert writer.status == 0
    assert list(destination.folder.iterdir()) == []


@pytest.mark.parametrize(
    "row,text",
    [
        ((1, b"\x08\x02\0\0\0\xff\xfe", 1.0), 'a: row 3, column "note": text that is not UTF-8: "\\xFF\\xFE"'),
        ((1, "x", float("nan")), 'a: row 3, column "price": a number that is not finite'),
        ((1, "x" * 101, 1.0), 'a: row 3, column "note": a value over `max_value_size`'),
    ],
)
def test_bad_values_name_their_place(destination, row, text):
    row = [frames.Raw(v) if isinstance(v, bytes) else v for v in row]
    writer = destination.load(frames.file_frames("a", [*items(2), row]), max_value_size=100)
    assert writer.status == 0
    assert writer.frames("FILE_DONE")[0]["error"] == text


def test_constraints_of_the_table_are_the_file_s_fault(destination):
    destination.execute(FILE_TABLE, "CREATE UNIQUE INDEX u ON orders (note)")
    writer = destination.load(
        frames.file_frames("twice", [(1, "a", 1.0), (2, "a", 1.0)]), frames.file_frames("once", items(1))
    )
    assert writer.status == 0
    assert writer.frames("FILE_DONE")[0]["error"] == "twice: row 2: UNIQUE constraint failed: orders.note"
    assert destination.rows() == items(1)


@pytest.mark.parametrize("outcome", [frames.FAILED, frames.CHANGED, frames.ABORTED])
def test_the_worker_s_outcome_is_passed_on(destination, outcome):
    writer = destination.load(
        frames.file_frames("a", items(3), outcome=outcome, error="why\n"), frames.file_frames("b", items(1))
    )
    assert writer.status == 0
    first = writer.frames("FILE_DONE")[0]
    assert (first["outcome"], first["rows"], first["error"]) == (outcome, 0, "why\\x0A")
    assert destination.rows() == items(1)


def test_other_bytes_than_announced_are_not_kept(destination):
    writer = destination.load(frames.file_frames("a", items(3), hash=frames.digest(b"other")))
    assert writer.status == 0
    assert writer.frames("FILE_DONE")[0]["outcome"] == frames.CHANGED
    assert not destination.path.exists()


def test_a_wrong_row_count_ends_the_sync(destination):
    kind, text = failure(destination.load(frames.file_frames("a", items(3), rows=4)))
    assert kind == "internal" and "it counted 4 rows in a file and sent 3" in text
    assert not destination.path.exists()


# --- the conversation ---


def ask(writer, *names):
    for name in names:
        writer.say(frames.encode("FILE_SEEN", hash=frames.digest(name), size=1, name=name))
    return [writer.expect("FILE_VERDICT").fields for _ in names]


def test_a_question_that_comes_during_a_long_commit_is_answered_after_it(destination):
    """It is heard while a reader holds up the commit, and nothing comes in afterwards that would wake the writer."""
    destination.load(frames.file_frames("first", items(1)))
    reader = sqlite3.connect(destination.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM orders").fetchall()
    writer = destination.start()
    writer.opened()
    writer.put(frames.hello() + frames.table("orders", COLUMNS) + frames.file_frames("a", items(2)))
    harness.wait_for(destination.is_locked, "the transaction")
    time.sleep(0.3)
    writer.say(frames.encode("FILE_SEEN", hash=frames.digest(b"b"), size=1, name="b"))
    time.sleep(0.5)  # several looks at what has come in
    reader.execute("ROLLBACK")
    reader.close()
    writer.expect("FILE_DONE")
    assert writer.expect("FILE_VERDICT").fields["verdict"] == frames.UNKNOWN


def test_files_seen(destination):
    writer = destination.start()
    writer.opened()
    assert [v["verdict"] for v in ask(writer, b"a")] == [frames.UNKNOWN]
    writer.put(frames.hello() + frames.table("orders", COLUMNS) + frames.file_frames("a", items(1)))
    writer.expect("FILE_DONE")
    # in the middle of another file, and several at once
    writer.put(frames.encode("FILE_BEGIN", hash=frames.digest(b"b"), name="b") + frames.rows(items(2)))
    answers = ask(writer, b"b", b"a")
    assert [(v["hash"], v["verdict"]) for v in answers] == [
        (frames.digest(b"b"), frames.UNKNOWN),
        (frames.digest(b"a"), frames.SKIP),
    ]
    writer.put(frames.encode("FILE_END", outcome=1, hash=frames.digest(b"b"), rows=2) + frames.encode("END"))
    assert writer.finish() == 0
    # another connection's files are not ours
    other = destination.start(connection="other")
    other.opened()
    assert [v["verdict"] for v in ask(other, b"a")] == [frames.UNKNOWN]


def test_cancel(destination):
    writer = destination.start()
    writer.opened()
    writer.put(frames.hello() + frames.table("orders", COLUMNS) + frames.file_frames("a", items(1)))
    writer.expect("FILE_DONE")
    writer.put(frames.encode("FILE_BEGIN", hash=frames.digest(b"b"), name="b") + frames.rows(items(2)))
    writer.say(frames.encode("CANCEL"))
    assert writer.finish() == 1
    assert writer.error() == ("cancelled", "cancelled")
    assert destination.rows() == items(1)


def test_the_end_of_the_pipe_is_not_the_end(destination):
    begin = frames.encode("FILE_BEGIN", hash=frames.digest(b"b"), name="b")
    for rest in (b"", begin, begin + frames.rows(items(2)), begin + frames.rows(items(2))[:20]):
        kind, text = failure(destination.load(frames.file_frames("a", items(1)), rest, end=False))
        assert kind == "cancelled"
        assert text == "the worker ended before it had sent everything; what was not committed is rolled back"
        assert destination.rows() == items(1)


@pytest.mark.parametrize("complete", [True, False])
def test_worker_gone_with_the_pipe_held_open(destination, complete):
    writer = destination.start()
    writer.opened()
    held = os.dup(writer.pipe)  # as a grandchild of the worker would
    try:
        writer.put(frames.hello() + frames.table("orders", COLUMNS) + frames.file_frames("a", items(5000)))
        writer.put(frames.encode("END") if complete else frames.encode("FILE_BEGIN", hash=bytes(32), name="b"))
        writer.say(frames.encode("WORKER_GONE"))
        assert writer.finish() == (0 if complete else 1)
    finally:
        os.close(held)
    # What was complete is kept; only what was not is undone.
    assert len(destination.rows()) == 5000
    if not complete:
        assert writer.error()[0] == "cancelled"


def test_worker_gone_does_not_wait_for_a_flood(destination):
    """A grandchild that never stops writing is not listened to for long."""
    writer = destination.start()
    writer.opened()
    writer.put(frames.hello() + frames.table("orders", COLUMNS))
    writer.put(frames.encode("FILE_BEGIN", hash=frames.digest(b"b"), name="b"))
    stop = threading.Event()
    held = os.dup(writer.pipe)

    def flood():
        data = frames.rows(items(1000))
        try:
            while not stop.is_set():
                os.write(held, data)
        except BrokenPipeError:
            pass

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        time.sleep(0.2)
        writer.say(frames.encode("WORKER_GONE"))
        assert writer.finish(30) == 1
    finally:
        stop.set()
        writer.kill()  # so that nobody reads, and the thread's write ends
        thread.join()
        os.close(held)
    assert writer.error()[0] == "cancelled"


def test_the_daemon_s_end_ends_the_writer(destination):
    writer = destination.start()
    writer.opened()
    writer.put(frames.hello() + frames.table("orders", COLUMNS))
    writer.put(frames.encode("FILE_BEGIN", hash=frames.digest(b"b"), name="b") + frames.rows(items(2)))
    writer.socket.close()
    assert writer.process.wait(30) == 1


def test_progress_during_a_load(destination):
    writer = destination.start()
    writer.opened()
    writer.put(frames.hello() + frames.table("orders", COLUMNS))
    writer.put(frames.encode("FILE_BEGIN", hash=frames.digest(b"b"), name="b"))
    for _ in range(4):
        writer.put(frames.rows(items(10)))
        time.sleep(0.12)
    while True:
        progress = writer.expect("PROGRESS").fields
        if progress["rows"] == 40:
            break
    assert (progress["file"], progress["phase"]) == ("b", "loading")


def test_progress_waits_for_nobody(destination):
    """A daemon that is slow to read does not hold the load up."""
    writer = frames.Writer(str(destination.program), destination.configuration(), send_buffer=4096)
    destination.writers.append(writer)
    writer.put(frames.hello() + frames.table("orders", COLUMNS))
    writer.put(frames.encode("FILE_BEGIN", hash=frames.digest(b"b"), name="b"))
    for _ in range(40):
        writer.put(frames.rows(items(10)))
        time.sleep(0.11)
    left = array.array("i", [1])

    def is_drained():
        fcntl.ioctl(writer.pipe, termios.FIONREAD, left)
        return left[0] == 0

    harness.wait_for(is_drained, "the writer to read on", 20)


@pytest.mark.parametrize(
    "data,text",
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not a frame"),
        (frames.rows(items(1)), "frame ROWS before HELLO"),
        (frames.hello(magic=1), "HELLO has the wrong magic number"),
        (frames.hello() + frames.table("_wherry_state", COLUMNS), 'reserved table name "_wherry_state"'),
        (frames.hello() + frames.table("neighbour", COLUMNS), 'this connection has no table "neighbour"'),
        (frames.hello() + frames.table("orders", COLUMNS) + frames.rows(items(1)), "frame ROWS outside a file"),
        (frames.hello() + frames.encode("CHECKPOINT", number=1, state="{}"), "frame CHECKPOINT outside a file"),
        (frames.hello() + frames.encode("OPENED"), "frame OPENED outside a file"),
    ],
)
def test_the_worker_is_not_trusted(destination, data, text):
    writer = destination.start()
    writer.opened()
    writer.put(data)
    assert writer.finish() == 1
    kind, message = writer.error()
    assert kind == "internal" and "the worker broke the protocol" in message and text in message
    assert not destination.path.exists()


# --- rows outside files, checkpoints, state ---


def upserts(*ids):
    return frames.rows([(i,) for i in ids], operation="upsert")


def test_checkpoints_commit_rows_and_state(destination):
    writer = destination.start(files=False)
    writer.opened()
    writer.put(frames.hello() + frames.table("t", [("id", "integer", KEY)]) + upserts(1, 2))
    writer.put(frames.encode("CHECKPOINT", number=1, state='{"at": 2}'))
    assert writer.expect("TAKEN").fields == {"number": 1}
    assert writer.expect("COMMITTED").fields == {"sequence": 1, "rows": 2, "state": '{"at": 2}'}
    assert destination.query("SELECT id FROM t") == [(1,), (2,)]
    writer.put(upserts(3) + frames.encode("END"))
    assert writer.finish() == 0  # rows after the last checkpoint are kept, the state stays
    assert writer.frames("COMMITTED")[1] == {"sequence": 2, "rows": 1, "state": ""}
    assert destination.query("SELECT id FROM t") == [(1,), (2,), (3,)]
    assert destination.query("SELECT sequence, state FROM _wherry_state") == [(2, '{"at": 2}')]
    assert destination.start(files=False).opened().fields["state"] == '{"at": 2}'


def test_checkpoints_are_merged_within_the_interval(destination):
    writer = destination.start(files=False, commit_interval=1)
    writer.opened()
    writer.put(frames.hello() + frames.table("t", [("id", "integer", KEY)]))
    for i in range(1, 6):
        writer.put(upserts(i) + frames.encode("CHECKPOINT", number=i, state=json.dumps({"at": i})))
        assert writer.expect("TAKEN").fields["number"] == i
    # Nothing more comes: the interval alone brings the commit.
    assert writer.expect("COMMITTED").fields == {"sequence": 1, "rows": 5, "state": '{"at": 5}'}
    writer.put(upserts(6) + frames.encode("CHECKPOINT", number=6, state='{"at": 6}'))
    assert writer.finish() == 1  # without END: neither row nor state
    assert destination.query("SELECT max(id) FROM t") == [(5,)]
    assert destination.query("SELECT state FROM _wherry_state") == [('{"at": 5}',)]


def test_get_and_set_state(destination):
    first = destination.start(files=False, set_state={"cursor": 7})
    assert first.opened().fields["sequence"] == 0
    assert first.expect("COMMITTED").fields == {"sequence": 1, "rows": 0, "state": '{"cursor":7}'}
    first.expect("DONE")
    assert first.finish() == 0
    second = destination.start(get_state=True)
    assert second.opened().fields == {"sequence": 1, "epoch": 1, "run_id": "run-1", "state": '{"cursor":7}'}
    second.expect("DONE")
    assert second.finish() == 0
    third = destination.start(set_state=None)
    assert third.finish() == 0
    assert third.frames("COMMITTED") == [{"sequence": 2, "rows": 0, "state": "{}"}]
    assert destination.query("SELECT sequence, epoch, state FROM _wherry_state") == [(2, 2, "{}")]


def test_getting_the_state_of_nothing_makes_nothing(destination):
    writer = destination.start(get_state=True)
    assert writer.finish() == 0
    assert writer.frames("OPENED") == [{"sequence": 0, "epoch": 0, "run_id": "", "state": "{}"}]
    assert list(destination.folder.iterdir()) == []


# --- fencing, locks ---


@pytest.mark.parametrize("first", [True, False])
def test_a_writer_thought_dead_cannot_commit(destination, first):
    if not first:
        destination.load(frames.file_frames("z", items(1)))
    old = destination.start()
    old.opened()
    assert destination.load(frames.file_frames("a", items(2))).status == 0  # its successor
    old.put(frames.hello() + frames.table("orders", COLUMNS) + frames.file_frames("b", items(9)))
    old.put(frames.encode("END"))
    assert old.finish() == 1
    kind, text = old.error()
    assert kind == "temporary" and "was written by another run meanwhile" in text
    assert len(destination.rows()) == (2 if first else 3)
    assert "b" not in dict(destination.ledger())


def test_a_new_epoch_fences_off_a_running_sync(destination):
    old = destination.start()
    old.opened()
    assert destination.start(set_state=None).finish() == 0
    old.put(frames.hello() + frames.table("orders", COLUMNS) + frames.file_frames("b", items(9)) + frames.encode("END"))
    assert old.finish() == 1
    assert old.error()[0] == "temporary"


def test_two_writers_take_turns(destination):
    """Two connections, one database: the lock is waited for."""
    destination.execute("CREATE TABLE mine (a)")
    one = destination.start()
    one.opened()
    one.put(frames.hello() + frames.table("orders", COLUMNS))
    one.put(frames.encode("FILE_BEGIN", hash=frames.digest(b"a"), name="a") + frames.rows(items(2)))
    harness.wait_for(destination.is_locked, "the first writer's lock")
    two = destination.start(connection="other", dest_table="others")
    two.opened()
    two.put(frames.hello() + frames.table("others", COLUMNS) + frames.file_frames("b", items(3)))
    two.put(frames.encode("END"))
    assert two.expect("PROGRESS").fields["phase"] == "waiting for a lock"
    one.put(frames.encode("FILE_END", outcome=1, hash=frames.digest(b"a"), rows=2) + frames.encode("END"))
    assert one.finish() == 0
    assert two.finish() == 0
    assert destination.query("SELECT count(*) FROM orders UNION ALL SELECT count(*) FROM others") == [(2,), (3,)]


@pytest.fixture
def locked(destination):
    destination.load(frames.file_frames("a", items(1)))
    database = sqlite3.connect(destination.path, isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    yield database
    database.close()


def test_a_locked_database_is_waited_for_so_long(destination, locked):
    start = time.monotonic()
    kind, text = failure(destination.load(frames.file_frames("b", items(1)), busy_timeout=1))
    assert kind == "temporary"
    place = re.escape(str(destination.path))
    pattern = rf'database "{place}" is locked by another program; waited [1-9]\.\d s for it \(`busy_timeout`\)'
    assert re.fullmatch(pattern, text)
    assert 1 <= time.monotonic() - start < 30


def test_waiting_for_a_lock_can_be_cancelled(destination, locked):
    writer = destination.start()
    assert writer.expect("HELLO", timeout=5)
    assert writer.expect("PROGRESS").fields["phase"] == "waiting for a lock"
    writer.say(frames.encode("CANCEL"))
    assert writer.finish(20) == 1
    assert writer.error() == ("cancelled", "cancelled")


def test_a_reader_that_stays_does_not_make_memory_grow(destination):
    """A cache that cannot spill, because a reader holds on, must end in an error at once, not in ever more memory."""
    destination.load(frames.file_frames("a", items(10)))
    reader = sqlite3.connect(destination.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM orders").fetchall()
    try:
        writer = destination.start(busy_timeout=1)
        writer.opened()
        writer.put(frames.hello() + frames.table("orders", COLUMNS))
        writer.put(frames.encode("FILE_BEGIN", hash=frames.digest(b"b"), name="b"))
        for start in range(0, 20000, 500):
            writer.put(frames.rows([(i, "x" * 1000, 1.0) for i in range(start, start + 500)]))
        while writer.next().type != "ERROR":  # the file has not ended: it is not the commit that fails
            pass
        assert writer.finish() == 1
        kind, text = writer.error()
        assert kind == "temporary" and "is locked by another program" in text
    finally:
        reader.close()
    assert len(destination.rows()) == 10


# --- the schema guard ---


def test_a_table_that_filedge_made_is_accepted(destination):
    destination.execute(
        FILE_TABLE,
        'CREATE INDEX "orders_source_file_hash_idx" ON "orders" ("_source_file_hash")',
        "INSERT INTO orders (id, note, price, _source_file_hash, _ingested_at) VALUES (7, 'old', 1.0, 'h', 't')",
    )
    assert destination.load(frames.file_frames("a", items(2))).status == 0
    assert destination.rows() == [(7, "old", 1.0), *items(2)]
    assert destination.query("SELECT * FROM _wherry_tables") == [("orders", "orders")]


def test_a_missing_index_comes_back(destination):
    destination.load(frames.file_frames("a", items(2)))
    destination.execute("DROP INDEX orders_source_file_hash_idx")
    destination.load(frames.file_frames("b", items(2)))
    assert destination.query("SELECT count(*) FROM sqlite_schema WHERE name = 'orders_source_file_hash_idx'") == [(1,)]


@pytest.mark.parametrize(
    "make,text",
    [
        (
            "CREATE TABLE orders (_id INTEGER PRIMARY KEY, id TEXT, note TEXT, old BLOB, "
            "_source_file_hash TEXT NOT NULL, _ingested_at TEXT NOT NULL)",
            'has other columns than the configuration: column "id" is TEXT there, INTEGER here; extra column "old" '
            '(BLOB); missing column "price" (REAL); change one of them, or choose another table',
        ),
        (
            "CREATE TABLE orders (id INTEGER, note TEXT, price REAL)",
            "missing column _id (INTEGER PRIMARY KEY); missing column _source_file_hash (TEXT); missing column "
            "_ingested_at (TEXT)",
        ),
        (FILE_TABLE.replace("INTEGER PRIMARY KEY", "INTEGER"), 'column "_id" is not the primary key there'),
        (
            FILE_TABLE.replace('"price" REAL', '"price" REAL AS (id * 2)'),
            'column "price" is generated there',
        ),
        (FILE_TABLE.replace('"note" TEXT', '"note"'), 'column "note" is without a type there, TEXT here'),
        (FILE_TABLE + " WITHOUT ROWID", "is WITHOUT ROWID"),
        ("CREATE VIEW orders AS SELECT 1 AS id", "is a view, not a table; choose another name"),
        ("CREATE VIRTUAL TABLE orders USING fts5(note)", "is a virtual table, not a table; choose another name"),
    ],
)
def test_the_schema_guard(destination, make, text):
    destination.execute(make)
    before = destination.query("SELECT * FROM sqlite_schema")
    writer = destination.load(frames.file_frames("a", items(1)))
    kind, message = failure(writer)
    assert kind == "configuration"
    assert '"orders"' in message and text in message
    assert destination.query("SELECT * FROM sqlite_schema") == before


@pytest.mark.parametrize(
    "columns,text",
    [
        ([("_id", "integer")], 'column "_id" is one that Wherry adds; give yours another name'),
        ([("A", "integer"), ("a", "integer")], 'columns "A" and "a" are the same to SQLite'),
    ],
)
def test_columns_that_sqlite_cannot_have(destination, columns, text):
    kind, message = failure(destination.load(frames.file_frames("a", []), columns=columns))
    assert kind == "configuration" and text in message


def test_names_are_quoted(destination):
    name, column = 'or"ders; DROP TABLE x', 'a "b", c'
    writer = destination.start(dest_table=name)
    writer.put(frames.hello() + frames.table(name, [(column, "string")]) + frames.file_frames("a", [("v",)]))
    writer.put(frames.encode("END"))
    assert writer.finish() == 0
    assert destination.query('SELECT "a ""b"", c" FROM "or""ders; DROP TABLE x"') == [("v",)]


def test_a_table_has_one_owner(destination):
    destination.load(frames.file_frames("a", items(1)))
    kind, message = failure(destination.load(frames.file_frames("b", items(1)), connection="thief"))
    assert kind == "configuration"
    assert 'belongs to connection "orders": connection "thief" must not write to it' in message
    assert destination.rows() == items(1)


# --- the file ---


def test_what_is_not_a_database(destination):
    destination.path.write_bytes(b"Hello, this is text and not a database, for sure.\n" * 100)
    before = destination.path.read_bytes()
    kind, message = failure(destination.load())
    assert (kind, message) == ("configuration", f'"{destination.path}" is not an SQLite database')
    assert destination.path.read_bytes() == before


def test_a_folder_and_a_fifo(destination):
    destination.path.mkdir()
    assert failure(destination.load()) == ("configuration", f'"{destination.path}" is a folder, not a database')
    destination.path.rmdir()
    os.mkfifo(destination.path)
    assert failure(destination.load()) == ("configuration", f'"{destination.path}" is not a regular file')


def test_a_missing_folder(destination):
    path = destination.folder / "no" / "orders.db"
    kind, message = failure(destination.load(path=path))
    assert kind == "configuration"
    assert message == f'the folder of database "{path}" cannot be used; create it: no such file or directory'
    assert not path.parent.exists()


def test_symbolic_links(destination):
    real = destination.folder / "real"
    real.mkdir()
    (real / "data.db").touch()
    destination.path.symlink_to(real / "data.db")
    assert destination.load(frames.file_frames("a", items(1))).status == 0
    assert (real / "data.db-journal").exists() and not Path(f"{destination.path}-journal").exists()
    assert destination.rows() == items(1)
    broken = destination.folder / "broken.db"
    broken.symlink_to(destination.folder / "nowhere.db")
    assert "is a symbolic link to a file that does not exist" in failure(destination.load(path=broken))[1]


def test_a_damaged_database(destination):
    destination.load(frames.file_frames("a", items(2000)))
    with open(destination.path, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3000)
    kind, message = failure(destination.load(frames.file_frames("b", items(1))))
    assert kind == "configuration" and "is damaged" in message


def test_as_another_user_without_the_right(destination):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    destination.load(frames.file_frames("a", items(1)))
    destination.path.chmod(0o644)
    folder = destination.folder
    while folder != Path("/"):
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(folder.stat().st_mode | 0o005)
        folder = folder.parent
    program = shutil.copy(destination.program, destination.folder / "program")
    os.chmod(program, 0o755)
    destination.program = program
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    writer = destination.start(prefix=nobody)
    assert writer.finish() == 1
    kind, message = writer.error()
    assert kind == "temporary"
    assert message.startswith(f'no right to write "{destination.path}"; give uid 65534 write access')


@pytest.fixture
def mounted(destination):
    """A small file system to fill, or to make read-only."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a tmpfs")
    place = destination.folder / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=False).returncode != 0:
        pytest.skip("cannot mount a tmpfs here")
    destination.path = place / "orders.db"
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_disk_full(destination, mounted):
    destination.load(frames.file_frames("a", items(10)))
    big = [(i, "x" * 1000, 1.0) for i in range(8000)]
    kind, message = failure(destination.load(frames.file_frames("b", big)))
    assert kind == "temporary"
    assert message.startswith(f'b: disk full: database "{destination.path}" cannot grow; free some space')
    assert destination.rows() == items(10)
    assert destination.ledger() == [("a", 10)]
    assert destination.intact()
    assert destination.load(frames.file_frames("c", items(10))).status == 0  # there is room again


def test_disk_full_of_the_temporary_files_of_an_index(destination, mounted):
    """The rows fit, the sorter of the index does not: nothing may be committed (COMMIT would say 0)."""
    subprocess.run(["mount", "-o", "remount,size=26m", str(mounted)], check=True)
    rows = [(i, None, None) for i in range(200000)]
    kind, message = failure(destination.load(frames.file_frames("a", rows, per_frame=4000)))
    assert kind == "temporary" and "disk full" in message
    assert destination.query("SELECT count(*) FROM sqlite_schema") == [(0,)]
    assert destination.intact()


def test_a_read_only_file_system(destination, mounted):
    destination.load(frames.file_frames("a", items(1)))
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    assert failure(destination.load()) == ("temporary", f'"{destination.path}" is on a read-only file system')


# --- journal modes, crashes ---


def journal_mode(destination):
    return destination.query("PRAGMA journal_mode")[0][0]


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_an_existing_database_keeps_its_journal_mode(destination, mode):
    destination.execute(f"PRAGMA journal_mode = {mode}", "CREATE TABLE mine (a)")
    assert destination.load(frames.file_frames("a", items(2000))).status == 0
    wal = Path(f"{destination.path}-wal")
    assert not wal.exists() or wal.stat().st_size == 0
    assert journal_mode(destination) == mode
    assert len(destination.rows()) == 2000


@pytest.mark.parametrize("before,asked,after", [
    (None, None, "delete"), (None, "wal", "wal"), (None, "truncate", "delete"),
    ("wal", "truncate", "delete"), ("delete", "wal", "wal"),
])  # fmt: skip
def test_a_journal_mode_that_is_asked_for(destination, before, asked, after):
    if before:
        destination.execute(f"PRAGMA journal_mode = {before}", "CREATE TABLE mine (a)")
    options = {"journal_mode": asked} if asked else {}
    assert destination.load(frames.file_frames("a", items(20)), **options).status == 0
    assert journal_mode(destination) == after  # a rollback journal's kind is each program's own: "delete" to Python
    assert len(destination.rows()) == 20


def test_a_journal_mode_that_cannot_change_now(destination):
    destination.execute("PRAGMA journal_mode = delete", "CREATE TABLE mine (a)")
    reader = sqlite3.connect(destination.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM mine").fetchall()
    try:
        writer = destination.start(journal_mode="wal", busy_timeout=1)
        writer.opened()
        writer.put(frames.hello() + frames.table("orders", COLUMNS))
        writer.put(frames.encode("FILE_BEGIN", hash=frames.digest(b"a"), name="a") + frames.rows(items(2)))
        while "keeps its journal mode" not in writer.expect("LOG").fields["message"]:
            pass
    finally:
        reader.close()
    writer.put(frames.encode("FILE_END", outcome=1, hash=frames.digest(b"a"), rows=2) + frames.encode("END"))
    assert writer.finish() == 0
    assert journal_mode(destination) == "delete"


def test_the_page_size_of_new_databases_only(destination):
    destination.load(frames.file_frames("a", items(1)))
    assert destination.query("PRAGMA page_size") == [(16384,)]
    destination.path = destination.folder / "old.db"
    destination.execute("PRAGMA page_size = 4096", "CREATE TABLE mine (a)")
    destination.load(frames.file_frames("a", items(1)))
    assert destination.query("PRAGMA page_size") == [(4096,)]


@pytest.mark.parametrize("mode", ["truncate", "wal"])
def test_killed_in_the_middle_of_a_file(destination, mode):
    destination.load(frames.file_frames("a", items(100)), journal_mode=mode)
    writer = destination.start()
    writer.opened()
    big = [(i, "x" * 1000, 1.0) for i in range(30000)]  # the cache has spilled: there is a hot journal
    writer.put(frames.hello() + frames.table("orders", COLUMNS))
    writer.put(frames.encode("FILE_BEGIN", hash=frames.digest(b"b"), name="b"))
    for i in range(0, len(big), 1000):
        writer.put(frames.rows(big[i : i + 1000]))
    while writer.expect("PROGRESS").fields["rows"] < 20000:
        pass
    writer.process.send_signal(signal.SIGKILL)
    writer.process.wait()
    if mode == "truncate":
        assert Path(f"{destination.path}-journal").stat().st_size > 0
    # The next writer itself plays the journal back, in its sandbox.
    again = destination.load(frames.file_frames("b", items(5)))
    assert again.status == 0, again.seen
    assert destination.rows() == items(100) + items(5)
    assert destination.intact()


def test_a_journal_that_another_program_removed(destination):
    """The sandbox knows the journal that was there when it was made. Another one is an error to be retried."""
    destination.load(frames.file_frames("a", items(1)))
    writer = destination.start()
    writer.opened()
    destination.execute("CREATE TABLE mine (a)")  # Python's journal_mode=DELETE unlinks it
    assert not Path(f"{destination.path}-journal").exists()
    writer.put(
        frames.hello() + frames.table("orders", COLUMNS) + frames.file_frames("b", items(1)) + frames.encode("END")
    )
    if writer.finish() == 0:  # without Landlock the new one is reachable
        assert not any("landlock" in log["message"] for log in writer.frames("LOG"))
    else:
        kind, message = writer.error()
        assert kind == "temporary" and "another program may have removed the journal just now" in message
        assert destination.load(frames.file_frames("b", items(1))).status == 0
    assert destination.rows() == items(1) * 2


def test_trash_in_begin(destination):
    writer = frames.Writer(str(destination.program), None, begin=False)
    destination.writers.append(writer)
    writer.say(frames.encode("BEGIN", configuration="[1"))
    assert writer.finish() == 1
    assert "the configuration in BEGIN is not a JSON object" in writer.error()[1]


@pytest.mark.parametrize(
    "sql, text",
    [
        ("CREATE VIEW t AS SELECT 1 AS id", "is a view, not a table; choose another name"),
        ("CREATE TABLE t (id INT PRIMARY KEY, n AS (id + 1))", 'column "n" is generated'),
        (
            "CREATE TABLE t (id INT PRIMARY KEY, n NUMERIC)",
            'column "n" is declared as "NUMERIC", which is no type of a',
        ),
        ("CREATE TABLE t (other INT PRIMARY KEY)", "primary key"),
        (
            "CREATE TABLE _wherry_tables (table_name TEXT PRIMARY KEY, connection TEXT);"
            "INSERT INTO _wherry_tables VALUES ('t', 'theirs')",
            'belongs to connection "theirs": connection "orders" must not write to it',
        ),
    ],
)
def test_keyed_tables_that_cannot_be_written(destination, sql, text):
    destination.execute(*sql.split(";"))
    writer = destination.start(files=False)
    writer.opened()
    writer.put(frames.hello() + frames.table("t", [("id", "integer", KEY)]) + upserts(1) + frames.encode("END"))
    writer.status = writer.finish()
    kind, message = failure(writer)
    assert kind == "configuration" and text in message
    assert destination.query("SELECT count(*) FROM sqlite_schema WHERE name = '_wherry_state'") == [(0,)]
