"""Operations at a writer, in each destination: what they refuse, and what a sync of all does to what it does not see."""

import shutil
import tempfile

import frames
import pytest
from frames import ABSENT, KEY
from operations_model import Kind
from test_operations import ADAPTERS

ID = ("id", "integer", KEY)
COLUMNS = [ID, ("note", "string")]


class Syncs:
    """Syncs of one connection after another, each of one writer."""

    def __init__(self, adapter):
        self.adapter, self.writers = adapter, []

    def run(self, *parts, end=True, **more):
        begin = {
            "connection": "model",
            "run_id": f"run-{len(self.writers)}",
            "files": False,
            "commit_interval": 0,
            "sandbox": {"mode": "default"},
            **self.adapter.configuration(),
            **more,
        }
        writer = frames.Writer([str(self.adapter.program)], begin)
        self.writers.append(writer)
        writer.put(frames.hello() + b"".join(parts) + (frames.encode("END") if end else b""))
        writer.status = writer.finish()
        return writer

    def good(self, *parts, **more):
        writer = self.run(*parts, **more)
        assert writer.status == 0, writer.frames("ERROR")
        return writer

    def refused(self, *parts, **more):
        """(kind, message) of its error; nothing of it is kept."""
        before = self.adapter.tables()
        writer = self.run(*parts, **more)
        assert writer.status == 1
        assert self.adapter.tables() == before
        return writer.error()

    def columns(self, table="t"):
        kinds = self.adapter.tables()[table][0]
        return {name: kind for name, kind in kinds.items() if not name.startswith("_fivetran_")}

    def rows(self, table="t"):
        """By id: note and whether it is deleted."""
        return {row["id"]: (row["note"], row["_fivetran_deleted"]) for row in self.adapter.tables()[table][1]}


@pytest.fixture(params=ADAPTERS, ids=lambda kind: kind.name)
def syncs(request, build):
    folder = tempfile.mkdtemp(prefix="wherry-operations-")
    adapter = request.param(build, folder)
    found = Syncs(adapter)
    yield found
    for writer in found.writers:
        writer.kill()
    getattr(adapter, "close", lambda: None)()
    shutil.rmtree(folder)


def table(columns=COLUMNS, name="t", number=0):
    return frames.table(name, columns, number)


def upsert(*rows, number=0):
    return frames.rows(rows, number, "upsert")


def checkpoint(number=1):
    return frames.encode("CHECKPOINT", number=number, state=f'{{"at": {number}}}')


def truncate(number=0):
    return frames.encode("TRUNCATE", table=number)


TWO = upsert((1, "a"), (2, "b"))


# --- tables that only the destination knows ---


def test_a_table_from_an_earlier_sync(syncs):
    """Updates, deletes and a truncate without a row before them act on what is there, and ignore what is not."""
    syncs.good(table(), upsert((1, "a"), (2, "b"), (3, "c")))
    update = frames.rows([(1, "A"), (9, "Z")], operation="update")
    delete = frames.rows([(2, ABSENT), (8, ABSENT)], operation="delete")
    syncs.good(table(), update, delete)
    assert syncs.rows() == {1: ("A", False), 2: ("b", True), 3: ("c", False)}
    syncs.good(table(), truncate(), upsert((3, "d")))
    assert syncs.rows() == {1: ("A", True), 2: ("b", True), 3: ("d", False)}


def test_a_truncate_of_a_table_by_its_name(syncs):
    """Nothing is known of its columns; where it is missing, nothing is done."""
    writer = syncs.good(table([]), truncate())
    assert syncs.adapter.tables() == {} and writer.frames("COMMITTED") == []
    syncs.good(table(), TWO)
    syncs.good(table([]), truncate(), checkpoint())
    assert syncs.rows() == {1: ("a", True), 2: ("b", True)}
    # its columns come later in the same sync, and the table with them where there was none
    syncs.good(table([]), truncate(), table(), upsert((2, "c")))
    assert syncs.rows() == {1: ("a", True), 2: ("c", False)}
    syncs.good(table([], "new"), truncate(), checkpoint(), table(name="new"), upsert((1, "x")))
    assert syncs.rows("new") == {1: ("x", False)}


def test_a_truncate_by_name_creates_no_table_that_is_forbidden(syncs):
    syncs.good(table([]), truncate(), on_schema_change="block_all")
    kind, message = syncs.refused(table([]), truncate(), table(), TWO, on_schema_change="allow_columns")
    assert (kind, message) == (
        "configuration",
        'table "t" is not in the destination, and `on_schema_change: allow_columns` forbids to make it',
    )


# --- checkpoints ---


def test_a_checkpoint_without_rows_and_rows_without_a_checkpoint(syncs):
    syncs.good(checkpoint())
    assert syncs.adapter.state() == '{"at": 1}' and syncs.adapter.tables() == {}
    writer = syncs.good(table(), TWO)
    assert writer.frames("COMMITTED") == [{"sequence": 2, "rows": 2, "state": ""}]
    assert syncs.adapter.state() == '{"at": 1}' and syncs.rows() == {1: ("a", False), 2: ("b", False)}
    assert syncs.run(table(), upsert((3, "c")), end=False).status == 1
    assert syncs.rows() == {1: ("a", False), 2: ("b", False)}


def test_the_schema_changes_between_checkpoints(syncs):
    wider = [("note", "string"), ID, ("n", "float")]
    syncs.good(
        table([ID, ("n", "short")]), upsert((1, 5)), checkpoint(), table(wider), upsert(("b", 2, 0.5)), checkpoint(2)
    )
    assert syncs.columns() == {"id": Kind("integer"), "n": Kind("float"), "note": Kind("string")}
    assert {row["id"]: (row["n"], row["note"]) for row in syncs.adapter.tables()["t"][1]} == {
        1: (5.0, None),
        2: (0.5, "b"),
    }


# --- on_schema_change ---

POLICIES = {  # what a new table, a new column and a wider one come to
    "allow_all": (True, True, True),
    "allow_columns": (False, True, True),
    "block_all": (False, False, False),
}


@pytest.mark.parametrize("policy", POLICIES)
def test_on_schema_change(syncs, policy):
    new_table, new_column, wider = POLICIES[policy]
    syncs.good(table([ID, ("n", "integer")]), upsert((1, 1)))
    more = {"on_schema_change": policy}

    def attempt(allowed, expected, *parts):
        if allowed:
            syncs.good(*parts, **more)
        else:
            assert syncs.refused(*parts, **more) == ("configuration", expected)

    attempt(
        new_table,
        f'table "u" is not in the destination, and `on_schema_change: {policy}` forbids to make it',
        table(name="u"),
        TWO,
    )
    attempt(
        new_column,
        f'table "t" has no column "x", and `on_schema_change: {policy}` forbids to add it',
        table([ID, ("x", "integer")]),
        upsert((2, 2)),
    )
    attempt(
        wider,
        'row 2: table "t": column "n" would change from LONG to DOUBLE, which `on_schema_change: block_all` forbids',
        table([ID, ("n", "integer")]),
        upsert((3, 3), (4, 0.5)),
    )
    syncs.good(table([ID, ("n", "integer")]), upsert((5, 5)), **more)  # what changes nothing is always fine
    assert ("u" in syncs.adapter.tables()) == new_table
    assert ("x" in syncs.columns()) == new_column
    assert syncs.columns()["n"] == Kind("float" if wider else "integer")


# --- keys ---

KEYS = {
    "more": (
        [ID, ("note", "string", KEY)],
        'table "t" has the primary key (id) in the destination and (id, note) in the source; `wherryctl sync model --full '
        "--tables t` makes the table anew",
    ),
    "another": ([("id", "integer"), ("note", "string", KEY)], "(id) in the destination and (note) in the source; "),
    "none": (
        [("id", "integer"), ("note", "string")],
        "(id) in the destination, and the source declares none: have it declare the key in every sync, before the first "
        "row; for a table without a key, `wherryctl sync model --full --tables t` makes it anew",
    ),
}


@pytest.mark.parametrize("what", KEYS)
def test_another_key_is_refused_with_the_way_out(syncs, what):
    columns, expected = KEYS[what]
    syncs.good(table(), TWO)
    kind, message = syncs.refused(table(columns), upsert((3, "c")))
    assert kind == "configuration" and expected in message
    syncs.good(table(columns), upsert((3, "c")), full=True, tables=["t"])
    assert syncs.rows() == {3: ("c", False)}


@pytest.mark.parametrize(
    "columns,expected",
    [
        ([ID, ("note", "string"), ("x", "integer", KEY)], "had the primary key (id) so far in this sync, and now has (id, x)"),
        ([("id", "integer"), ("note", "string"), ("x", "integer")], "had the primary key (id) so far in this sync, and now has (_fivetran_id)"),
    ],
)  # fmt: skip
def test_a_key_that_changes_before_anything_was_written(syncs, columns, expected):
    kind, message = syncs.refused(table(), TWO, table(columns), upsert((3, "c", 1)))
    assert kind == "configuration" and message.endswith(f'table "t" {expected}; declare it before the first row')


@pytest.mark.parametrize("operation", ["upsert", "update", "delete"])
@pytest.mark.parametrize("value", [None, ABSENT], ids=["null", "missing"])
def test_a_key_without_a_value(syncs, operation, value):
    kind, message = syncs.refused(table(), TWO, frames.rows([(3, "c"), (value, "d")], operation=operation))
    assert (kind, message) == ("data", 'table "t": row 4, column "id": no value, but it is part of the key')


def test_a_key_whose_type_changes(syncs):
    """It may grow among numbers that are exact, whatever waits unwritten; else keys that differ could become one."""
    syncs.good(table([("id", "short", KEY), ("note", "string")]), upsert((1, "a")), upsert((1 << 40, "b"), (1, "c")))
    assert syncs.columns()["id"] == Kind("integer") and syncs.rows() == {1: ("c", False), 1 << 40: ("b", False)}
    decimal = frames.decimal("12345678901234567890")
    syncs.good(table(), upsert((2, "d")), frames.rows([(decimal, "e"), (2, "f")], operation="upsert"))
    assert {int(key): row[0] for key, row in syncs.rows().items()} == {
        1: "c",
        2: "f",
        1 << 40: "b",
        12345678901234567890: "e",
    }
    kind, message = syncs.refused(table(), upsert(("x", "y")))
    assert kind == "configuration"
    assert 'row 1: table "t": column "id" is part of the key and would change from DECIMAL' in message
    assert "`wherryctl sync model --full --tables t` makes the table anew" in message


# --- names ---


def test_names_that_differ_in_case(syncs):
    """Two tables and two columns for PostgreSQL, refused where they are one to the destination."""
    tables = [table(name="Orders"), table(name="orders", number=1), TWO, upsert((3, "c"), number=1)]
    columns = [table([ID, ("Note", "string"), ("note", "string")]), upsert((1, "a", "b"))]
    if syncs.adapter.name == "postgres":
        syncs.good(*tables)
        syncs.good(*columns)
        assert set(syncs.rows("Orders")) == {1, 2} and set(syncs.rows("orders")) == {3}
        return
    assert syncs.refused(*tables) == (
        "configuration",
        'tables "Orders" and "orders" are the same to this destination; give one of them another name',
    )
    assert syncs.refused(*columns) == (
        "configuration",
        'table "t": columns "Note" and "note" are the same to this destination; rename one of them',
    )
    # from one sync to the next only the case is another
    syncs.good(table(name="Orders"), TWO)
    syncs.good(table([ID, ("NOTE", "string")], "ORDERS"), upsert((2, "c")))
    assert syncs.rows("Orders") == {1: ("a", False), 2: ("c", False)}


def test_a_table_has_one_owner(syncs):
    syncs.good(table(), TWO)
    kind, message = syncs.refused(table(), upsert((3, "c")), connection="thief")
    assert kind == "configuration"
    assert 'belongs to connection "model": connection "thief" must not write to it' in message


# --- values ---


def test_a_value_over_max_value_size(syncs):
    kind, message = syncs.refused(table(), TWO, upsert((3, "x" * 101)), max_value_size=100)
    assert (kind, message) == ("data", 'table "t": row 3, column "note": a value over `max_value_size`')


def test_json_that_grows_over_max_value_size(syncs):
    """In a column of text its numbers would be written out."""
    small = frames.json_value("[" + "1e900," * 100 + "0]")
    kind, message = syncs.refused(table(), upsert((1, small)), max_value_size=10_000)
    assert (kind, message.partition(": [")[0].partition(': "')[0]) == (
        "data",
        'table "t": row 1, column "note": JSON over `max_value_size` once its numbers are written without exponents',
    )


# --- full syncs ---


def test_a_full_sync_deletes_what_it_does_not_see(syncs):
    syncs.good(table(), table(name="u", number=1), upsert((1, "a"), (2, "b"), (3, "c")), upsert((1, "x"), number=1))
    syncs.good(table(name="other"), upsert((1, "o")))
    update = frames.rows([(3, "C")], operation="update")
    syncs.good(table(), table(name="u", number=1), upsert((2, "B")), checkpoint(), update, upsert((4, "d")), full=True)
    assert syncs.rows() == {1: ("a", True), 2: ("B", False), 3: ("C", False), 4: ("d", False)}
    assert syncs.rows("u") == {1: ("x", True)}
    assert syncs.rows("other") == {1: ("o", False)}  # a table that it does not speak of


def test_a_full_sync_that_fails_deletes_nothing(syncs):
    syncs.good(table(), TWO)
    assert syncs.run(table(), upsert((2, "c")), checkpoint(), end=False, full=True).status == 1
    assert syncs.rows() == {1: ("a", False), 2: ("c", False)}


def test_a_full_sync_of_some_tables(syncs):
    syncs.good(table(), table(name="u", number=1), TWO, upsert((1, "x"), number=1))
    anew = [ID, ("note", "integer")]
    syncs.good(
        table(anew), table(name="u", number=1), upsert((3, 7)), upsert((2, "y"), number=1), full=True, tables=["t"]
    )
    assert syncs.columns() == {"id": Kind("integer"), "note": Kind("integer")}
    assert syncs.rows() == {3: (7, False)}
    assert syncs.rows("u") == {1: ("x", False), 2: ("y", False)}


# --- history ---


def test_history_is_not_switched_in_a_table(syncs):
    syncs.good(table(), TWO)
    syncs.good(table(name="versions"), TWO, history=True)
    kind, message = syncs.refused(table(), upsert((3, "c")), history=True)
    assert (kind, message) == (
        "configuration",
        'table "t" was made without history; `wherryctl sync model --full --tables t` makes it anew',
    )
    kind, message = syncs.refused(table(name="versions"), upsert((3, "c")))
    assert kind == "configuration" and 'table "versions" was made with history; ' in message


def test_a_full_sync_with_history_ends_what_it_does_not_see(syncs):
    syncs.good(table(), upsert((1, "a"), (2, "b")), history=True)
    syncs.good(table(), upsert((2, "b2")), history=True, full=True)
    rows = syncs.adapter.tables()["t"][1]
    assert sorted((row["id"], row["note"], row["_fivetran_active"]) for row in rows) == [
        (1, "a", False),
        (2, "b", False),
        (2, "b2", True),
    ]


def test_an_update_of_nothing_makes_no_version(syncs):
    syncs.good(table(), TWO, history=True)
    syncs.good(table(), frames.rows([(1, ABSENT)], operation="update"), history=True)
    rows = syncs.adapter.tables()["t"][1]
    assert sorted((row["id"], row["_fivetran_active"]) for row in rows) == [(1, True), (2, True)]
