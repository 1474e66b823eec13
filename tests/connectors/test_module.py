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
