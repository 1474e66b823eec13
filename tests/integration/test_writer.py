"""A writer by itself: op frames in, a database and reports out; files that fail, and the conversation with the daemon."""

import array
import fcntl
import os
import sqlite3
import termios
import threading
import time

import frames
import harness
import pytest
from writers import COLUMNS, FILE_TABLE, failure, items

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
