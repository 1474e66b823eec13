"""destination-postgres against a real server: files as op frames in, tables and reports out; every failure a user can cause, by its text."""

import frames
import harness
import postgres
import pytest
from postgres import COLUMNS, failure, file_error, file_errors, items, shown

destination, server = postgres.destination, postgres.server  # fixtures


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
    ("timestamp", frames.timestamp(0, 1), 'has more than 6 digits of a second, and PostgreSQL keeps 6; a string column holds it: '
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
    assert destination.query("SELECT count(*) FROM pg_attrdef") == [("0",)]  # what the load had for a while


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
        frames.file_frames("spaces.csv", [(3, "äöüäöüäöü  ", None)]),
    )
    assert writer.status == 0, writer.seen
    errors = file_errors(writer)
    assert errors == [
        'large.csv: row 3, column "id": table "orders": does not fit into an integer, which has 32 bits there; make the column '
        'a bigint: "2147483648"',
        'long.csv: row 3, column "note": table "orders": has more characters than its column keeps: "xxxxxxxxxxx"',
        # which the server itself would cut, and say nothing
        'spaces.csv: row 1, column "note": table "orders": has more characters than its column keeps: "äöüäöüäöü  "',
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


def test_partitioned_tables(destination):
    """Their indexes hold nothing themselves: those of each partition are told of new ranges."""
    destination.execute(
        "CREATE TABLE orders (id bigint, note text, price double precision, _source_file_hash text NOT NULL,"
        " _ingested_at timestamptz NOT NULL) PARTITION BY RANGE (id)",
        "CREATE TABLE low PARTITION OF orders FOR VALUES FROM (0) TO (50000)",
        "CREATE TABLE high PARTITION OF orders FOR VALUES FROM (50000) TO (100000) PARTITION BY RANGE (id)",
        "CREATE TABLE higher PARTITION OF high FOR VALUES FROM (50000) TO (100000)",
    )
    for name in "ab":
        writer = destination.load(frames.file_frames(name, [*items(20000), *items(20000, 60000)]))
        assert writer.status == 0 and file_errors(writer) == [], writer.seen
    for table in ("low", "higher"):
        pages, ranges = destination.query(
            f"SELECT pg_relation_size('{table}') / 8192, brin_summarize_new_values(indexrelid)"
            f" FROM pg_index WHERE indrelid = '{table}'::regclass"
        )[0]
        assert int(pages) > 256 and ranges == "0"  # nothing was left to be summarized
    assert destination.query("SELECT count(*) FROM orders") == [("80000",)]
    assert destination.load(frames.file_frames("a", items(1))).status == 0
    assert destination.query("SELECT count(*) FROM orders") == [("40001",)]
    writer = destination.load(frames.file_frames("c", [(100000, "", 0.0)]))
    assert 'no partition of relation "orders" found for row' in file_error(writer)


def warnings(writer):
    return [log["message"] for log in writer.frames("LOG") if not log["message"].startswith("sandbox:")]


def test_a_table_of_another_role(destination):
    """Indexes are made by its owner alone: what is missing is said, and the rows come all the same."""
    role = f"loader_{destination.database}"
    destination.execute(
        f"CREATE ROLE {role} LOGIN",
        f"GRANT ALL ON SCHEMA public TO {role}",
        "CREATE TABLE orders (id bigint, note text, price double precision, _source_file_hash text NOT NULL,"
        " _ingested_at timestamptz NOT NULL)",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO {role}",
    )
    destination.url = destination.url.replace(f"user={destination.server.user}", f"user={role}")
    for name in "aba":
        writer = destination.load(frames.file_frames(name, items(2)))
        assert writer.status == 0 and file_errors(writer) == [], writer.seen
    assert destination.query("SELECT count(*) FROM orders") == [("4",)]
    assert destination.query("SELECT count(*) FROM pg_index WHERE indrelid = 'orders'::regclass") == [("0",)]
    (warning,) = warnings(writer)
    assert warning == (
        f'table "orders" in schema "public" of database "{destination.database}" on "{destination.server.root}" is another '
        "role's, and has no index on (_source_file_hash): rows to be replaced are looked for in all of it; its owner can make one"
    )
    # the owner's index is used, and left to the owner to keep
    destination.execute("CREATE INDEX ON orders USING brin (_source_file_hash text_bloom_ops)")
    writer = destination.load(frames.file_frames("a", items(3)))
    assert writer.status == 0 and file_errors(writer) == [] and warnings(writer) == [], writer.seen
    assert destination.query("SELECT count(*) FROM orders") == [("5",)]


def test_names_of_others_are_not_taken_for_the_systems(destination):
    """A role's search_path may put anybody's functions and operators before PostgreSQL's own."""
    role = f"trusting_{destination.database}"
    destination.execute(
        f"CREATE ROLE {role} LOGIN SUPERUSER",
        "CREATE SCHEMA evil",
        "CREATE FUNCTION evil.never(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT 1 / 0 = 1'",
        "CREATE FUNCTION evil.never(name, text) RETURNS boolean LANGUAGE sql AS 'SELECT 1 / 0 = 1'",
        "CREATE FUNCTION evil.never(name, name) RETURNS boolean LANGUAGE sql AS 'SELECT 1 / 0 = 1'",
        "CREATE FUNCTION evil.never(oid, oid) RETURNS boolean LANGUAGE sql AS 'SELECT 1 / 0 = 1'",
        "CREATE FUNCTION evil.never(bigint, bigint) RETURNS boolean LANGUAGE sql AS 'SELECT 1 / 0 = 1'",
        "CREATE FUNCTION evil.never(numeric, integer) RETURNS numeric LANGUAGE sql AS 'SELECT 1.0 / 0'",
        "CREATE FUNCTION evil.to_timestamp(integer) RETURNS timestamptz LANGUAGE sql AS $$SELECT now() + 1 / 0 * interval '1 s'$$",
        *(
            f"CREATE OPERATOR evil.= (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = evil.never)"
            for left, right in [
                ("text", "text"),
                ("name", "text"),
                ("name", "name"),
                ("oid", "oid"),
                ("bigint", "bigint"),
            ]
        ),
        "CREATE OPERATOR evil.* (LEFTARG = numeric, RIGHTARG = integer, FUNCTION = evil.never)",
        "CREATE DOMAIN evil.text AS pg_catalog.text CHECK (VALUE <> VALUE)",
        f"ALTER ROLE {role} SET search_path = evil, pg_catalog, public",
    )
    destination.url = destination.url.replace(f"user={destination.server.user}", f"user={role}")
    for name in "aba":
        writer = destination.load(frames.file_frames(name, items(2)))
        assert writer.status == 0 and file_errors(writer) == [], writer.seen
    writer = destination.start()
    assert writer.opened().fields["sequence"] == 3
    writer.say(frames.encode("FILE_SEEN", hash=frames.digest(b"a"), size=1, name="a"))
    assert writer.expect("FILE_VERDICT").fields["verdict"] == frames.SKIP
    writer.kill()
    parts = frames.rows([(1, "x"), (2, "y")], operation="upsert"), frames.rows([(1, frames.ABSENT)], operation="delete")
    writer = destination.load(*parts, columns=postgres.KEYED, table="keyed", connection="keyed", files=False)
    assert writer.status == 0, writer.seen
    assert destination.query("SELECT count(*) FROM keyed") == [("2",)]


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
