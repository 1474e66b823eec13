"""Files land in DuckDB exactly once, and what the library's ways ask for: its lock, its COMMIT, its memory."""

import decimal
import hashlib
import math
import random
import struct
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import duckdb
import frames
import pytest
from harness import wait_for
from operations_duckdb import Duckdb, single
from operations_model import Kind, Pools, Value, encode, is_single, plain, random_sequence, wire
from test_operations import Sqlite, configuration

ORDERS = "id,note,amount\n1,first,9.5\n2,,\n3,third,-1e3\n"

HOLDER = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def database(wherry):
    """A folder of its own: the writer may reach all of it."""
    folder = wherry.root / "warehouse"
    folder.mkdir()
    return folder / "out.duckdb"


def destination(database, **more):
    return {"type": "duckdb", "path": str(database), **more}


def orders(wherry, database, **changes):
    definition = {**wherry.orders(), **changes}
    definition.pop("connector")
    return {**definition, "destination": changes.get("destination", destination(database))}


def query(database, sql):
    with duckdb.connect(str(database), read_only=True) as connection:
        return connection.execute(sql).fetchall()


def execute(database, *statements):
    with duckdb.connect(str(database)) as connection:
        for statement in statements:
            connection.execute(statement)


# --- once ---


def test_a_dropped_file_becomes_typed_rows(wherry, database):
    wherry.pipeline("orders", orders(wherry, database))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    run = wherry.sync()
    assert (run["outcome"], run["rows_committed"], run["committed"]) == ("succeeded", 3, 1)
    assert query(database, "SELECT order_id, note, amount FROM orders ORDER BY 1") == [
        (1, "first", 9.5),
        (2, None, None),
        (3, "third", -1000.0),
    ]
    assert query(
        database, "SELECT column_name, data_type, is_nullable FROM duckdb_columns() WHERE table_name='orders'"
    ) == [
        ("order_id", "BIGINT", True),
        ("note", "VARCHAR", True),
        ("amount", "DOUBLE", True),
        ("_source_file_hash", "VARCHAR", False),
        ("_ingested_at", "TIMESTAMP", False),
    ]
    assert query(database, "SELECT DISTINCT _source_file_hash FROM orders") == [
        (hashlib.sha256(ORDERS.encode()).hexdigest(),)
    ]
    assert query(database, "SELECT name, row_count FROM _wherry_files") == [("a.csv", 3)]
    assert query(database, "SELECT sequence, epoch, state FROM _wherry_state") == [(1, 1, "{}")]


def test_a_second_sync_loads_nothing_even_without_the_ledger(wherry, database):
    wherry.pipeline("orders", orders(wherry, database))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    assert wherry.sync()["new_files"] == 0
    wherry.stop()
    for path in (wherry.state_dir / "daemon").glob("state.db*"):
        path.unlink()
    wherry.start()
    wherry.sync()
    assert query(database, "SELECT count(*) FROM orders") == [(3,)]


def test_requeue_replaces_the_rows(wherry, database):
    wherry.pipeline("orders", orders(wherry, database))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    wherry.ctl("requeue", "orders", "a.csv")
    assert wherry.sync()["rows_committed"] == 3
    assert query(database, "SELECT count(*), count(DISTINCT order_id) FROM orders") == [(3, 3)]


def test_truncate_replaces_the_table(wherry, database):
    wherry.pipeline("orders", orders(wherry, database, write_mode="truncate"))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    wherry.drop("b.csv", "id,note,amount\n7,seven,7\n")
    wherry.sync()
    assert query(database, "SELECT order_id FROM orders") == [(7,)]


def test_a_sync_of_nothing_makes_no_database(wherry, database):
    wherry.pipeline("orders", orders(wherry, database))
    wherry.start()
    assert wherry.sync()["outcome"] == "succeeded"
    assert not database.exists()


def test_a_schema_of_ones_own(wherry, database):
    """A schema that is called like its database is where unqualified names would be ambiguous."""
    wherry.pipeline("orders", orders(wherry, database, destination=destination(database, schema="out")))
    wherry.start()
    wherry.drop("bad.csv", "id,note,amount\nx,,\n")
    wherry.sync(status=1)
    wherry.drop("a.csv", ORDERS)
    wherry.sync(status=1)
    assert query(database, "SELECT count(*) FROM out.out.orders") == [(3,)]
    assert query(database, "SELECT count(*) FROM out.out._wherry_files") == [(1,)]


TYPES = [
    ("s", "string", "VARCHAR", 'hé"llo, "a longer text"', 'hé"llo, "a longer text"'),
    ("i", "integer", "BIGINT", "-9223372036854775808", "-9223372036854775808"),
    ("f", "float", "DOUBLE", "1e300", "1e+300"),
    ("d", "date", "DATE", "0001-01-01", "0001-01-01"),
    ("t", "timestamp", "TIMESTAMP", "9999-12-31T23:59:59.999999", "9999-12-31 23:59:59.999999"),
    ("z", "timestamp", "TIMESTAMP", "2024-03-31T02:30:00+02:00", "2024-03-31 00:30:00"),
    ("b", "boolean", "BOOLEAN", "yes", "true"),
    ("m", "decimal", "DECIMAL(38,10)", "-1234567890123456789012345678.0123456789", None),
    ("j", "json", "JSON", '{"a": [1, 2.50]}', '{"a": [1, 2.50]}'),
    ("x", "binary", "BLOB", "AP+A", "\\x00\\xFF\\x80"),
]


def test_every_type(wherry, database):
    columns = [{"source": name, "dest": name, "type": kind} for name, kind, *_ in TYPES]
    wherry.pipeline("orders", orders(wherry, database, columns=columns))
    wherry.start()
    quoted = ",".join('"' + text.replace('"', '""') + '"' for *_, text, _ in TYPES)
    wherry.drop("a.csv", ",".join(name for name, *_ in TYPES) + f"\n{quoted}\n")
    wherry.sync()
    found = dict(query(database, "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = 'orders'"))
    for name, _, declared, text, stored in TYPES:
        assert found[name] == declared
        assert query(database, f"SELECT {name}::VARCHAR FROM orders") == [(text if stored is None else stored,)], name


# --- what a file may do wrong ---

BAD_VALUES = [
    ("decimal", "12345678901234567890123456789", "too large for DECIMAL(38,10)"),
    ("decimal", "0.12345678901", "more than 10 digits after the point, which DECIMAL(38,10) has"),
    ("timestamp", "2024-01-01T00:00:00.123456789", "nanoseconds, where DuckDB's timestamps hold microseconds"),
]


@pytest.mark.parametrize(("kind", "text", "message"), BAD_VALUES)
def test_a_value_that_duckdb_cannot_hold(wherry, database, kind, text, message):
    columns = [{"source": "v", "dest": "v", "type": kind}]
    wherry.pipeline("orders", orders(wherry, database, columns=columns))
    wherry.start()
    good = "1" if kind == "decimal" else "2024-01-01"
    wherry.drop("a.csv", f"v\n{good}\n{text}\n")
    wherry.sync(status=1)
    (file,) = wherry.files()
    assert 'a.csv: row 2, column "v": ' + message in file["error"]
    assert f'"{text}"' in file["error"]
    assert query(database, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'orders'") == [(0,)]


def test_a_table_that_filedge_made(wherry, database):
    execute(
        database,
        "CREATE SEQUENCE orders_id_seq",
        "CREATE TABLE orders (_id INTEGER DEFAULT nextval('orders_id_seq') PRIMARY KEY, order_id INTEGER,"
        " note VARCHAR, amount DOUBLE, _source_file_hash VARCHAR NOT NULL, _ingested_at TIMESTAMP NOT NULL)",
    )
    wherry.pipeline("orders", orders(wherry, database))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    assert query(database, "SELECT _id, order_id FROM orders ORDER BY 1") == [(1, 1), (2, 2), (3, 3)]
    wherry.drop("b.csv", "id,note,amount\n5,,\n3000000000,,\n")
    wherry.sync(status=1)
    (bad,) = [file for file in wherry.files() if file["name"] == "b.csv"]
    assert bad["error"] == (
        'b.csv: row 2, column "order_id": outside the range of INTEGER, which the column is there: "3000000000"'
    )


def test_a_table_with_other_columns(wherry, database):
    execute(database, "CREATE TABLE ORDERS (order_id VARCHAR, note VARCHAR, extra INTEGER, _ingested_at TIMESTAMP)")
    wherry.pipeline("orders", orders(wherry, database))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    error = wherry.sync(status=1)["error"]
    assert (
        f'table "orders" in "{database}" has other columns than the configuration: '
        'column "order_id" is VARCHAR there, BIGINT here; extra column "extra" (INTEGER); '
        'missing column "amount" (DOUBLE); missing column "_source_file_hash" (VARCHAR); change one of them, or choose '
        "another table" in error
    )


def test_a_view(wherry, database):
    execute(database, "CREATE VIEW orders AS SELECT 1 AS order_id")
    wherry.pipeline("orders", orders(wherry, database))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    assert f'"orders" in "{database}" is a view, not a table; choose another name' in wherry.sync(status=1)["error"]


def test_a_table_has_one_owner(wherry, database):
    wherry.pipeline("orders", orders(wherry, database))
    wherry.pipeline("other", orders(wherry, database, dest_table="Orders"))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    error = wherry.sync("other", status=1)["error"]
    assert f'table "Orders" in "{database}" belongs to connection "orders": connection "other" must not write' in error


def test_a_foreign_file_beside_the_database(wherry, database):
    """What a new database is first called is nobody else's name."""
    others = [database.with_name(database.name + suffix) for suffix in (".new", ".tmp", ".old")]
    for path in others:
        path.write_text("precious")
    wherry.pipeline("orders", orders(wherry, database))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    assert [path.read_text() for path in others] == ["precious"] * 3
    assert sorted(path.name for path in database.parent.iterdir() if path not in others) == [database.name]


def test_not_a_database(wherry, database):
    database.write_text("id,note\n" * 1000)
    wherry.pipeline("orders", orders(wherry, database))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    assert f'"{database}" is not a DuckDB database' in wherry.sync(status=1)["error"]
    assert database.read_text() == "id,note\n" * 1000


# --- COMMIT after an error ---


def test_a_commit_after_an_error_is_never_believed(wherry, database):
    """What DuckDB answers to COMMIT in a transaction that died is success. Here a constraint of the table's own kills
    it, when the rows are flushed: the file fails, all of it, and the one after it is loaded."""
    execute(
        database,
        "CREATE TABLE orders (order_id BIGINT CHECK (order_id < 100), note VARCHAR, amount DOUBLE,"
        " _source_file_hash VARCHAR NOT NULL, _ingested_at TIMESTAMP NOT NULL)",
    )
    wherry.pipeline("orders", orders(wherry, database))
    wherry.start()
    wherry.drop("a.csv", "id,note,amount\n1,,\n100,,\n")
    wherry.drop("b.csv", "id,note,amount\n2,,\n")
    run = wherry.sync(status=1)
    assert (run["committed"], run["failed"], run["rows_committed"]) == (1, 1, 1)
    (bad,) = [file for file in wherry.files() if file["name"] == "a.csv"]
    assert "CHECK constraint failed" in bad["error"]
    assert query(database, "SELECT order_id FROM orders") == [(2,)]
    assert query(database, "SELECT name FROM _wherry_files") == [("b.csv",)]
    assert query(database, "SELECT sequence FROM _wherry_state") == [(1,)]


# --- the lock ---


@pytest.fixture
def holder(database):
    """A program of somebody else's that has the database open."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "open\n"
    yield process
    process.stdin.close()
    process.wait()


def test_a_database_that_is_open_elsewhere(wherry, database, holder):
    wherry.pipeline("orders", orders(wherry, database, frequency="1h"))
    wherry.drop("a.csv", ORDERS)
    wherry.start()
    wait_for(lambda: wherry.status()["outcome"] == "failed", "the first run to fail")
    status = wherry.status()
    assert status["error"] == (
        f'database "{database}" is open in the process with pid {holder.pid}; close it there: the next try is at the '
        "next due time"
    )
    assert status["state"] == "idle", "no retry waits"
    (run,) = wherry.ctl_json("runs", "orders")["runs"]
    assert run["outcome"] == "failed"
    holder.stdin.close()
    holder.wait()
    wherry.sync()
    assert query(database, "SELECT count(*) FROM orders") == [(3,)]


def test_the_lock_is_held_as_long_as_the_writer_lives(wherry, database):
    """Any close() of a descriptor of the file would give it up; what then opens it sees a half-written database."""
    wherry.pipeline("orders", orders(wherry, database))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    inode = f":{database.stat().st_ino} "
    wherry.drop("big.csv", "id,note,amount\n" + "".join(f"{n},{'x' * 200},1\n" for n in range(100_000)))
    wherry.ctl("sync", "orders")
    held = []
    while wherry.status()["state"] in ("queued", "syncing"):
        locks = [line for line in Path("/proc/locks").read_text().splitlines() if inode in line]
        assert all("WRITE" in line for line in locks)
        held.append(bool(locks))
        if held.count(True) == 3:
            with pytest.raises(duckdb.IOException, match="Conflicting lock is held"):
                query(database, "SELECT 1")
    first, last = held.index(True), len(held) - held[::-1].index(True)
    assert last - first > 3
    assert all(held[first:last]), "it was given up in between"
    assert query(database, "SELECT sequence FROM _wherry_state") == [(2,)]


def test_our_own_syncs_into_one_database_queue(wherry, database):
    names = [f"c{n}" for n in range(5)]
    for name in names:
        wherry.pipeline(name, orders(wherry, database, dest_table=name))
    wherry.drop("a.csv", ORDERS)
    wherry.start()
    for name in names:
        wherry.ctl("sync", name)
    wait_for(lambda: all(wherry.status(name)["outcome"] == "succeeded" for name in names), "all to succeed")
    for name in names:
        assert query(database, f"SELECT count(*) FROM {name}") == [(3,)]


# --- configuration ---


def test_a_folder_of_its_own(wherry):
    wherry.pipeline("orders", orders(wherry, wherry.root / "out.duckdb"))
    assert (
        f"the writer may reach all of the database's folder, and in \"{wherry.root}\" lies wherry's own "
        f'"{wherry.state_dir}/daemon"; put it into a folder of its own'
    ) in wherry.run_daemon("--check").stdout


def test_a_library_that_is_not_there(wherry, database):
    nowhere = wherry.root / "libduckdb.so"
    wherry.pipeline("orders", orders(wherry, database, destination=destination(database, duckdb_library=str(nowhere))))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    error = wherry.sync(status=1)["error"]
    assert f'DuckDB\'s library "{nowhere}" cannot be loaded: {nowhere}: cannot open shared object file' in error


# --- write modes and history ---


def test_files_of_changes(wherry, database):
    changes = {
        "write_mode": "cdc",
        "columns": [
            {"source": "id", "dest": "id", "type": "integer"},
            {"source": "seq", "dest": "seq", "type": "integer"},
            {"source": "note", "dest": "note", "type": "string", "required": False},
        ],
        "cdc": {
            "keys": ["id"],
            "operation_column": "op",
            "sequence_by": "seq",
            "operations": {"insert": ["I"], "update": ["U"], "delete": ["D"]},
        },
    }
    wherry.pipeline("orders", orders(wherry, database, **changes))
    wherry.start()
    wherry.drop("a.csv", "op,seq,id,note\nI,1,1,one\nI,2,2,two\nU,3,1,uno\nI,4,3,three\n")
    wherry.sync()
    wherry.drop("b.csv", "op,seq,id,note\nD,5,2,\nU,6,3,tres\nD,7,3,\nI,8,4,four\nD,9,9,\n")
    wherry.sync()
    assert query(database, "SELECT id, seq, note FROM orders ORDER BY 1") == [(1, 3, "uno"), (4, 8, "four")]


CHANGES = {
    "write_mode": "cdc",
    "columns": [
        {"source": "id", "dest": "id", "type": "string"},
        {"source": "seq", "dest": "seq", "type": "integer"},
        {"source": "note", "dest": "note", "type": "string", "required": False},
    ],
    "cdc": {
        "keys": ["id"],
        "operation_column": "op",
        "sequence_by": "seq",
        "operations": {"insert": ["I"], "update": ["U"], "delete": ["D"]},
    },
}


@pytest.mark.parametrize("made", ["by us", "with a primary key"])
def test_a_large_file_of_changes(wherry, database, made):
    """Many times what one chunk of the writer's holds, in less memory than the file needs."""
    if made != "by us":
        execute(
            database,
            "CREATE TABLE orders (id VARCHAR PRIMARY KEY, seq BIGINT, note VARCHAR,"
            " _source_file_hash VARCHAR NOT NULL, _ingested_at TIMESTAMP NOT NULL)",
        )
    wherry.pipeline("orders", orders(wherry, database, **CHANGES))
    wherry.start()
    generator, rows, hashes = random.Random(7), {}, {}
    for name, sequence in (("a.csv", 0), ("b.csv", 100_000)):
        lines = ["op,seq,id,note"]
        touched = set()
        for seq in range(sequence, sequence + 30_000):
            key = f"key-{generator.randrange(20_000)}"
            touched.add(key)
            if generator.random() < 0.2:
                rows.pop(key, None)
                lines.append(f"D,{seq},{key},")
            else:
                rows[key] = (seq, f"note {seq} {'x' * 40}")
                lines.append(f"U,{seq},{key},{rows[key][1]}")
        content = "\n".join(lines) + "\n"
        hashes |= dict.fromkeys(touched, hashlib.sha256(content.encode()).hexdigest())
        wherry.drop(name, content)
        assert wherry.sync()["rows_committed"] == 30_000
    found = {key: (seq, note, hash) for key, seq, note, hash, _ in query(database, "SELECT * FROM orders")}
    assert found == {key: (*row, hashes[key]) for key, row in rows.items()}


def test_a_file_of_changes_that_a_column_cannot_hold(wherry, database):
    """The error names the row, though rows are written at the end of the file; what was staged is gone with it."""
    execute(
        database,
        "CREATE TABLE orders (id VARCHAR, seq INTEGER, note VARCHAR CHECK (note <> 'bad'),"
        " _source_file_hash VARCHAR NOT NULL, _ingested_at TIMESTAMP NOT NULL)",
    )
    wherry.pipeline("orders", orders(wherry, database, **CHANGES))
    wherry.start()
    wherry.drop("a.csv", "op,seq,id,note\nI,1,a,\nI,3000000000,b,\nI,2,c,\n")
    wherry.drop("b.csv", "op,seq,id,note\nI,1,d,bad\n")
    wherry.drop("c.csv", "op,seq,id,note\nI,1,e,good\n")
    assert wherry.sync(status=1)["committed"] == 1
    errors = {file["name"]: file["error"] for file in wherry.files()}
    assert errors["a.csv"] == (
        'a.csv: row 2, column "seq": outside the range of INTEGER, which the column is there: "3000000000"'
    )
    assert errors["b.csv"].startswith("b.csv: DuckDB cannot merge rows: CHECK constraint failed"), errors["b.csv"]
    assert query(database, "SELECT id, seq, note FROM orders") == [("e", 1, "good")]


# --- operations ---


class Stream:
    """Operations straight into the writer, one process per call."""

    def __init__(self, build, folder):
        self.adapter, self.step = Duckdb(build, folder), 0
        self.database = self.adapter.path

    def __call__(self, *parts, status=0):
        self.step += 1
        begin = {**configuration(self.adapter, f"run-{self.step}", 0, 8 << 20), "on_schema_change": "allow_all"}
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
        f" d INTEGER DEFAULT nextval('numbers') + 5, {SYSTEM})",
        'CREATE INDEX "by;n" ON t(n)',
        "COMMENT ON TABLE t IS 'it''s mine'",
        "COMMENT ON COLUMN t.n IS 'small'",
    )
    facts = (
        "SELECT constraint_text FROM duckdb_constraints() WHERE table_name = 't' ORDER BY 1",
        "SELECT index_name FROM duckdb_indexes() WHERE table_name = 't'",
        "SELECT comment FROM duckdb_tables() WHERE table_name = 't'",
        "SELECT column_name, column_default, comment FROM duckdb_columns() WHERE table_name = 't' ORDER BY column_index",
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
