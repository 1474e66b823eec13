"""destination-postgres against a real server: op frames in, tables and reports out; every failure a user can cause, by its text."""

import os
import signal
import socket
import subprocess
import threading
import time

import frames
import harness
import postgres
import pytest
from frames import REQUIRED

COLUMNS = [("id", "integer", REQUIRED), ("note", "string"), ("price", "float")]


@pytest.fixture(scope="module")
def server():
    found = postgres.Server()
    yield found
    found.close()


class Destination:
    """A database of its own, and the writers started on it; all end with the test."""

    def __init__(self, program, server, url=None):
        self.program, self.server = program, server
        self.database = server.create_database()
        self.url = url or server.url(self.database)
        self.writers = []

    def configuration(self, connection="orders", write_mode="append", files=True, url=None, own=None, **more):
        table = {"dest_table": "orders"} if files else {}
        return {
            "connection": connection,
            "run_id": f"run-{len(self.writers) + 1}",
            "files": files,
            "write_mode": write_mode,
            "commit_interval": 0,
            "sandbox": {"mode": "default"},
            "destination": {"type": "postgres", "url": url or self.url, "lock_timeout": 5, **(own or {})},
            **table,
            **more,
        }

    def start(self, **options):
        writer = frames.Writer([str(self.program)], self.configuration(**options))
        self.writers.append(writer)
        return writer

    def load(self, *parts, columns=COLUMNS, table="orders", end=True, **options):
        """A whole sync. The writer, with `.status`."""
        writer = self.start(**options)
        writer.put(frames.hello() + frames.table(table, columns) + b"".join(parts))
        if end:
            writer.put(frames.encode("END"))
        writer.status = writer.finish()
        return writer

    def query(self, sql):
        return self.server.query(sql, self.database)

    def execute(self, *statements):
        self.server.execute(*statements, database=self.database)

    def rows(self, table="orders"):
        return self.query(f"SELECT id, note, price FROM {table} ORDER BY id")

    def ledger(self):
        return self.query("SELECT name, row_count FROM _wherry_files ORDER BY name")

    def state(self):
        return self.query("SELECT sequence, epoch, run_id FROM _wherry_state")

    def has_table(self, name="orders"):
        return self.query(f"SELECT to_regclass('{name}') IS NOT NULL") == [("t",)]

    def backends(self):
        """Of writers, without those that ask."""
        found = self.query(
            f"SELECT pid FROM pg_stat_activity WHERE datname = '{self.database}' AND application_name = 'wherry'"
        )
        return [int(pid) for (pid,) in found]

    def busy(self):
        """Backends that are in a transaction of a writer's."""
        sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'wherry' AND state = 'idle in transaction'"
        return [int(pid) for (pid,) in self.query(sql)]

    def close(self):
        for writer in self.writers:
            writer.kill()


@pytest.fixture
def destination(build, server):
    found = Destination(build.destination("postgres"), server)
    yield found
    found.close()


def items(count, start=0):
    return [(i, f"note {i}", i / 4) for i in range(start, start + count)]


def shown(count, start=0):
    return [(str(i), f"note {i}", f"{i / 4:g}") for i in range(start, start + count)]


def failure(writer):
    assert writer.status == 1
    return writer.error()


def file_errors(writer):
    return [fields["error"] for fields in writer.frames("FILE_DONE") if fields["outcome"] != frames.LOADED]


def file_error(writer):
    (error,) = file_errors(writer)
    return error


# --- loading ---


def test_values_keep_their_meaning(destination):
    columns = [
        ("s", "string"), ("i", "integer"), ("f", "float"), ("b", "boolean"), ("d", "date"), ("t", "timestamp"),
        ("n", "decimal"), ("j", "json"), ("x", "binary"),
    ]  # fmt: skip
    row = [
        "é\n\"'\\", -(2**63), 0.1, False, frames.date(-719162), frames.timestamp(0, 1000, 330),
        frames.decimal("-123456789012345678901234567890.10"), frames.json_value('{"a": [1, "\\\\u0000"]}'), b"\0\xff",
    ]  # fmt: skip
    extreme = [
        "", 2**63 - 1, 1.7976931348623157e308, True, frames.date(2932896), frames.timestamp(253402300799, 999999000, 0),
        frames.decimal("0." + "0" * 16000 + "1"), frames.json_value("null"), b"",
    ]  # fmt: skip
    early = [
        "x", 0, -0.0, True, frames.date(-719162), frames.timestamp(-62135596800),
        frames.decimal("9" * 100000), frames.json_value('"x"'), b"x",
    ]  # fmt: skip
    writer = destination.load(
        frames.file_frames("a", [row, extreme, early, [None] * 9, [""] + [frames.ABSENT] * 8]), columns=columns
    )
    assert writer.status == 0 and not file_errors(writer), writer.seen
    found = destination.query("SELECT s, i, f, b, d, t, n, j, x FROM orders ORDER BY ctid")
    assert found[0] == (
        "é\n\"'\\", str(-(2**63)), "0.1", "f", "0001-01-01", "1970-01-01 00:00:00.000001+00",
        "-123456789012345678901234567890.10", '{"a": [1, "\\\\u0000"]}', "\\x00ff",
    )  # fmt: skip
    assert found[1][:6] == (
        "", str(2**63 - 1), "1.7976931348623157e+308", "t", "9999-12-31", "9999-12-31 23:59:59.999999+00",
    )  # fmt: skip
    assert found[1][6:] == ("0." + "0" * 16000 + "1", "null", "\\x")
    assert found[2] == (
        "x", "0", "-0", "t", "0001-01-01", "0001-01-01 00:00:00+00", "9" * 100000, '"x"', "\\x78",
    )  # fmt: skip
    assert found[3] == (None,) * 9
    assert found[4] == ("",) + (None,) * 8


DECIMALS = (
    "0 0.0 -0 1 -1 10 100 10000 12345 0.1 0.0001 0.00010 1234.5678 -99999999.9999 00012.50 123456789.000000001".split()
)


def test_decimals_to_the_last_digit(destination):
    writer = destination.load(
        frames.file_frames("a", [(i, frames.decimal(text)) for i, text in enumerate(DECIMALS)]),
        columns=[("id", "integer"), ("n", "decimal")],
    )
    assert writer.status == 0, writer.seen
    expected = [(value,) for (value,) in destination.query("SELECT unnest(ARRAY[" + ",".join(DECIMALS) + "])::numeric")]
    assert destination.query("SELECT n FROM orders ORDER BY id") == [
        (destination.query(f"SELECT '{text}'::numeric")[0][0],) for text in DECIMALS
    ]
    assert len(expected) == len(DECIMALS)


REFUSED = [
    ("string", "a\0b", 'table "orders": holds a NUL character, which PostgreSQL\'s text cannot; set strip_nul: true to leave '
     'it out: "a\\x00b"'),
    ("timestamp", frames.timestamp(0, 1), 'has nanoseconds, and PostgreSQL keeps microseconds; a string column holds it: '
     '"1970-01-01T00:00:00.000000001"'),
    ("decimal", frames.decimal("9" * 131073), "has more than 131072 digits before the point, which no numeric holds"),
    ("decimal", frames.decimal("0." + "1" * 16384), "has more than 16383 digits after the point, which no numeric holds"),
    ("json", frames.json_value('["\\\\\\u0000"]'), "holds \\u0000, which PostgreSQL's jsonb cannot; declare the column as a "
     "string"),
    ("json", frames.json_value('"\\ud800"'), "invalid input syntax for type json"),
]  # fmt: skip


@pytest.mark.parametrize("kind, value, text", REFUSED, ids=[f"{k}-{i}" for i, (k, _, _) in enumerate(REFUSED)])
def test_what_cannot_be_kept_is_refused_by_row_and_column(destination, kind, value, text):
    writer = destination.load(
        frames.file_frames("bad.csv", [(1, None), (2, value)]),
        frames.file_frames("good.csv", [(3, None)]),
        columns=[("id", "integer"), ("v", kind)],
    )
    assert writer.status == 0, writer.seen
    error = file_error(writer)
    assert error.startswith('bad.csv: row 2, column "v": ') and text in error
    assert destination.query("SELECT id, v FROM orders") == [("3", None)]


def test_nul_is_left_out_where_asked(destination):
    writer = destination.load(frames.file_frames("a", [(1, "\0a\0\0b\0", 0.5)]), own={"strip_nul": True})
    assert writer.status == 0, writer.seen
    assert destination.rows() == [("1", "ab", "0.5")]


def test_the_new_table(destination):
    assert destination.load(frames.file_frames("a.csv", items(3)), own={"schema": 'Wea"ther'}).status == 0
    described = destination.query(
        "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute"
        ' WHERE attrelid = \'"Wea""ther".orders\'::regclass AND attnum > 0 ORDER BY attnum'
    )
    assert described == [
        ("id", "bigint", "f"), ("note", "text", "f"), ("price", "double precision", "f"),
        ("_source_file_hash", "text", "t"), ("_ingested_at", "timestamp with time zone", "t"),
    ]  # fmt: skip
    (index,) = destination.query("SELECT indexdef FROM pg_indexes WHERE tablename = 'orders'")
    assert "orders_source_file_hash_idx" in index[0] and "USING brin" in index[0]
    (provenance,) = destination.query(
        'SELECT DISTINCT _source_file_hash, now() - _ingested_at < interval \'1 minute\' FROM "Wea""ther".orders'
    )
    assert provenance == (frames.digest(b"a.csv").hex(), "t")


def test_a_filedge_table_is_taken_as_it_is(destination):
    destination.execute(
        'CREATE TABLE orders ("_id" BIGSERIAL PRIMARY KEY, "id" INTEGER, "note" VARCHAR(10), "price" DOUBLE PRECISION,'
        ' "_source_file_hash" TEXT NOT NULL, "_ingested_at" TIMESTAMPTZ NOT NULL)',
        "CREATE INDEX orders_source_file_hash_idx ON orders (_source_file_hash)",
        f"INSERT INTO orders (id, note, _source_file_hash, _ingested_at) VALUES (7, 'old', '{frames.digest(b'a').hex()}', now())",
    )
    writer = destination.load(
        frames.file_frames("a", items(2)),
        frames.file_frames("large.csv", [*items(2, 100), (2**31, "x", None)]),
        frames.file_frames("long.csv", [*items(2, 200), (3, "x" * 11, None)]),
    )
    assert writer.status == 0, writer.seen
    errors = file_errors(writer)
    assert errors == [
        'large.csv: row 3, column "id": table "orders": does not fit into an integer, which has 32 bits there; make the column '
        'a bigint: "2147483648"',
        'long.csv: row 3, column "note": value too long for type character varying(10)',
    ]
    assert destination.rows() == shown(2)  # what Filedge had loaded of this file is replaced
    assert len(destination.query("SELECT 1 FROM pg_indexes WHERE tablename = 'orders'")) == 2


def test_other_columns_are_refused_with_what_differs(destination):
    destination.execute(
        "CREATE TABLE orders (id text, extra point, price double precision GENERATED ALWAYS AS (1) STORED,"
        " _source_file_hash text, _ingested_at text)"
    )
    kind, message = failure(destination.load(frames.file_frames("a", items(1))))
    assert kind == "configuration"
    assert (
        'has other columns than the configuration: column "id" is text there, bigint here; extra column "extra" (point); '
        'column "price" is generated there; column "_ingested_at" is text there, timestamp with time zone here; missing '
        'column "note" (text); change one of them, or choose another table'
    ) in message


@pytest.mark.parametrize(
    "statement, what",
    [
        ("CREATE VIEW orders AS SELECT 1", "view"),
        ("CREATE MATERIALIZED VIEW orders AS SELECT 1", "materialized view"),
        ("CREATE SEQUENCE orders", "sequence"),
    ],
)
def test_what_is_no_table_is_refused(destination, statement, what):
    destination.execute(statement)
    kind, message = failure(destination.load(frames.file_frames("a", items(1))))
    assert kind == "configuration"
    assert f'"orders" in schema "public" of database "{destination.database}" on' in message
    assert f"is a {what}, not a table; choose another name" in message


def test_names(destination):
    columns = [(name, "integer") for name in ("select", "Note", "note", 'a"b', "ü" * 31, "x" * 63, "%T")]
    writer = destination.load(frames.file_frames("a", [range(7)]), columns=columns)
    assert writer.status == 0, writer.seen
    assert destination.query('SELECT "Note", note, "select", "%T" FROM orders') == [("1", "2", "0", "6")]
    long = "t" * 63
    writer = destination.load(frames.file_frames("b", items(1)), table=long, dest_table=long)
    assert writer.status == 0, writer.seen
    (index,) = destination.query(f"SELECT indexname FROM pg_indexes WHERE tablename = '{long}'")
    assert len(index[0]) == 63 and index[0].endswith("_source_file_hash_idx")
    assert destination.load(frames.file_frames("c", items(1)), table=long, dest_table=long).status == 0


BAD_NAMES = [
    ([("x" * 64, "integer")], f'column "{"x" * 64}": PostgreSQL\'s names have at most 63 bytes; choose a shorter one'),
    ([("xmin", "integer")], '"xmin" is a column that PostgreSQL itself has in every table; give yours another name'),
    ([("_id", "integer")], 'column "_id" is one that Wherry adds; give yours another name'),
    (
        [(f"c{i}", "integer") for i in range(1599)],
        "has 1599 columns; PostgreSQL's have at most 1600, of which two are ours",
    ),
]


@pytest.mark.parametrize("columns, text", BAD_NAMES, ids=["long", "system", "own", "many"])
def test_names_that_cannot_be(destination, columns, text):
    kind, message = failure(destination.load(frames.file_frames("a", [[1] * len(columns)]), columns=columns))
    assert kind == "configuration" and text in message
    assert not destination.has_table()


def test_as_many_columns_as_there_can_be(destination):
    columns = [(f"c{i}", "boolean") for i in range(1598)]
    writer = destination.load(frames.file_frames("a", [[True] * 1598]), columns=columns)
    assert writer.status == 0, writer.seen
    assert destination.query("SELECT count(*) FROM orders WHERE c1597") == [("1",)]


def test_constraints_of_the_table_name_the_row(destination):
    assert destination.load(frames.file_frames("a", items(1))).status == 0
    destination.execute("ALTER TABLE orders ADD CHECK (price < 100)", "ALTER TABLE orders ALTER note SET NOT NULL")
    writer = destination.load(
        frames.file_frames("high.csv", [(i, "x", float(i)) for i in range(101)]),
        frames.file_frames("null.csv", [(1, "x", 1.0), (2, None, 1.0)]),
        frames.file_frames("good.csv", items(1, 1)),
    )
    assert writer.status == 0, writer.seen
    errors = file_errors(writer)
    assert errors[0].startswith(
        'high.csv: row 101: new row for relation "orders" violates check constraint "orders_price_check"'
    )
    assert errors[1].startswith(
        'null.csv: row 2, column "note": null value in column "note" of relation "orders" violates'
    )
    assert destination.rows() == shown(2)


# --- exactly once, by file ---


def test_a_file_again_replaces_its_rows(destination):
    first = [frames.file_frames(f"{i}.csv", items(50, i * 100)) for i in range(8)]
    assert destination.load(*first).status == 0
    again = frames.file_frames("3.csv", items(20, 300))
    assert destination.load(again).status == 0
    counts = destination.query("SELECT count(*), count(DISTINCT id) FROM orders")
    assert counts == [("370", "370")]
    assert ("3.csv", "20") in destination.ledger()
    assert destination.state() == [("9", "1", "run-2")]


def test_what_is_there_is_known_by_its_hash(destination):
    assert destination.load(frames.file_frames("a.csv", items(3))).status == 0
    writer = destination.start()
    opened = writer.opened().fields
    assert (opened["sequence"], opened["epoch"], opened["run_id"], opened["state"]) == (1, 1, "run-1", "{}")
    for name, verdict, rows in (("a.csv", frames.SKIP, 3), ("b.csv", frames.UNKNOWN, 0)):
        writer.say(frames.encode("FILE_SEEN", hash=frames.digest(name.encode()), size=1, name=name))
        answer = writer.expect("FILE_VERDICT").fields
        assert (answer["verdict"], answer["rows"]) == (verdict, rows)


def test_truncate_replaces_and_readers_see_the_old_until_then(destination):
    assert destination.load(frames.file_frames("a", items(5))).status == 0
    writer = destination.start(write_mode="truncate")
    parts = frames.file_frames("b", items(3, 50))
    cut = len(parts) - len(frames.encode("FILE_END", hash=bytes(32), error=""))
    writer.put(frames.hello() + frames.table("orders", COLUMNS) + parts[:cut])
    harness.wait_for(lambda: destination.query("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'COPY%'"), "the load")
    assert destination.rows() == shown(5)
    writer.put(parts[cut:] + frames.encode("END"))
    assert writer.finish() == 0
    assert destination.rows() == shown(3, 50)


def test_an_empty_file_makes_its_table(destination):
    assert destination.load(frames.file_frames("a", [])).status == 0
    assert destination.rows() == []
    assert destination.ledger() == [("a", "0")]


def test_opening_writes_nothing(destination):
    writer = destination.start()
    writer.opened()
    writer.put(frames.hello() + frames.encode("END"))
    assert writer.finish() == 0
    assert destination.query("SELECT relname FROM pg_class WHERE relname LIKE '%wherry%'") == []


def test_a_table_has_one_owner(destination):
    assert destination.load(frames.file_frames("a", items(1))).status == 0
    kind, message = failure(destination.load(frames.file_frames("b", items(1)), connection="other"))
    assert kind == "configuration"
    assert 'belongs to connection "orders": connection "other" must not write to it; choose another table' in message
    assert destination.rows() == shown(1)


def test_a_successor_shuts_out_who_was_thought_dead(destination):
    assert destination.load(frames.file_frames("a", items(1))).status == 0
    late = destination.start()
    late.opened()
    assert destination.load(frames.file_frames("b", items(1, 1))).status == 0
    late.put(frames.hello() + frames.table("orders", COLUMNS) + frames.file_frames("c", items(1, 2)))
    late.status = late.finish()
    kind, message = failure(late)
    assert kind == "temporary"
    assert (
        'connection "orders" was written by another run meanwhile (sequence 2, epoch 1; this run knows 1, 1)' in message
    )
    assert destination.rows() == shown(2)


def test_the_first_batch_ever_is_compared_too(destination):
    late = destination.start()
    late.opened()
    assert destination.load(frames.file_frames("b", items(1, 1))).status == 0
    late.put(frames.hello() + frames.table("orders", COLUMNS) + frames.file_frames("c", items(1, 2)))
    late.status = late.finish()
    kind, message = failure(late)
    assert kind == "temporary" and "was written by another run meanwhile" in message
    assert destination.rows() == shown(1, 1)


def test_many_connections_begin_in_a_new_schema_at_once(destination):
    writers = []
    for i in range(4):
        writer = destination.start(connection=f"c{i}", dest_table=f"t{i}", own={"schema": "fresh"})
        writer.opened()
        writers.append(writer)
    for i, writer in enumerate(writers):
        writer.put(
            frames.hello()
            + frames.table(f"t{i}", COLUMNS)
            + frames.file_frames("a", items(i + 1))
            + frames.encode("END")
        )
    assert [writer.finish() for writer in writers] == [0] * 4, [writer.seen for writer in writers]
    assert destination.query("SELECT connection, sequence FROM fresh._wherry_state ORDER BY 1") == [
        (f"c{i}", "1") for i in range(4)
    ]


def test_a_state_is_set_under_a_new_epoch(destination):
    assert destination.load(frames.file_frames("a", items(1))).status == 0
    writer = destination.start(set_state={"cursor": "ü"})
    assert writer.finish() == 0
    assert destination.query("SELECT sequence, epoch, state FROM _wherry_state") == [("2", "2", '{"cursor":"ü"}')]


# --- failures of the server ---


def begin_load(destination, count=1000, **options):
    """A writer in the middle of a file; the backend's pid."""
    writer = destination.start(**options)
    parts = frames.file_frames("a.csv", items(count))
    cut = len(parts) - len(frames.encode("FILE_END", hash=bytes(32), error=""))
    writer.put(frames.hello() + frames.table("orders", COLUMNS) + parts[:cut])
    found = harness.wait_for(
        lambda: destination.query(
            f"SELECT pid FROM pg_stat_activity WHERE datname = '{destination.database}' AND query LIKE 'COPY%' AND state = 'active'"
        ),
        "the load",
    )
    writer.rest = parts[cut:] + frames.encode("END")
    return writer, int(found[0][0])


def test_a_killed_backend_leaves_no_trace(destination):
    writer, pid = begin_load(destination)
    destination.query(f"SELECT pg_terminate_backend({pid})")
    writer.put(writer.rest)
    writer.status = writer.finish()
    kind, message = failure(writer)
    assert kind == "temporary" and "(all of this batch is rolled back)" in message
    assert not destination.has_table()
    assert destination.load(frames.file_frames("a.csv", items(3))).status == 0
    assert destination.rows() == shown(3)


def test_a_killed_writer_leaves_no_trace(destination):
    writer, _ = begin_load(destination)
    writer.kill()
    assert destination.load(frames.file_frames("a.csv", items(3))).status == 0
    assert destination.rows() == shown(3)
    assert destination.state() == [("1", "1", "run-2")]


def test_a_restart_of_the_server_in_the_middle(build):
    server = postgres.Server()
    destination = Destination(build.destination("postgres"), server)
    try:
        writer, _ = begin_load(destination)
        server.restart(signal.SIGQUIT)
        writer.put(writer.rest)
        writer.status = writer.finish()
        assert failure(writer)[0] == "temporary"
        assert not destination.has_table()
        assert destination.load(frames.file_frames("a.csv", items(3))).status == 0
        assert destination.rows() == shown(3)

        server.restart(default_transaction_read_only="on")
        writer = destination.load(frames.file_frames("b.csv", items(1, 3)))
        assert writer.status == 0, writer.seen  # we ask for READ WRITE: only a standby is really read-only

        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        kind, message = failure(destination.load(frames.file_frames("c.csv", items(1, 4))))
        assert kind == "temporary"
        assert "the server is read-only (a standby, or default_transaction_read_only)" in message
        server.stop()
        (server.data / "standby.signal").unlink()
        server.start()
        assert destination.load(frames.file_frames("c.csv", items(1, 4))).status == 0

        server.stop()
        kind, message = failure(destination.load(frames.file_frames("d.csv", items(1))))
        assert kind == "temporary"
        assert message.startswith(
            f'cannot connect to database "{destination.database}" on "{server.root}": connection to server'
        )
        assert "No such file or directory" in message
    finally:
        destination.close()
        server.close()


def test_a_lock_is_waited_for_in_vain(destination):
    assert destination.load(frames.file_frames("a", items(1))).status == 0
    with holding(destination, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE"):
        kind, message = failure(destination.load(frames.file_frames("b", items(1)), own={"lock_timeout": 1}))
        assert kind == "temporary"
        assert (
            "cannot lock a table: canceling statement due to lock timeout; somebody else holds a lock (`lock_timeout`)"
            in message
        )


class holding:
    """A session of somebody else, in a transaction that executed STATEMENT."""

    def __init__(self, destination, statement):
        self.process = subprocess.Popen(
            ["psql", "-X", "-q", destination.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.process.stdin.write(f"BEGIN; {statement};\n\\echo held\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "held\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate("ROLLBACK;\n")


def test_cancel_ends_a_wait(destination):
    assert destination.load(frames.file_frames("a", items(1))).status == 0
    with holding(destination, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE"):
        writer = destination.start(own={"lock_timeout": 60})
        writer.opened()
        writer.put(frames.hello() + frames.table("orders", COLUMNS) + frames.file_frames("b", items(1)))
        progress = writer.expect("PROGRESS") if False else None
        while progress is None or progress.fields["phase"] != "waiting for a lock":
            progress = writer.next()
            assert progress.type in ("PROGRESS", "LOG"), progress
        began = time.monotonic()
        writer.say(frames.encode("CANCEL"))
        writer.status = writer.finish()
        assert failure(writer)[0] == "cancelled"
        assert time.monotonic() - began < 5


# --- who may connect ---


@pytest.fixture(scope="module")
def guarded():
    """A server that wants passwords."""
    found = postgres.Server()
    found.execute(
        "CREATE ROLE loader LOGIN PASSWORD 'hunter2hunter2'",
        "CREATE ROLE poor LOGIN PASSWORD 'pennies'",
        database="postgres",
    )
    hba = found.data / "pg_hba.conf"
    hba.write_text(f"local all {found.user} trust\nlocal all all scram-sha-256\n")
    found.restart()
    yield found
    found.close()


@pytest.fixture
def guarded_destination(build, guarded):
    found = Destination(build.destination("postgres"), guarded)
    guarded.execute(f"GRANT ALL ON DATABASE {found.database} TO loader", database="postgres")
    found.execute("GRANT ALL ON SCHEMA public TO loader")
    yield found
    found.close()


def url_of(destination, user="loader", password="hunter2hunter2"):
    return f"postgresql://{user}:{password}@/{destination.database}?host={destination.server.root}"


def test_a_password_works_in_every_form(guarded_destination):
    destination = guarded_destination
    root, database = destination.server.root, destination.database
    passfile = root / "passfile"
    passfile.write_text(f"*:*:{database}:loader:hunter2hunter2\n")
    passfile.chmod(0o600)
    forms = [
        {"url": url_of(destination)},
        {"url": url_of(destination).replace("postgresql:", "postgresql+psycopg2:")},
        {"url": url_of(destination).replace("postgresql:", "postgres:")},
        {"url": f"host={root} dbname={database} user=loader password=hunter2hunter2"},
        {"url": f"host={root} dbname={database} user=loader", "password": "hunter2hunter2"},
        {"url": f"host={root} dbname={database} user=loader passfile={passfile}"},
        {"url": f"host={root} dbname={database} user=loader", "passfile": str(passfile)},
        {"url": None, "environment": {"DATABASE_URL": url_of(destination), "PGHOST": None}},
        {"url": None, "environment": {"PGHOST": str(root), "PGDATABASE": database, "PGUSER": "loader", "PGPASSWORD": "hunter2hunter2"}},
    ]  # fmt: skip
    for i, own in enumerate(forms):
        own = {key: value for key, value in own.items() if value is not None}
        writer = destination.start()
        writer.kill()
        configuration = destination.configuration()
        configuration["destination"] = {"type": "postgres", **own}
        writer = frames.Writer([str(destination.program)], configuration)
        destination.writers.append(writer)
        writer.put(
            frames.hello()
            + frames.table("orders", COLUMNS)
            + frames.file_frames(f"{i}", items(1, i))
            + frames.encode("END")
        )
        assert writer.finish() == 0, (own, writer.seen)
    assert destination.rows() == shown(len(forms))


REFUSALS = [
    (dict(password="wrongwrong"), "configuration", 'FATAL: password authentication failed for user "loader"'),
    (dict(user="nobody2"), "configuration", 'FATAL: password authentication failed for user "nobody2"'),
]


@pytest.mark.parametrize("change, kind, text", REFUSALS, ids=["password", "role"])
def test_who_is_refused(guarded_destination, change, kind, text):
    writer = guarded_destination.load(frames.file_frames("a", items(1)), url=url_of(guarded_destination, **change))
    assert failure(writer)[0] == kind
    assert text in failure(writer)[1]
    assert (
        "hunter2" not in str(writer.seen)
        and "wrongwrong" not in str(writer.seen)
        and "LOCATION" not in str(writer.seen)
    )


def test_no_password_and_no_database(guarded_destination):
    root = guarded_destination.server.root
    kind, message = failure(guarded_destination.load(b"", url=f"host={root} dbname=postgres user=loader"))
    assert kind == "configuration" and "no password supplied" in message
    kind, message = failure(
        guarded_destination.load(b"", url=f"postgresql://loader:hunter2hunter2@/nowhere?host={root}")
    )
    assert kind == "configuration" and 'FATAL: database "nowhere" does not exist' in message


def test_rights_that_are_missing(guarded_destination):
    url = url_of(guarded_destination, "poor", "pennies")
    kind, message = failure(guarded_destination.load(frames.file_frames("a", items(1)), url=url))
    assert kind == "temporary"
    assert "cannot create its own tables: permission denied for schema public; grant it to this role" in message
    kind, message = failure(guarded_destination.load(frames.file_frames("a", items(1)), url=url, own={"schema": "new"}))
    assert "cannot create the schema: permission denied for database" in message


@pytest.mark.parametrize(
    "url", ["postgresql://me:hunter2hunter2@host:notaport/x", "hunter2hunter2", "host = x hunter2hunter2", "mysql://x"]
)
def test_a_url_that_is_none_tells_no_secret(destination, url):
    kind, message = failure(destination.load(b"", url=url))
    assert kind in ("configuration", "temporary")
    assert "hunter2" not in message


def test_nothing_says_where(destination):
    configuration = destination.configuration()
    configuration["destination"] = {"type": "postgres", "environment": {"PGHOST": None, "DATABASE_URL": None}}
    writer = frames.Writer([str(destination.program)], configuration)
    destination.writers.append(writer)
    writer.status = writer.finish()
    kind, message = failure(writer)
    assert kind == "configuration"
    assert message == (
        'the postgres destination has no "url", and neither DATABASE_URL nor PGHOST is set in wherryd\'s environment'
    )


# --- answers that get lost ---


class Proxy:
    """Between writer and server, a socket that can forget an answer. ON_COMMIT(proxy, forward) is called at the first COMMIT,
    instead of sending it on; from then on that connection's answers are kept back, and its writer is cut off."""

    def __init__(self, server, folder, on_commit):
        self.server, self.on_commit = server, on_commit
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / ".s.PGSQL.5432"))
        self.listener.listen()
        self.ends, self.muted = [], set()
        self.thread = threading.Thread(target=self.accept)
        self.thread.start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            upstream = socket.socket(socket.AF_UNIX)
            upstream.connect(str(self.server.root / ".s.PGSQL.5432"))
            self.ends += [client, upstream]
            threading.Thread(target=self.upward, args=(client, upstream), daemon=True).start()
            threading.Thread(target=self.downward, args=(client, upstream), daemon=True).start()

    def upward(self, client, upstream):
        try:
            while data := client.recv(1 << 16):
                if data.endswith(b"COMMIT\0") and self.on_commit:
                    self.muted.add(upstream)
                    action, self.on_commit = self.on_commit, None
                    action(self, lambda: upstream.sendall(data))
                    client.shutdown(socket.SHUT_RDWR)
                    return  # the server's side stays open: it has not noticed anything
                upstream.sendall(data)
            upstream.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def downward(self, client, upstream):
        try:
            while data := upstream.recv(1 << 16):
                if upstream not in self.muted:
                    client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for end in self.ends:
            end.close()
        self.thread.join()


@pytest.fixture
def proxied(destination, tmp_path):
    """A destination that holds a row, from now on behind a proxy."""
    assert destination.load(frames.file_frames("0", items(1))).status == 0
    proxies = []

    def behind(on_commit):
        proxies.append(Proxy(destination.server, tmp_path, on_commit))
        destination.url = destination.url.replace(str(destination.server.root), str(tmp_path))
        return destination

    yield behind
    for proxy in proxies:
        proxy.close()


def sequence(destination):
    return int(destination.state()[0][0])


def test_committed_but_the_answer_was_lost(proxied):
    def forward(proxy, send):
        send()
        harness.wait_for(lambda: sequence(destination) == 2, "the commit")

    destination = proxied(forward)
    writer = destination.load(frames.file_frames("a", items(1, 1)), frames.file_frames("b", items(1, 2)))
    assert writer.status == 0, writer.seen
    assert any(
        "the connection was lost while committing; it was committed" in log["message"] for log in writer.frames("LOG")
    )
    assert [done["sequence"] for done in writer.frames("FILE_DONE")] == [2, 3]
    assert destination.rows() == shown(3)
    assert sequence(destination) == 3


def test_never_committed(proxied):
    def swallow(proxy, send):
        for pid in destination.backends():
            destination.query(f"SELECT pg_terminate_backend({pid})")

    destination = proxied(swallow)
    kind, message = failure(destination.load(frames.file_frames("a", items(1, 1))))
    assert kind == "temporary" and message.endswith("; it was not committed")
    assert destination.rows() == shown(1)
    assert sequence(destination) == 1
    assert destination.load(frames.file_frames("a", items(1, 1))).status == 0
    assert destination.rows() == shown(2)


def check_unknown_then_known(destination, writer, release):
    """What is said while nobody can know, and that the next run finds out."""
    kind, message = failure(writer)
    assert kind == "temporary"
    assert "whether it was committed is not known yet" in message and "the next run reads what is there" in message
    assert sequence(destination) == 1
    release()
    harness.wait_for(lambda: sequence(destination) == 2, "the old commit")
    writer = destination.start()
    assert writer.opened().fields["sequence"] == 2
    writer.say(frames.encode("FILE_SEEN", hash=frames.digest(b"a"), size=1, name="a"))
    assert writer.expect("FILE_VERDICT").fields["verdict"] == frames.SKIP
    assert destination.rows() == shown(2)


def test_a_backend_paused_at_commit(proxied):
    stopped = []

    def pause(proxy, send):
        stopped.extend(destination.backends())
        os.kill(stopped[0], signal.SIGSTOP)
        send()

    destination = proxied(pause)
    writer = destination.load(frames.file_frames("a", items(1, 1)), own={"lock_timeout": 1})
    check_unknown_then_known(destination, writer, lambda: os.kill(stopped[0], signal.SIGCONT))


def test_a_backend_waiting_inside_commit(proxied):
    """The commit is on disk, and not visible yet: its backend waits for a standby that does not exist."""
    server_settings = "ALTER SYSTEM SET synchronous_standby_names = '{}'"

    def wait_for_nobody(proxy, send):
        destination.execute(server_settings.format("ghost"), "SELECT pg_reload_conf()")
        harness.wait_for(lambda: destination.query("SHOW synchronous_standby_names") == [("ghost",)], "the setting")
        send()

    destination = proxied(wait_for_nobody)
    writer = destination.load(frames.file_frames("a", items(1, 1)), own={"lock_timeout": 1})
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    assert destination.query(waiting) == [("1",)]
    check_unknown_then_known(
        destination,
        writer,
        lambda: destination.execute(server_settings.format(""), "SELECT pg_reload_conf()"),
    )


# --- behind a pooler ---


@pytest.fixture
def pooled(destination):
    """A destination whose sessions are PgBouncer's, per transaction."""
    bouncer = postgres.Bouncer(destination.server)
    destination.bouncer = bouncer
    destination.url = destination.url.replace(str(destination.server.root), str(bouncer.root))
    yield destination
    destination.close()
    bouncer.close()


def test_sessions_are_somebody_elses_after_each_transaction(pooled):
    """Two writers take turns on the same few server connections, and neither leaves anything behind there."""
    writers = [pooled.start(connection=f"c{i}", dest_table=f"t{i}") for i in range(4)]
    for i, writer in enumerate(writers):
        writer.opened()
        writer.put(frames.hello() + frames.table(f"t{i}", COLUMNS))
    for turn in range(5):
        for writer in writers:
            writer.put(frames.file_frames(f"{turn}", items(20, turn * 20)))
            assert writer.expect("FILE_DONE").fields["error"] == ""
    for i, writer in enumerate(writers):
        writer.put(frames.encode("END"))
        assert writer.finish() == 0, writer.seen
        assert pooled.rows(f"t{i}") == shown(100)
    settings = "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name NOT IN ('application_name', 'client_encoding')"
    done = subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", "-c", settings, pooled.url],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [
        line for line in done.stdout.split() if "timeout" in line or "synchronous" in line or "seqscan" in line
    ] == []


def keyed(rows, operation="upsert", checkpoint=None):
    data = frames.rows(rows, operation=operation)
    return data + (
        frames.encode("CHECKPOINT", number=checkpoint, state=f'{{"at":{checkpoint}}}') if checkpoint else b""
    )


def committed(writer):
    while writer.expect("TAKEN", "COMMITTED").type != "COMMITTED":
        pass


KEYED = [("id", "integer", frames.KEY | frames.DECLARED), ("note", "string", frames.DECLARED)]


def test_operations_behind_a_pooler(pooled):
    parts = [
        keyed([(i, f"x{i}") for i in range(30)], checkpoint=1),
        keyed([(i, "new") for i in range(10)], checkpoint=2),
    ]
    parts.append(keyed([(5, frames.ABSENT)], operation="delete", checkpoint=3))
    writer = pooled.load(*parts, columns=KEYED, files=False)
    assert writer.status == 0, writer.seen
    assert pooled.query(
        "SELECT count(*), count(*) FILTER (WHERE note = 'new'), count(*) FILTER (WHERE _fivetran_deleted) FROM orders"
    ) == [("30", "10", "1")]
    assert pooled.query("SELECT state FROM _wherry_state") == [('{"at":3}',)]


def test_a_backend_paused_at_commit_behind_a_pooler(pooled, tmp_path):
    assert pooled.load(frames.file_frames("0", items(1))).status == 0
    stopped = []

    def pause(proxy, send):
        stopped.extend(pooled.busy())
        os.kill(stopped[0], signal.SIGSTOP)
        send()
        time.sleep(0.2)  # for PgBouncer to pass it on; the pause itself needs no time

    proxy = Proxy(pooled.bouncer, tmp_path, pause)
    pooled.url = pooled.url.replace(str(pooled.bouncer.root), str(tmp_path))
    try:
        writer = pooled.load(frames.file_frames("a", items(1, 1)), own={"lock_timeout": 1})
        check_unknown_then_known(pooled, writer, lambda: os.kill(stopped[0], signal.SIGCONT))
    finally:
        proxy.close()


# --- tables of operations ---


KEY = frames.KEY | frames.DECLARED
TYPES_THERE = [
    ("uuid", 'column "v" is of type uuid, which Wherry does not write; change it, or choose another table'),
    # the server would round to whole seconds, and say nothing
    ("timestamp(0)", 'column "v" is of type timestamp(0) without time zone, which Wherry does not write'),
    ("character(3)", 'column "v" is of type character(3)'),
    ("integer[]", 'column "v" is of type integer[]'),
    ("numeric(50,2)", 'column "v" is of type numeric(50,2)'),
    ("bigint GENERATED ALWAYS AS (id * 2) STORED", 'column "v" is generated, which Wherry cannot write'),
]


@pytest.mark.parametrize("declared, text", TYPES_THERE, ids=[declared.split("(")[0] for declared, _ in TYPES_THERE])
def test_columns_that_no_kind_means(destination, declared, text):
    destination.execute(f"CREATE TABLE orders (id bigint PRIMARY KEY, v {declared})")
    kind, message = failure(destination.load(keyed([(1, "x")], checkpoint=1), columns=KEYED, files=False))
    assert kind == "configuration" and text in message


WIDENINGS = [
    ("boolean", True, "true"), ("short", -5, "-5"), ("integer", 2**63 - 1, str(2**63 - 1)),
    ("float", 1e300, "1" + "0" * 300), ("float", 1.5e-7, "0.00000015"), ("float", 100.0, "100"), ("float", 0.1, "0.1"),
    ("real", 0.1, "0.1"), ("decimal", frames.decimal("120.500"), "120.5"), ("decimal", frames.decimal("100"), "100"),
    ("date", frames.date(19000), "2022-01-08"), ("datetime", frames.timestamp(86400 * 19000), "2022-01-08"),
    ("datetime", frames.timestamp(86400 * 19000 + 1, 500000000), "2022-01-08T00:00:01.500000"),
    ("instant", frames.timestamp(86400 * 19000, 0, 0), "2022-01-08T00:00:00Z"),
    ("instant", frames.timestamp(86400 * 19000, 1000, 0), "2022-01-08T00:00:00.000001Z"),
    ("json", frames.json_value('{"b": [1, "\\u001f ü\\\\"], "a": null}'), '{"a":null,"b":[1,"\\u001F ü\\\\"]}'),
    ("binary", b"\0\xff" * 60, "AP8A/wD/" * 20),
]  # fmt: skip


def test_widening_to_text_gives_each_value_its_one_text(destination):
    """What SQL makes of a column is what the library would have made of the value."""
    names = [f"c{i}" for i in range(len(WIDENINGS))]
    first = [("id", "integer", KEY), *((name, kind) for name, (kind, _, _) in zip(names, WIDENINGS))]
    second = [("id", "integer", KEY), *((name, "string") for name in names)]
    writer = destination.start(files=False)
    writer.opened()
    writer.put(frames.hello() + frames.table("orders", first))
    values = [value for _, value, _ in WIDENINGS]
    writer.put(keyed([[1, *values], [2, *[None] * len(values)]], checkpoint=1))
    committed(writer)
    writer.put(frames.table("orders", second) + keyed([[3, *["x"] * len(values)]], checkpoint=2) + frames.encode("END"))
    assert writer.finish() == 0, writer.seen
    found = destination.query(f"SELECT {', '.join(names)} FROM orders ORDER BY id")
    assert found == [tuple(text for _, _, text in WIDENINGS), (None,) * len(names), ("x",) * len(names)]


def test_json_is_rewritten_in_pieces(destination):
    columns = [("id", "integer", KEY), ("j", "json")]
    texts = [f'{{"b": {i}, "a": "{"x" * (i % 7) * 1000}"}}' for i in range(2500)]
    writer = destination.start(files=False)
    writer.opened()
    writer.put(frames.hello() + frames.table("orders", columns))
    writer.put(keyed([(i, frames.json_value(text)) for i, text in enumerate(texts)], checkpoint=1))
    committed(writer)
    writer.put(
        frames.table("orders", [columns[0], ("j", "string")])
        + keyed([(9999, "x")], checkpoint=2)
        + frames.encode("END")
    )
    assert writer.finish() == 0, writer.seen
    found = destination.query("SELECT j FROM orders WHERE id < 9999 ORDER BY id")
    assert found == [(f'{{"a":"{"x" * (i % 7) * 1000}","b":{i}}}',) for i in range(2500)]


def test_updates_that_name_different_columns(destination):
    columns = [("id", "integer", KEY), ("a", "string"), ("b", "string")]
    updates = [(1, "A", frames.ABSENT), (2, frames.ABSENT, "B"), (3, None, frames.ABSENT), (9, "unknown", "key")]
    writer = destination.load(
        keyed([(i, f"a{i}", f"b{i}") for i in range(5)], checkpoint=1),
        keyed(updates, operation="update", checkpoint=2),
        columns=columns,
        files=False,
    )
    assert writer.status == 0, writer.seen
    assert destination.query("SELECT id, a, b FROM orders ORDER BY id") == [
        ("0", "a0", "b0"), ("1", "A", "b1"), ("2", "a2", "B"), ("3", None, "b3"), ("4", "a4", "b4"),
    ]  # fmt: skip


def test_history(destination):
    writer = destination.start(files=False, history=True)
    writer.opened()
    writer.put(frames.hello() + frames.table("orders", KEYED))
    for number, part in enumerate(
        [
            keyed([(1, "one"), (2, "two"), (3, "three")]),
            keyed([(1, "uno")]) + keyed([(2, "dos")], operation="update"),
            keyed([(3, frames.ABSENT)], operation="delete"),
            keyed([(3, "again")]),
        ]
    ):
        writer.put(part + frames.encode("CHECKPOINT", number=number + 1, state="{}"))
        committed(writer)
    writer.put(frames.encode("END"))
    assert writer.finish() == 0, writer.seen
    rows = destination.query(
        "SELECT id, note, _fivetran_active, _fivetran_end < '9999-01-01', _fivetran_end > _fivetran_start FROM orders"
        " ORDER BY id, _fivetran_start"
    )
    assert rows == [
        ("1", "one", "f", "t", "t"), ("1", "uno", "t", "f", "t"), ("2", "two", "f", "t", "t"), ("2", "dos", "t", "f", "t"),
        ("3", "three", "f", "t", "t"), ("3", "again", "t", "f", "t"),
    ]  # fmt: skip
    (gap,) = destination.query(
        "SELECT count(*) FROM orders o JOIN orders n ON o.id = n.id AND n._fivetran_start = o._fivetran_end + interval '1 ms'"
    )
    assert gap == ("2",)  # of the two that were replaced; the deleted one ended when it was deleted


def test_a_truncate_soft_deletes_what_was_before(destination):
    writer = destination.load(
        keyed([(1, "a"), (2, "b")]),
        frames.encode("TRUNCATE", table=0),
        keyed([(2, "c")], checkpoint=1),
        columns=KEYED,
        files=False,
    )
    assert writer.status == 0, writer.seen
    assert destination.query("SELECT id, note, _fivetran_deleted FROM orders ORDER BY 1") == [
        ("1", "a", "t"),
        ("2", "c", "f"),
    ]


def test_a_row_that_the_table_refuses_is_named_by_its_key(destination):
    destination.execute(
        "CREATE TABLE orders (id bigint PRIMARY KEY, note varchar(5), n integer, _fivetran_synced timestamptz,"
        " _fivetran_deleted boolean)"
    )
    columns = [("id", "integer", KEY), ("note", "string")]
    kind, message = failure(destination.load(keyed([(7, "a\0b")], checkpoint=1), columns=columns, files=False))
    assert kind == "data"
    assert 'table "orders", the row with key (7): holds a NUL character' in message
    kind, message = failure(destination.load(keyed([(7, "too long")], checkpoint=1), columns=columns, files=False))
    assert kind == "data" and "value too long for type character varying(5)" in message
    assert destination.query("SELECT count(*) FROM orders") == [("0",)]


# --- over the network ---


@pytest.fixture(scope="module")
def listening():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = postgres.Server(listen_addresses="127.0.0.1", port=str(port))
    yield found
    found.close()


def test_over_tcp_only_the_ports_that_are_given(build, plain_build, listening):
    destination = Destination(plain_build.destination("postgres"), listening)
    try:
        url = f"postgresql://{listening.user}@localhost:{listening.port}/{destination.database}"
        assert destination.load(frames.file_frames("a", items(2)), url=url).status == 0
        for ports, status in (([listening.port], 0), ([443], 1)):
            sandbox = {"mode": "default", "ports": ports}
            writer = destination.load(frames.file_frames("a", items(2)), url=url, sandbox=sandbox)
            assert writer.status == status, writer.seen
        kind, message = failure(writer)
        assert kind == "temporary" and "Permission denied" in message
        assert destination.rows() == shown(2)
    finally:
        destination.close()


# --- through the daemon ---


def test_through_the_daemon(wherry, server):
    database = server.create_database()
    wherry.pipeline("orders", connector={"type": "postgres", "schema": "shop"})
    wherry.start(env={"DATABASE_URL": server.url(database)})
    wherry.drop("a.csv", "id,note,amount\n1,x,0.5\n2,,\n")
    run = wherry.sync()
    assert (run["outcome"], run["rows_committed"]) == ("succeeded", 2)
    assert server.query("SELECT order_id, note, amount FROM shop.orders ORDER BY 1", database) == [
        ("1", "x", "0.5"),
        ("2", None, None),
    ]
    wherry.drop("b.csv", "id,note,amount\n3,x,0.5\n")
    assert wherry.sync()["rows_committed"] == 1
    assert wherry.sync()["rows_committed"] == 0
    wherry.drop("c.csv", "id,note,amount\n3,a\0b,0.5\n")


def test_a_password_is_masked_wherever_it_stands(wherry, guarded):
    secret = "hunter3hunter3"
    for name, destination in {
        "url": {"url": f"postgresql://loader:{secret}@/x?host={guarded.root}"},
        "dsn": {"url": f"host={guarded.root} dbname=x user=loader password='{secret}'"},
        "query": {"url": f"postgresql:///x?host={guarded.root}&user=loader&password={secret}"},
        "key": {"url": f"host={guarded.root} dbname=x user=loader", "password": secret},
    }.items():
        path = wherry.pipeline(name, connector={"type": "postgres", **destination})
        checked = wherry.run_daemon("--once", name)
        assert checked.returncode == 2 or checked.returncode == 1
        printed = checked.stdout + checked.stderr
        assert secret not in printed and "authentication failed" in printed, printed
        warned = subprocess.run([wherry.build.wherryctl, "check", path], capture_output=True, text=True)
        assert "keep it out of here" in warned.stdout + warned.stderr
        path.unlink()
