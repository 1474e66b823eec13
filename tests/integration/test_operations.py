"""Random operations, and what a destination makes of them: the same as a naive model in memory (operations_model.py).

Each sequence is a few syncs, one after another, each a new process with its own memory bound and commit interval; after
each of them tables, rows, kinds of columns and state are compared, with `history: true` the versions of each row and
their times, too. Ten sequences run side by side, on tables of their own, and as many of these groups at once as there
are processors; the groups are parted among a few tests, which processes of pytest's may share. The seed is printed, and
WHERRY_TEST_SEED sets it; WHERRY_TEST_FULL=1 runs 10,000 sequences per destination instead of 300, WHERRY_TEST_SEQUENCES
any number. What fails is made smaller before it is shown.

To run another destination against the model, write an adapter like Sqlite below (how it is started, how it is read back),
and add it to ADAPTERS.
"""

import concurrent.futures
import copy
import datetime
import functools
import os
import pprint
import random
import re
import shutil
import sqlite3
import tempfile
from decimal import Decimal
from pathlib import Path

import frames
import harness
import pytest
from operations_duckdb import Duckdb
from operations_model import HistoryTable, Kind, Model, Pools, encode, json_meaning, random_group
from operations_postgres import Postgres

SEQUENCES = int(
    os.environ.get("WHERRY_TEST_SEQUENCES") or (10000 if os.environ.get("WHERRY_TEST_FULL") == "1" else 300)
)
SIDE_BY_SIDE = 10
PARTS = 3
SHRINKING = 300  # runs at most, to make a failure smaller


# --- adapters ---


def parse_moment(shown):
    match = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{6}|\d{9}))?", shown)
    assert match, f"{shown!r} is no timestamp"
    moment = datetime.datetime(*(int(part) for part in match.groups()[:6]))
    seconds = (moment - datetime.datetime(1970, 1, 1)) // datetime.timedelta(seconds=1)
    return seconds, int((match.group(7) or "0").ljust(9, "0"))


class Sqlite:
    """A database file per sequence. What another destination's adapter must have is what is public here."""

    name = "sqlite"
    nul = nanoseconds = True  # text may hold NUL; times have nine digits
    KINDS = {
        "TEXT": "string", "SMALLINT": "short", "INT": "int", "BIGINT": "integer", "FLOAT": "real", "DOUBLE": "float",
        "BOOLEAN": "boolean", "DATE": "date", "DATETIME": "datetime", "TIMESTAMP": "instant", "DECIMAL_TEXT": "decimal",
        "JSON_TEXT": "json", "BLOB": "binary",
    }  # fmt: skip

    def __init__(self, build, folder):
        self.program, self.path = build.destination("sqlite"), Path(folder) / "t.db"

    def configuration(self):
        """BEGIN's "destination", and what else this one needs there."""
        return {"destination": {"type": "sqlite", "path": str(self.path)}}

    def connect(self):
        database = sqlite3.connect(self.path)
        database.text_factory = lambda raw: raw.decode("utf-8", "surrogatepass")
        return database

    def state(self):
        """The committed state of connection "model" as JSON text; "{}" where there is none."""
        database = self.connect()
        try:
            found = database.execute("SELECT state FROM _wherry_state WHERE connection = 'model'").fetchone()
        except sqlite3.OperationalError:
            found = None
        database.close()
        return found[0] if found else "{}"

    def tables(self):
        """By name, as a pair: the kinds of the columns by name, in order, system columns too; rows as dictionaries of
        values, each of the type that seen_as() has for its kind."""
        database, found = self.connect(), {}
        for (name,) in database.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_wherry%' ESCAPE '\\'"
        ):
            columns = database.execute("SELECT name, type FROM pragma_table_info(?)", [name]).fetchall()
            kinds = {column: self.kind(declared) for column, declared in columns}
            quoted = '"' + name.replace('"', '""') + '"'
            rows = database.execute(f"SELECT * FROM {quoted}").fetchall()
            found[name] = (
                kinds,
                [{column: self.value(kinds[column], value) for column, value in zip(kinds, row)} for row in rows],
            )
        database.close()
        return found

    def kind(self, declared):
        match = re.fullmatch(r"([A-Z_]+)(?:\((\d+),(\d+)\))?", declared)
        return Kind(self.KINDS[match.group(1)], int(match.group(2) or 0), int(match.group(3) or 0))

    @staticmethod
    def value(kind, stored):
        if stored is None:
            return None
        types = {"binary": bytes, "real": float, "float": float}
        types |= dict.fromkeys(("short", "int", "integer", "boolean"), int)
        assert type(stored) is types.get(kind.type, str), f"{stored!r} is stored in a column of {kind}"
        if kind.type == "boolean":
            return {0: False, 1: True}[stored]
        if kind.type == "decimal":
            return Decimal(stored)
        if kind.type == "date":
            return (datetime.date.fromisoformat(stored) - datetime.date(1970, 1, 1)).days
        if kind.type == "datetime":
            return parse_moment(stored)
        if kind.type == "instant":
            assert stored.endswith("Z"), stored
            return parse_moment(stored[:-1])
        return json_meaning(stored) if kind.type == "json" else stored


ADAPTERS = [Sqlite, Postgres, Duckdb]


# --- running and comparing ---

SYSTEM = {"_fivetran_id": "string", "_fivetran_synced": "instant"}
DELETED = {"_fivetran_deleted": "boolean"}
HISTORY = {"_fivetran_start": "instant", "_fivetran_end": "instant", "_fivetran_active": "boolean"}
NEVER = (253402300799, 999000000)  # the end of what has not ended


def own_columns(name, table, kinds, wanted_kinds, added):
    """Those that the source has, in order; the others are the system's."""
    own = {column: kind for column, kind in kinds.items() if not column.startswith("_fivetran_")}
    system = {column: kind.type for column, kind in kinds.items() if column not in own}
    assert list(own.items()) == list(wanted_kinds.items()), f"columns of {name!r}"
    wanted = {column: kind for column, kind in SYSTEM.items() if column != "_fivetran_id" or not table.key}
    assert system == wanted | added, f"columns of {name!r}"
    return own


def compare_values(name, key, own, row, values):
    for column, value in values.items():
        assert row[column] == value, f"column {column!r} ({own[column].type}) of row {key!r} of {name!r}"


def compare_table(name, table, found):
    kinds, rows = found
    wanted_kinds, wanted = table.seen()
    own = own_columns(name, table, kinds, wanted_kinds, DELETED)
    seen = {}
    for row in rows:
        key = tuple(row[column] for column in table.key) if table.key else row["_fivetran_id"]
        assert key not in seen, f"{name!r} has two rows {key!r}"
        assert row["_fivetran_synced"] is not None
        seen[key] = {column: row[column] for column in own}, row["_fivetran_deleted"]
    assert set(seen) == set(wanted), f"keys of {name!r}"
    for key, (values, deleted) in wanted.items():
        assert seen[key][1] == deleted, f"whether row {key!r} of {name!r} is deleted"
        compare_values(name, key, own, seen[key][0], values)


def microseconds(moment):
    return moment[0] * 1_000_000 + moment[1] // 1000


def compare_end(what, end, row, times):
    assert row["_fivetran_active"] == (end is None), f"whether {what} is active"
    if end is None:
        assert row["_fivetran_end"] == NEVER, f"end of {what}"
        return
    later = 1000 if end[0] == "before" else 0
    times.append((end[1], microseconds(row["_fivetran_end"]) + later, f"end of {what}"))


def compare_versions(name, table, found, times):
    """TIMES gets what the destination has for each batch's moment."""
    kinds, rows = found
    wanted_kinds, wanted = table.seen()
    own = own_columns(name, table, kinds, wanted_kinds, HISTORY)
    seen = {}
    for row in sorted(rows, key=lambda row: row["_fivetran_start"]):
        key = tuple(row[column] for column in table.key) if table.key else row["_fivetran_id"]
        assert row["_fivetran_synced"] is not None
        seen.setdefault(key, []).append(row)
    assert set(seen) == set(wanted), f"keys of {name!r}"
    for key, versions in wanted.items():
        assert len(seen[key]) == len(versions), f"versions of row {key!r} of {name!r}"
        for number, ((values, start, end), row) in enumerate(zip(versions, seen[key])):
            what = f"version {number} of row {key!r} of {name!r}"
            compare_values(name, key, own, row, values)
            times.append((start, microseconds(row["_fivetran_start"]), f"start of {what}"))
            compare_end(what, end, row, times)


def compare_times(times):
    """Each batch has one moment, and a later batch a later one."""
    last = (0, 0)
    for batch, moment, what in sorted(times):
        assert batch == last[0] or moment > last[1], f"{what}: batch {batch} is not later than {last[0]}"
        assert batch != last[0] or moment == last[1], f"{what}: another moment than the rest of batch {batch}"
        last = batch, moment


def compare(adapter, model):
    found, times = adapter.tables(), []
    assert set(found) == set(model.tables), "tables"
    for name, table in model.tables.items():
        if model.kind is HistoryTable:
            compare_versions(name, table, found[name], times)
        else:
            compare_table(name, table, found[name])
    compare_times(times)
    assert adapter.state() == model.state


def configuration(adapter, run_id, interval, memory, aside=1 << 28, history=False):
    return {
        "history": history,
        "connection": "model",
        "run_id": run_id,
        "files": False,
        "commit_interval": interval,
        "coalesce_memory": memory,
        "set_aside_max": aside,
        "sandbox": {"mode": "default"},
        **adapter.configuration(),
    }


def sync(adapter, number, planned, history):
    """One process, from BEGIN to its end."""
    begin = configuration(adapter, f"run-{number}", planned["interval"], planned["memory"], planned["aside"], history)
    writer = frames.Writer([str(adapter.program)], begin)
    try:
        writer.put(encode(planned["operations"], planned["end"]))
        status = writer.finish()
    finally:
        writer.kill()
    if planned["end"]:
        assert status == 0, writer.frames("ERROR")
    else:
        assert status == 1 and "ended before it had sent everything" in writer.error()[1], writer.frames("ERROR")


def follow(adapter, model, number, planned):
    """Runs a sync on both sides. The model of what must be there: without END, what the last commit had."""
    sync(adapter, number, planned, model.kind is HistoryTable)
    before = copy.deepcopy(model)
    states = [copy.deepcopy(state) for state in model.run(planned["operations"], planned["interval"])]
    if planned["end"]:
        return states[-1]
    # each checkpoint is committed by itself, or, within the interval, the last one with those before it
    return states[-2] if len(states) > 1 else before


def failure(build, kind, sequence, history):
    """What goes wrong with a sequence; None: nothing."""
    folder = tempfile.mkdtemp(prefix="wherry-operations-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    adapter, model = kind(build, folder), Model(history)
    try:
        for number, planned in enumerate(sequence):
            model = follow(adapter, model, number, planned)
            compare(adapter, model)
    except AssertionError as error:
        return f"in sync {number}: {error}"
    finally:
        getattr(adapter, "close", lambda: None)()
        shutil.rmtree(folder)
    return None


# --- making a failure smaller ---


def smaller(sequence):
    """The sequence with one thing left out, large things first."""
    for i in range(len(sequence)):
        yield sequence[:i] + sequence[i + 1 :]
    names = sorted({operation[1] for planned in sequence for operation in planned["operations"] if operation[1:]})
    for size in (8, 4, 2, 1):
        for k in range(0, len(names), size) if size < len(names) else ():
            gone = names[k : k + size]
            yield [
                {**planned, "operations": [o for o in planned["operations"] if not o[1:] or o[1] not in gone]}
                for planned in sequence
            ]
    for i, planned in enumerate(sequence):
        operations = planned["operations"]
        for size in (8, 4, 2, 1):
            for k in range(0, len(operations), size):
                yield [
                    *sequence[:i],
                    {**planned, "operations": operations[:k] + operations[k + size :]},
                    *sequence[i + 1 :],
                ]
        for k, operation in enumerate(operations):
            if operation[0] != "rows":
                continue
            rows = operation[3]
            candidates = [rows[:r] + rows[r + 1 :] for r in range(len(rows)) if len(rows) > 1]
            candidates += [
                [*rows[:r], {n: v for n, v in row.items() if n != name}, *rows[r + 1 :]]
                for r, row in enumerate(rows)
                for name in row
                if not re.fullmatch(r"k\d", name)
            ]
            for candidate in candidates:
                changed = [*operations[:k], (*operation[:3], candidate), *operations[k + 1 :]]
                yield [*sequence[:i], {**planned, "operations": changed}, *sequence[i + 1 :]]


def shrink(build, kind, sequence, history, why):
    left = SHRINKING
    while left > 0:
        for candidate in smaller(sequence):
            left -= 1
            found = failure(build, kind, candidate, history)
            if found:
                sequence, why = candidate, found
                break
            if left <= 0:
                break
        else:
            break
    return sequence, why


def group_of(kind, seed, number):
    pools = Pools(nul=kind.nul, nanoseconds=kind.nanoseconds)
    return random_group(random.Random(f"{seed} {number}"), pools, SIDE_BY_SIDE)


def failure_of_group(build, kind, history, seed, number):
    return failure(build, kind, group_of(kind, seed, number), history)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("history", [False, True], ids=["rows", "history"])
@pytest.mark.parametrize("kind", reversed(ADAPTERS), ids=lambda kind: kind.name)
def test_operations_mean_what_the_model_says(build, kind, history, part, capsys):
    groups = range(part, SEQUENCES // SIDE_BY_SIDE, PARTS)
    if not groups:
        pytest.skip(f"{SEQUENCES} sequences are too few for {PARTS} parts")
    seed = int(os.environ.get("WHERRY_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    with harness.aloud(capsys):
        print(f"\n{len(groups) * SIDE_BY_SIDE} of {SEQUENCES} sequences of operations on {kind.name}, seed {seed}")
    getattr(kind, "prepare", lambda: None)()
    if kind is Duckdb and part > 0:  # under the sanitizers' allocator the library takes several times as long
        build = harness.plain_build() or build
    run = functools.partial(failure_of_group, build, kind, history, seed)
    with concurrent.futures.ProcessPoolExecutor(harness.processors(), initializer=harness.become_subreaper) as pool:
        failures = zip(groups, pool.map(run, groups))
        number, why = next((found for found in failures if found[1]), (None, None))
        pool.shutdown(cancel_futures=True)
    if why:
        sequence, why = shrink(build, kind, group_of(kind, seed, number), history, why)
        pytest.fail(f"seed {seed}, group {number}: {why}\n{pprint.pformat(sequence, width=150)}", pytrace=False)
