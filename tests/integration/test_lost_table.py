"""A table of files that is gone, while the ledger still says what was loaded into it: never silently."""

import pytest
from postgres import server  # noqa: F401
from test_plan import CDC, CHANGES, ORDERS, make_target, orders, plan, target  # noqa: F401


def content(mode, note="first"):
    return (CHANGES if mode == "cdc" else ORDERS).replace("first", note)


def loaded(wherry, target, mode="append", count=3):  # noqa: F811
    changes = CDC if mode == "cdc" else {"write_mode": mode}
    wherry.pipeline("orders", orders(wherry, target, **changes))
    wherry.start()
    for i in range(count):
        wherry.drop(f"{i}.csv", content(mode, f"note {i}"))
        assert wherry.sync()["warnings"] == []
    return changes


def warning(table="orders", verb="was", files="the 3 files loaded before are", them="them"):
    return f'table "{table}" {verb} not there: {files} not in it; "wherryctl sync orders --full" loads {them} again'


@pytest.mark.parametrize("mode", ["append", "cdc"])
def test_a_table_that_was_dropped_is_not_made_anew_silently(wherry, target, mode):  # noqa: F811
    loaded(wherry, target, mode)
    target.execute("DROP TABLE orders")
    # nothing new: the sync finds nothing to do, and says so all the same
    assert plan(wherry)["notes"] == [warning(verb="is")]
    assert wherry.sync()["warnings"] == [warning(verb="is")]
    wherry.drop("new.csv", content(mode, "new"))
    assert plan(wherry)["notes"] == [warning(verb="is")]
    assert wherry.sync()["warnings"] == [warning()]
    assert wherry.ctl_json("runs", "orders")["runs"][0]["warnings"] == [warning()]  # kept with the run
    # the table is there again: nobody is told twice
    wherry.drop("newer.csv", content(mode, "newer"))
    assert wherry.sync()["warnings"] == [] and plan(wherry)["notes"] == []
    assert wherry.sync("orders", "--full")["warnings"] == []


def test_one_file_and_a_full_sync(wherry, target):  # noqa: F811
    loaded(wherry, target, count=1)
    target.execute("DROP TABLE orders")
    one = warning(verb="is", files="the file loaded before is", them="it")
    assert wherry.sync()["warnings"] == [one]
    assert wherry.sync("orders", "--full")["warnings"] == []
    assert wherry.sync()["warnings"] == [] and plan(wherry)["notes"] == []


@pytest.mark.parametrize("how", ["renamed", "another dest_table"])
def test_a_table_of_another_name(wherry, target, how):  # noqa: F811
    changes = loaded(wherry, target)
    table = "orders"
    if how == "renamed":
        target.execute("ALTER TABLE orders RENAME TO old")
    else:
        table = "orders2"
        wherry.pipeline("orders", orders(wherry, target, dest_table=table, **changes))
    assert wherry.sync()["warnings"] == [warning(table, verb="is")]
    wherry.drop("new.csv", content("append", "new"))
    assert wherry.sync()["warnings"] == [warning(table)]


def test_files_that_replace_all_rows_lose_none(wherry, target):  # noqa: F811
    loaded(wherry, target, "truncate")
    target.execute("DROP TABLE orders")
    assert wherry.sync()["warnings"] == [warning(verb="is")]
    wherry.drop("new.csv", content("truncate", "new"))
    assert wherry.sync()["warnings"] == []


def test_a_file_that_fails_first(wherry, make_target):  # noqa: F811
    """The warning comes once in a sync, and again in the next while the table is not there."""
    database = make_target("sqlite")
    loaded(wherry, database)
    database.execute("DROP TABLE orders")
    wherry.drop("bad1.csv", ORDERS.replace("9.5", "x"))
    wherry.drop("bad2.csv", ORDERS.replace("9.5", "y"))
    for _ in range(2):
        assert [w for w in wherry.sync(status=1)["warnings"] if "loaded before" in w] == [warning()]


def test_files_of_another_connection_do_not_count(wherry, target):  # noqa: F811
    loaded(wherry, target)
    wherry.pipeline("others", orders(wherry, target, dest_table="others"))
    assert wherry.sync("others")["warnings"] == []
