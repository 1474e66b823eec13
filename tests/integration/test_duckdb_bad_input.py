"""What may be wrong with a DuckDB destination, and what is then said: each message names the file and what to do."""

import os
import shutil
import struct
import subprocess

import frames
import pytest
from test_bad_input import as_nobody, small_disk  # noqa: F401: a fixture
from test_duckdb import ORDERS, database, destination, execute, orders, query  # noqa: F401: a fixture
from test_duckdb_operations import SYSTEM, stream  # noqa: F401: a fixture
from test_operations import configuration

LIBRARY = """
const char *duckdb_library_version(void);
const char *duckdb_library_version(void) { return "v0.8.0"; }
"""
HOW_TO_GET = 'get it with "subprojects/fetch duckdb" and install Wherry once more'


def failed_sync(wherry, database, **options):  # noqa: F811
    """The error of a sync of one good file, which is not the file's fault."""
    wherry.pipeline("orders", orders(wherry, database))
    wherry.drop("a.csv", ORDERS)
    wherry.start(**options)
    error = wherry.sync(status=1)["error"]
    assert [file["attempts"] for file in wherry.files()] in ([], [0])
    return error


# --- the file and its folder ---


def test_a_file_without_the_right_to_write(wherry, database):  # noqa: F811
    execute(database, "CREATE TABLE other (x INT)")
    options = as_nobody(wherry)
    os.chown(database, 0, 0)
    database.chmod(0o444)
    assert failed_sync(wherry, database, **options) == (
        f'database "{database}": cannot open it: no right to write it; give uid {options.get("user", os.getuid())} '
        "write access to it and to its folder"
    )


def test_a_folder_without_the_right_to_write(wherry, database):  # noqa: F811
    execute(database, "CREATE TABLE other (x INT)")
    options = as_nobody(wherry)
    os.chown(database.parent, 0, 0)
    database.parent.chmod(0o555)
    assert failed_sync(wherry, database, **options) == (
        f'a.csv: database "{database}": cannot commit: no right to write it; give uid '
        f"{options.get('user', os.getuid())} write access to it and to its folder"
    )
    database.parent.chmod(0o755)
    assert query(database, "SELECT table_name FROM duckdb_tables()") == [("other",)]


def checksum(block):
    """DuckDB's, of a block of whole words."""
    found = 5381
    for (word,) in struct.iter_unpack("<Q", block):
        found ^= word * 0xBF58476D1CE4E5B9 % 2**64
    return found


def newer(content):
    content[12:20] = struct.pack("<Q", 999)
    content[:8] = struct.pack("<Q", checksum(content[8:4096]))
    return content


DAMAGED = {
    "empty": (lambda content: b"", '"{}" is not a DuckDB database'),
    "of another program": (lambda content: b"SQLite format 3\0" * 1000, '"{}" is not a DuckDB database'),
    "cut": (
        lambda content: content[:6000],
        'database "{}" is damaged; put back a copy of it: cannot open it: Could not',
    ),
    "zeroed": (
        lambda content: content[:12288] + bytes(len(content) - 12288),
        'database "{}" is damaged; put back a copy of it: cannot open it: Corrupt database file',
    ),
    "newer": (newer, 'database "{}" was written by a DuckDB of another age than the library in use, "'),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_file_that_cannot_be_read(wherry, database, what):  # noqa: F811
    damage, message = DAMAGED[what]
    execute(database, "CREATE TABLE other (x INT)")
    content = bytes(damage(bytearray(database.read_bytes())))
    database.write_bytes(content)
    error = failed_sync(wherry, database)
    assert error.startswith(message.format(database)), error
    if what == "newer":
        assert "version number" in error
        assert error.endswith('; install a newer one and name it with "duckdb_library"'), error
    assert database.read_bytes() == content


@pytest.mark.parametrize("room", [0, 300_000])
def test_a_full_disk(wherry, small_disk, room):  # noqa: F811
    folder = small_disk / "warehouse"
    folder.mkdir()
    database = folder / "out.duckdb"  # noqa: F811
    wherry.pipeline("orders", orders(wherry, database, retry_cap=1))
    wherry.drop("a.csv", "id,note,amount\n" + "".join(f"{n},{os.urandom(60).hex()},1\n" for n in range(30_000)))
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (32 * 1024 * 1024 - room - 8192))
    wherry.start()
    assert wherry.sync(status=1)["error"] == (
        f'a.csv: disk full: database "{database}" cannot grow; free some space (all of this batch was rolled back)'
    )
    ballast.unlink()
    assert wherry.sync()["rows_committed"] == 30_000
    assert query(database, "SELECT count(*) FROM orders") == [(30_000,)]
    assert os.listdir(folder) == [database.name]


@pytest.mark.parametrize("name", ["temp", "main", "system", "memory", "select", "a b", "it's", 'q"q', "é", "a.b.c"])
def test_a_database_of_any_name(wherry, name):
    """DuckDB calls a database by its file's name, and some names are its own."""
    folder = wherry.root / "warehouse"
    folder.mkdir()
    wherry.pipeline("orders", orders(wherry, folder / f"{name}.duckdb"))
    wherry.drop("a.csv", ORDERS)
    wherry.start()
    wherry.sync()
    wherry.drop("b.csv", ORDERS.replace("first", "second"))
    wherry.sync()
    assert query(folder / f"{name}.duckdb", "SELECT count(*) FROM orders") == [(6,)]


# --- the library ---


def test_a_library_that_is_too_old(wherry, database):  # noqa: F811
    source, library = wherry.root / "old.c", wherry.root / "libduckdb.so"
    source.write_text(LIBRARY)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    wherry.pipeline("orders", orders(wherry, database, destination=destination(database, duckdb_library=str(library))))
    wherry.drop("a.csv", ORDERS)
    wherry.start()
    assert wherry.sync(status=1)["error"].startswith(
        f'"{library}" (v0.8.0) cannot be used, since it has no duckdb_create_config: {HOW_TO_GET}'
    )
    library.write_text("no library")
    error = wherry.sync(status=1)["error"]
    assert error.startswith(f'DuckDB\'s library "{library}" cannot be loaded: {library}: ')
    assert f'; correct "duckdb_library", or leave it out and {HOW_TO_GET}' in error


def test_no_library(stream, tmp_path):  # noqa: F811
    """Nor one that the loader would find."""
    program = shutil.copy(stream.adapter.program, tmp_path / "destination-duckdb")
    writer = frames.Writer([str(program)], configuration(stream.adapter, "run-1", 0, 8 << 20))
    assert writer.finish() == 1
    kind, message = writer.error()
    assert kind == "configuration"
    assert message.startswith("DuckDB's library is not there (libduckdb.so: cannot open shared object file")
    assert HOW_TO_GET in message


# --- tables ---


def upsert(*rows):
    return frames.rows(list(rows), operation="upsert")


def test_names_of_any_kind(stream):  # noqa: F811
    names = ["order", "from", 'q"q', "é😀", "a.b", "x;y", "it's", "%s", "n" * 1000, " "]
    columns = [("select", "integer", frames.KEY), *((name, "string") for name in names)]
    for table in ("table", 't"; DROP TABLE x; --', "t" * 1000):
        for note in ("first", "second"):
            stream(frames.table(table, columns), upsert([1, *(note for _ in names)]))
        quoted = table.replace('"', '""')
        assert query(stream.database, f'SELECT "select", " ", "from" FROM "{quoted}"') == [(1, "second", "second")]


def test_thousands_of_columns(stream):  # noqa: F811
    """To rows that are there, DuckDB adds others in a block of 256 KiB for each column."""
    columns = [("k", "integer", frames.KEY), *((f"c{n}", "integer") for n in range(2500))]

    def batch(first):
        return frames.table("t", columns), upsert([1, *range(first, first + 2500)])

    stream(*batch(0))
    error = stream(*batch(1), status=1)
    assert f'database "{stream.database}": cannot commit within 512 MiB of memory; raise "memory_limit" of the' in error
    stream.more = {"memory_limit": 2 << 30}
    stream(*batch(1))
    assert query(stream.database, "SELECT k, c0, c2499 FROM t") == [(1, 1, 2500)]


KEYED = [("k", "integer", frames.KEY), ("v", "integer")]
WRONG_TABLES = {
    "a type of its own": (
        [f"CREATE TABLE t (k INTEGER PRIMARY KEY, v UTINYINT, {SYSTEM})"],
        KEYED,
        [1, 2],
        'table "t" in "{}": column "v" is UTINYINT, which is no type of a keyed table; choose another table',
    ),
    "a view": (["CREATE VIEW t AS SELECT 1 AS k"], KEYED, [1, 2], '"t" in "{}" is a view, not a table; choose another'),
    "no key": (
        [f"CREATE TABLE t (k INTEGER, v INTEGER, {SYSTEM})"],
        KEYED,
        [1, 2],
        'table "t" has the primary key () in the destination and (k) in the source; `wherryctl sync model --full',
    ),
    "a required column": (
        [f"CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER, n INTEGER NOT NULL, {SYSTEM})"],
        KEYED,
        [1, 2],
        "DuckDB cannot merge rows: NOT NULL constraint failed: t.n",
    ),
    "a rule": (
        [f"CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER CHECK (v < 2), {SYSTEM})"],
        KEYED,
        [1, 2],
        "DuckDB cannot merge rows: CHECK constraint failed on table t with expression CHECK((v < 2))",
    ),
    "nanoseconds": (
        [],
        [("k", "integer", frames.KEY), ("v", "instant")],
        [1, frames.timestamp(0, 1, 0)],
        'table "t", the row with key (1): more than 6 digits of a second, where DuckDB\'s timestamps hold 6; round it at its ',
    ),
    "no key value": ([], KEYED, [None, 1], 'table "t": row 1, column "k": no value, but it is part of the key'),
}


@pytest.mark.parametrize("what", WRONG_TABLES)
def test_a_table_that_does_not_take_the_rows(stream, what):  # noqa: F811
    statements, columns, row, message = WRONG_TABLES[what]
    execute(stream.database, "CREATE TABLE other (x INT)", *statements)
    error = stream(frames.table("t", columns), upsert(row), status=1)
    assert message.format(stream.database) in error


def test_a_key_that_changes_its_type(stream):  # noqa: F811
    stream(frames.table("t", KEYED), upsert([1, 1]))
    error = stream(frames.table("t", [("k", "string", frames.KEY), ("v", "integer")]), upsert(["x", 1]), status=1)
    assert 'table "t": column "k" is part of the key and would change from LONG to STRING' in error
    assert query(stream.database, "SELECT k, v FROM t") == [(1, 1)]


def test_a_table_that_somebody_changes_between_two_syncs(stream):  # noqa: F811
    stream(frames.table("t", KEYED), upsert([1, 1], [2, 2]))
    execute(stream.database, "ALTER TABLE t DROP COLUMN v", "ALTER TABLE t ADD COLUMN mine INTEGER DEFAULT 5")
    stream(frames.table("t", KEYED), upsert([1, 3]))
    assert query(stream.database, "SELECT k, v, mine FROM t ORDER BY k") == [(1, 3, None), (2, None, 5)]
    execute(stream.database, "DROP TABLE t")
    stream(frames.table("t", KEYED), upsert([1, 4]))
    assert query(stream.database, "SELECT k, v FROM t") == [(1, 4)]
    execute(stream.database, "ALTER TABLE t DROP COLUMN k")
    assert 'table "t" has the primary key () in the destination and (k) in the source' in stream(
        frames.table("t", KEYED), upsert([1, 5]), status=1
    )


def test_a_table_of_files_that_somebody_changes(wherry, database):  # noqa: F811
    wherry.pipeline("orders", orders(wherry, database))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    execute(database, "DROP TABLE orders")
    wherry.drop("b.csv", ORDERS.replace("first", "second"))
    wherry.sync()
    assert query(database, "SELECT count(*) FROM orders") == [(3,)]
    execute(database, "ALTER TABLE orders DROP COLUMN note")
    wherry.drop("c.csv", ORDERS.replace("first", "fourth"))
    assert 'missing column "note" (VARCHAR)' in wherry.sync(status=1)["error"]
    execute(database, "ALTER TABLE orders ADD COLUMN note VARCHAR")
    assert wherry.sync()["committed"] == 1
    assert query(database, "SELECT count(*) FROM orders WHERE note = 'fourth'") == [(1,)]
