"""Operations into PostgreSQL: tables that are there, widening, updates, history, truncate."""

import frames
import postgres
import pytest
from postgres import KEYED, committed, failure, keyed

destination, server = postgres.destination, postgres.server  # fixtures


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
    assert kind == "data" and 'the row with key (7): has more characters than its column keeps: "too long"' in message
    assert destination.query("SELECT count(*) FROM orders") == [("0",)]
