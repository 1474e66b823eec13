"""destination-sqlite and the database file: the schema guard, what the file may be, journals, crashes."""

import os
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import frames
import pytest
from frames import KEY
from writers import COLUMNS, FILE_TABLE, failure, items, upserts

# --- the schema guard ---


def test_a_table_that_filedge_made_is_accepted(destination):
    destination.execute(
        FILE_TABLE,
        'CREATE INDEX "orders_source_file_hash_idx" ON "orders" ("_source_file_hash")',
        "INSERT INTO orders (id, note, price, _source_file_hash, _ingested_at) VALUES (7, 'old', 1.0, 'h', 't')",
    )
    assert destination.load(frames.file_frames("a", items(2))).status == 0
    assert destination.rows() == [(7, "old", 1.0), *items(2)]
    assert destination.query("SELECT * FROM _wherry_tables") == [("orders", "orders")]


def test_a_missing_index_comes_back(destination):
    destination.load(frames.file_frames("a", items(2)))
    destination.execute("DROP INDEX orders_source_file_hash_idx")
    destination.load(frames.file_frames("b", items(2)))
    assert destination.query("SELECT count(*) FROM sqlite_schema WHERE name = 'orders_source_file_hash_idx'") == [(1,)]


@pytest.mark.parametrize(
    "make,text",
    [
        (
            "CREATE TABLE orders (_id INTEGER PRIMARY KEY, id TEXT, note TEXT, old BLOB, "
            "_source_file_hash TEXT NOT NULL, _ingested_at TEXT NOT NULL)",
            'has other columns than the configuration: column "id" is TEXT there, INTEGER here; extra column "old" '
            '(BLOB); missing column "price" (REAL); change one of them, or choose another table',
        ),
        (
            "CREATE TABLE orders (id INTEGER, note TEXT, price REAL)",
            "missing column _id (INTEGER PRIMARY KEY); missing column _source_file_hash (TEXT); missing column "
            "_ingested_at (TEXT)",
        ),
        (FILE_TABLE.replace("INTEGER PRIMARY KEY", "INTEGER"), 'column "_id" is not the primary key there'),
        (
            FILE_TABLE.replace('"price" REAL', '"price" REAL AS (id * 2)'),
            'column "price" is generated there',
        ),
        (FILE_TABLE.replace('"note" TEXT', '"note"'), 'column "note" is without a type there, TEXT here'),
        (FILE_TABLE + " WITHOUT ROWID", "is WITHOUT ROWID"),
        ("CREATE VIEW orders AS SELECT 1 AS id", "is a view, not a table; choose another name"),
        ("CREATE VIRTUAL TABLE orders USING fts5(note)", "is a virtual table, not a table; choose another name"),
    ],
)
def test_the_schema_guard(destination, make, text):
    destination.execute(make)
    before = destination.query("SELECT * FROM sqlite_schema")
    writer = destination.load(frames.file_frames("a", items(1)))
    kind, message = failure(writer)
    assert kind == "configuration"
    assert '"orders"' in message and text in message
    assert destination.query("SELECT * FROM sqlite_schema") == before


@pytest.mark.parametrize(
    "columns,text",
    [
        ([("_id", "integer")], 'column "_id" is one that Wherry adds; give yours another name'),
        ([("A", "integer"), ("a", "integer")], 'columns "A" and "a" are the same to SQLite; rename one of them'),
    ],
)
def test_columns_that_sqlite_cannot_have(destination, columns, text):
    kind, message = failure(destination.load(frames.file_frames("a", []), columns=columns))
    assert kind == "configuration" and text in message


def test_names_are_quoted(destination):
    name, column = 'or"ders; DROP TABLE x', 'a "b", c'
    writer = destination.start(dest_table=name)
    writer.put(frames.hello() + frames.table(name, [(column, "string")]) + frames.file_frames("a", [("v",)]))
    writer.put(frames.encode("END"))
    assert writer.finish() == 0
    assert destination.query('SELECT "a ""b"", c" FROM "or""ders; DROP TABLE x"') == [("v",)]


def test_a_table_has_one_owner(destination):
    destination.load(frames.file_frames("a", items(1)))
    kind, message = failure(destination.load(frames.file_frames("b", items(1)), connection="thief"))
    assert kind == "configuration"
    assert 'belongs to connection "orders": connection "thief" must not write to it' in message
    assert destination.rows() == items(1)


# --- the file ---


def test_what_is_not_a_database(destination):
    destination.path.write_bytes(b"Hello, this is text and not a database, for sure.\n" * 100)
    before = destination.path.read_bytes()
    kind, message = failure(destination.load())
    assert (kind, message) == ("configuration", f'"{destination.path}" is not an SQLite database')
    assert destination.path.read_bytes() == before


def test_a_folder_and_a_fifo(destination):
    destination.path.mkdir()
    assert failure(destination.load()) == ("configuration", f'"{destination.path}" is a folder, not a database')
    destination.path.rmdir()
    os.mkfifo(destination.path)
    assert failure(destination.load()) == ("configuration", f'"{destination.path}" is not a regular file')


def test_a_missing_folder(destination):
    path = destination.folder / "no" / "orders.db"
    kind, message = failure(destination.load(path=path))
    assert kind == "configuration"
    assert message == f'the folder of database "{path}" cannot be used; create it: no such file or directory'
    assert not path.parent.exists()


def test_symbolic_links(destination):
    real = destination.folder / "real"
    real.mkdir()
    (real / "data.db").touch()
    destination.path.symlink_to(real / "data.db")
    assert destination.load(frames.file_frames("a", items(1))).status == 0
    assert (real / "data.db-journal").exists() and not Path(f"{destination.path}-journal").exists()
    assert destination.rows() == items(1)
    broken = destination.folder / "broken.db"
    broken.symlink_to(destination.folder / "nowhere.db")
    assert "is a symbolic link to a file that does not exist" in failure(destination.load(path=broken))[1]


def test_a_damaged_database(destination):
    destination.load(frames.file_frames("a", items(2000)))
    with open(destination.path, "r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 3000)
    kind, message = failure(destination.load(frames.file_frames("b", items(1))))
    assert kind == "configuration" and "is damaged" in message


def test_as_another_user_without_the_right(destination):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    destination.load(frames.file_frames("a", items(1)))
    destination.path.chmod(0o644)
    folder = destination.folder
    while folder != Path("/"):
        if folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(folder.stat().st_mode | 0o005)
        folder = folder.parent
    program = shutil.copy(destination.program, destination.folder / "program")
    os.chmod(program, 0o755)
    destination.program = program
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    writer = destination.start(prefix=nobody)
    assert writer.finish() == 1
    kind, message = writer.error()
    assert kind == "temporary"
    assert message.startswith(f'no right to write "{destination.path}"; give uid 65534 write access')


@pytest.fixture
def mounted(destination):
    """A small file system to fill, or to make read-only."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a tmpfs")
    place = destination.folder / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], check=False).returncode != 0:
        pytest.skip("cannot mount a tmpfs here")
    destination.path = place / "orders.db"
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_disk_full(destination, mounted):
    destination.load(frames.file_frames("a", items(10)))
    big = [(i, "x" * 1000, 1.0) for i in range(8000)]
    kind, message = failure(destination.load(frames.file_frames("b", big)))
    assert kind == "temporary"
    assert message.startswith(f'b: disk full: database "{destination.path}" cannot grow; free some space')
    assert destination.rows() == items(10)
    assert destination.ledger() == [("a", 10)]
    assert destination.intact()
    assert destination.load(frames.file_frames("c", items(10))).status == 0  # there is room again


def test_disk_full_of_the_temporary_files_of_an_index(destination, mounted):
    """The rows fit, the sorter of the index does not: nothing may be committed (COMMIT would say 0)."""
    subprocess.run(["mount", "-o", "remount,size=26m", str(mounted)], check=True)
    rows = [(i, None, None) for i in range(200000)]
    kind, message = failure(destination.load(frames.file_frames("a", rows, per_frame=4000)))
    assert kind == "temporary" and "disk full" in message
    assert destination.query("SELECT count(*) FROM sqlite_schema") == [(0,)]
    assert destination.intact()


def test_a_read_only_file_system(destination, mounted):
    destination.load(frames.file_frames("a", items(1)))
    subprocess.run(["mount", "-o", "remount,ro", str(mounted)], check=True)
    assert failure(destination.load()) == ("temporary", f'"{destination.path}" is on a read-only file system')


# --- journal modes, crashes ---


def journal_mode(destination):
    return destination.query("PRAGMA journal_mode")[0][0]


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_an_existing_database_keeps_its_journal_mode(destination, mode):
    destination.execute(f"PRAGMA journal_mode = {mode}", "CREATE TABLE mine (a)")
    assert destination.load(frames.file_frames("a", items(2000))).status == 0
    wal = Path(f"{destination.path}-wal")
    assert not wal.exists() or wal.stat().st_size == 0
    assert journal_mode(destination) == mode
    assert len(destination.rows()) == 2000


@pytest.mark.parametrize("before,asked,after", [
    (None, None, "delete"), (None, "wal", "wal"), (None, "truncate", "delete"),
    ("wal", "truncate", "delete"), ("delete", "wal", "wal"),
])  # fmt: skip
def test_a_journal_mode_that_is_asked_for(destination, before, asked, after):
    if before:
        destination.execute(f"PRAGMA journal_mode = {before}", "CREATE TABLE mine (a)")
    options = {"journal_mode": asked} if asked else {}
    assert destination.load(frames.file_frames("a", items(20)), **options).status == 0
    assert journal_mode(destination) == after  # a rollback journal's kind is each program's own: "delete" to Python
    assert len(destination.rows()) == 20


def test_a_journal_mode_that_cannot_change_now(destination):
    destination.execute("PRAGMA journal_mode = delete", "CREATE TABLE mine (a)")
    reader = sqlite3.connect(destination.path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM mine").fetchall()
    try:
        writer = destination.start(journal_mode="wal", busy_timeout=1)
        writer.opened()
        writer.put(frames.hello() + frames.table("orders", COLUMNS))
        writer.put(frames.encode("FILE_BEGIN", hash=frames.digest(b"a"), name="a") + frames.rows(items(2)))
        while "keeps its journal mode" not in writer.expect("LOG").fields["message"]:
            pass
    finally:
        reader.close()
    writer.put(frames.encode("FILE_END", outcome=1, hash=frames.digest(b"a"), rows=2) + frames.encode("END"))
    assert writer.finish() == 0
    assert journal_mode(destination) == "delete"


def test_the_page_size_of_new_databases_only(destination):
    destination.load(frames.file_frames("a", items(1)))
    assert destination.query("PRAGMA page_size") == [(16384,)]
    destination.path = destination.folder / "old.db"
    destination.execute("PRAGMA page_size = 4096", "CREATE TABLE mine (a)")
    destination.load(frames.file_frames("a", items(1)))
    assert destination.query("PRAGMA page_size") == [(4096,)]


@pytest.mark.parametrize("mode", ["truncate", "wal"])
def test_killed_in_the_middle_of_a_file(destination, mode):
    destination.load(frames.file_frames("a", items(100)), journal_mode=mode)
    writer = destination.start()
    writer.opened()
    big = [(i, "x" * 1000, 1.0) for i in range(30000)]  # the cache has spilled: there is a hot journal
    writer.put(frames.hello() + frames.table("orders", COLUMNS))
    writer.put(frames.encode("FILE_BEGIN", hash=frames.digest(b"b"), name="b"))
    for i in range(0, len(big), 1000):
        writer.put(frames.rows(big[i : i + 1000]))
    while writer.expect("PROGRESS").fields["rows"] < 20000:
        pass
    writer.process.send_signal(signal.SIGKILL)
    writer.process.wait()
    if mode == "truncate":
        assert Path(f"{destination.path}-journal").stat().st_size > 0
    # The next writer itself plays the journal back, in its sandbox.
    again = destination.load(frames.file_frames("b", items(5)))
    assert again.status == 0, again.seen
    assert destination.rows() == items(100) + items(5)
    assert destination.intact()


def test_the_journal_of_a_large_load_is_given_back(destination):
    big = [(i, "x" * 1000, 1.0) for i in range(10000)]
    destination.load(frames.file_frames("a", items(10)))
    assert destination.load(frames.file_frames("b", big), write_mode="truncate").status == 0
    assert destination.load(frames.file_frames("c", big[:10]), write_mode="truncate").status == 0
    assert Path(f"{destination.path}-journal").stat().st_size <= 1 << 20
    assert destination.rows() == big[:10]
    assert destination.intact()


def test_a_journal_that_another_program_removed(destination):
    """The sandbox knows the journal that was there when it was made. Another one is an error to be retried."""
    destination.load(frames.file_frames("a", items(1)))
    writer = destination.start()
    writer.opened()
    destination.execute("CREATE TABLE mine (a)")  # Python's journal_mode=DELETE unlinks it
    assert not Path(f"{destination.path}-journal").exists()
    writer.put(
        frames.hello() + frames.table("orders", COLUMNS) + frames.file_frames("b", items(1)) + frames.encode("END")
    )
    if writer.finish() == 0:  # without Landlock the new one is reachable
        assert not any("landlock" in log["message"] for log in writer.frames("LOG"))
    else:
        kind, message = writer.error()
        assert kind == "temporary" and "another program may have removed the journal just now" in message
        assert destination.load(frames.file_frames("b", items(1))).status == 0
    assert destination.rows() == items(1) * 2


def test_trash_in_begin(destination):
    writer = frames.Writer(str(destination.program), None, begin=False)
    destination.writers.append(writer)
    writer.say(frames.encode("BEGIN", configuration="[1"))
    assert writer.finish() == 1
    assert "the configuration in BEGIN is not a JSON object" in writer.error()[1]


@pytest.mark.parametrize(
    "sql, text",
    [
        ("CREATE VIEW t AS SELECT 1 AS id", "is a view, not a table; choose another name"),
        ("CREATE TABLE t (id INT PRIMARY KEY, n AS (id + 1))", 'column "n" is generated'),
        (
            "CREATE TABLE t (id INT PRIMARY KEY, n NUMERIC)",
            'column "n" is declared as "NUMERIC", which is no type of a',
        ),
        ("CREATE TABLE t (other INT PRIMARY KEY)", "primary key"),
        (
            "CREATE TABLE t (id TEXT COLLATE NOCASE, PRIMARY KEY (id)) WITHOUT ROWID",
            'column "id" is part of the key, and by its collation NOCASE texts that differ can be equal; declare it',
        ),
        (
            "CREATE TABLE _wherry_tables (table_name TEXT PRIMARY KEY, connection TEXT);"
            "INSERT INTO _wherry_tables VALUES ('t', 'theirs')",
            'belongs to connection "theirs": connection "orders" must not write to it',
        ),
    ],
)
def test_keyed_tables_that_cannot_be_written(destination, sql, text):
    destination.execute(*sql.split(";"))
    writer = destination.start(files=False)
    writer.opened()
    writer.put(frames.hello() + frames.table("t", [("id", "integer", KEY)]) + upserts(1) + frames.encode("END"))
    writer.status = writer.finish()
    kind, message = failure(writer)
    assert kind == "configuration" and text in message
    assert destination.query("SELECT count(*) FROM sqlite_schema WHERE name = '_wherry_state'") == [(0,)]


# --- rows that a table refuses ---

REFUSALS = {
    "check": ("", "CHECK constraint failed: price < 100"),
    "trigger": (
        "CREATE TRIGGER too_high BEFORE INSERT ON orders WHEN new.price >= 100 BEGIN SELECT RAISE(ABORT, 'high'); END",
        "high",
    ),
    "index": (
        "CREATE UNIQUE INDEX cheap ON orders (iif(price < 100, id, 7))",
        "UNIQUE constraint failed: index 'cheap'",
    ),
}


@pytest.mark.parametrize("how", REFUSALS)
def test_a_row_of_a_file_that_the_table_refuses(destination, how):
    sql, text = REFUSALS[how]
    check = '"price" REAL CHECK (price < 100)' if how == "check" else '"price" REAL'
    destination.execute(FILE_TABLE.replace('"price" REAL', check), sql)
    rows = [(i, "x", i / 2) for i in range(900)]
    writer = destination.load(
        frames.file_frames("high.csv", rows, per_frame=150), frames.file_frames("good.csv", items(300))
    )
    assert writer.status == 0, writer.seen
    failed, done = writer.frames("FILE_DONE")
    assert failed["error"] == f"high.csv: row 201: {text}"
    assert (done["outcome"], done["rows"]) == (frames.LOADED, 300)
    assert destination.rows() == items(300)


@pytest.mark.parametrize("clause, kept", [("REPLACE", [2, 3]), ("IGNORE", [1, 3])])
def test_what_a_table_says_of_conflicts_itself_is_done(destination, clause, kept):
    destination.execute(FILE_TABLE.replace('"note" TEXT', f'"note" TEXT UNIQUE ON CONFLICT {clause}'))
    rows = [(1, "same", None), (2, "same", None), (3, "other", None)]
    assert destination.load(frames.file_frames("a.csv", rows)).status == 0
    assert destination.query("SELECT id FROM orders ORDER BY id") == [(i,) for i in kept]


def test_a_table_of_the_name_that_rows_have_while_they_are_read(destination):
    """SQLite would read that table, and not the rows of the file."""
    others = [f'CREATE TABLE "_wherry_rows_{i}" (a, b, c)' for i in range(3)]
    destination.execute(*others, *(f'INSERT INTO "_wherry_rows_{i}" VALUES (7, 8, 9)' for i in range(3)))
    assert destination.load(frames.file_frames("a.csv", items(2))).status == 0
    assert destination.rows() == items(2)


def keyed(destination, rows, end=True):
    writer = destination.start(files=False)
    columns = [("id", "integer", KEY), ("n", "integer")]
    writer.put(frames.hello() + frames.table("t", columns) + frames.rows(rows, operation="upsert"))
    writer.put(frames.encode("END"))
    writer.status = writer.finish()
    return writer


@pytest.mark.parametrize(
    "sql, text",
    [
        (
            "CREATE TRIGGER odd BEFORE UPDATE ON t WHEN new.n = 50 BEGIN SELECT RAISE(ABORT, 'not this'); END",
            "not this",
        ),
        ("CREATE UNIQUE INDEX once ON t (iif(n < 50, id, 1))", "UNIQUE constraint failed: index 'once'"),
    ],
)
def test_a_keyed_row_that_the_table_refuses(destination, sql, text):
    assert keyed(destination, [(i, 0) for i in range(20)]).status == 0
    destination.execute(sql, "CREATE INDEX by_n ON t (n, id)")
    assert keyed(destination, [(i, i) for i in range(30)]).status == 0
    before = destination.query("SELECT id, n FROM t ORDER BY n")
    assert before == [(i, i) for i in range(30)] and destination.intact()
    kind, message = failure(keyed(destination, [(i, i + 40) for i in range(5, 30)]))
    assert (kind, message) == ("data", f'table "t", the row with key (10): {text}')
    assert destination.query("SELECT id, n FROM t ORDER BY n") == before and destination.intact()
