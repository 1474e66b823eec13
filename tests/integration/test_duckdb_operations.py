"""Operations into DuckDB: texts of widened values, tables that others made, history."""

import decimal
import math
import random
import struct
from decimal import Decimal

import frames
import pytest
from operations_duckdb import Duckdb, single
from operations_model import Kind, Pools, Value, encode, is_single, plain, random_sequence, wire
from test_duckdb import execute, query
from test_operations import Sqlite, configuration


class Stream:
    """Operations straight into the writer, one process per call."""

    def __init__(self, build, folder):
        self.adapter, self.step = Duckdb(build, folder), 0
        self.database, self.more = self.adapter.path, {}  # keys of the destination

    def __call__(self, *parts, status=0):
        self.step += 1
        begin = {**configuration(self.adapter, f"run-{self.step}", 0, 8 << 20), "on_schema_change": "allow_all"}
        begin["destination"] |= self.more
        writer = frames.Writer([str(self.adapter.program)], begin)
        writer.put(frames.hello() + b"".join(parts) + frames.encode("END"))
        assert writer.finish() == status, writer.frames("ERROR")
        return writer.error()[1] if status else None


@pytest.fixture
def stream(build, tmp_path):
    return Stream(build, tmp_path)


# --- values that are there become those of a wider kind ---


def edges(kind, generator):
    """Values of KIND at its edges, and random ones."""
    whole = {"short": 15, "int": 31, "integer": 63}
    if kind.type in whole:
        top = 1 << whole[kind.type]
        near = [2**bit + off for bit in range(whole[kind.type] + 1) for off in (-1, 0, 1)]
        return [n for n in [0, *near, *(-n for n in near)] if -top <= n < top]
    if kind.type in ("float", "real"):
        bits = [generator.getrandbits(64) for _ in range(4000)]
        found = [struct.unpack("<d", struct.pack("<Q", pattern))[0] for pattern in bits]
        found += [sign * 10.0**power for sign in (1, -1) for power in range(-320, 309)]
        found += [float(2**bit + off) for bit in range(70) for off in (-1, 0, 1)]
        found += [generator.uniform(-1, 1) * 10 ** generator.randrange(25) for _ in range(2000)]
        found += [float(generator.randrange(2**53, 2**64)) for _ in range(1000)]
        found += [0.0, -0.0, 5e-324, 1.7976931348623157e308, 2.0**63, 2.0**63 - 1024, 0.1, 1e15, 1e16, 1e17, 1e-5, 0.5]
        found = [number for number in found if math.isfinite(number)]
        if kind.type == "float":
            return found
        return [number for number in map(single, (n for n in found if abs(n) < 3.4e38)) if is_single(number)]
    if kind.type == "decimal":
        top = 10**kind.precision - 1 if kind.precision else 10**45
        numbers = [0, 1, -1, 10, top, -top, top // 10, *(generator.randrange(-top, top) for _ in range(200))]
        return [plain(Decimal(number).scaleb(-kind.scale, EXACT)) for number in numbers]
    days = [-719162, -1, 0, 1, 19782, 2932896, *(generator.randrange(-719162, 2932896) for _ in range(50))]
    seconds = [day * 86400 + of for day in days for of in (0, 1, 86399, 3600)]
    moments = [(second, micros * 1000) for second in seconds for micros in (0, 1, 10, 100000, 999999)]
    return {
        "boolean": [True, False],
        "date": days,
        "datetime": moments,
        "instant": moments,
        "binary": [b"", b"\0", b"\xff\xfe", bytes(range(256)), b"a" * 3000],
        "json": ['{"b":1,"a":[1.50,null]}', "[]", '"\\u0000x"', "1.0", "{}", "true", '{"z":{"y":1,"x":"é"}}'],
    }[kind.type]


EXACT = decimal.Context(prec=80)


def sent(kind, value):
    if kind.type == "instant":
        return frames.timestamp(*value, 0)
    return wire(Value(kind.type, (value, value) if kind.type == "json" else value))


WIDENINGS = [
    *([Kind(name)] for name in ("short", "int", "integer", "real", "float", "boolean", "date", "datetime", "instant")),
    *([Kind("decimal", *size)] for size in ((4, 2), (9, 9), (18, 0), (38, 0), (38, 10), (38, 38), (0, 0))),
    [Kind("json")],
    [Kind("binary")],
    [Kind("short"), Kind("int"), Kind("integer"), Kind("decimal", 38, 10), Kind("decimal")],
    [Kind("real"), Kind("float")],
    [Kind("int"), Kind("float")],
    [Kind("date"), Kind("datetime")],
    [Kind("decimal", 9, 4), Kind("decimal", 30, 20), Kind("decimal")],
]


@pytest.mark.parametrize("dirty", [False, True])
def test_a_value_has_one_text(stream, dirty):
    """However many kinds a column had before it became a STRING, its texts are those that it would have had at once: in
    an ALTER, and (DIRTY) in a table that is made anew, since rows of it were changed in the same batch."""
    values = [edges(kinds[0], random.Random(repr(kinds))) for kinds in WIDENINGS]
    columns = [
        [sent(kinds[0], value) for value in found] + [None] * (max(map(len, values)) - len(found))
        for kinds, found in zip(WIDENINGS, values)
    ]
    rows = [[number, *row] for number, row in enumerate(zip(*columns))]
    end = frames.rows([[-1, *(None for _ in columns)]], 0, "upsert")

    def table(name, number, step):
        kinds = [[*kinds, *[Kind("string")] * 5][step] for kinds in WIDENINGS]
        return frames.table(
            name,
            [("k", "integer", frames.KEY), *((f"v{at}", kind.type, 0, *kind[1:]) for at, kind in enumerate(kinds))],
            number,
        )

    stream(
        table("widened", 0, 0),
        table("at_once", 1, 5),
        *(frames.rows(rows[i : i + 1000], number, "upsert") for number in (0, 1) for i in range(0, len(rows), 1000)),
    )
    for step in range(1, 6):
        change = [table("widened", 0, step - 1), end, frames.encode("TRUNCATE", table=0)] if dirty else []
        stream(*change, table("widened", 0, step), end)
    with stream.adapter.connect() as database:
        assert database.execute(
            "SELECT DISTINCT data_type FROM duckdb_columns() WHERE table_name = 'widened' AND column_name <> 'k' AND NOT starts_with(column_name, '_')"
        ).fetchall() == [("VARCHAR",)]
        for at, (kinds, found) in enumerate(zip(WIDENINGS, values)):
            pairs = database.execute(
                f"SELECT a.v{at}, b.v{at} FROM at_once a JOIN widened b USING (k) ORDER BY k LIMIT {len(found)}"
            ).fetchall()
            assert len(pairs) == len(found)
            wrong = [(value, *pair) for value, pair in zip(found, pairs) if pair[0] != pair[1] or pair[0] is None]
            assert not wrong, (kinds, len(wrong), wrong[:10])


# --- tables that others made ---


SYSTEM = "_fivetran_synced TIMESTAMPTZ, _fivetran_deleted BOOLEAN"


@pytest.mark.parametrize("dirty", [False, True])
def test_a_table_keeps_what_others_gave_it(stream, dirty):
    """A key, a constraint, an index, a default, a comment: also when a column's change makes the table anew."""
    execute(
        stream.database,
        "CREATE SEQUENCE numbers",
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, note VARCHAR UNIQUE CHECK (note <> 'a;b'), n SMALLINT,"
        f" d INTEGER DEFAULT nextval('numbers') + 5, \"of \"\"others\" VARCHAR COLLATE nocase DEFAULT 'None', {SYSTEM})",
        'CREATE INDEX "by;n" ON t(n)',
        "COMMENT ON TABLE t IS 'it''s mine'",
        "COMMENT ON COLUMN t.n IS 'small'",
    )
    facts = (
        "SELECT constraint_text FROM duckdb_constraints() WHERE table_name = 't' ORDER BY 1",
        "SELECT index_name FROM duckdb_indexes() WHERE table_name = 't'",
        "SELECT comment FROM duckdb_tables() WHERE table_name = 't'",
        "SELECT column_name, column_default, comment FROM duckdb_columns() WHERE table_name = 't' ORDER BY column_index",
        "SELECT sql LIKE '%VARCHAR COLLATE nocase%' FROM duckdb_tables() WHERE table_name = 't'",
    )
    before = [query(stream.database, sql) for sql in facts]

    def table(n, key="integer"):
        return frames.table("t", [("id", key, frames.KEY), ("note", "string"), ("n", n), ("d", "integer")])

    stream(table("short"), frames.rows([[1, "one", 1, 2]], operation="upsert"))
    more = [frames.rows([[2, "two", 2, 2]], operation="upsert"), frames.encode("TRUNCATE", table=0)] if dirty else []
    stream(table("short"), *more, table("int"), frames.rows([[2**40, "large", 2**30, 2]], operation="upsert"))
    assert [query(stream.database, sql) for sql in facts] == before
    assert query(
        stream.database, "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 't' LIMIT 3"
    ) == [("id", "BIGINT"), ("note", "VARCHAR"), ("n", "INTEGER")]
    assert query(stream.database, "SELECT id, n FROM t WHERE NOT _fivetran_deleted ORDER BY 1") == [
        *([] if dirty else [(1, 1)]),
        (2**40, 2**30),
    ]
    stream(table("int"), frames.rows([[2**40, "again", 7, 2]], operation="upsert"))
    assert query(stream.database, f"SELECT n FROM t WHERE id = {2**40}") == [(7,)]


def test_a_table_that_others_refer_to(stream):
    """It cannot be made anew: DuckDB has no way to point a foreign key elsewhere."""
    execute(
        stream.database,
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, {SYSTEM})",
        "CREATE TABLE r (t INTEGER REFERENCES t(id))",
    )
    error = stream(
        frames.table("t", [("id", "integer", frames.KEY)]), frames.rows([[2**40]], operation="upsert"), status=1
    )
    assert (
        'cannot change a table: Could not drop the table because this table is main key table of the table "r"' in error
    )


@pytest.mark.parametrize("name", ["id", "a (b), c", 'in "quotes"'])
def test_keys_that_the_library_takes_for_one(stream, name):
    quoted = '"' + name.replace('"', '""') + '"'
    execute(
        stream.database,
        f"CREATE TABLE t (other VARCHAR COLLATE noaccent, {quoted} VARCHAR COLLATE nocase.noaccent PRIMARY KEY, {SYSTEM})",
    )
    columns = frames.table("t", [(name, "string", frames.KEY), ("other", "string")])
    error = stream(columns, frames.rows([["a", "x"]], operation="upsert"), status=1)
    assert (
        f'column "{name}" is part of the key, and by its collation "nocase.noaccent" texts that differ can be equal; '
        "declare it without one, or choose another table" in error
    )
    execute(
        stream.database,
        f"CREATE OR REPLACE TABLE t (other VARCHAR COLLATE noaccent, {quoted} VARCHAR PRIMARY KEY, {SYSTEM})",
    )
    stream(columns, frames.rows([["a", "x"], ["A", "x"]], operation="upsert"))
    assert query(stream.database, f"SELECT {quoted}, other FROM t ORDER BY 1") == [("A", "x"), ("a", "x")]


def test_a_table_that_was_dropped_leaves_no_marks(stream):
    """Neither its key nor its decimals are those of the table that comes under its name."""
    stream(
        frames.table("T", [("a", "integer", frames.KEY), ("b", "decimal")]),
        frames.rows([[1, frames.decimal("1.5")]], operation="upsert"),
    )
    execute(stream.database, 'DROP TABLE "T"')
    stream(
        frames.table("t", [("a", "string"), ("b", "string", frames.KEY)]), frames.rows([["x", "y"]], operation="upsert")
    )
    assert query(stream.database, "SELECT table_name, column_name, fact FROM _wherry_columns") == [("t", "b", "key")]
    stream(
        frames.table("T", [("a", "string"), ("b", "string", frames.KEY)]), frames.rows([["z", "y"]], operation="upsert")
    )
    assert query(stream.database, "SELECT a, b FROM t") == [("z", "y")]


def test_marks_are_found_in_any_case(stream):
    """DuckDB renames a table's case; the marks have the one that they were written with."""
    table = frames.table("t", [("a", "integer", frames.KEY), ("b", "decimal")])
    stream(table, frames.rows([[1, frames.decimal("1.5")]], operation="upsert"))
    execute(stream.database, "ALTER TABLE t RENAME TO x", 'ALTER TABLE x RENAME TO "T"')
    stream(table, frames.rows([[1, frames.decimal("2.5")]], operation="upsert"))
    assert query(stream.database, "SELECT a, b FROM t") == [(1, "2.5")]


def versions(adapter):
    """Tables without their times: of each version its values, whether it is active, and how its end meets the next start."""
    found = {}
    for name, (kinds, rows) in adapter.tables().items():
        shown = []
        for row in rows:
            times = {column: row.pop(column) for column in list(row) if column in ("_fivetran_start", "_fivetran_end")}
            row.pop("_fivetran_synced")
            at = row.pop("_fivetran_id", None)
            row = {column: plain(value) if isinstance(value, Decimal) else value for column, value in row.items()}
            begins_and_ends = times["_fivetran_start"] < times["_fivetran_end"]
            shown.append((repr(sorted(row.items())), at, begins_and_ends))
        found[name] = (sorted(kinds.items()), sorted(shown, key=repr))
    return found


def test_history_is_that_of_sqlite(build, tmp_path):
    """The same operations into both: the same versions."""
    seed = random.SystemRandom().randrange(1 << 32)
    for number in range(12):
        sequence = random_sequence(random.Random(f"{seed} {number}"), Pools(nul=True, nanoseconds=False))
        adapters = []
        for kind in (Sqlite, Duckdb):
            folder = tmp_path / f"{kind.name}{number}"
            folder.mkdir()
            adapters.append(kind(build, folder))
        for step, planned in enumerate(sequence):
            for adapter in adapters:
                begin = configuration(adapter, f"run-{step}", 0, planned["memory"])
                writer = frames.Writer([str(adapter.program)], {**begin, "history": True})
                writer.put(encode(planned["operations"], True))
                assert writer.finish() == 0, (seed, number, writer.frames("ERROR"))
            sqlite, ours = (versions(adapter) for adapter in adapters)
            assert ours == sqlite, (seed, number, step)
