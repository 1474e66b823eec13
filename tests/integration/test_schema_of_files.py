"""`on_schema_change` of file pipelines, in every destination: what a table may get, and what stays refused."""

import sqlite3

import duckdb
import pytest
from postgres import server  # noqa: F401
from test_plan import make_target, orders, plan, planned_and_done, target  # noqa: F401

LESS = [{"source": "id", "dest": "id", "type": "integer"}]
MORE = LESS + [
    {"source": "note", "dest": "note", "type": "string", "required": False},
    {"source": "amount", "dest": "amount", "type": "decimal"},
    {"source": "at", "dest": "changed_at", "type": "timestamp", "required": False},
]
NEWER = "id,note,amount,at\n2,second,9.5,2026-01-02T03:04:05Z\n"


def query(place, sql):
    """Rows of a target of test_plan, each value as text."""
    if hasattr(place, "server"):
        return [tuple(row) for row in place.server.query(sql, place.database)]
    if place.path.suffix == ".duckdb":
        connection = duckdb.connect(str(place.path), read_only=True)
    else:
        connection = sqlite3.connect(place.path)
    found = [tuple(None if v is None else str(v) for v in row) for row in connection.execute(sql).fetchall()]
    connection.close()
    return found


def pipeline(wherry, place, columns, policy=None, **changes):
    changes = {**changes, **({"on_schema_change": policy} if policy else {})}
    wherry.pipeline("orders", {**orders(wherry, place, **changes), "columns": columns})


@pytest.fixture
def loaded(wherry, target):  # noqa: F811
    """One row under fewer columns."""
    wherry.start()
    pipeline(wherry, target, LESS)
    wherry.drop("a.csv", "id\n1\n")
    wherry.sync("orders")
    return target


@pytest.mark.parametrize("policy", ["allow_all", "allow_columns"])
@pytest.mark.parametrize("write_mode", ["append", "truncate"])
def test_columns_are_added(wherry, loaded, policy, write_mode):
    pipeline(wherry, loaded, MORE, policy, write_mode=write_mode)
    wherry.drop("b.csv", NEWER)
    made = planned_and_done(wherry, loaded)
    assert sum("ADD COLUMN" in statement for statement in made["statements"]) == 3
    kept = [("1", None, None)] if write_mode == "append" else []
    (*old, new) = query(loaded, "SELECT id, note, changed_at FROM orders ORDER BY id")
    assert old == kept and new[:2] == ("2", "second") and new[2].startswith("2026-01-02")
    wherry.drop("c.csv", NEWER.replace("2,", "3,"))
    assert planned_and_done(wherry, loaded)["statements"] == [
        statement for statement in made["statements"] if "ADD COLUMN" not in statement
    ]


def test_nothing_is_dropped_and_no_type_changes(wherry, loaded):
    changed = [{"source": "id", "dest": "id", "type": "string"}, MORE[1]]
    pipeline(wherry, loaded, changed, "allow_all")
    wherry.drop("b.csv", NEWER)
    before = loaded.catalog()
    error = wherry.sync("orders", status=1)["error"]
    assert 'column "id" is ' in error and 'missing column "note"' in error
    pipeline(wherry, loaded, [MORE[1]], "allow_all")
    assert 'extra column "id"' in wherry.sync("orders", status=1)["error"]
    assert loaded.catalog() == before


@pytest.mark.parametrize("policy", [None, "block_all"])
def test_without_leave_no_column_is_added(wherry, loaded, policy):
    pipeline(wherry, loaded, MORE, policy)
    wherry.drop("b.csv", NEWER)
    before = loaded.catalog()
    error = wherry.sync("orders", status=1)["error"]
    assert 'missing column "note"' in error and 'missing column "amount"' in error
    assert plan(wherry, status=1)["error"] == error
    assert loaded.catalog() == before


@pytest.mark.parametrize("policy", ["allow_columns", "block_all"])
def test_no_table_is_made_where_that_is_forbidden(wherry, target, policy):  # noqa: F811
    wherry.start()
    pipeline(wherry, target, LESS, policy)
    wherry.drop("a.csv", "id\n1\n")
    assert wherry.sync("orders", status=1)["error"].endswith(
        f'table "orders" is not in the destination, and `on_schema_change: {policy}` forbids to make it'
    )
    pipeline(wherry, target, LESS, "allow_all")
    wherry.sync("orders")
    pipeline(wherry, target, LESS, policy)
    wherry.drop("b.csv", "id\n2\n")
    wherry.sync("orders")
    assert query(target, "SELECT id FROM orders ORDER BY id") == [("1",), ("2",)]
