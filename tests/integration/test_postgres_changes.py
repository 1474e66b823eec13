"""Files of changes (write_mode cdc) into PostgreSQL, and what is its own: indexes, and how rows are found. What changes do
to a table, test_changes.py tells."""

import frames
import postgres
import pytest
from frames import IS_DELETED, KEY, REQUIRED, SEQUENCE
from postgres import file_errors

server, destination = postgres.server, postgres.destination  # fixtures

COLUMNS = [
    ("id", "integer", KEY | REQUIRED),
    ("part", "string", KEY | REQUIRED),
    ("at", "integer", SEQUENCE | REQUIRED),
]
CHANGES = [*COLUMNS, ("note", "string"), ("is_deleted", "boolean", IS_DELETED)]


def changes(ids, at, deleted=False):
    return [(i, "p", at, f"note {i} of {at}", deleted) for i in ids]


def changed(name, rows):
    return frames.file_frames(name, rows, operation="upsert")


def apply(destination, *parts, table="orders", **options):
    writer = destination.load(*parts, columns=CHANGES, table=table, write_mode="cdc", dest_table=table, **options)
    assert writer.status == 0 and file_errors(writer) == [], writer.seen
    return writer


def indexes(destination, table="orders"):
    return destination.query(
        f"SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) LIKE '%USING btree (id, part)' FROM pg_index"
        f" WHERE indrelid = '{table}'::regclass ORDER BY 1"
    )


def test_the_index_on_the_keys(destination):
    apply(destination, changed("a", changes(range(10), 1)))
    assert indexes(destination) == [("orders_key_idx", "t"), ("orders_source_file_hash_idx", "f")]
    # whoever drops it gets it back with the next file, before it is needed
    destination.execute("DROP INDEX orders_key_idx")
    apply(destination, changed("b", changes(range(5), 2)))
    assert indexes(destination)[0] == ("orders_key_idx", "t")
    assert destination.query("SELECT at, count(*) FROM orders GROUP BY 1 ORDER BY 1") == [("1", "5"), ("2", "5")]
    long = "long" * 15 + "er"
    apply(destination, changed("c", changes(range(3), 1)), table=long, connection="other")
    _, (name, of_keys) = indexes(destination, long)
    assert name.startswith("longlong") and name.endswith("_key_idx") and len(name) == 63 and of_keys == "t"


@pytest.mark.parametrize(
    "statement, added",
    [
        ("ALTER TABLE orders ADD PRIMARY KEY (part, id)", False),
        ("CREATE INDEX mine ON orders (id, part, at)", False),
        ("CREATE INDEX mine ON orders (id, at, part)", True),
        ("CREATE INDEX mine ON orders (id, part) WHERE at > 1", True),
        ("CREATE INDEX mine ON orders USING brin (id, part)", True),
        ("CREATE INDEX mine ON orders (id, lower(part))", True),
    ],
)
def test_an_index_that_will_do_is_not_made_again(destination, statement, added):
    destination.execute(
        "CREATE TABLE orders (_id bigserial, id bigint NOT NULL, part text NOT NULL, at bigint, note text,"
        " _source_file_hash text NOT NULL, _ingested_at timestamptz NOT NULL)",
        statement,
    )
    apply(destination, changed("a", changes(range(10), 1)))
    apply(destination, changed("b", changes(range(5), 2)))
    assert [name for name, _ in indexes(destination) if name == "orders_key_idx"] == ["orders_key_idx"] * added
    assert destination.query("SELECT count(*) FROM orders") == [("10",)]


def test_few_changes_do_not_read_the_whole_table(destination):
    """The planner would: it does not know how many more pieces of the file are to come."""
    apply(destination, changed("a", changes(range(8000), 1)))
    destination.execute(
        "CREATE TABLE seen (jit text)",
        "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.seen SELECT"
        " current_setting('jit'); RETURN NULL; END$$",
        "CREATE TRIGGER look AFTER DELETE ON orders EXECUTE FUNCTION look()",
    )
    read = "SELECT pg_stat_force_next_flush(), seq_tup_read, idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'orders'"
    ((_, before, _),) = destination.query(read)
    parts = changes(range(3000), 2, deleted=True) + changes(range(3000, 6000), 2) + changes(range(60000, 61000), 1)
    apply(destination, changed("b", parts))
    ((_, after, fetched),) = destination.query(read)
    assert int(after) - int(before) < 10 and int(fetched) == 6000
    assert destination.query("SELECT at, count(*) FROM orders GROUP BY 1 ORDER BY 1") == [("1", "3000"), ("2", "3000")]
    assert destination.query("SELECT DISTINCT jit FROM seen") == [("off",)]  # to compile it takes longer than to run it


def test_a_table_of_another_role(destination):
    role = f"loader_{destination.database}"
    destination.execute(
        f"CREATE ROLE {role} LOGIN",
        f"GRANT ALL ON SCHEMA public TO {role}",
        "CREATE TABLE orders (id bigint, part text, at bigint, note text, _source_file_hash text NOT NULL,"
        " _ingested_at timestamptz NOT NULL)",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO {role}",
    )
    destination.url = destination.url.replace(f"user={destination.server.user}", f"user={role}")
    apply(destination, changed("a", changes(range(10), 1)))
    writer = apply(destination, changed("b", changes(range(5), 2)))
    assert indexes(destination) == []
    assert any('no index on ("id","part")' in log["message"] for log in writer.frames("LOG")), writer.seen
    assert destination.query("SELECT at, count(*) FROM orders GROUP BY 1 ORDER BY 1") == [("1", "5"), ("2", "5")]
