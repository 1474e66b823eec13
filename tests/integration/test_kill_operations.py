"""Killed at any instant, keyed operations are as they were at one checkpoint, and the state is that checkpoint's.

One sync of upserts, updates, deletes, truncates, new columns and wider ones, with a checkpoint after every few, runs under
strace, which kills the writer at its N-th call of one kind. What the destination then has must be what the model
(operations_model.py) has at the checkpoint that the committed state names: no row lost, none from after it. Then a source
that goes on from that state runs undisturbed, and all must be as if nothing had happened.

CI takes a few calls of each kind, `tests/run --full` all.
"""

import collections
import concurrent.futures
import copy
import json
import os
import random
import re
import shutil
import sqlite3
import tempfile
from pathlib import Path

import frames
import harness
import pytest
from operations_model import NULL, Column, Kind, Model, Value, encode
from test_kill import CALLS, points_to_kill
from test_operations import Sqlite, compare, configuration

SEGMENTS = 6  # each ends with a checkpoint
ROWS = 40
MEMORY = 20000  # of the coalescer: a few flushes in a segment


def columns_of(segment):
    columns = [Column("id", Kind("integer"), frames.KEY), Column("note", Kind("string")), Column("n", Kind("short"))]
    if segment >= 2:
        columns.append(Column("later", Kind("date")))
    if segment >= 4:
        columns[2] = Column("n", Kind("float"))  # rewritten
    return columns


def rows_of(segment, operation, ids):
    rows = []
    for i in ids:
        row = {"id": Value("integer", i)}
        if operation != "delete":
            row["note"] = Value("string", f"{operation} {segment} {i} " + "x" * 400)
            row["n"] = Value("integer", segment * 100 + i % 100)
        if operation == "upsert" and segment >= 2:
            row["later"] = Value("date", i) if i % 2 else NULL
        rows.append(row)
    return rows


def segment_operations(segment):
    """Each touches both tables, and the rows of the segments before."""
    first = segment * ROWS
    operations = [("table", name, columns_of(segment)) for name in ("orders", "items")]
    for name in ("orders", "items"):
        operations += [
            ("rows", name, "upsert", rows_of(segment, "upsert", range(first - ROWS // 2, first + ROWS))),
            ("rows", name, "update", rows_of(segment, "update", range(first, first + ROWS, 3))),
            ("rows", name, "delete", rows_of(segment, "delete", range(first + 1, first + ROWS, 5))),
        ]
    if segment == 3:
        operations += [("truncate", "items"), ("rows", "items", "upsert", rows_of(segment, "upsert", range(5)))]
    return [*operations, ("checkpoint",)]


def operations_from(segment):
    return [operation for i in range(segment, SEGMENTS) for operation in segment_operations(i)]


def snapshots():
    """The model at each checkpoint, by its number; 0 is before the first."""
    model = Model()
    return [copy.deepcopy(model), *(copy.deepcopy(at) for at in model.run(operations_from(0)))]


class Waling(Sqlite):
    name = "sqlite in WAL mode"

    def configuration(self):
        return {"destination": {"type": "sqlite", "path": str(self.path), "journal_mode": "wal"}}


def checkpoint_of(adapter):
    try:
        return json.loads(adapter.state()).get("at", 0)
    except sqlite3.OperationalError:
        return 0


def run(adapter, prefix=()):
    """A sync that goes on from the state that is there."""
    writer = frames.Writer([*prefix, str(adapter.program)], None, begin=False)
    try:
        writer.begin(configuration(adapter, "run", 0, MEMORY))
        at = json.loads(writer.opened().fields["state"]).get("at", 0)
        writer.put(encode(operations_from(at), True, at))
        writer.finish()
    except (frames.Gone, ConnectionResetError, BrokenPipeError):  # killed before it could say what is there
        pass
    finally:
        writer.kill()
    return writer


def tracer(trace, inject=None):
    command = ["strace", "-o", str(trace), "-e", "trace=" + ",".join(CALLS)]
    return command + (["-e", f"inject={inject[0]}:signal=KILL:when={inject[1]}"] if inject else [])


def recovers(adapter, models):
    """After a kill a sync runs undisturbed, and all is as if nothing had happened."""
    again = run(adapter)
    assert again.frames("DONE"), f"the sync after the kill failed: {again.frames('ERROR')}"
    compare(adapter, models[SEGMENTS])


def kill_at(build, kind, call, number):
    """None where the run did not come that far; else what was wrong, or ""."""
    folder = Path(tempfile.mkdtemp(prefix="wherry-kill-"))
    adapter, models, trace = kind(build, folder), snapshots(), folder / "trace"
    try:
        run(adapter, tracer(trace, (call, number)))
        harness.wait_for(harness.all_gone, "the end of every process of the sync")
        if "+++ killed by SIGKILL +++" not in trace.read_text(errors="replace"):
            return None
        at = checkpoint_of(adapter)
        if adapter.path.exists():  # what was made for nothing is taken away again
            compare(adapter, models[at])
        recovers(adapter, models)
        return ""
    except AssertionError as error:
        return f"killed at {call} number {number}: {error}"
    finally:
        harness.leftovers()
        shutil.rmtree(folder)


def kill_everywhere(build, kind, calls, capsys):
    """At points of all CALLS that a run makes (how many of each): none leaves it wrong, and each kind of call is met."""
    full = os.environ.get("WHERRY_TEST_FULL") == "1"
    seed = int(os.environ.get("WHERRY_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    points = list(points_to_kill(calls, full, random.Random(seed)))
    made, wrong = collections.Counter(), []
    with concurrent.futures.ProcessPoolExecutor(harness.processors(), initializer=harness.become_subreaper) as pool:
        outcomes = pool.map(kill_at, *zip(*((build, kind, *point) for point in points)))
        for (call, _), outcome in zip(points, outcomes):
            if outcome is not None:
                made[call] += 1
            if outcome:
                wrong.append(outcome)
    with harness.aloud(capsys):
        print(f"\nkills made, of calls seen ({kind.name}, seed {seed}):")
        for call in sorted(calls):
            print(f"  {call:<16} {made[call]:>4} of {calls[call]}")
    assert not wrong, "\n".join(wrong)
    missed = [call for call in calls if not made[call]]
    assert not missed, f"no kill was made at {missed}"


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", [Sqlite, Waling], ids=lambda kind: kind.name)
def test_operations_killed_at_every_call(plain_build, kind, tmp_path, capsys):
    assert run(kind(plain_build, tmp_path), tracer(tmp_path / "trace")).frames("DONE")
    calls = collections.Counter(re.findall(r"^(\w+)\(", (tmp_path / "trace").read_text(errors="replace"), re.M))
    assert calls["pwrite64"] > 100 and calls["fdatasync"] + calls["fsync"] >= SEGMENTS, calls
    kill_everywhere(plain_build, kind, calls, capsys)
