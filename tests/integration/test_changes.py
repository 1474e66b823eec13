"""Files of changes (write_mode cdc): of each key the latest row, whatever the order and the size of the files."""

import json
import random
import re
import sqlite3

import postgres
import pytest

server = postgres.server  # a fixture

CDC = {
    "keys": ["k", "part"],
    "operation_column": "op",
    "sequence_by": "seq",
    "operations": {"insert": ["c", "insert"], "update": ["u"], "delete": ["d", "delete"]},
}
COLUMNS = [
    {"source": "k", "dest": "key", "type": "string"},
    {"source": "part", "dest": "part", "type": "integer"},
    {"source": "seq", "dest": "seq", "type": "decimal"},
    {"source": "v", "dest": "v", "type": "string"},
    {"source": "w", "dest": "w", "type": "float", "required": False},
]


class Sqlite:
    connector = None  # as the harness has it
    environment = None
    serial = "INTEGER PRIMARY KEY"

    def __init__(self, wherry):
        self.wherry = wherry

    def query(self, sql):
        return self.wherry.query(sql)

    def execute(self, *statements):
        with sqlite3.connect(self.wherry.database) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()


class Postgres:
    connector = {"type": "postgres"}
    serial = "bigserial PRIMARY KEY"

    def __init__(self, server):
        self.server, self.database = server, server.create_database()
        self.environment = {"DATABASE_URL": server.url(self.database)}

    def query(self, sql):
        return self.server.query(sql, self.database)

    def execute(self, *statements):
        self.server.execute(*statements, database=self.database)


@pytest.fixture(params=["sqlite", "postgres"])
def changes(wherry, request):
    if request.param == "sqlite":
        store = Sqlite(wherry)
    else:
        store = Postgres(request.getfixturevalue("server"))

    def configure(**keys):
        wherry.pipeline(
            "changes",
            **{
                "frequency": "manual",
                "format": "ndjson",
                "dest_table": "changes",
                "write_mode": "cdc",
                "columns": COLUMNS,
                "cdc": CDC,
                **({"connector": store.connector} if store.connector else {}),
                **keys,
            },
        )

    configure()
    wherry.configure_changes, wherry.store = configure, store
    wherry.start(env=store.environment)
    return wherry


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def change(key, part, seq, operation, **values):
    return {"k": key, "part": part, "seq": seq, "op": operation, **values}


def sync(wherry):
    """The run as it ended, whatever its exit status."""
    return json.loads(wherry.ctl("sync", "changes", "--wait", "--json", status=None, timeout=300).stdout)


def table(wherry):
    return {
        (key, int(part)): (seq, v, w if w is None else float(w))
        for key, part, seq, v, w in wherry.store.query("SELECT key, part, seq, v, w FROM changes ORDER BY 1, 2")
    }


def apply(model, rows):
    """The plain meaning, all in memory."""
    latest = {}
    for row in rows:
        key = (row["k"], row["part"])
        if key not in latest or float(row["seq"]) > float(latest[key]["seq"]):
            latest[key] = row
    for key, row in latest.items():
        model.pop(key, None)
        if row["op"] not in ("d", "delete"):
            model[key] = (str(row["seq"]), row["v"], row.get("w"))


@pytest.mark.parametrize("seed", range(4))
def test_random_files_against_a_model(changes, seed):
    chance = random.Random(seed)
    print(f"seed {seed}")
    model = {}
    for number in range(5):
        rows, used = [], set()
        for _ in range(chance.choice([0, 1, 30, 400])):
            key, part = chance.choice("abcdef"), chance.randrange(4)
            seq = chance.choice([chance.randrange(-50, 1000), chance.randrange(1000) / 8])
            if (key, part, seq) in used:
                continue
            used.add((key, part, seq))
            operation = chance.choice(["c", "insert", "u", "d", "delete"])
            row = change(key, part, seq, operation)
            if operation not in ("d", "delete") or chance.random() < 0.3:
                row |= {"v": f"{number}-{seq}", "w": chance.choice([None, 1.5, 2.0])}
            rows.append(row)
        changes.drop(f"{number}.ndjson", lines(rows))
        run = sync(changes)
        assert run["outcome"] == "succeeded", run["error"]
        assert run["rows_committed"] == len(rows)
        apply(model, rows)
        shown = {key: (str(float(seq)), v, w) for key, (seq, v, w) in table(changes).items()} if number or rows else {}
        assert shown == {key: (str(float(seq)), v, w) for key, (seq, v, w) in model.items()}


def test_changes_that_would_come_late_are_spoken_of(changes):
    changes.drop("1.ndjson", lines([change("a", 1, None, "c", v="old")]))
    changes.drop("2.ndjson", lines([change("a", 1, 2, "u", v="new")]))
    run = sync(changes)
    assert run["outcome"] == "failed" and run["committed"] == 1
    assert any(
        'file "2.ndjson" was loaded, and "1.ndjson" before it was not: loaded later, that one replaces newer rows'
        in line
        for line in run["warnings"]
    ), run["warnings"]


def test_more_changes_than_memory_holds(changes):
    """Some 30 MB of them, backwards: sorted on disk, in several runs."""
    keys, versions, text = 3000, 40, "x" * 200
    with changes.incoming.joinpath("large.ndjson").open("w") as file:
        for version in reversed(range(versions)):
            for key in range(keys):
                operation = "d" if version == versions - 1 and key % 3 == 0 else "u"
                file.write(json.dumps(change(str(key), 0, version, operation, v=f"{version} {text}")) + "\n")
    run = sync(changes)
    assert run["outcome"] == "succeeded", run["error"]
    expected = {(str(key), 0) for key in range(keys) if key % 3}
    rows = table(changes)
    assert set(rows) == expected
    assert {v for _, v, _ in rows.values()} == {f"{versions - 1} {text}"}


def test_files_apply_in_the_order_of_their_names_and_once(changes):
    changes.drop("2.ndjson", lines([change("a", 1, 1, "c", v="second file")]))
    changes.drop("1.ndjson", lines([change("a", 1, 9, "c", v="first file"), change("b", 1, 1, "d")]))
    assert sync(changes)["committed"] == 2
    assert table(changes) == {("a", 1): ("1", "second file", None)}
    hashes = changes.store.query("SELECT _source_file_hash FROM changes")
    changes.drop("3.ndjson", lines([change("a", 1, 1, "d")]))
    assert sync(changes)["committed"] == 1
    assert table(changes) == {}
    # the first file again, under another name: known, so nothing comes back
    changes.drop("4.ndjson", lines([change("a", 1, 1, "c", v="second file")]))
    run = sync(changes)
    assert (run["committed"], run["skipped"]) == (0, 4)
    assert table(changes) == {}
    assert len(hashes) == 1


def test_a_table_that_filedge_made_keeps_its_other_rows(changes):
    """Filedge's table has no unique key; every row of a changed key goes, the others stay."""
    types = ["TEXT", "INTEGER", "TEXT", "TEXT", "REAL", "TEXT", "TEXT"]
    if changes.store.connector:
        types = ["text", "bigint", "numeric", "text", "double precision", "text", "timestamptz"]
    key, part, seq, v, w, hash, time = types
    at = "2024-01-01T00:00:00+00:00"
    changes.store.execute(
        f"CREATE TABLE changes (_id {changes.store.serial}, key {key}, part {part}, seq {seq}, v {v}, w {w},"
        f" _source_file_hash {hash} NOT NULL, _ingested_at {time} NOT NULL)",
        "INSERT INTO changes (key, part, v, _source_file_hash, _ingested_at) VALUES"
        f" ('a', 1, 'old', 'h', '{at}'), ('a', 1, 'old twin', 'h', '{at}'), ('b', 1, 'stays', 'h', '{at}')",
    )
    changes.drop("a.ndjson", lines([change("a", 1, 2, "u", v="new")]))
    assert sync(changes)["outcome"] == "succeeded"
    assert table(changes) == {("a", 1): ("2", "new", None), ("b", 1): (None, "stays", None)}


@pytest.mark.parametrize(
    "rows, expected",
    [
        (
            [change("a", 1, 1, "c", v="x"), change("a", 1, 2, "zap", v="x")],
            'line 2, row 2, column "op": an operation that "cdc.operations" does not list: "zap"',
        ),
        ([{"k": "a", "part": 1, "seq": 1}], 'line 1, row 1, column "op": no operation in the "operation_column"'),
        ([change(None, 1, 1, "d")], 'line 1, row 1, column "k": null, but the column is required'),
        ([change("a", 1, None, "d")], 'line 1, row 1, column "seq": null, but the column is required'),
        (
            [change("a", 1, 1, "u")],
            'line 1, row 1, column "v": no value, but the column is required of rows that are not deleted',
        ),
        (
            [change("a", 1, "1.50", "u", v="x"), change("b", 1, 1, "d"), change("a", 1, "1.5", "d")],
            'row 3: the row has the same key (key "a", part "1") and the same "sequence_by" (seq "1.5") as row 1: which '
            "one is the latest?",
        ),
    ],
)
def test_a_bad_change_fails_its_file_and_loses_nothing(changes, rows, expected):
    changes.drop("0.ndjson", lines([change("a", 1, 1, "c", v="before")]))
    assert sync(changes)["outcome"] == "succeeded"
    changes.drop("1.ndjson", lines(rows))
    run = sync(changes)
    assert run["outcome"] == "failed"
    assert run["error"] == f"1.ndjson: {expected}"
    assert table(changes) == {("a", 1): ("1", "before", None)}


def test_keys_that_the_destination_takes_for_one(changes):
    """By a collation of the column, which somebody else declared: of two keys one would be lost."""
    changes.drop("a.ndjson", lines([change("a", 1, 1, "c", v="x")]))
    assert sync(changes)["outcome"] == "succeeded"
    store = changes.store
    if isinstance(store, Postgres):
        store.execute(
            "CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
            "ALTER TABLE changes ALTER key TYPE text COLLATE loose, ALTER v TYPE text COLLATE loose",
        )
    else:
        ((sql,),) = store.query("SELECT sql FROM sqlite_schema WHERE name = 'changes'")
        loose = sql.replace('"key" TEXT', '"key" TEXT COLLATE loose').replace('"v" TEXT', '"v" TEXT COLLATE loose')
        store.execute("DROP TABLE changes", loose.replace("loose", "NOCASE"))
    changes.drop("b.ndjson", lines([change("A", 1, 2, "c", v="y"), change("b", 1, 2, "c", v="y")]))
    run = sync(changes)
    assert run["outcome"] == "failed" and re.search(
        'has other columns than the configuration: column "key" is a key, and by its collation "(loose|NOCASE)" there '
        "texts that differ can be equal; change one of them, or choose another table$",
        run["error"],
    ), run


def test_csv_by_name_and_by_position(changes):
    columns = [{**column, "source": i + 2} for i, column in enumerate(COLUMNS)]
    cdc = {**CDC, "keys": ["2", "3"], "operation_column": "1", "sequence_by": "4"}
    changes.configure_changes(format="csv", csv={"header": False}, columns=columns, cdc=cdc)
    changes.drop("a.csv", "c,a,1,1,x,\nd,b,1,1\nu,a,1,2,y,0.5\n")
    assert sync(changes)["outcome"] == "succeeded"
    assert table(changes) == {("a", 1): ("2", "y", 0.5)}


@pytest.mark.parametrize(
    "keys, expected",
    [
        ({"cdc": None}, '"write_mode: cdc" needs "cdc": keys, operation_column, sequence_by and operations'),
        ({"write_mode": "append"}, '"cdc" belongs to "write_mode: cdc"'),
        ({"cdc": {**CDC, "keys": []}}, '"keys" is empty; list at least one column'),
        ({"cdc": {**CDC, "keys": ["key"]}}, 'no column has "source: key", which "keys" names'),
        ({"cdc": {**CDC, "sequence_by": "at"}}, 'no column has "source: at", which "sequence_by" names'),
        (
            {"cdc": {**CDC, "operations": {"insert": ["c"], "update": ["c"], "delete": ["d"]}}},
            '"c" is listed twice',
        ),
        (
            {"columns": [{**COLUMNS[0], "type": "json"}, *COLUMNS[1:]]},
            'column "k" is json, which cannot be compared',
        ),
        (
            {
                "columns": [
                    {**COLUMNS[0], "encrypt": {"algorithm": "aes-256-gcm", "key": "env:KEY"}},
                    *COLUMNS[1:],
                ]
            },
            'column "k" is encrypted, anew for each row, and cannot be compared',
        ),
    ],
)
def test_a_wrong_configuration_says_what_is_wrong(wherry, keys, expected):
    given = {"format": "ndjson", "write_mode": "cdc", "columns": COLUMNS, "cdc": CDC, **keys}
    wherry.pipeline("changes", **{key: value for key, value in given.items() if value is not None})
    result = wherry.ctl("check", wherry.pipelines_dir / "changes.yaml", status=2)
    assert expected in result.stderr + result.stdout
