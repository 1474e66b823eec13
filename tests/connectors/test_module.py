"""What parity does not show of the module: that it loses no memory, and leaves nothing of a row that it refused."""

import os
from pathlib import Path

import pytest
import wherry_side

ROOT = Path(__file__).resolve().parents[2]
BUILD = os.environ.get("WHERRY_BUILD", ROOT / "build-tests/sanitized")
HEAD = "from fivetran_connector_sdk import Connector, Operations as op\n"

# every way that a row may go, the refused ones included
MEMORY = (
    HEAD
    + """
import datetime, decimal, gc, os, sys

def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "LONG", "at": "UTC_DATETIME", "n": "INT"}}]

def resident():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

def rows(first, count):
    for i in range(first, first + count):
        op.upsert("t", {"id": i, "at": "2024-02-09T01:02:03Z", "n": 5, "text": f"text {i}"})
        op.upsert("t", {"id": i, "at": datetime.datetime(2024, 1, 1), "n": "5", "text": None})
        op.upsert("t", {"text": f"other order {i}", "id": i})
        op.update("t", {"id": i, "json": {"a": [i]}, "decimal": decimal.Decimal(i), "large": 2**70 + i})
        op.delete(table="t", keys={"id": i})
        for bad in ({"id": "x"}, {"id": i, "at": "x"}, {"id": i, "n": 1.5}, {"id": i, "json": {1, 2}}, {5: 1}, None):
            try:
                op.upsert("t", bad)
            except (TypeError, ValueError, AttributeError):
                pass

def update(configuration, state):
    rows(0, 3000)
    names = [object() for _ in range(3)]
    before, references = resident(), [sys.getrefcount(o) for o in (None, True, op.upsert, "id")]
    rows(3000, 12000)
    grown = resident() - before
    op.upsert("result", {"grown": grown, "references": [sys.getrefcount(o) for o in (None, True, op.upsert, "id")],
                         "before": references})

connector = Connector(update=update, schema=schema)
"""
)


@pytest.fixture
def project(tmp_path):
    def make(program):
        (tmp_path / "connector.py").write_text(program)
        return tmp_path

    return make


def test_memory_stays(project):
    result = wherry_side.run(project(MEMORY), BUILD, timeout=280, naming="source")
    assert result.error is None, result.error
    _, _, found = next(o for o in result.operations if o[1] == "result")
    # the sanitizer keeps what was freed for a while
    allowed = (300 if wherry_side.sanitizer(BUILD) else 2) << 20
    assert found["grown"] < allowed, f"{found['grown']} bytes more after 72000 rows and 60000 refusals"
    before, after = (eval(found[name]) for name in ("before", "references"))
    assert all(abs(a - b) < 200 for a, b in zip(before, after)), (before, after)
    assert len(result.operations) == 15000 * 6 + 1


def test_a_refused_row_leaves_nothing(project):
    program = (
        HEAD
        + """
def update(configuration, state):
    op.upsert("t", {"a": 1, "b": "x"})
    for bad in ({"a": 2, "b": "\\ud800"}, {"a": 3, "b": "y", "c": {1}}, {"new": 1, "a": "\\ud800"}):
        try:
            op.upsert("t", bad)
        except (UnicodeEncodeError, TypeError, ValueError):
            op.upsert("t", {"a": 9, "b": "good"})
    op.checkpoint({})

connector = Connector(update=update)
"""
    )
    result = wherry_side.run(project(program), BUILD)
    assert result.error is None, result.error
    rows = [row for kind, _, row in (o for o in result.operations if o[0] == "upsert")]
    assert [(row["a"], row.get("b")) for row in rows[:2]] == [(1, "x"), (9, "good")]
    assert all(row.get("b") in ("x", "good", "y", None) for row in rows)


# what PyDict_Next() would tell, however the dict came to be
DICTS = (
    HEAD
    + """
class Text(str):
    pass

class Object:
    def __init__(self, i):
        self.id, self.a, self.b = i, f"a{i}", i / 2

def dicts(i):
    made = {"id": i, "a": f"a{i}", "b": i / 2}
    yield made
    yield dict(made)
    yield {name: value for name, value in made.items()}
    yield Object(i).__dict__
    gap = {"id": i, "gone": 1, "a": f"a{i}", "b": i / 2}
    del gap["gone"]
    yield gap
    yield {Text("id"): i, "a": f"a{i}", "b": i / 2}
    yield {"".join(["i", "d"]): i, "a": f"a{i}", "b": i / 2}
    again = {"b": 0.0, "a": "", "id": 0}
    again.update(made)
    yield again
    shrunk = {str(n): n for n in range(300)}
    shrunk.clear()
    shrunk.update(made)
    yield shrunk
    popped = {**made, "last": 1}
    popped.popitem()
    yield popped
    wide = {"id": i, "a": f"a{i}", "b": i / 2, **{f"c{n}": n for n in range(int(size))}}
    yield wide

def update(configuration, state):
    global size
    for size in (7, 200, 250):
        for i in range(20):
            for made in dicts(i):
                op.upsert("t", made)

connector = Connector(update=update, schema=lambda configuration: [{"table": "t", "primary_key": ["id"], "columns": {
    "id": "LONG", "a": "STRING"}}])
"""
)


def test_dicts_of_every_making(project):
    result = wherry_side.run(project(DICTS), BUILD, naming="source")
    assert result.error is None, result.error
    rows = [row for _, _, row in result.operations]
    assert len(rows) == 3 * 20 * 11
    for at, row in enumerate(rows):
        size, i = (7, 200, 250)[at // 220], at // 11 % 20
        values = {name: value for name, value in row.items() if value is not None}
        wanted = {"id": i, "a": f"a{i}", "b": i / 2}
        if at % 11 == 10:
            wanted |= {f"c{n}": n for n in range(size)}
        assert values == wanted, f"row {at}"
