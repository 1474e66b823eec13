"""A connector's rows arrive exactly once, whatever happens to it: what the destination has is what the model
(operations_model.py) has at the checkpoint that the state names, never more and never less.

On its schedule, through failing syncs and their retries; and killed, at every operation by itself and at every write to
the pipe by strace, with each checkpoint committed by itself and with several in one commit. CI takes a few of these
points, `tests/run --full` all.
"""

import calendar
import collections
import concurrent.futures
import copy
import json
import os
import random
import re
import time
from pathlib import Path

import frames
import harness
import pytest
import segments
from fivetran import connector
from harness import wait_for
from operations_duckdb import Duckdb
from operations_model import NULL, Column, Kind, Model, Value, kind_of
from operations_postgres import Postgres
from segments import SEGMENTS
from test_kill import points_to_kill, wrapped_programs
from test_operations import Sqlite, compare

HERE = Path(__file__).resolve().parent
CONNECTOR = """
import os, signal, time
from fivetran_connector_sdk import Connector, Operations as op
from segments import DECLARED, SEGMENTS, calls

def told(name, otherwise=0):
    try:
        with open(name) as file:
            return int(file.read())
    except FileNotFoundError:
        return otherwise

def operations(segment):
    for operation, table, row in calls(segment, told("padding")):
        yield (getattr(op, operation), table, row) if row else (op.truncate, table)
    if segment + 1 == told("fails_in"):
        raise RuntimeError(f"the source broke in segment {segment}")
    yield op.checkpoint, {"at": segment + 1}

def update(configuration, state):
    print("begins at", state.get("at", 0), flush=True)
    for line in range(told("chatter")):
        print(line, flush=True)
    dies_at, done = told("dies_at"), 0
    for segment in range(state.get("at", 0), told("until", SEGMENTS)):
        if segment == SEGMENTS // 2:
            time.sleep(told("pause_ms") / 1000)
        for operation, *arguments in operations(segment):
            done += 1
            if done == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)
            operation(*arguments)

connector = Connector(update=update, schema=lambda configuration: DECLARED)
"""


# --- the model ---


def value(kind, data):
    """As Python's kinds say it, or as the column was declared."""
    if data is None:
        return NULL
    if kind == "instant":
        return Value("instant", (calendar.timegm(time.strptime(data, "%Y-%m-%dT%H:%M:%SZ")), 0, 0))
    if isinstance(data, dict):
        return Value("json", (json.dumps(data), json.dumps(data, separators=(",", ":"))))
    return Value({bool: "boolean", int: "integer", float: "float", str: "string"}[type(data)], data)


class Tables:
    """The columns that have come so far."""

    def __init__(self):
        kinds = {"LONG": Kind("integer"), "STRING": Kind("string"), "UTC_DATETIME": Kind("instant")}
        self.keys = {table["table"]: table["primary_key"] for table in segments.DECLARED}
        self.kinds = {
            table["table"]: {name: kinds[kind] for name, kind in table.get("columns", {}).items()}
            for table in segments.DECLARED
        }

    def take(self, table, row):
        known = self.kinds.setdefault(table, {})
        converted = {name: value(known[name].type if name in known else None, data) for name, data in row.items()}
        for name, data in converted.items():
            if name not in known and data is not NULL:
                known[name] = kind_of(data)
        return converted

    def described(self, table):
        key = self.keys.get(table, [])
        return (
            "table",
            table,
            [Column(n, kind, frames.KEY if n in key else 0) for n, kind in self.kinds[table].items()],
        )


def model_operations(padding):
    tables = Tables()
    for segment in range(SEGMENTS):
        for operation, table, row in segments.calls(segment, padding):
            if operation == "truncate":
                yield "truncate", table
                continue
            converted = tables.take(table, row)
            yield tables.described(table)
            yield "rows", table, operation, [converted]
        yield ("checkpoint",)


def models_of(padding=0):
    """At each checkpoint, by its number; 0 is before the first."""
    model = Model()
    return [copy.deepcopy(model), *(copy.deepcopy(at) for at in model.run(list(model_operations(padding))))]


# --- the connection ---


class Project:
    """A connection "model", as the adapters of test_operations.py want it, from the segments to a destination."""

    def __init__(self, wherry, adapter, **changes):
        self.wherry, self.adapter = wherry, adapter
        destination = adapter.configuration()["destination"]
        if adapter.name != "sqlite":
            destination.setdefault("schema", "main")  # else it is called after the connection
        files = {"segments.py": (HERE / "segments.py").read_text()}
        self.folder = connector(
            wherry, CONNECTOR, name="model", whole=True, files=files, destination=destination, **changes
        )

    def tell(self, **numbers):
        for name, number in numbers.items():
            (self.folder / name).unlink(missing_ok=True)
            if number is not None:
                harness.write_file(self.folder / name, str(number))

    def at(self):
        """The committed checkpoint; None while a sync runs."""
        done = self.wherry.ctl("state", "model", "get", status=None)
        return json.loads(done.stdout).get("at", 0) if done.returncode == 0 else None

    def reach(self, checkpoint):
        """On its schedule; then it is held, so that nobody has the destination open."""
        self.wherry.ctl("resume", "model")
        wait_for(lambda: self.at() == checkpoint, f"checkpoint {checkpoint}")
        self.wherry.ctl("pause", "model")
        wait_for(lambda: self.wherry.status("model")["state"] == "paused", "the end of its sync")

    def runs(self):
        return self.wherry.ctl_json("runs", "model")["runs"]


# --- on its schedule ---


@pytest.mark.parametrize("kind", [Sqlite, Postgres, Duckdb], ids=lambda kind: kind.name)
def test_syncs_on_schedule_go_on_from_their_state(plain_wherry, kind, tmp_path):
    """Three syncs, then one that breaks after a checkpoint and is retried from there until it succeeds."""
    models, adapter = models_of(), kind(plain_wherry.build, tmp_path)
    try:
        plain_wherry.start()
        project = Project(plain_wherry, adapter, frequency="1s", paused=True)
        for checkpoint in (2, 4, 6):
            project.tell(until=checkpoint)
            project.reach(checkpoint)
            compare(adapter, models[checkpoint])
        assert all(run["outcome"] == "succeeded" for run in project.runs())
        project.tell(fails_in=8, until=8)
        plain_wherry.ctl("resume", "model")
        plain_wherry.daemon.wait_log("begins at 7")
        project.reach(7)
        compare(adapter, models[7])
        status = plain_wherry.status("model")
        assert (status["outcome"], status["error"]) == ("failed", "RuntimeError: the source broke in segment 7")
        project.tell(fails_in=None)
        project.reach(8)
        compare(adapter, models[8])
        assert project.runs()[0]["outcome"] == "succeeded"
        began = [int(at) for at in re.findall(r"begins at (\d+)", plain_wherry.daemon.log())]
        assert sorted(set(began)) >= [0, 2, 4, 6, 7] and began == sorted(began)
    finally:
        plain_wherry.stop()  # before the database goes
        getattr(adapter, "close", lambda: None)()


# --- killed ---


class Killing:
    """An installation of its own for one kill, and what must hold after it."""

    def __init__(self, build, merging):
        self.wherry = harness.Wherry(build)
        self.adapter = Sqlite(build, self.wherry.root)
        self.trace = self.wherry.root / "trace"
        # with merging, the first half comes within one interval; the second half after a pause, in the next
        self.project = Project(self.wherry, self.adapter, commit_interval="1s" if merging else "0")
        self.project.tell(padding=PADDING, chatter=CHATTER, pause_ms=1100 if merging else None)

    def once(self, tracer=None):
        """Whether the sync succeeded."""
        extra = []
        if tracer:
            programs = {
                "source-fivetran": self.wherry.build.source("fivetran"),
                "destination-sqlite": self.wherry.build.destination("sqlite"),
            }
            folder = wrapped_programs(self.wherry.root / "programs", programs, "source-fivetran", tracer)
            extra = [f"--libexec-dir={folder}"]
        done = self.wherry.run_daemon(*extra, "--once", "model")
        harness.wait_for(harness.all_gone, "the end of every process of the sync")
        return done.returncode == 0, done.stdout + done.stderr

    def checkpoint(self):
        return json.loads(self.adapter.state()).get("at", 0) if self.adapter.path.exists() else 0

    def holds(self, models):
        """What is there is what its state says."""
        at = self.checkpoint()
        if self.adapter.path.exists():  # what was made for nothing is taken away again
            compare(self.adapter, models[at])
        return at

    def recovers(self, models):
        self.project.tell(dies_at=None, pause_ms=None)
        succeeded, said = self.once()
        assert succeeded, f"the sync after the kill failed:\n{said}"
        compare(self.adapter, models[SEGMENTS])


PADDING = 24000  # of a row: a few writes to the pipe in each segment
CHATTER = 10
KILLS = 6  # of each kind, where not all are made
LAST = sum(len([*segments.calls(segment)]) + 1 for segment in range(SEGMENTS))


def injecting(trace, number=None):
    """Threads are counted each by itself: with the CHATTER before them, the thread that runs update() comes to each of its
    writes before the worker, which is traced too, has made as many."""
    command = ["strace", "-f", "-y", "-o", str(trace), "-e", "trace=write"]
    return command + (["-e", f"inject=write:signal=KILL:when={number}"] if number else [])


def trace_of(trace):
    """Lines (thread, what it did), and the worker's thread."""
    lines = [line.split(maxsplit=1) for line in trace.read_text(errors="replace").splitlines()]
    return lines, lines[0][0]


def writes_to_pipe(trace):
    """Of all that a thread of Python's wrote, those that went to the pipe: the numbers that they have."""
    lines, worker = trace_of(trace)
    counts, found = collections.Counter(), collections.defaultdict(list)
    for thread, line in lines:
        counts[thread] += line.startswith("write(")
        if thread != worker and line.startswith("write(4<pipe:"):
            found[thread].append(counts[thread])
    return max(found.values(), key=len)


def connector_was_killed(trace):
    lines, worker = trace_of(trace)
    killed = {thread for thread, line in lines if line == "+++ killed by SIGKILL +++"}
    return bool(killed) and worker not in killed


def kill(build, merging, what, number):
    """(None where the run did not come that far; else what was wrong, or "", and the checkpoint that was committed)"""
    killing, at = Killing(build, merging), 0
    try:
        if what == "operation":
            killing.project.tell(dies_at=number)
        succeeded, said = killing.once(injecting(killing.trace, number) if what == "write" else None)
        if what == "write" and not connector_was_killed(killing.trace):
            return None, 0
        assert not succeeded and '"connector.py" was killed by SIGKILL' in said, said
        models = models_of(PADDING)
        at = killing.holds(models)
        killing.recovers(models)
        return "", at
    except AssertionError as error:
        return f"killed at {what} {number}: {error}", at
    finally:
        killing.wherry.close()


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("merging", [False, True], ids=["each checkpoint", "merged"])
def test_killed_at_every_operation_and_write(plain_build, merging, capsys):
    full = os.environ.get("WHERRY_TEST_FULL") == "1"
    seed = int(os.environ.get("WHERRY_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    rng = random.Random(seed)
    undisturbed = Killing(plain_build, merging)
    try:
        succeeded, said = undisturbed.once(injecting(undisturbed.trace))
        assert succeeded, said
        compare(undisturbed.adapter, models_of(PADDING)[SEGMENTS])
        writes = writes_to_pipe(undisturbed.trace)
        (commits,) = undisturbed.wherry.query("SELECT sequence FROM _wherry_state", database=undisturbed.adapter.path)
    finally:
        undisturbed.wherry.close()
    assert len(writes) > 2 * SEGMENTS
    assert 2 <= commits[0] < SEGMENTS if merging else commits[0] >= SEGMENTS
    chosen = list(points_to_kill({"operation": LAST, "write": len(writes)}, full, rng, KILLS))
    chosen = [(what, writes[number - 1] if what == "write" else number) for what, number in chosen]
    made, wrong, committed = collections.Counter(), [], set()
    with concurrent.futures.ProcessPoolExecutor(harness.processors(), initializer=harness.become_subreaper) as pool:
        outcomes = pool.map(kill, *zip(*((plain_build, merging, *point) for point in chosen)))
        for (what, _), (outcome, at) in zip(chosen, outcomes):
            if outcome is not None:
                made[what] += 1
                committed.add(at)
            if outcome:
                wrong.append(outcome)
    with harness.aloud(capsys):
        print(f"\nkills made (seed {seed}): {dict(made)}; committed then: {sorted(committed)}")
    assert not wrong, "\n".join(wrong)
    missed = collections.Counter(what for what, _ in chosen) - made
    assert not missed, f"no kill was made at {missed}"
