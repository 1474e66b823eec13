"""Random operations, and what a destination makes of them: the same as a naive model in memory (operations_model.py).

Each sequence is a few syncs, one after another, each a new process with its own memory bound and commit interval; after
each of them tables, rows, kinds of columns and state are compared. The seed is printed, and WHERRY_TEST_SEED sets it;
WHERRY_TEST_FULL=1 runs 10,000 sequences per destination instead of 300. What fails is made smaller before it is shown.

To run another destination against the model, write an adapter like Sqlite below (how it is started, how it is read back),
and add it to ADAPTERS.
"""

import copy
import datetime
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
import pytest
from operations_duckdb import Duckdb
from operations_model import Kind, Model, Pools, encode, json_meaning, random_sequence
from operations_postgres import Postgres

SEQUENCES = 10000 if os.environ.get("WHERRY_TEST_FULL") == "1" else 300
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

SYSTEM = {"_fivetran_id": "string", "_fivetran_synced": "instant", "_fivetran_deleted": "boolean"}


def compare_table(name, table, found):
    kinds, rows = found
    own = {column: kind for column, kind in kinds.items() if column not in SYSTEM}
    system = {column: kind.type for column, kind in kinds.items() if column in SYSTEM}
    wanted_kinds, wanted = table.seen()
    assert list(own.items()) == list(wanted_kinds.items()), f"columns of {name!r}"
    assert system == {column: kind for column, kind in SYSTEM.items() if column != "_fivetran_id" or not table.key}
    seen = {}
    for row in rows:
        key = tuple(row[column] for column in table.key) if table.key else row["_fivetran_id"]
        assert key not in seen, f"{name!r} has two rows {key!r}"
        assert row["_fivetran_synced"] is not None
        seen[key] = {column: row[column] for column in own}, row["_fivetran_deleted"]
    assert set(seen) == set(wanted), f"keys of {name!r}"
    for key, (values, deleted) in wanted.items():
        assert seen[key][1] == deleted, f"whether row {key!r} of {name!r} is deleted"
        for column, value in values.items():
            is_ = seen[key][0][column]
            assert is_ == value, f"column {column!r} ({own[column].type}) of row {key!r} of {name!r}"


def compare(adapter, model):
    found = adapter.tables()
    assert set(found) == set(model.tables), "tables"
    for name, table in model.tables.items():
        compare_table(name, table, found[name])
    assert adapter.state() == model.state


def configuration(adapter, run_id, interval, memory):
    return {
        "connection": "model",
        "run_id": run_id,
        "files": False,
        "commit_interval": interval,
        "coalesce_memory": memory,
        "sandbox": {"mode": "default"},
        **adapter.configuration(),
    }


def sync(adapter, number, planned):
    """One process, from BEGIN to its end."""
    begin = configuration(adapter, f"run-{number}", planned["interval"], planned["memory"])
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
    sync(adapter, number, planned)
    before = copy.deepcopy(model)
    states = [copy.deepcopy(state) for state in model.run(planned["operations"])]
    if planned["end"]:
        return states[-1]
    # each checkpoint is committed by itself, or, within the interval, none was
    checkpoints = states[:-1]
    return checkpoints[-1] if checkpoints and planned["interval"] == 0 else before


def failure(build, kind, sequence):
    """What goes wrong with a sequence; None: nothing."""
    folder = tempfile.mkdtemp(prefix="wherry-operations-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    adapter, model = kind(build, folder), Model()
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


def shrink(build, kind, sequence, why):
    left = SHRINKING
    while left > 0:
        for candidate in smaller(sequence):
            left -= 1
            found = failure(build, kind, candidate)
            if found:
                sequence, why = candidate, found
                break
            if left <= 0:
                break
        else:
            break
    return sequence, why


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", ADAPTERS, ids=lambda kind: kind.name)
def test_operations_mean_what_the_model_says(build, kind, capsys):
    seed = int(os.environ.get("WHERRY_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    pools = Pools(nul=kind.nul, nanoseconds=kind.nanoseconds)
    with capsys.disabled():
        print(f"\n{SEQUENCES} sequences of operations on {kind.name}, seed {seed}")
    for number in range(SEQUENCES):
        sequence = random_sequence(random.Random(f"{seed} {number}"), pools)
        why = failure(build, kind, sequence)
        if why:
            sequence, why = shrink(build, kind, sequence, why)
            pytest.fail(f"seed {seed}, sequence {number}: {why}\n{pprint.pformat(sequence, width=150)}", pytrace=False)
