"""A value's text does not depend on when its column became text: rows that were there are widened by the destination's own
SQL, those that come later by value_text(), and both must read the same, for values at every edge of their kind.

Another destination is added in ADAPTERS of test_operations.py.
"""

import random
import sqlite3
import struct

import duckdb
import frames
import pytest
from frames import DECLARED, KEY
from test_operations import ADAPTERS

KEYS = ("id", "integer", KEY | DECLARED)
POWERS = [
    sign * 2.0**power + more
    for power in (24, 31, 53, 54, 60, 62, 63, 64, 100)
    for sign in (1, -1)
    for more in (0, 2.0 ** (power - 52))
]
# just between two doubles, though they have few digits: whether such a text is taken, or a longer one, is a matter of taste
MIDWAY = [float((2**53 // 5**power + 2 | 1) * 2**more * 10**power) for power in range(2, 23) for more in (1, 2, 9)]
FLOATS = [
    0.0, -0.0, 0.1, -1.5, 1 / 3, 100.0, 1e15, 1e16, 123456789.125, 9007199254740993.0, 9.2233720368547e18, 1e21, 1e22, 1e23,
    -1.5e-7, 1e-5, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, *POWERS, *MIDWAY,
]  # fmt: skip
REALS = [
    0.0,
    -0.0,
    0.1,
    -1.5,
    100.0,
    123456.0,
    16777216.0,
    1e7,
    1e10,
    3.4e38,
    1.2e-38,
    0.333,
    -7e-9,
]  # seven digits hold each
DAYS = [-719162, -1, 0, 59, 19782, 2932896]  # from year 1 to 9999
SECONDS = [-62135596800, -62135596799, -86400, -1, 0, 86399, 951782400, 253402300799]
NANOS = [0, 1000, 100000000, 120000000, 123456000, 999999000]
DECIMALS = [
    "0", "-0.00", "0.000", "1.10", "100", "-100.00", "0.001", "12345678901234567890123456789012345678", "0." + "0" * 37 + "1",
    "-99999999999999999999999999999999999999", "1234567890123456789.1234567890123456789",
]  # fmt: skip
JSON = [
    '{"b": 1, "a": [1.0, null, true]}', "[]", "{}", '"x"', '"é\\u00e9\\u0001\\n\\"/"', "1e5", "1.10", "-0", "-0.0", "0.00", "1E-7",
    '{"a": {"z": {"y": []}, "b": "c d"}, "a": 2}', '{"é": 1, "z": 2, "": 3}', "123456789012345678901234567890.5", "null", "true",
    "9223372036854775808", '[ 1 , "two" ]',
]  # fmt: skip
VALUES = {
    "boolean": [True, False],
    "short": [0, -32768, 32767],
    "int": [0, -(2**31), 2**31 - 1],
    "integer": [0, -(2**63), 2**63 - 1, 2**53 + 1],
    "real": REALS,
    "float": FLOATS,
    "decimal": [frames.decimal(text) for text in DECIMALS],
    "date": [frames.date(days) for days in DAYS],
    "datetime": [frames.timestamp(seconds, nanos) for seconds in SECONDS for nanos in NANOS],
    "instant": [frames.timestamp(seconds, nanos, 0) for seconds in SECONDS for nanos in NANOS],
    "json": [frames.json_value(text) for text in JSON],
    "binary": [b"", b"\0", b"ab", b"abc", bytes(range(256)), b"\xff" * 57],
}


def at_random(kind, chance):
    """More of them; what no edge is."""
    if kind == "float":
        finite = (struct.unpack("<d", chance.randbytes(8))[0] for _ in range(200))
        return [number for number in finite if number == number and abs(number) != float("inf")] + [
            float(chance.randrange(2**64) - 2**63) for _ in range(100)
        ]
    if kind == "decimal":
        digits = (str(chance.randrange(10 ** chance.randrange(1, 30))) for _ in range(100))
        return [frames.decimal(f"{text}.{chance.randrange(1000)}") for text in digits]
    if kind == "datetime":
        return [
            frames.timestamp(chance.randrange(-(10**10), 10**11), chance.randrange(10**6) * 1000) for _ in range(100)
        ]
    if kind == "binary":
        return [chance.randbytes(chance.randrange(100)) for _ in range(50)]
    return []


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_widened_there_or_before_it_came(build, tmp_path, adapter, kind):
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    values = [*VALUES[kind], *at_random(kind, random.Random(seed)), None]
    store = adapter(build, tmp_path)
    begin = {
        "connection": "model",
        "run_id": "run",
        "files": False,
        "commit_interval": 0,
        "sandbox": {"mode": "default"},
    }
    writer = frames.Writer([str(store.program)], {**begin, **store.configuration()})
    try:
        writer.opened()
        writer.put(frames.hello())
        later = 100000
        for number, (column, rows) in enumerate(
            [
                (kind, [(i, value) for i, value in enumerate(values)]),
                ("string", [(2 * later, "text")]),
                (kind, [(later + i, value) for i, value in enumerate(values)]),
            ]
        ):
            writer.put(frames.table("orders", [KEYS, ("v", column)]) + frames.rows(rows, operation="upsert"))
            writer.put(frames.encode("CHECKPOINT", number=number + 1, state="{}"))
            while writer.expect("TAKEN", "COMMITTED").type != "COMMITTED":
                pass
        writer.put(frames.encode("END"))
        assert writer.finish() == 0, writer.seen
        kinds, rows = store.tables()["orders"]
        assert kinds["v"].type == "string"
        found = {row["id"]: row["v"] for row in rows}
        wrong = [(found[i], found[later + i]) for i in range(len(values)) if found[i] != found[later + i]]
        assert len(found) == 2 * len(values) + 1 and not wrong, wrong
    finally:
        writer.kill()
        if hasattr(store, "close"):
            store.close()


# --- what others wrote into a table, where Wherry has not looked at the values ---


def sync(store, columns, row):
    begin = {"connection": "model", "run_id": "run", "files": False, "sandbox": {"mode": "default"}}
    writer = frames.Writer([str(store.program)], {**begin, **store.configuration()})
    try:
        writer.opened()
        writer.put(frames.hello() + frames.table("orders", columns) + frames.rows([row], operation="upsert"))
        writer.put(frames.encode("END"))
        assert writer.finish() == 0, writer.seen
    finally:
        writer.kill()


def others_write(store, values):
    """VALUES: SQL texts, of rows 1 to N."""
    rows = ", ".join(f"({i}, {value})" for i, value in enumerate(values, 1))
    if store.name == "postgres":
        store.query(f'INSERT INTO "{store.schema}".orders (id, v) VALUES {rows}')
        return
    with duckdb.connect(str(store.path)) if store.name == "duckdb" else sqlite3.connect(store.path) as database:
        database.execute(f"INSERT INTO orders (id, v) VALUES {rows}")


def widened(build, tmp_path, adapter, kind, foreign, to, value):
    """The column's kind, and the values, after others wrote FOREIGN into a table of ours, and we a VALUE of the kind TO."""
    store = adapter(build, tmp_path)
    try:
        sync(store, [KEYS, ("v", kind)], (100, None))
        others_write(store, foreign)
        sync(store, [KEYS, ("v", to)], (101, value))
        kinds, rows = store.tables()["orders"]
        found = {row["id"]: row["v"] for row in rows}
        assert len(found) == len(foreign) + 2
        return kinds["v"].type, [found[i] for i in range(1, len(foreign) + 1)]
    finally:
        if hasattr(store, "close"):
            store.close()


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_whole_numbers_of_others_are_not_rounded(build, tmp_path, adapter):
    large = 2**53 + 1
    assert widened(build, tmp_path, adapter, "integer", ["1", str(-large)], "float", 0.5) == (
        "string",
        ["1", str(-large)],
    )


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
def test_whole_numbers_of_others_that_a_float_holds_are_floats(build, tmp_path, adapter):
    found = widened(build, tmp_path, adapter, "integer", ["1", str(-(2**53))], "float", 0.5)
    assert found == ("float", [1.0, -float(2**53)])


ODD_TIMES = {
    "postgres": {
        "datetime": (
            ["'infinity'", "'-infinity'", "'0044-03-15 10:00:00.5 BC'", "'0044-03-15 BC'", "'20000-01-01 10:00'"],
            ["infinity", "-infinity", "0044-03-15T10:00:00.5 BC", "0044-03-15 BC", "20000-01-01T10:00:00"],
        ),
        "instant": (
            ["'infinity'", "'-infinity'", "'0044-03-15 10:00:00.5Z BC'", "'20000-01-01 10:00Z'"],
            ["infinity", "-infinity", "0044-03-15T10:00:00.5Z BC", "20000-01-01T10:00:00Z"],
        ),
    },
    "duckdb": {
        "datetime": (
            ["'infinity'", "'-infinity'", "'0044-03-15 (BC) 10:00:00.5'", "'20000-01-01 10:00:00'"],
            ["infinity", "-infinity", "0044-03-15 (BC) 10:00:00.5", "20000-01-01 10:00:00"],
        ),
        "instant": (
            ["'infinity'", "'-infinity'", "'0044-03-15 (BC) 10:00:00+00'", "'20000-01-01 10:00:00+00'"],
            ["infinity", "-infinity", "0044-03-15 (BC) 10:00:00+00", "20000-01-01 10:00:00+00"],
        ),
    },
}


@pytest.mark.parametrize("kind", ["datetime", "instant"])
@pytest.mark.parametrize("adapter", ADAPTERS[1:], ids=lambda adapter: adapter.name)
def test_times_of_others_keep_their_meaning_as_text(build, tmp_path, adapter, kind):
    """Those that Wherry never writes: in SQLite all times are text from the beginning."""
    times, texts = ODD_TIMES[adapter.name][kind]
    assert widened(build, tmp_path, adapter, kind, times, "string", "x") == ("string", texts)
