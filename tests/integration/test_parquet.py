"""Parquet files, written by Arrow: values keep their types and every digit, and what cannot be kept is told."""

import datetime
import decimal
import gzip
import json
import math
import os

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
            'a timestamp with a time of day, which a date column would lose: ""1970-01-01T00:00:00.000001""',
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
