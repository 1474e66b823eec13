"""wherryctl draft: what it makes of files, and that the file it prints loads what it was made from."""

import bz2
import gzip
import json
import lzma
import os
import random
import sqlite3
import subprocess

import duckdb
import pyarrow
import pyarrow.parquet
import pytest
import yaml

CASES = int(os.environ.get("WHERRY_DRAFT_CASES", "25"))


@pytest.fixture
def draft(build, tmp_path):
    (tmp_path / "etc").mkdir()

    def run(*arguments, status=0):
        done = subprocess.run([build.wherryctl, *map(str, arguments)], capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def draft(*files, status=0):
        """What it prints, or says."""
        done = run("draft", *files, status=status)
        return done.stdout if status == 0 else done.stderr

    def load(text):
        """Checks the draft and runs it; the table as a list of dictionaries."""
        pipeline = tmp_path / "drafted.yaml"
        pipeline.write_text(text)
        options = ["--config-dir", tmp_path / "etc", "--state-dir", tmp_path / "state"]
        assert run("check", pipeline, *options).stdout == "1 connection, all good\n"
        run("run", pipeline, *options)
        meaning = yaml.safe_load(text)
        with sqlite3.connect(tmp_path / meaning["destination"]["path"]) as database:
            cursor = database.execute(f'SELECT * FROM "{meaning["dest_table"]}" ORDER BY _id')
            names = [column[0] for column in cursor.description]
            rows = [dict(zip(names, row)) for row in cursor]
        database.close()
        return [{key: row[key] for key in row if key[0] != "_"} for row in rows]

    draft.load = load
    return draft


def types(text):
    return {column["dest"]: column["type"] for column in yaml.safe_load(text)["columns"]}


def comments(text):
    """All but that of a pattern made from one name."""
    lines = [line for line in text.splitlines()[2:] if "#" in line and "one file's name" not in line]
    return [line.split("#", 1)[1].strip() for line in lines]


# --- any file ---

WORDS = [
    "alpha",
    "béta",
    "two words",
    'say "hi"',
    "semi;colon",
    "com,ma",
    "tab\there",
    "pi|pe",
    "it's",
    "x",
    " padded ",
]
ENCODED = {"utf-8": "utf-8", "utf-8-sig": "utf-8", "utf-16": "utf-16", "cp1252": "cp1252"}
PACKED = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def make_value(generator, kind):
    """How a file writes it, and what SQLite has of it."""
    number = generator.randrange(-(10**9), 10**9)
    day = f"{generator.randrange(1900, 2100)}-{generator.randrange(1, 13):02}-{generator.randrange(1, 29):02}"
    if kind == "integer":
        return str(number), number
    if kind == "big":
        return str(number * 10**12 + 7), str(number * 10**12 + 7)
    if kind == "decimal":
        text = f"{number}.{generator.randrange(100):02}"
        return text, text
    if kind == "float":
        return f"{number}e-3", float(f"{number}e-3")
    if kind == "boolean":
        word = generator.choice(["true", "false", "Yes", "no"])
        return word, int(word in ("true", "Yes"))
    if kind == "date":
        return day, day
    if kind == "timestamp":
        return f"{day}T10:20:30", f"{day}T10:20:30"
    if kind == "code":
        text = f"0{abs(number)}"
        return text, text
    if kind == "json":
        text = json.dumps({"a": number, "b": [day]})
        return text, text
    text = generator.choice(WORDS) + generator.choice(WORDS)
    return text, text


DRAFTED = {"big": "decimal", "code": "string", "text": "string"}
KINDS = ["integer", "big", "decimal", "float", "boolean", "date", "timestamp", "code", "json", "text"]


def make_table(generator):
    """Kinds of columns, whether each has NULLs, and rows of (written, expected) or None."""
    kinds = ["integer"] + generator.choices(KINDS, k=generator.randrange(1, 9))
    nullable = [False] + [generator.random() < 0.4 for _ in kinds[1:]]
    rows = []
    for i in range(generator.choice([2, 3, 50, 3000])):
        row = [
            None if null and i > 0 and generator.random() < 0.3 else make_value(generator, kind)
            for kind, null in zip(kinds, nullable)
        ]
        rows.append(row)
    return kinds, rows


def csv_field(generator, text, delimiter):
    if any(c in text for c in (delimiter, '"', "\n", "\r")) or generator.random() < 0.1:
        return '"' + text.replace('"', '""') + '"'
    return text


def write_csv(generator, names, rows, null):
    delimiter = generator.choice(",;\t|")
    end = generator.choice(["\n", "\r\n"])
    lines = [[csv_field(generator, name, delimiter) for name in names]] if names else []
    for row in rows:
        lines.append([null if value is None else csv_field(generator, value[0], delimiter) for value in row])
    return "".join(delimiter.join(line) + end for line in lines)


def json_value(kind, written):
    if kind == "boolean":
        return json.dumps(written in ("true", "Yes"))
    if kind in ("integer", "big", "decimal", "float", "json"):
        return written
    return json.dumps(written)


def write_ndjson(generator, names, kinds, rows):
    lines = []
    for row in rows:
        members = []
        for name, kind, value in zip(names, kinds, row):
            if value is not None:
                members.append(f"{json.dumps(name)}: {json_value(kind, value[0])}")
            elif generator.random() < 0.5:
                members.append(f"{json.dumps(name)}: null")
        lines.append("{" + ", ".join(members) + "}\n")
    return "".join(lines)


@pytest.mark.parametrize("case", range(CASES))
def test_a_draft_loads_the_file_it_was_made_from(draft, tmp_path, case):
    seed = int(os.environ.get("WHERRY_DRAFT_SEED", random.randrange(1 << 32)))
    print(f"WHERRY_DRAFT_SEED={seed}")
    generator = random.Random(seed)
    kinds, rows = make_table(generator)
    as_json = generator.random() < 0.3
    names = [f"{generator.choice(['id', 'Größe', 'Col', 'a b', 'Order-No.'])} {chr(97 + i)}" for i in range(len(kinds))]
    header = as_json or generator.random() < 0.7
    null = generator.choice(["", "", "NA", "NULL", "\\N"])
    # a word in a column of text is text: it means nothing there alone
    if null and not any(
        row[i] is None for row in rows for i, kind in enumerate(kinds) if DRAFTED.get(kind, kind) != "string"
    ):
        null = ""
    text = (
        write_ndjson(generator, names, kinds, rows) if as_json else write_csv(generator, header and names, rows, null)
    )
    encoding = "utf-8" if as_json else generator.choice(list(ENCODED))
    ending = generator.choice(list(PACKED))
    file = tmp_path / f"data-2024-01-31.{'ndjson' if as_json else 'csv'}{ending}"
    file.write_bytes(PACKED[ending](text.encode(encoding)))

    printed = draft(file)
    drafted = yaml.safe_load(printed)
    assert drafted["format"] == ("ndjson" if as_json else "csv")
    if not text.isascii():
        assert drafted.get("encoding", "utf-8") == ENCODED[encoding]
    assert drafted.get("csv", {}).get("header", True) == header
    present = [i for i in range(len(kinds)) if not as_json or any(f"{json.dumps(names[i])}:" in text for _ in [0])]
    columns = drafted["columns"]
    order = [names.index(column["source"]) for column in columns] if header else range(len(kinds))
    assert sorted(order) == present
    for column, i in zip(columns, order):
        assert column["type"] == DRAFTED.get(kinds[i], kinds[i]), column
        assert column.get("required", True) == all(row[i] is not None for row in rows)
    loaded = draft.load(printed)
    assert len(loaded) == len(rows)
    for row, values in zip(rows, loaded):
        got = list(values.values())
        want = [row[i] and row[i][1] for i in order]
        if as_json:
            got, want = [
                [json.loads(v) if isinstance(v, str) and v[:1] == "{" else v for v in side] for side in (got, want)
            ]
        assert got == want


# --- what it makes of one ---


def test_the_whole_form(draft, tmp_path):
    file = tmp_path / "orders_20240131.csv"
    file.write_text("Order ID;zip;when;note;x\n1;01234;2024-01-31;NA;1.50\n2;99999;2024-02-01;;NA\n")
    assert (
        draft(file)
        == f"""\
# Drafted by wherryctl from "orders_20240131.csv", all 2 rows of it.
# Edit it, then "wherryctl check FILE.yaml" and "wherryctl run FILE.yaml".
frequency: 6h  # or any duration from 1s, or manual
source:
  type: files
  dir: "{tmp_path}"
  file_pattern: "orders*.csv"  # a guess from one file's name
format: csv
csv: {{delimiter: ";", null: NA}}
dest_table: orders
columns:
  - {{source: "Order ID", dest: order_id, type: integer}}
  - {{source: zip, dest: zip, type: string}}  # numbers with leading zeros: kept as text
  - {{source: when, dest: when, type: date}}
  - {{source: note, dest: note, type: string, required: false}}  # no value was seen
  - {{source: x, dest: x, type: decimal, required: false}}  # exact; float is faster to compute with
destination:
  type: sqlite
  path: "orders.db"  # in the folder of this file, or an absolute path
"""
    )


@pytest.mark.parametrize(
    ["values", "kind", "comment"],
    [
        (["0", "1"], "integer", "only 0 and 1: boolean?"),
        (["20240131", "19991231"], "integer", "all could be dates: date?"),
        (["1", "99999999999999999999"], "decimal", "integers beyond 64 bits"),
        (["+49123", "+1"], "string", "numbers with a plus sign: kept as text"),
        (["1,5", "9,75"], "string", "numbers with a decimal comma: kept as text"),
        (["7", "-1.234,50"], "string", "numbers with a decimal comma: kept as text"),
        (["1,5", "1,5 kg"], "string", None),
        (["1,234,567", "8"], "string", None),
        (["31.01.2024", "1/2/24"], "string", "dates that are not written as 2024-01-31: kept as text"),
        (["1e3", "2"], "float", None),
        (["1", "x"], "string", None),
        (["2024-01-31", "2024-01-31 10:20:30Z"], "timestamp", None),
        (["{}", "[1"], "string", None),
        (["n/a", "None"], "string", 'words such as NA or NULL stand here: if they mean no value, see "null" of "csv"'),
    ],
    ids=str,
)
def test_types_of_csv(draft, tmp_path, values, kind, comment):
    file = tmp_path / "a.csv"
    quoted = [f'"{value}"' if "," in value else value for value in values]
    file.write_text("id,v\n" + "".join(f"7{i},{value}\n" for i, value in enumerate(quoted)))
    printed = draft(file)
    assert types(printed)["v"] == kind
    assert [said for said in comments(printed) if "absolute" not in said and "duration" not in said] == (
        [comment] if comment else []
    )


@pytest.mark.parametrize(
    ["values", "kind"],
    [
        ("1 2", "integer"),
        ('"1" "2"', "string"),
        ('"2024-01-31" null', "date"),
        ("1.5 2", "decimal"),
        ("true false", "boolean"),
        ("true 1", "string"),
        ('{"a":1} [2]', "json"),
        ('{"a":1} 7', "json"),
        ('"" null', "string"),
    ],
)
def test_types_of_json(draft, tmp_path, values, kind):
    file = tmp_path / "a.jsonl"
    file.write_text("".join(f'{{"id":7,"v":{value}}}\n' for value in values.split(" ")))
    assert types(draft(file))["v"] == kind
    draft.load(draft(file))


def test_digits_that_are_text_in_json_have_no_decimal_comma(draft, tmp_path):
    file = tmp_path / "a.jsonl"
    file.write_text('{"v":"007"}\n{"v":"12"}\n')
    assert types(draft(file))["v"] == "string"
    assert not [said for said in comments(draft(file)) if "comma" in said]
    file.write_text('{"v":"007"}\n{"v":"1,5"}\n')
    assert "numbers with a decimal comma: kept as text" in comments(draft(file))


def test_columns_that_no_pipeline_can_have_are_left_out(draft, tmp_path):
    file = tmp_path / "2024.csv"
    file.write_text('a,,a,"b\nc",B,b,_id\n1,2,3,4,5,6,7\n')
    printed = draft(file)
    assert types(printed) == {"b": "integer", "b_2": "integer", "_id_2": "integer"}
    assert [line for line in printed.splitlines() if "left out" in line] == [
        '  # left out: "a" stands in the header twice',
        '  # left out: "" has no name',
        '  # left out: "b\\x0Ac" has a name with control characters',
    ]
    assert yaml.safe_load(printed)["dest_table"] == "data"
    assert draft.load(printed) == [{"b": 5, "b_2": 6, "_id_2": 7}] or len(draft.load(printed)) == 1


def test_one_column(draft, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("a sentence\nof words, some\nwith, two, commas\n")
    printed = draft(file)
    assert comments(printed)[1:3] == [
        "the first row was taken for a header; else write csv: {header: false}, and positions as sources",
        'no delimiter was found; for columns told by their places there is "format: fixed_width"',
    ]
    assert [row["a_sentence"] for row in draft.load(printed)] == ["of words, some", "with, two, commas"]


def test_rows_may_leave_out_their_last_fields(draft, tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("version,name,released,ended\n1,Buzz,1996-06-17\n2,Rex,1996-12-12,1998-06-05\n3,Duke\n")
    printed = draft(file)
    assert types(printed) == {"version": "integer", "name": "string", "released": "date", "ended": "date"}
    assert [column.get("required", True) for column in yaml.safe_load(printed)["columns"]] == [True, True, False, False]
    assert [row["ended"] for row in draft.load(printed)] == [None, "1998-06-05", None]


def test_several_files_are_one_table(draft, tmp_path):
    (tmp_path / "a-1.csv").write_text("id,x\n1,2\n")
    (tmp_path / "a-2.csv").write_text("x,id,y\n2.5,1,new\n")
    printed = draft(tmp_path / "a-1.csv", tmp_path / "a-2.csv")
    assert types(printed) == {"id": "integer", "x": "decimal", "y": "string"}
    assert [column.get("required", True) for column in yaml.safe_load(printed)["columns"]] == [True, True, False]
    assert yaml.safe_load(printed)["source"]["file_pattern"] == "a*.csv"
    assert len(draft.load(printed)) == 2


PARQUET = """SELECT 1::BIGINT AS id, 'a' AS "The Note", 1.50::DECIMAL(9,2) AS price, 0.5::DOUBLE AS part, true AS ok,
DATE '2024-02-29' AS day, TIMESTAMP '2024-02-29 12:30:00' AS at, 'x'::BLOB AS raw, [1, 2] AS list, {'a': 1} AS pair,
18446744073709551615::UBIGINT AS large, TIME '12:30:00' AS "time of day", NULL::INTEGER AS nothing"""


def parquet(path, query):
    duckdb.connect().execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path


def test_parquet_says_itself_what_it_holds(draft, tmp_path):
    printed = draft(parquet(tmp_path / "orders-2024-01.parquet", PARQUET))
    assert printed.startswith('# Drafted by wherryctl from "orders-2024-01.parquet", all 1 row of it.\n')
    meaning = yaml.safe_load(printed)
    assert (meaning["format"], meaning["dest_table"], meaning["source"]["file_pattern"]) == (
        "parquet",
        "orders",
        "orders*.parquet",
    )
    assert types(printed) == {
        "id": "integer", "the_note": "string", "price": "decimal", "part": "float", "ok": "boolean", "day": "date",
        "at": "timestamp", "raw": "binary", "list": "json", "pair": "json", "large": "decimal", "time_of_day": "string",
        "nothing": "integer",
    }  # fmt: skip
    optional = [column["dest"] for column in meaning["columns"] if column.get("required") is False]
    assert optional == ["list", "pair", "nothing"]  # of a nested one the file does not say
    assert comments(printed)[-3:-1] == [
        "may be beyond 64 bits: an integer, if none of them is",
        "of a type that only text holds",
    ]
    (row,) = draft.load(printed)
    assert (row["id"], row["the_note"], row["large"], row["time_of_day"], row["nothing"]) == (
        1,
        "a",
        "18446744073709551615",
        "12:30:00",
        None,
    )


def test_what_a_load_would_refuse_is_noted(draft, tmp_path):
    """A column of nanoseconds in UTC, and one whose name differs from another's in case."""
    arrays = [pyarrow.array([1], pyarrow.timestamp("ns", tz="UTC")), pyarrow.array([1]), pyarrow.array(["x"])]
    file = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays(arrays, names=["at", "id", "ID"]), file)
    printed = draft(file)
    assert [column["source"] for column in yaml.safe_load(printed)["columns"]] == ["at", "id", "ID"]
    assert any(comment.startswith("nanoseconds in UTC, which would be cut") for comment in comments(printed))


def test_several_parquet_files(draft, tmp_path):
    first = parquet(
        tmp_path / "t-1.parquet", "SELECT 1 AS id, 1 AS n, DATE '2024-01-01' AS day, 'x' AS mixed, 9 AS early"
    )
    second = parquet(
        tmp_path / "t-2.parquet",
        "SELECT 2 AS id, 0.5::FLOAT AS n, TIMESTAMP '2024-01-01' AS day, 7 AS mixed, 1 AS late",
    )
    printed = draft(first, second)
    assert "from 2 files, all 2 rows of it" in printed.splitlines()[0]
    assert types(printed) == {
        "id": "integer", "n": "float", "day": "timestamp", "mixed": "string", "early": "integer", "late": "integer",
    }  # fmt: skip
    required = {column["dest"]: column.get("required", True) for column in yaml.safe_load(printed)["columns"]}
    assert [name for name in required if not required[name]] == ["early", "late"]
    assert comments(printed).count("the files have different types") == 3
    assert [(row["id"], row["n"], row["mixed"], row["early"], row["late"]) for row in draft.load(printed)] == [
        (1, 1.0, "x", 9, None),
        (2, 0.5, "7", None, 1),
    ]
    (tmp_path / "t-3.parquet").write_text("id\n1\n")
    assert "of another format than the first file" in draft(first, tmp_path / "t-3.parquet", status=1)


def test_only_the_beginning_of_a_large_file_is_looked_at(draft, tmp_path):
    file = tmp_path / "big.csv"
    file.write_text("id,v\n" + "".join(f"{i},2\n" for i in range(20000)) + "x,y\n")
    printed = draft(file)
    assert "of which 10000 rows at the beginning were looked at" in printed.splitlines()[0]
    assert types(printed) == {"id": "integer", "v": "integer"}
    file = tmp_path / "big.ndjson"
    file.write_text("".join(f'{{"id": {i}}}\n' for i in range(20000)) + '{"id": "x"}\n')
    printed = draft(file)
    assert "of which 10000 rows at the beginning were looked at" in printed.splitlines()[0]
    assert types(printed) == {"id": "integer"}


@pytest.mark.parametrize(
    ["encoded", "name", "comment"],
    [
        ("utf-8", None, None),
        ("utf-8-sig", None, None),
        ("utf-16", "utf-16", None),
        ("utf-16-le", "utf-16le", None),
        ("utf-16-be", "utf-16be", None),
        ("cp1252", "cp1252", "a guess, as it is not UTF-8: look whether its letters come out right"),
    ],
)
def test_encodings(draft, tmp_path, encoded, name, comment):
    file = tmp_path / "a.csv"
    file.write_bytes("id,note\n1,Größe\n".encode(encoded))
    printed = draft(file)
    assert yaml.safe_load(printed).get("encoding") == name
    assert (comment in comments(printed)) if comment else not any("a guess" in said for said in comments(printed))
    assert [row["note"] for row in draft.load(printed)] == ["Größe"]


def test_a_name_that_would_be_a_pattern(draft, tmp_path):
    file = tmp_path / "we[ird]?-1.csv"
    file.write_text("id\n1\n")
    printed = draft(file)
    assert yaml.safe_load(printed)["source"]["file_pattern"] == "we?ird]?*.csv"
    assert draft.load(printed) == [{"id": 1}]


@pytest.mark.parametrize("name", ["sqlite_stat", "_wherry_files"])
def test_names_that_no_table_may_have(draft, tmp_path, name):
    file = tmp_path / f"{name}.csv"
    file.write_text("id\n1\n")
    printed = draft(file)
    assert yaml.safe_load(printed)["dest_table"] == f"data_{name}"
    assert draft.load(printed) == [{"id": 1}]


@pytest.mark.parametrize(
    ["name", "content", "said"],
    [
        ("a.csv", b"", "empty: a draft needs some rows, or at least a header"),
        ("a.csv", b"\n \n", "empty: a draft needs some rows, or at least a header"),
        ("a.parquet", b"PAR1\x15\x04", "cannot be read as a parquet file: "),
        ("a.parquet", b"PARE\x15\x04", "an encrypted parquet file, which cannot be read"),
        ("a.xlsx", b"PK\x03\x04\x14", "an Excel workbook: save the sheet as CSV"),
        ("a.csv", b"a\0b\n\1\2\3\n", "a NUL byte, which no text has"),
        ("a.csv.gz", b"id\n1\n", 'named ".gz" but does not begin as gzip data does'),
        ("a.csv.gz", gzip.compress(b"id\n1\n", mtime=0)[:-6], "the gzip data is cut short"),
        ("a.json", b'[{"a": 1}]\n', "one JSON document over several lines"),
        ("a.ndjson", b'{"a": 1}\n{"a": \n', "line 2: not valid JSON at byte"),
        ("a.ndjson", b'{"a": 1}\n[1]\n', "line 2: the line is not a JSON object"),
        ("a.csv", b'a,b\n1,"x"y\n', "text after a closing quote"),
        ("a.csv", b",,\n1,2,3\n", None),
    ],
)
def test_what_cannot_be_drafted(draft, tmp_path, name, content, said):
    file = tmp_path / name
    file.write_bytes(content)
    if said is None:
        assert yaml.safe_load(draft(file))["csv"] == {"header": False}
        return
    error = draft(file, status=1)
    assert error.startswith(f"wherryctl: {file}: ")
    assert said in error


def test_what_is_no_file(draft, tmp_path):
    assert draft(tmp_path / "none.csv", status=2) == f"wherryctl: {tmp_path}/none.csv: no such file or directory\n"
    assert draft(tmp_path, status=2) == f"wherryctl: {tmp_path}: not a regular file\n"
    os.mkfifo(tmp_path / "pipe.csv")
    assert draft(tmp_path / "pipe.csv", status=2) == f"wherryctl: {tmp_path}/pipe.csv: not a regular file\n"
    (tmp_path / "a.csv.tmp").write_text("a\n1\n")
    assert "are never loaded; rename it" in draft(tmp_path / "a.csv.tmp", status=2)
