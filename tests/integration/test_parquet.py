"""Parquet files, written by Arrow: values keep their types and every digit, and what cannot be kept is told."""

import datetime
import decimal
import gzip
import json
import math
import os
import random
import subprocess

import frames
import pyarrow
import pyarrow.parquet
import pytest
from test_source_files import folder, start  # noqa: F401: fixtures

UTC = datetime.UTC


def write(path, columns, **options):
    """COLUMNS: name → (Arrow type, values)."""
    arrays = {name: pyarrow.array(values, type=kind) for name, (kind, values) in columns.items()}
    pyarrow.parquet.write_table(pyarrow.table(arrays), path, **options)
    return path.read_bytes()


def declared(**types):
    return [{"source": name, "type": kind, "required": False} for name, kind in types.items()]


@pytest.fixture
def pipeline(wherry):
    def make(**changes):
        columns = declared(**changes.pop("types")) if "types" in changes else None
        return wherry.pipeline("orders", **{"format": "parquet", "columns": columns, **changes})

    return make


def drop(wherry, columns, name="a.parquet", **options):
    temporary = wherry.incoming / "a.tmp"
    content = write(temporary, columns, **options)
    temporary.rename(wherry.incoming / name)
    return content


def test_every_type_keeps_its_value(wherry, pipeline):
    integers = [
        pyarrow.int8,
        pyarrow.int16,
        pyarrow.int32,
        pyarrow.int64,
        pyarrow.uint8,
        pyarrow.uint16,
        pyarrow.uint32,
    ]
    columns, types, expected = {}, {}, []
    for kind in integers:
        bits = kind().bit_width
        low, high = (0, 2**bits - 1) if "uint" in str(kind()) else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        columns[str(kind())], types[str(kind())] = (kind(), [low, high, None]), "integer"
        expected.append([low, high, None])
    moment = datetime.datetime(2024, 2, 29, 10, 20, 30, 123456)
    more = {
        "huge": (pyarrow.uint64(), [0, 2**64 - 1, None], "decimal", ["0", str(2**64 - 1), None]),
        "small": (pyarrow.uint64(), [7, 2**63 - 1, None], "integer", [7, 2**63 - 1, None]),
        "price": (
            pyarrow.decimal128(38, 10),
            [decimal.Decimal("-0.0000000001"), decimal.Decimal("1234567890123456789012345678.0123456789"), None],
            "decimal",
            ["-0.0000000001", "1234567890123456789012345678.0123456789", None],
        ),
        "cents": (
            pyarrow.decimal128(9, 2),
            [decimal.Decimal("-0.05"), decimal.Decimal("12.00"), None],
            "decimal",
            ["-0.05", "12.00", None],
        ),
        "single": (pyarrow.float32(), [0.1, -1.5, None], "float", [0.10000000149011612, -1.5, None]),
        "double": (pyarrow.float64(), [0.1, 5e-324, None], "float", [0.1, 5e-324, None]),
        "flag": (pyarrow.bool_(), [True, False, None], "boolean", [1, 0, None]),
        "day": (
            pyarrow.date32(),
            [datetime.date(1, 1, 1), datetime.date(9999, 12, 31), None],
            "date",
            ["0001-01-01", "9999-12-31", None],
        ),
        "ms": (
            pyarrow.timestamp("ms"),
            [datetime.datetime(1969, 12, 31, 23, 59, 59, 999000), moment.replace(microsecond=0), None],
            "timestamp",
            ["1969-12-31T23:59:59.999000", "2024-02-29T10:20:30", None],
        ),
        "us": (pyarrow.timestamp("us"), [moment, moment, None], "timestamp", [moment.isoformat()] * 2 + [None]),
        "ns": (pyarrow.timestamp("ns"), [1, 1709202030123456789, None], "timestamp", []),
        "tz": (
            pyarrow.timestamp("us", tz="UTC"),
            [moment.replace(tzinfo=UTC)] * 2 + [None],
            "timestamp",
            [moment.isoformat() + "+00:00"] * 2 + [None],
        ),
        "text": (pyarrow.string(), ["é\n", "x" * 5000, None], "string", ["é\n", "x" * 5000, None]),
        "bytes": (pyarrow.binary(), [b"\0\xff", b"x" * 5000, None], "binary", [b"\0\xff", b"x" * 5000, None]),
    }
    more["ns"] = (*more["ns"][:3], ["1970-01-01T00:00:00.000000001", "2024-02-29T10:20:30.123456789", None])
    for name, (kind, values, ours, found) in more.items():
        columns[name], types[name] = (kind, values), ours
        expected.append(found)
    pipeline(types=types)
    drop(wherry, columns)
    wherry.start()
    assert wherry.sync()["rows_committed"] == 3
    names = ", ".join(f'"{name}"' for name in columns)
    found = wherry.query(f"SELECT {names} FROM orders ORDER BY _id")
    assert dict(zip(columns, zip(*found))) == dict(zip(columns, map(tuple, expected)))


def test_nested_values_are_json(wherry, pipeline):
    inner = pyarrow.struct([("a", pyarrow.int64()), ("b", pyarrow.list_(pyarrow.string()))])
    columns = {
        "list": (
            pyarrow.list_(pyarrow.decimal128(30, 20)),
            [[decimal.Decimal("0.12345678901234567890"), None], [], None],
        ),
        "struct": (inner, [{"a": 2**62 + 1, "b": ['x"', None]}, {"a": None, "b": None}, None]),
        "map": (pyarrow.map_(pyarrow.int32(), pyarrow.date32()), [[(1, datetime.date(2024, 2, 29))], [], None]),
        "deep": (pyarrow.list_(pyarrow.list_(inner)), [[[{"a": 1, "b": []}], []], [None], None]),
    }
    pipeline(types={"list": "json", "struct": "json", "map": "json", "deep": "string"})
    drop(wherry, columns)
    wherry.start()
    wherry.sync()
    rows = wherry.query('SELECT list, struct, "map", deep FROM orders ORDER BY _id')
    assert rows[0][0] == "[0.12345678901234567890, null]"
    assert [[value and json.loads(value) for value in row] for row in rows] == [
        [
            [0.12345678901234567890, None],
            {"a": 2**62 + 1, "b": ['x"', None]},
            {"1": "2024-02-29"},
            [[{"a": 1, "b": []}], []],
        ],
        [[], {"a": None, "b": None}, {}, [None]],
        [None, None, None, None],
    ]


@pytest.mark.parametrize(
    ("kind", "value", "ours", "expected"),
    [
        (pyarrow.float64(), 3.0, "integer", 3),
        (pyarrow.int64(), 2**53, "float", 2.0**53),
        (pyarrow.decimal128(5, 2), decimal.Decimal("12.00"), "integer", 12),
        (pyarrow.decimal128(5, 2), decimal.Decimal("0.1"), "float", 0.1),
        (pyarrow.float64(), 0.1, "decimal", "0.1"),
        (pyarrow.float32(), 0.1, "decimal", "0.1"),
        (pyarrow.float64(), 1e22, "decimal", "1" + "0" * 22),
        (pyarrow.int64(), -5, "string", "-5"),
        (pyarrow.int8(), 1, "boolean", 1),
        (pyarrow.string(), " 12 ", "integer", 12),
        (pyarrow.string(), "2024-02-29", "date", "2024-02-29"),
        (pyarrow.string(), "", "string", None),
        (pyarrow.timestamp("ns"), 86400 * 10**9, "date", "1970-01-02"),
        (pyarrow.date32(), datetime.date(2024, 2, 29), "timestamp", "2024-02-29T00:00:00"),
        (pyarrow.date32(), datetime.date(2024, 2, 29), "string", "2024-02-29"),
        (pyarrow.time64("us"), datetime.time(1, 2, 3), "string", "01:02:03+00"),
        (pyarrow.bool_(), True, "string", "true"),
    ],
)
def test_what_loses_nothing_is_converted(wherry, pipeline, kind, value, ours, expected):
    pipeline(types={"v": ours})
    drop(wherry, {"v": (kind, [value])})
    wherry.start()
    wherry.sync()
    assert wherry.query("SELECT v FROM orders") == [(expected,)]


@pytest.mark.parametrize(
    ("kind", "value", "ours", "error"),
    [
        (
            pyarrow.uint64(),
            2**64 - 1,
            "integer",
            f'an integer beyond 64 bits; a decimal or string column can hold it: "{2**64 - 1}"',
        ),
        (pyarrow.float64(), 1.5, "integer", 'a number that is not an integer of 64 bits: "1.5"'),
        (pyarrow.float64(), 2.0**63, "integer", 'a number that is not an integer of 64 bits: "9.223372036854776e+18"'),
        (pyarrow.float64(), math.nan, "float", "not a finite number"),
        (pyarrow.float64(), math.inf, "decimal", "not a finite number"),
        (
            pyarrow.int64(),
            2**53 + 1,
            "float",
            f'a number that a float would round; a decimal column can hold it: "{2**53 + 1}"',
        ),
        (
            pyarrow.decimal128(20, 18),
            decimal.Decimal("0.123456789012345678"),
            "float",
            'a number that a float would round; a decimal column can hold it: "0.123456789012345678"',
        ),
        (pyarrow.decimal128(5, 2), decimal.Decimal("1.50"), "integer", 'not an integer: "1.50"'),
        (pyarrow.int8(), 2, "boolean", 'a value that this column\'s type cannot hold: "2"'),
        (pyarrow.bool_(), True, "integer", 'a boolean, which this column\'s type cannot hold: "true"'),
        (
            pyarrow.timestamp("us"),
            1,
            "date",
            'a timestamp with a time of day, which a date column would lose: "1970-01-01T00:00:00.000001"',
        ),
        (pyarrow.binary(), b"\xff", "string", 'binary data, which only a binary column can hold: "\\xFF"'),
        (pyarrow.string(), "a\0b", "string", 'a NUL character, which no text has: "a\\x00b"'),
        (
            pyarrow.list_(pyarrow.int8()),
            [1],
            "integer",
            'a list, struct or map, which only a json or string column can hold: "[1]"',
        ),
        (pyarrow.timestamp("s"), 253402300800, "timestamp", "a date outside the years 0001 to 9999"),
        (pyarrow.string(), "x", "integer", 'not an integer: "x"'),
    ],
)
def test_what_would_lose_something_is_an_error(wherry, pipeline, kind, value, ours, error):
    pipeline(types={"v": ours})
    drop(wherry, {"v": (kind, [None, value])})
    wherry.start()
    assert wherry.sync(status=1)["error"] == f'a.parquet: row 2, column "v": {error}'
    assert wherry.ids() == []


def test_many_rows_keep_their_order(wherry, pipeline):
    pipeline(types={"n": "integer", "t": "string"})
    count = 30_000
    columns = {
        "n": (pyarrow.int64(), range(count)),
        "t": (pyarrow.string(), [None if i % 7 == 0 else str(i) for i in range(count)]),
        "unwanted": (pyarrow.int64(), range(count)),
    }
    drop(wherry, columns, row_group_size=7000, compression="zstd")
    wherry.start()
    run = wherry.sync()
    assert run["rows_committed"] == count
    assert run["bytes_processed"] == (wherry.incoming / "a.parquet").stat().st_size
    assert wherry.query("SELECT count(*), sum(n = _id - 1), sum(t IS NULL), sum(t = n) FROM orders") == [
        (count, count, (count + 6) // 7, count - (count + 6) // 7)
    ]
    assert wherry.sync()["skipped"] == 1


def test_columns_by_name(wherry, pipeline):
    pipeline(columns=[{"source": "id", "type": "integer"}, *declared(b="string")])
    wherry.start()
    drop(wherry, {"id": (pyarrow.int8(), [1])}, "1.parquet")
    drop(wherry, {"b": (pyarrow.string(), ["x"]), 'q"q': (pyarrow.int8(), [1])}, "2.parquet")
    drop(wherry, {"c": (pyarrow.int8(), [1])}, "3.parquet")
    drop(wherry, {"id": (pyarrow.int8(), [None])}, "4.parquet")
    (wherry.incoming / "5.parquet").write_bytes(b"")
    assert wherry.sync(status=1)["committed"] == 2
    assert {file["name"]: file["error"] for file in wherry.files()} == {
        "1.parquet": None,
        "2.parquet": '2.parquet: column "id": the file lacks this required column: it has "b", "q"q"',
        "3.parquet": '3.parquet: column "id": the file lacks this required column: it has "c"',
        "4.parquet": '4.parquet: row 1, column "id": NULL, but the column is required',
        "5.parquet": None,
    }


def test_a_file_with_none_of_the_columns(wherry, pipeline):
    pipeline(types={"n": "integer"})
    wherry.start()
    drop(wherry, {"m": (pyarrow.int8(), [1])})
    assert wherry.sync(status=1)["error"] == 'a.parquet: the file has none of the columns: it has "m"'


def test_files_that_are_none(wherry, pipeline):
    pipeline(types={"n": "integer"})
    wherry.start()
    content = drop(wherry, {"n": (pyarrow.int64(), range(5000))}, "whole.parquet")
    broken = bytearray(content)
    broken[200:400] = bytes(200)
    broken_files = {
        "broken.parquet": bytes(broken),
        "cut.parquet": content[:-50],
        "half.parquet": content[: len(content) // 2],
        "text.parquet": b"id,note\n1,a\n",
        "secret.parquet": b"PARE" + content[4:-4] + b"PARE",
        "packed.parquet.gz": gzip.compress(content),
        "long-footer.parquet": content[:-8] + b"\xff\xff\xff\x7fPAR1",
    }
    for name, data in broken_files.items():
        (wherry.incoming / name).write_bytes(data)
    run = wherry.sync(status=1)
    assert (run["committed"], run["failed"]) == (1, len(broken_files))
    errors = {file["name"]: file["error"] for file in wherry.files() if file["error"]}
    assert set(errors) == set(broken_files)
    assert errors["text.parquet"] == 'text.parquet: not a parquet file: it does not begin with "PAR1"'
    assert errors["secret.parquet"] == "secret.parquet: an encrypted parquet file, which cannot be read"
    assert errors["packed.parquet.gz"] == (
        "packed.parquet.gz: a compressed parquet file, which cannot be read where it lies: unpack it first (parquet "
        "compresses its columns itself)"
    )
    for name in ("broken.parquet", "cut.parquet", "half.parquet", "long-footer.parquet"):
        assert errors[name].startswith(f"{name}: cannot be read as a parquet file: "), errors[name]
        assert "/proc/" not in errors[name]
    assert {file["attempts"] for file in wherry.files("orders", "--failed")} == {1}
    assert wherry.query("SELECT count(*) FROM orders") == [(5000,)]


def test_a_file_that_is_broken_near_its_end_leaves_nothing(wherry, pipeline):
    """Its first rows are on their way by then."""
    pipeline(types={"n": "integer"})
    wherry.start()
    values = [n * 7919 % 1_000_003 for n in range(300_000)]
    options = {"row_group_size": 100_000, "compression": "zstd", "use_dictionary": False}
    content = bytearray(write(wherry.incoming / "a.tmp", {"n": (pyarrow.int64(), values)}, **options))
    end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")  # of the rows
    content[end - 3000 : end - 1000] = bytes(2000)
    (wherry.incoming / "a.tmp").write_bytes(content)
    (wherry.incoming / "a.tmp").rename(wherry.incoming / "a.parquet")
    assert wherry.sync(status=1)["error"].startswith("a.parquet: cannot be read as a parquet file: ")
    assert not wherry.database.exists() or wherry.query("SELECT name FROM sqlite_schema WHERE name = 'orders'") == []


def test_bad_rows_are_set_aside_and_come_back(wherry, pipeline):
    aside = wherry.root / "aside"
    pipeline(
        types={"n": "integer", "at": "timestamp", "data": "binary", "more": "json"},
        quarantine={"enabled": True, "dir": str(aside), "max_invalid_rows": 5},
    )
    moment = datetime.datetime(2024, 2, 29, 10, 20, 30, 5, tzinfo=UTC)
    columns = {
        "n": (pyarrow.float64(), [1.0, 1.5, math.nan]),
        "at": (pyarrow.timestamp("us", tz="UTC"), [moment, moment, None]),
        "data": (pyarrow.binary(), [b"", b"\0\xff", None]),
        "more": (pyarrow.list_(pyarrow.float32()), [[1.5], [0.1, None], None]),
    }
    drop(wherry, columns)
    wherry.start()
    assert wherry.sync()["quarantined_rows"] == 2
    (sidecar,) = aside.glob("a.*.quarantine.ndjson")
    assert [json.loads(line)["row"] for line in sidecar.read_text().splitlines()] == [
        {"n": 1.5, "at": moment.isoformat(), "data": "AP8=", "more": [0.1, None]},
        {"n": "(not finite or not possible)", "at": None, "data": None, "more": None},
    ]
    sidecar.write_text(sidecar.read_text().replace('"n": 1.5', '"n": 2').replace("(not finite or not possible)", "3"))
    wherry.ctl("requeue", "orders", "--quarantined")
    assert wherry.sync()["rows_committed"] == 2
    rows = wherry.query("SELECT n, at, data, more FROM orders ORDER BY n")
    assert [rows[1], rows[2]] == [
        (2, moment.isoformat(), b"\0\xff", "[0.1,null]"),
        (3, None, None, None),
    ]


def test_a_bad_row_stays_bad_until_it_is_corrected(wherry, pipeline):
    """Whatever was refused as a typed value must not pass as the text that shows it."""
    aside = wherry.root / "aside"
    faults = {
        "bytes_as_text": (pyarrow.binary(), [b"AP8="], "string"),
        "bytes_as_json": (pyarrow.binary(), [b"1"], "json"),
        "nan_as_text": (pyarrow.float64(), [math.nan], "string"),
        "nan_as_json": (pyarrow.list_(pyarrow.float64()), [[math.nan]], "json"),
        "day_as_json": (pyarrow.date32(), [datetime.date(2024, 2, 29)], "json"),
        "text_as_json": (pyarrow.string(), ["{bad"], "json"),
        "rounded": (pyarrow.int64(), [2**53 + 1], "float"),
        "cents": (pyarrow.decimal128(38, 20), [decimal.Decimal("0.12345678901234567890")], "float"),
        "year": (pyarrow.timestamp("s"), [253402300800], "string"),
    }
    good = {
        "double": (pyarrow.float64(), 0.1 + 0.2, "float", 0.1 + 0.2),
        "deep": (pyarrow.list_(pyarrow.string()), ['x"'], "string", '["x\\""]'),
        "json": (pyarrow.string(), '{"a": 1}', "json", '{"a": 1}'),
    }
    types = {
        **{name: kind for name, (_, _, kind) in faults.items()},
        **{name: kind for name, (_, _, kind, _) in good.items()},
    }
    pipeline(types=types, quarantine={"enabled": True, "dir": str(aside), "max_invalid_rows": 99})
    rows = len(faults)
    columns = {
        name: (kind, [values[0] if i == at else None for i in range(rows)])
        for at, (name, (kind, values, _)) in enumerate(faults.items())
    }
    columns |= {name: (kind, [value] * rows) for name, (kind, value, _, _) in good.items()}
    drop(wherry, columns)
    wherry.start()
    assert wherry.sync()["quarantined_rows"] == rows
    (sidecar,) = aside.glob("a.*.quarantine.ndjson")
    lines = [json.loads(line) for line in sidecar.read_text().splitlines()]
    assert [line["column"] for line in lines] == list(faults)
    wherry.ctl("requeue", "orders", "--quarantined")
    assert "none of its rows can be loaded yet" in wherry.sync(status=1)["error"]
    for line in lines:
        line["row"][line["column"]] = None
    sidecar.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert wherry.sync()["rows_committed"] == rows
    assert set(wherry.query("SELECT double, deep, json FROM orders")) == {tuple(value for *_, value in good.values())}


def test_without_the_library(wherry, pipeline):
    pipeline(
        types={"n": "integer"},
        source={"type": "files", "dir": str(wherry.incoming), "duckdb_library": "/nowhere/libduckdb.so"},
    )
    wherry.start()
    error = wherry.sync(status=1)["error"]
    assert error.startswith("format parquet is read by DuckDB: ") and "/nowhere/libduckdb.so" in error


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_file_that_changes_is_not_loaded(start, folder, keep_times):  # noqa: F811
    path = folder / "a.parquet"
    plain = {"compression": "none", "use_dictionary": False}
    write(path, {"id": (pyarrow.int64(), range(100))}, **plain)
    before, status = path.read_bytes(), path.stat()
    write(path, {"id": (pyarrow.int64(), range(1000, 1100))}, **plain)
    after = path.read_bytes()
    assert len(after) == len(before)
    path.write_bytes(before)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def change(worker, frame):
        with open(path, "r+b") as file:
            file.write(after)
        if keep_times:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        return frames.LOAD

    worker = start(format="parquet", columns=[{"source": "id", "dest": "id", "type": "integer", "required": True}])
    assert worker.run(change) == 0
    assert [end["outcome"] for end in worker.fields("FILE_END")] == [frames.CHANGED]


# --- what DuckDB would read without a word ---

D = decimal.Decimal
LOSSES = [
    (pyarrow.decimal256(39, 0), D(10) ** 38, "decimal", "a decimal of more than 38 digits"),
    (pyarrow.decimal256(50, 10), D("0.5"), "string", "a decimal of more than 38 digits"),
    (pyarrow.list_(pyarrow.decimal256(50, 10)), [D("0.5")], "json", "a decimal of more than 38 digits"),
    (pyarrow.timestamp("ns", tz="UTC"), 1709202030123456789, "timestamp", "nanoseconds in UTC"),
    (pyarrow.struct([("a", pyarrow.timestamp("ns", tz="UTC"))]), {"a": 1}, "json", "nanoseconds in UTC"),
    (pyarrow.time64("ns"), 1, "string", "nanoseconds in UTC"),
]


@pytest.mark.parametrize(("kind", "value", "ours", "message"), LOSSES, ids=lambda value: str(value)[:30])
def test_what_would_be_cut_is_refused(wherry, pipeline, kind, value, ours, message):
    """Also where it lies inside of what is nested; but not in a column that nobody wants."""
    pipeline(types={"v": ours, "other": "integer"})
    wherry.start()
    columns = {"v": (kind, [value]), "other": (pyarrow.int8(), [1])}
    drop(wherry, columns)
    error = wherry.sync(status=1)["error"]
    assert error.startswith(f'a.parquet: column "v": {message}, '), error
    assert "; write it " in error
    pipeline(types={"other": "integer"})
    wherry.ctl("requeue", "orders", "--all-failed")
    assert wherry.sync()["rows_committed"] == 1


def test_what_is_at_the_limit_is_read(wherry, pipeline):
    columns = {
        "most": (pyarrow.decimal256(38, 10), D("1234567890123456789012345678.0123456789"), "decimal"),
        "naive": (pyarrow.timestamp("ns"), 1709202030123456789, "timestamp"),
        "utc": (pyarrow.timestamp("us", tz="Europe/Berlin"), 1709202030123456, "timestamp"),
        "seconds": (pyarrow.timestamp("s"), 1709202030, "timestamp"),
        "choice": (pyarrow.dictionary(pyarrow.int8(), pyarrow.string()), "a", "string"),
        "fixed": (pyarrow.binary(3), b"abc", "binary"),
        "empty": (pyarrow.null(), None, "string"),
    }
    pipeline(types={name: ours for name, (_, _, ours) in columns.items()})
    drop(wherry, {name: (kind, [value]) for name, (kind, value, _) in columns.items()})
    wherry.start()
    wherry.sync()
    assert wherry.query(f"SELECT {', '.join(columns)} FROM orders") == [
        (
            "1234567890123456789012345678.0123456789",
            "2024-02-29T10:20:30.123456789",
            "2024-02-29T10:20:30.123456+00:00",
            "2024-02-29T10:20:30",
            "a",
            b"abc",
            None,
        )
    ]


def test_names_that_differ_in_case(wherry, pipeline):
    """They are one to DuckDB, and two to the file."""
    pipeline(columns=[{"source": "id", "type": "integer"}])
    wherry.start()
    for number, names in enumerate((["ID"], ["ID", "id", "Id"], ["id", "ID"], ["id", "id"])):
        arrays = [pyarrow.array([10 * number + place]) for place in range(len(names))]
        table = pyarrow.Table.from_arrays(arrays, names=names)
        pyarrow.parquet.write_table(table, wherry.incoming / f"{number}.parquet")
    wherry.sync(status=1)
    assert [file["error"] for file in sorted(wherry.files(), key=lambda file: file["name"])] == [
        '0.parquet: column "id": the file lacks this required column: it has "ID"',
        None,
        None,
        '3.parquet: column "id": the file has two columns of that name',
    ]
    assert wherry.query("SELECT id FROM orders ORDER BY 1") == [(11,), (20,)]


# --- what breaks DuckDB ---


def mutations(content, generator):
    """Copies of a file with a few bytes changed, most of them in the footer that says what it holds."""
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    while True:
        mutant = bytearray(content)
        for _ in range(generator.randrange(1, 6)):
            at = generator.randrange(footer if generator.random() < 0.7 else 4, len(content) - 8)
            if generator.random() < 0.7:
                mutant[at] = generator.randrange(256)
            else:
                length = min(generator.randrange(1, 9), len(content) - 8 - at)
                mutant[at : at + length] = b"\xff" * length
        yield bytes(mutant)


def test_broken_files_fail_alone(start, folder):  # noqa: F811
    """Whatever is broken in a file, the worker says so and goes on with the next one."""
    seed = int(os.environ.get("WHERRY_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    count = 2000 if os.environ.get("WHERRY_TEST_FULL") == "1" else 60
    columns = {
        "id": (pyarrow.int64(), range(300)),
        "note": (pyarrow.string(), [None if n % 7 == 0 else f"note {n % 20}" for n in range(300)]),
        "s": (
            pyarrow.struct([("a", pyarrow.int64()), ("b", pyarrow.list_(pyarrow.string()))]),
            [{"a": n, "b": ["x"] * (n % 4)} for n in range(300)],
        ),
        "m": (pyarrow.map_(pyarrow.int32(), pyarrow.date32()), [[(n, n)] * (n % 3) for n in range(300)]),
        "d": (pyarrow.decimal128(30, 10), [D(n) / 100 for n in range(300)]),
    }
    generator = random.Random(seed)
    for compression in ("none", "snappy", "zstd"):
        whole = write(folder / "whole.parquet", columns, row_group_size=100, compression=compression)
        (folder / "whole.parquet").unlink()
        for number, mutant in zip(range(count // 3), mutations(whole, generator)):
            (folder / f"{compression}-{number}.parquet").write_bytes(mutant)
    wanted = {"id": "integer", "note": "string", "s": "json", "m": "json", "d": "decimal"}
    worker = start(
        format="parquet",
        columns=[{"source": name, "dest": name, "type": kind, "required": False} for name, kind in wanted.items()],
    )
    assert worker.run(timeout=600) == 0, (seed, worker.fields("FILE_BEGIN")[-1:], worker.fields("ERROR"))
    assert len(worker.ends()) == count // 3 * 3, seed


CRASH = """
#include <stdlib.h>
#include <unistd.h>
int duckdb_prepare(void *connection, const char *sql, void *statement);
int duckdb_prepare(void *connection, const char *sql, void *statement) { DIE; }
"""


@pytest.mark.parametrize("slowly", [False, True], ids=["", "slowly"])
def test_a_crash_of_the_library_harms_only_its_sync(wherry, pipeline, slowly):
    """A library that dies on a file: the sync names it, and everything else goes on. Also where the writer, which reads
    that its input ends, says so before the daemon sees the worker dead."""
    source, library = wherry.root / "crash.c", wherry.root / "libcrash.so"
    source.write_text(CRASH.replace("DIE", "close(4); sleep(1); abort()" if slowly else "abort()"))
    real = wherry.build.path / "lib/system/libduckdb.so"
    subprocess.run(
        [
            "cc",
            "-shared",
            "-fPIC",
            "-w",
            "-o",
            library,
            source,
            "-Wl,--no-as-needed",
            real,
            f"-Wl,-rpath,{real.parent}",
        ],
        check=True,
    )
    pipeline(
        types={"n": "integer"},
        source={"type": "files", "dir": str(wherry.incoming), "duckdb_library": str(library)},
        retry_cap=2,
    )
    drop(wherry, {"n": (pyarrow.int64(), [1])})
    wherry.start()
    run = wherry.sync(status=1)
    error = 'the worker was killed by SIGABRT before it was done, while it read "a.parquet"'
    assert run["error"] == error and run["failed"] == 1
    (file,) = wherry.files("orders", "--failed")
    assert (file["state"], file["attempts"], file["error"]) == ("FAILED", 1, error)
    # after its attempts it keeps no other from its turn
    drop(wherry, {"n": (pyarrow.int64(), [2])}, "b.parquet")
    assert wherry.sync(status=1)["warnings"] == [
        'file "a.parquet" has failed 2 times and is left out from now on; repair it, or try it again with "wherryctl '
        'requeue orders a.parquet"'
    ]
    assert wherry.sync(status=1)["error"].endswith('while it read "b.parquet"')
    pipeline(types={"n": "integer"}, retry_cap=2)
    assert wherry.sync()["rows_committed"] == 1
    wherry.ctl("requeue", "orders", "a.parquet")
    assert wherry.sync()["rows_committed"] == 1
