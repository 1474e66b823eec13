"""`schema:` of a SQLite destination: SQLite has none, so it begins the names of the tables."""

import sqlite3

from test_exec import KEYED, emitter, lines, upsert
from test_plan import plan


def destination(wherry, schema="shop"):
    return {"type": "sqlite", "path": str(wherry.database), "schema": schema}


def tables(wherry):
    names = [name for (name,) in wherry.query("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")]
    return [name for name in names if not name.startswith("_wherry_")]


def test_tables_of_a_program(wherry):
    wherry.start()
    items = [
        KEYED,
        {"op": "log", "message": "hello"},
        upsert(id=1, note="a"),
        upsert(table="T2", n=1),
        {"op": "checkpoint", "state": {}},
    ]
    emitter(wherry, lines(*items), destination=destination(wherry), log_table=True)
    made = [statement for statement in plan(wherry, "emit")["statements"] if '"shop_t"' in statement]
    assert made and not wherry.database.exists()
    wherry.sync("emit")
    assert tables(wherry) == ["shop_connector_sdk_log", "shop_t", "shop_t_2"]
    emitter(
        wherry,
        lines(KEYED, upsert(id=2, note="b"), {"op": "truncate", "table": "t_2"}),
        destination=destination(wherry),
    )
    wherry.sync("emit")
    assert wherry.query("SELECT id, note FROM shop_t ORDER BY id") == [(1, "a"), (2, "b")]
    assert wherry.query("SELECT _fivetran_deleted FROM shop_t_2") == [(1,)]


def test_a_table_that_is_made_anew_may_be_called_as_the_source_does(wherry):
    wherry.start()
    emitter(wherry, lines(KEYED, upsert(id=1, note="a")), destination=destination(wherry))
    wherry.sync("emit")
    for number, name in enumerate(("t", "shop_t"), 2):
        emitter(wherry, lines(KEYED, upsert(id=number, note="b")), destination=destination(wherry))
        assert wherry.sync("emit", "--full", "--tables", name)["warnings"] == []
        assert wherry.query("SELECT id FROM shop_t") == [(number,)]
    (warning,) = wherry.sync("emit", "--full", "--tables", "hop_t")["warnings"]
    assert warning == 'table "hop_t" was not made anew: the source has sent no such table'


def test_connections_keep_apart_what_is_called_the_same(wherry):
    wherry.start()
    for name in ("north", "south"):
        emitter(wherry, lines(KEYED, upsert(id=1, note=name)), name=name, destination=destination(wherry, name))
        wherry.sync(name)
    assert wherry.query("SELECT n.note, s.note FROM north_t n, south_t s") == [("north", "south")]


def test_tables_of_files(wherry):
    definition = {**wherry.orders(), "destination": destination(wherry)}
    del definition["connector"]
    wherry.pipeline("orders", definition)
    wherry.drop("a.csv", "id,note,amount\n1,first,1\n")
    wherry.start()
    wherry.sync()
    assert wherry.query("SELECT order_id, note FROM shop_orders") == [(1, "first")]
    assert tables(wherry) == ["shop_orders"]
    with sqlite3.connect(wherry.database) as database:
        database.execute("DROP TABLE shop_orders")
    database.close()
    (warning,) = wherry.sync()["warnings"]
    assert 'table "shop_orders" is not there' in warning
