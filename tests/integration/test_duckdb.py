"""Files land in DuckDB exactly once, and what the library's ways ask for: its lock, its COMMIT, its memory."""

import hashlib
import random
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from harness import wait_for

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
    ("timestamp", "2024-01-01T00:00:00.123456789", "more than 6 digits of a second, where DuckDB's timestamps hold 6"),
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


def test_a_database_that_is_open_elsewhere_without_a_frequency(wherry, database, holder):
    wherry.pipeline("orders", orders(wherry, database))
    wherry.drop("a.csv", ORDERS)
    wherry.start()
    assert wherry.sync(status=1)["error"] == (
        f'database "{database}" is open in the process with pid {holder.pid}; close it there; then "wherryctl sync '
        'orders"'
    )


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


# --- files of changes ---


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


def test_files_of_changes(wherry, database):
    numbered = [{**CHANGES["columns"][0], "type": "integer"}, *CHANGES["columns"][1:]]
    wherry.pipeline("orders", orders(wherry, database, **{**CHANGES, "columns": numbered}))
    wherry.start()
    wherry.drop("a.csv", "op,seq,id,note\nI,1,1,one\nI,2,2,two\nU,3,1,uno\nI,4,3,three\n")
    wherry.sync()
    wherry.drop("b.csv", "op,seq,id,note\nD,5,2,\nU,6,3,tres\nD,7,3,\nI,8,4,four\nD,9,9,\n")
    wherry.sync()
    assert query(database, "SELECT id, seq, note FROM orders ORDER BY 1") == [(1, 3, "uno"), (4, 8, "four")]


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


def test_a_file_of_changes_whose_keys_the_library_takes_for_one(wherry, database):
    execute(
        database,
        "CREATE TABLE orders (id VARCHAR COLLATE nocase, seq BIGINT, note VARCHAR COLLATE nocase,"
        " _source_file_hash VARCHAR NOT NULL, _ingested_at TIMESTAMP NOT NULL)",
    )
    wherry.pipeline("orders", orders(wherry, database, **CHANGES))
    wherry.start()
    wherry.drop("a.csv", "op,seq,id,note\nI,1,a,x\nI,2,A,y\n")
    assert (
        'has other columns than the configuration: column "id" is a key, and by its collation "nocase" there texts that '
        "differ can be equal; change one of them" in wherry.sync(status=1)["error"]
    )
    execute(database, 'ALTER TABLE orders ALTER id TYPE VARCHAR COLLATE "C"')
    wherry.sync()
    assert query(database, "SELECT id, note FROM orders ORDER BY 1") == [("A", "y"), ("a", "x")]


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
