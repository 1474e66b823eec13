"""A writer by itself: checkpoints and state, and two writers on one database."""

import json
import re
import sqlite3
import time

import frames
import harness
import pytest
from frames import KEY
from writers import COLUMNS, failure, items, upserts

# --- rows outside files, checkpoints, state ---


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
    # What comes after a checkpoint that waits does not hold it up, nor is it held up for longer itself.
    writer.put(upserts(6) + frames.encode("CHECKPOINT", number=6, state='{"at": 6}') + upserts(7))
    assert writer.expect("TAKEN").fields["number"] == 6
    assert writer.expect("COMMITTED").fields == {"sequence": 2, "rows": 1, "state": '{"at": 6}'}
    writer.put(upserts(8) + frames.encode("CHECKPOINT", number=7, state='{"at": 8}') + frames.encode("END"))
    assert writer.finish() == 0
    assert writer.frames("COMMITTED")[2:] == [{"sequence": 3, "rows": 2, "state": '{"at": 8}'}]


LATER = {
    "nothing": b"",
    "half a row": upserts(3)[:-1],
    "rows": upserts(3) + upserts(4, 5),
    "another table": frames.table("u", [("id", "integer", KEY)], 1) + frames.rows([(3,)], 1, "upsert"),
    "a truncate": frames.encode("TRUNCATE", table=0),
    "half a checkpoint": upserts(3) + frames.encode("CHECKPOINT", number=2, state='{"at": 3}')[:-1],
}


@pytest.mark.parametrize("gone", ["the pipe's end", "the worker's end"])
@pytest.mark.parametrize("later", LATER)
def test_a_checkpoint_that_waits_is_kept_when_the_worker_ends(destination, later, gone):
    """Else a source that fails soon after each checkpoint would begin anew for ever."""
    writer = destination.start(files=False, commit_interval=3600)
    writer.opened()
    writer.put(frames.hello() + frames.table("t", [("id", "integer", KEY)]))
    writer.put(upserts(1, 2) + frames.encode("CHECKPOINT", number=1, state='{"at": 2}'))
    writer.expect("TAKEN")
    writer.put(LATER[later])
    if gone == "the worker's end":
        writer.say(frames.encode("WORKER_GONE"))
    assert writer.finish() == 1
    assert writer.frames("COMMITTED") == [{"sequence": 1, "rows": 2, "state": '{"at": 2}'}]
    assert destination.query("SELECT id FROM t") == [(1,), (2,)]
    assert destination.query("SELECT name FROM sqlite_master WHERE name = 'u'") == []


def test_a_checkpoint_does_not_wait_for_more_than_can_be_kept(destination):
    """What comes after it is kept until the next one, up to a bound: here none comes."""
    writer = destination.start(files=False, commit_interval=3600)
    writer.opened()
    writer.put(frames.hello() + frames.table("t", [("id", "integer", KEY)]))
    writer.put(upserts(1) + frames.encode("CHECKPOINT", number=1, state='{"at": 1}'))
    writer.put(upserts(2) + frames.encode("CHECKPOINT", number=2, state='{"at": 2}'))
    assert [writer.expect("TAKEN").fields["number"] for _ in range(2)] == [1, 2]
    writer.put(b"".join(upserts(*range(n, n + 1000)) for n in range(3, 200_000, 1000)))
    assert writer.expect("COMMITTED").fields == {"sequence": 1, "rows": 2, "state": '{"at": 2}'}
    writer.put(frames.encode("END"))
    assert writer.finish() == 0
    assert writer.frames("COMMITTED")[1:] == [{"sequence": 2, "rows": 200_000, "state": ""}]


@pytest.mark.parametrize("rows", ["upsert", "update", "delete"])
def test_a_table_that_is_dropped_under_a_sync(destination, rows):
    writer = destination.start(files=False)
    writer.opened()
    writer.put(frames.hello() + frames.table("dropme", [("id", "integer", KEY)]) + upserts(1))
    writer.put(frames.encode("CHECKPOINT", number=1, state="{}"))
    writer.expect("TAKEN")
    writer.expect("COMMITTED")
    destination.execute("DROP TABLE dropme")
    writer.put(frames.rows([(1,)], operation=rows) + frames.encode("END"))
    writer.status = writer.finish()
    assert failure(writer) == (
        "temporary",
        f'table "dropme" in "{destination.path}" was dropped meanwhile; the next run looks again',
    )


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
