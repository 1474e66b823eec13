"""What is wrong with rows, tables and servers, and how destination-postgres says so: each by its text, on a real server."""

import os
import socket
import subprocess
from pathlib import Path

import frames
import harness
import postgres
import pytest
from frames import DECLARED, KEY
from postgres import COLUMNS, KEYED, committed, failure, file_error, file_errors, items, keyed, shown

server, destination = postgres.server, postgres.destination  # fixtures


# --- keys ---


@pytest.mark.parametrize("operation", ["upsert", "update", "delete"])
@pytest.mark.parametrize("value", [None, frames.ABSENT], ids=["null", "missing"])
def test_a_key_that_is_null_or_missing(destination, operation, value):
    note = frames.ABSENT if operation == "delete" else "x"
    good = keyed([(1, "good")], checkpoint=1)
    writer = destination.load(good, keyed([(2, note), (value, note)], operation), columns=KEYED, files=False)
    assert failure(writer) == ("data", 'table "orders": row 3, column "id": no value, but it is part of the key')
    assert destination.query("SELECT id FROM orders") == [("1",)]


def test_a_key_whose_type_changes(destination):
    writer = destination.start(files=False)
    writer.opened()
    writer.put(frames.hello() + frames.table("orders", [("id", "integer", KEY), ("note", "string")]))
    writer.put(keyed([(1, "one"), (2, "two")], checkpoint=1))
    committed(writer)
    writer.put(frames.table("orders", [("id", "string", KEY), ("note", "string")]))
    writer.put(keyed([("2", "zwei"), ("x", "new")], checkpoint=2))
    writer.status = writer.finish()
    assert failure(writer) == (
        "configuration",
        'table "orders": column "id" is part of the key and would change from LONG to STRING, in which keys that differ may become'
        " one; `wherryctl sync orders --full --tables orders` makes the table anew",
    )
    assert destination.query("SELECT id, note FROM orders ORDER BY 1") == [("1", "one"), ("2", "two")]


# --- values that their columns cannot hold ---

WIDER = 'table "orders": column "v" would change from {} to {}, which `on_schema_change: block_all` forbids'
ROW = 'column "v": table "orders", the row with key (7): '
NARROW = [
    ("smallint", "integer", 40000, WIDER.format("SHORT", "LONG")),
    ("smallint", "short", 40000, "row 2: " + WIDER.format("SHORT", "INT")),
    ("smallint", "short", 1 << 31, "row 2: " + WIDER.format("SHORT", "LONG")),
    ("real", "float", 1e300, WIDER.format("FLOAT", "DOUBLE")),
    ("numeric(5,2)", "decimal", frames.decimal("1234.5"), WIDER.format("DECIMAL(5,2)", "DECIMAL")),
    ("boolean", "string", "yes", WIDER.format("BOOLEAN", "STRING")),
    ("timestamptz", "timestamp", frames.timestamp(0, 1, 0), WIDER.format("UTC_DATETIME", "STRING")),
    ("varchar(3)", "string", "äbcd", ROW + 'has more characters than its column keeps: "äbcd"'),
    ("varchar(3)", "string", "ab  ", ROW + 'has more characters than its column keeps: "ab  "'),
    ("text", "string", "a\0b", ROW + "holds a NUL character, which PostgreSQL's text cannot; set strip_nul: true to leave it"
     ' out: "a\\x00b"'),
    ("jsonb", "json", frames.json_value('{"a": "\\u0000"}'), ROW + "holds \\u0000, which PostgreSQL's jsonb cannot; declare the"
     ' column as a string: "{"a":"\\u0000"}"'),
]  # fmt: skip


@pytest.mark.parametrize(
    "there, kind, value, text", NARROW, ids=[f"{there}-{i}" for i, (there, *_) in enumerate(NARROW)]
)
def test_a_value_that_its_column_cannot_hold(destination, there, kind, value, text):
    """Of operations: where the column may not be widened, or cannot be."""
    destination.execute(
        f"CREATE TABLE orders (id bigint PRIMARY KEY, v {there}, _fivetran_synced timestamptz, _fivetran_deleted boolean)"
    )
    columns = [("id", "integer", KEY | DECLARED), ("v", kind, DECLARED)]
    rows = keyed([(6, None), (7, value), (8, None)], checkpoint=1)
    writer = destination.load(rows, columns=columns, files=False, on_schema_change="block_all")
    assert failure(writer)[1] == text
    assert destination.query("SELECT count(*) FROM orders") == [("0",)]


NARROW_FOR_FILES = [
    ("smallint", "integer", 40000, 'does not fit into a smallint: "40000"'),
    ("integer", "integer", -(2**31) - 1, 'does not fit into an integer, which has 32 bits there; make the column a bigint: "-2147483649"'),
    ("varchar(3)", "string", "abcd", 'has more characters than its column keeps: "abcd"'),
    ("numeric(5,2)", "decimal", frames.decimal("1234.5"), 'has more digits before the point than its column keeps: "1234.5"'),
    ("numeric(5,2)", "decimal", frames.decimal("-1.234"), 'has more digits after the point than its column keeps: "-1.234"'),
    ("timestamptz", "timestamp", frames.timestamp(0, 1, 0), "has more than 6 digits of a second, and PostgreSQL keeps 6; a string column"
     ' holds it: "1970-01-01T00:00:00.000000001Z"'),
]  # fmt: skip


@pytest.mark.parametrize("there, kind, value, text", NARROW_FOR_FILES)
def test_a_value_of_a_file_that_its_column_cannot_hold(destination, there, kind, value, text):
    destination.execute(
        f"CREATE TABLE orders (id bigint, v {there}, _source_file_hash text NOT NULL, _ingested_at timestamptz NOT NULL)"
    )
    writer = destination.load(
        frames.file_frames("a", [(1, None), (2, value)]),
        frames.file_frames("b", [(3, None)]),
        columns=[("id", "integer"), ("v", kind)],
    )
    assert writer.status == 0 and file_error(writer) == f'a: row 2, column "v": table "orders": {text}'
    assert destination.query("SELECT id FROM orders") == [("3",)]


# --- tables ---


def test_reserved_words(destination):
    words = ["select", "table", "user", "order", "null", "true", "column", "Group", 'quo"te', "a b", "ctidx", "$1"]
    columns = [("primary", "integer", KEY | DECLARED), *((word, "string") for word in words)]
    rows = keyed([(1, *words), (2, *words)]) + keyed([(1, *[frames.ABSENT] * len(words))], "delete", checkpoint=1)
    writer = destination.load(rows, columns=columns, table="default", files=False)
    assert writer.status == 0, writer.seen
    names = ", ".join('"' + word.replace('"', '""') + '"' for word in words)
    assert destination.query(f'SELECT {names} FROM "default" WHERE "primary" = 2') == [tuple(words)]


def test_more_columns_than_a_table_holds(destination):
    columns = [("id", "integer", KEY | DECLARED), *((f"c{i}", "integer") for i in range(1599))]
    kind, message = failure(destination.load(keyed([(1, *range(1599))]), columns=columns, files=False))
    assert (kind, message) == (
        "configuration",
        'table "orders" would have 1602 columns with those that Wherry adds, and the destination can have 1600',
    )
    kind, message = failure(destination.load(frames.file_frames("a", [range(1599)]), columns=columns[1:]))
    assert (kind, message) == (
        "configuration",
        'a: table "orders" has 1599 columns; PostgreSQL\'s have at most 1600, of which two are ours',
    )
    # as many as there can be, of which a row's values take more than a page holds
    columns = [("id", "integer", KEY | DECLARED), *((f"c{i}", "string") for i in range(1500))]
    kind, message = failure(destination.load(keyed([(1, *["x" * 30] * 1500)]), columns=columns, files=False))
    assert (kind, message) == ("data", 'table "orders": row is too big: size 27048, maximum size 8160')


def test_names_that_are_too_long(destination):
    long = "n" * 64
    kind, message = failure(destination.load(keyed([(1, "x")]), columns=[KEYED[0], (long, "string")], files=False))
    assert (kind, message) == ("configuration", f'table "orders": the name of column "{long}" is longer than 63 bytes')
    kind, message = failure(destination.load(keyed([(1, "x")]), columns=KEYED, table=long, files=False))
    assert (kind, message) == ("configuration", f'table "{long}": the name of table "{long}" is longer than 63 bytes')


def test_a_table_dropped_under_a_running_sync(destination):
    writer = destination.start(files=False)
    writer.opened()
    writer.put(frames.hello() + frames.table("orders", KEYED) + keyed([(1, "one")], checkpoint=1))
    committed(writer)
    destination.execute("DROP TABLE orders")
    writer.put(keyed([(2, "two")], checkpoint=2) + frames.encode("END"))
    writer.status = writer.finish()
    kind, message = failure(writer)
    assert (kind, message) == (
        "temporary",
        f'table "orders" in schema "public" of database "{destination.database}" on "{destination.server.root}" was dropped'
        " meanwhile; the next run looks again",
    )
    assert destination.load(keyed([(2, "two")], checkpoint=1), columns=KEYED, files=False).status == 0
    assert destination.query("SELECT id FROM orders") == [("2",)]


def test_a_table_of_files_dropped_under_a_running_sync(destination):
    writer = destination.start()
    writer.opened()
    writer.put(frames.hello() + frames.table("orders", COLUMNS) + frames.file_frames("a", items(2)))
    writer.expect("FILE_DONE")
    destination.execute("DROP TABLE orders")
    writer.put(frames.file_frames("b", items(2, 2)) + frames.encode("END"))
    assert writer.finish() == 0 and file_errors(writer) == [], writer.seen
    assert destination.rows() == shown(2, 2)


# --- servers ---


def test_a_wrong_password_is_tried_once(wherry):
    """No retry until somebody changes something: an account may be locked after some attempts."""
    server = postgres.Server()
    try:
        server.execute(
            "CREATE ROLE loader LOGIN PASSWORD 'right'", "CREATE DATABASE shop OWNER loader", database="postgres"
        )
        (server.data / "pg_hba.conf").write_text(f"local postgres {server.user} trust\nlocal all all scram-sha-256\n")
        server.restart()
        connector = {"type": "postgres", "url": f"host={server.root} dbname=shop user=loader", "password": "wrong"}
        wherry.pipeline("orders", frequency="1s", connector=connector)
        wherry.pipeline("others", frequency="1s")
        wherry.start()
        harness.wait_for(lambda: wherry.status()["state"] == "broken", "the first attempt")
        wherry.daemon.wait_log('password authentication failed for user "loader"')
        assert wherry.status()["error"].endswith(
            'password authentication failed for user "loader"; correct it, then "wherryctl reload", or "wherryctl sync '
            'orders" to try again'
        )
        others = len(wherry.ctl_json("runs", "others")["runs"])
        harness.wait_for(lambda: len(wherry.ctl_json("runs", "others")["runs"]) > others + 2, "others to go on")
        assert server.log().count("password authentication failed") == 1
        wherry.pipeline("orders", frequency="1s", connector={**connector, "password": "right"})
        harness.wait_for(lambda: wherry.status()["state"] != "broken", "the next attempt")
    finally:
        server.close()


@pytest.fixture
def small_disk(destination, tmp_path):
    """A tablespace of a few megabytes, where the destination's tables are made."""
    folder = Path("/tmp") / f"wherry-space-{os.getpid()}"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "none", folder], capture_output=True)
    if done.returncode != 0:
        folder.rmdir()
        pytest.skip("needs the right to mount a small file system")
    space = f"space_{destination.database}"
    try:
        inside = folder / "space"
        inside.mkdir()
        if destination.server.prefix:
            os.chown(inside, 65534, 65534)
            inside.chmod(0o700)
        destination.execute(f"CREATE TABLESPACE {space} LOCATION '{inside}'")
        destination.execute(f"ALTER DATABASE {destination.database} SET default_tablespace = {space}")
        yield folder
        destination.close()
        destination.server.execute(f"DROP DATABASE {destination.database} WITH (FORCE)", database="postgres")
        destination.server.execute("CHECKPOINT", f"DROP TABLESPACE {space}", database="postgres")
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


def test_a_database_that_is_full(destination, small_disk):
    assert destination.load(frames.file_frames("a", items(10))).status == 0
    kind, message = failure(destination.load(frames.file_frames("b", [(i, "x" * 1000, 0.0) for i in range(8000)])))
    assert kind == "temporary" and "cannot insert rows: could not extend file" in message
    assert message.endswith(": No space left on device; the server's disk is full; free some space there")
    assert destination.rows() == shown(10)
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    assert destination.load(frames.file_frames("b", [(i, "x" * 1000, 0.0) for i in range(8000)])).status == 0
    assert destination.query("SELECT count(*) FROM orders") == [("8010",)]


def test_a_read_only_role(destination):
    """Who freezes a database by default_transaction_read_only is not passed over."""
    destination.execute(f"ALTER DATABASE {destination.database} SET default_transaction_read_only = on")
    kind, message = failure(destination.load(frames.file_frames("a", items(2))))
    assert kind == "temporary"
    assert message.endswith("the server is read-only (a standby, or default_transaction_read_only)")
    destination.execute(
        "SET default_transaction_read_only = off",
        f"ALTER DATABASE {destination.database} RESET default_transaction_read_only",
    )
    assert destination.load(frames.file_frames("a", items(2))).status == 0
    assert destination.rows() == shown(2)


def slow(destination, seconds):
    destination.execute(
        f"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep({seconds}); RETURN NEW; END$$",
        "CREATE TRIGGER slow BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION slow()",
    )


def test_a_statement_that_takes_too_long(destination):
    assert destination.load(frames.file_frames("a", items(1))).status == 0
    slow(destination, 60)
    kind, message = failure(destination.load(frames.file_frames("b", items(1)), own={"statement_timeout": 1}))
    assert (kind, message) == (
        "temporary",
        f'b: database "{destination.database}" on "{destination.server.root}": cannot insert rows: canceling statement due to'
        " statement timeout; it took too long (`statement_timeout`), or somebody cancelled it",
    )
    assert destination.rows() == shown(1)


def test_a_server_that_does_not_answer(destination):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        url = f"postgresql://me@127.0.0.1:{port}/x"
        kind, message = failure(destination.load(b"", url=url, own={"connect_timeout": 1}))
        assert (kind, message) == (
            "temporary",
            f'cannot connect to database "x" on "127.0.0.1:{port}": no answer within 1 s (`connect_timeout`)',
        )
        # libpq's own word for it, where the key has its default
        kind, message = failure(destination.load(b"", url=url + "?connect_timeout=2", own={"connect_timeout": 10}))
        assert kind == "temporary" and message.endswith("no answer within 2 s (`connect_timeout`)")
    kind, message = failure(destination.load(b"", url=url))
    assert kind == "temporary" and message.endswith(
        "failed: Connection refused; Is the server running on that host and accepting TCP/IP connections?"
    )


def test_nul_is_left_out_where_asked_of_operations(destination):
    rows = keyed([(1, "a\0b\0"), (2, "\0")], checkpoint=1)
    writer = destination.load(rows, columns=KEYED, files=False, own={"strip_nul": True})
    assert writer.status == 0, writer.seen
    assert destination.query("SELECT id, note FROM orders ORDER BY 1") == [("1", "ab"), ("2", "")]


def test_nul_is_not_left_out_of_keys(destination):
    columns = [("id", "string", frames.KEY), ("note", "string")]
    rows = keyed([("a", "x"), ("a\0", "y")], checkpoint=1)
    kind, message = failure(destination.load(rows, columns=columns, files=False, own={"strip_nul": True}))
    assert kind == "data" and message == (
        'column "id": table "orders", the row with key (a\\x00): holds a NUL character, which PostgreSQL\'s text cannot; '
        'in a key strip_nul does not leave it out, since two keys could become one: "a\\x00"'
    )


def test_keys_that_the_server_takes_for_one(destination):
    destination.execute(
        "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        "CREATE TABLE orders (id text COLLATE loose PRIMARY KEY, note text)",
    )
    columns = [("id", "string", frames.KEY), ("note", "string")]
    kind, message = failure(destination.load(keyed([("a", "x")], checkpoint=1), columns=columns, files=False))
    assert kind == "configuration" and message.endswith(
        'column "id" is part of the key, and by its collation "loose" texts that differ can be equal; give it a '
        "deterministic one, or choose another table"
    )
    destination.execute('ALTER TABLE orders ALTER COLUMN id TYPE text COLLATE "C", ALTER note TYPE text COLLATE loose')
    rows = keyed([("a", "x"), ("A", "y")], checkpoint=1)
    assert destination.load(rows, columns=columns, files=False).status == 0
    assert destination.query("SELECT count(*) FROM orders") == [("2",)]
