"""`wherryctl plan`: what the next sync would do is what it then does, and until then nothing is written anywhere."""

import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import time

import duckdb
import pytest
from harness import wait_for
from postgres import server  # noqa: F401
from test_exec import PYTHON, emitter, lines, upsert
from test_fivetran import connector
from test_manifest import manifest

ORDERS = "id,note,amount\n1,first,9.5\n2,,\n"
CHANGES = "op,id,note,amount\nc,1,first,9.5\n"
CDC = {
    "write_mode": "cdc",
    "cdc": {
        "keys": ["id"],
        "operation_column": "op",
        "sequence_by": "amount",
        "operations": {"insert": ["c"], "update": ["u"], "delete": ["d"]},
    },
}


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


class SqliteTarget:
    def __init__(self, wherry, schema=None):
        self.folder = wherry.root / "warehouse"
        self.folder.mkdir()
        self.path = self.folder / "out.db"
        self.destination = {"type": "sqlite", "path": str(self.path)}

    def execute(self, *statements):
        with sqlite3.connect(self.path) as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    def catalog(self, path=None):
        """What is there, by name: SQLite keeps the statements themselves."""
        if not (path or self.path).exists():
            return {}
        connection = sqlite3.connect(f"file:{path or self.path}?mode=ro", uri=True)
        found = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        connection.close()
        return found

    def snapshot(self):
        """All that a plan could leave traces in."""
        return {path.name: (digest(path), path.stat().st_mtime_ns) for path in self.folder.iterdir()}

    def copy(self):
        found = self.folder.parent / "copy.db"
        if self.path.exists():
            shutil.copy(self.path, found)
        return found

    def catalog_with(self, copy, statements):
        connection = sqlite3.connect(copy, isolation_level=None)
        connection.create_function("wherry_convert", 3, lambda value, _from, to: value, deterministic=True)
        for statement in statements:
            connection.execute(statement)
        connection.close()
        return self.catalog(copy)

    def executed(self):
        return None


class DuckdbTarget:
    schema = "main"

    def __init__(self, wherry, schema="main"):
        self.folder = wherry.root / "warehouse"
        self.folder.mkdir()
        self.path = self.folder / "out.duckdb"
        self.schema = schema
        self.destination = {"type": "duckdb", "path": str(self.path), "schema": schema}

    def execute(self, *statements):
        with duckdb.connect(str(self.path)) as connection:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {self.schema}; USE {self.schema}")
            for statement in statements:
                connection.execute(statement)

    def catalog(self, path=None):
        if not (path or self.path).exists():
            return {}
        with duckdb.connect(str(path or self.path), read_only=True) as connection:
            rows = connection.execute("SELECT schema_name || '.' || table_name, sql FROM duckdb_tables()").fetchall()
        return dict(rows)

    snapshot = SqliteTarget.snapshot

    def copy(self):
        folder = self.folder.parent / "copy"
        folder.mkdir(exist_ok=True)
        found = folder / "out.duckdb"  # DuckDB calls a database as its file
        if self.path.exists():
            shutil.copy(self.path, found)
        return found

    def catalog_with(self, copy, statements):
        with duckdb.connect(str(copy)) as connection:
            for statement in statements:
                connection.execute(statement)
        return self.catalog(copy)

    def executed(self):
        return None


class PostgresTarget:
    COLUMNS = (
        "SELECT c.oid::regclass::text, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
        " pg_get_indexdef(CASE WHEN c.relkind = 'i' THEN c.oid END) FROM pg_class c JOIN pg_attribute a ON"
        " a.attrelid = c.oid WHERE c.relnamespace NOT IN ('pg_catalog'::regnamespace,"
        " 'information_schema'::regnamespace, 'pg_toast'::regnamespace) AND a.attnum > 0 ORDER BY 1, a.attnum"
    )

    def __init__(self, wherry, cluster, schema="public"):
        self.server, self.schema = cluster, schema
        self.database = cluster.create_database()
        cluster.execute(f"ALTER DATABASE {self.database} SET log_statement = 'ddl'", database="postgres")
        self.destination = {"type": "postgres", "url": cluster.url(self.database), "schema": schema}
        self.read = self.copies = 0

    def execute(self, *statements):
        self.server.execute(f"SET search_path = {self.schema}", *statements, database=self.database)

    def catalog(self, database=None):
        rows = self.server.query(self.COLUMNS, database or self.database)
        return {i: row for i, row in enumerate(rows)}

    def snapshot(self):
        return (
            self.catalog(),
            self.server.query(
                "SELECT pg_current_xact_id_if_assigned(), txid_snapshot_xmax(txid_current_snapshot())", self.database
            ),
        )

    def copy(self):
        self.copies += 1
        name = f"{self.database}_copy{self.copies}"
        self.server.execute(f"CREATE DATABASE {name} TEMPLATE {self.database}", database="postgres")
        return name

    def catalog_with(self, copy, statements):
        self.server.execute(*statements, database=copy) if statements else None
        return self.catalog(copy)

    def executed(self):
        """The DDL that the server has logged since the last call, without temporary tables and defaults of one batch."""
        log = self.server.log()
        new, self.read = log[self.read :], len(log)
        found = re.findall(r"^\d+ LOG:  (?:statement|execute <unnamed>): (.*)$", new, re.M)
        return [s for s in found if not re.search(r"\bTEMP|pg_temp|\bDATABASE\b|ALTER .* DEFAULT", s)]


TARGETS = ["sqlite", "postgres", "duckdb"]


@pytest.fixture
def make_target(wherry, request):
    def make(kind, **options):
        if kind == "postgres":
            return PostgresTarget(wherry, request.getfixturevalue("server"), **options)
        return {"sqlite": SqliteTarget, "duckdb": DuckdbTarget}[kind](wherry, **options)

    return make


@pytest.fixture(params=TARGETS)
def target(request, make_target):
    return make_target(request.param)


def orders(wherry, target, **changes):
    definition = {**wherry.orders(), "destination": target.destination, **changes}
    definition.pop("connector")
    return definition


def plan(wherry, name="orders", status=0):
    return wherry.ctl_json("plan", name, status=status)


def ledger(wherry):
    """All that state.db holds."""
    path = wherry.state_dir / "daemon" / "state.db"
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {table: sorted(map(repr, connection.execute(f"SELECT * FROM {table}"))) for table in tables}
    connection.close()
    return found


def planned_and_done(wherry, target, name="orders"):
    """Plans, twice, then syncs: the statements. What was printed is what was executed, and nothing before that."""
    copy, before, remembered = target.copy(), target.snapshot(), ledger(wherry)
    target.executed()
    made = plan(wherry, name)
    assert made == plan(wherry, name)
    assert target.snapshot() == before and ledger(wherry) == remembered
    assert not target.executed()
    assert wherry.sync(name)["outcome"] == "succeeded"
    executed = target.executed()
    assert executed is None or executed == made["statements"]
    assert target.catalog_with(copy, made["statements"]) == target.catalog()
    return made


# --- files ---


@pytest.mark.parametrize("mode", ["append", "truncate", "cdc"])
def test_files_the_statements_printed_are_those_then_executed(wherry, target, mode):
    changes = CDC if mode == "cdc" else {"write_mode": mode}
    content = CHANGES if mode == "cdc" else ORDERS
    wherry.pipeline("orders", orders(wherry, target, **changes))
    wherry.start()
    wherry.drop("a.csv", content)
    made = planned_and_done(wherry, target)
    (created,) = [s for s in made["statements"] if "CREATE TABLE" in s and "orders" in s]
    assert "_source_file_hash" in created and ";" not in created
    assert sum("_wherry_" in s for s in made["statements"]) >= 3
    assert (made["table"], made["write_mode"], made["error"]) == ("orders", mode, None)
    (file,) = made["files"]
    assert (file["name"], file["state"], file["action"], file["size"]) == ("a.csv", "NEW", "load", len(content))
    assert file["hash"] == hashlib.sha256(content.encode()).hexdigest()

    again = plan(wherry)
    assert again["statements"] == [] and again["notes"] == []
    assert [(f["state"], f["action"]) for f in again["files"]] == [("COMMITTED", "skip")]
    wherry.drop("b.csv", content.replace("first", "second"))
    more = planned_and_done(wherry, target)
    assert mode == "truncate" or more["statements"] == []
    assert [(f["name"], f["action"]) for f in more["files"]] == [("a.csv", "skip"), ("b.csv", "load")]


@pytest.mark.parametrize("kind", ["postgres", "duckdb"])
def test_a_schema_that_is_not_there_is_made_first(wherry, make_target, kind):
    target = make_target(kind, schema="raw")
    wherry.pipeline("orders", orders(wherry, target))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    made = planned_and_done(wherry, target)
    assert made["statements"][0].startswith("CREATE SCHEMA")
    wherry.drop("b.csv", ORDERS.replace("first", "second"))
    assert planned_and_done(wherry, target)["statements"] == []


def test_an_index_that_somebody_dropped_is_planned_again(wherry, make_target):
    target = make_target("sqlite")
    wherry.pipeline("orders", orders(wherry, target))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    target.execute("DROP INDEX orders_source_file_hash_idx")
    wherry.drop("b.csv", ORDERS.replace("first", "second"))
    (statement,) = planned_and_done(wherry, target)["statements"]
    assert statement.startswith('CREATE INDEX IF NOT EXISTS "orders_source_file_hash_idx"')


def test_without_a_file_to_load_nothing_would_be_done(wherry, target):
    wherry.pipeline("orders", orders(wherry, target))
    wherry.start()
    before = target.snapshot()
    assert [plan(wherry)[key] for key in ("statements", "files", "error")] == [[], [], None]
    shutil.rmtree(wherry.incoming)
    (note,) = plan(wherry)["notes"]
    assert note == f'the folder "{wherry.incoming}" does not exist: nothing to load'
    assert target.snapshot() == before


def test_what_would_become_of_each_file(wherry):
    wherry.pipeline("orders", wherry.orders(), retry_cap=1, source_manifest="required")
    wherry.start()
    wherry.drop("good.csv", ORDERS)
    wherry.drop("good.csv.manifest.json", manifest(record_count=2))
    wherry.drop("lonely.csv", ORDERS.replace("first", "lonely"))
    wherry.drop("bad.csv", ORDERS.replace("9.5", "x"))
    wherry.drop("bad.csv.manifest.json", "{}")
    (wherry.incoming / "loop.csv").symlink_to("loop.csv")
    os.mkfifo(wherry.incoming / "pipe.csv")
    made = plan(wherry, status=1)
    found = {f["name"]: (f["state"], f["action"], f["reason"]) for f in made["files"]}
    state, action, reason = found["lonely.csv"]
    assert (state, action) == ("NEW", "fail") and "source_manifest: required" in reason
    assert found["good.csv"] == ("NEW", "load", None)
    assert found["loop.csv"] == ("UNREADABLE", "fail", "a symbolic link that leads back to itself")
    assert found["pipe.csv"] == ("UNREADABLE", "skip", "a named pipe, not a file: not loaded")
    assert made["error"].startswith("3 files; the first: bad.csv: its manifest")
    told = wherry.ctl("plan", "orders", status=1)
    assert told.stderr == f"wherryctl: the sync would fail: {made['error']}\n"
    assert re.search(r"^good\.csv .* load *$", told.stdout, re.M), told.stdout
    (wherry.incoming / "bad.csv").unlink(), (wherry.incoming / "loop.csv").unlink()
    assert plan(wherry, status=1)["error"] == f"lonely.csv: {reason}"
    assert list(wherry.root.glob("out.db*")) == []


def test_files_with_a_past(wherry):
    wherry.pipeline("orders", wherry.orders(), retry_cap=2)
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.drop("bad.csv", ORDERS.replace("9.5", "x"))
    wherry.sync(status=1)
    remembered = ledger(wherry)
    found = {f["name"]: f for f in plan(wherry)["files"]}
    assert (found["bad.csv"]["state"], found["bad.csv"]["action"], found["bad.csv"]["attempts"]) == (
        "FAILED",
        "load",
        1,
    )
    assert re.match(r'last time: bad\.csv.*"x"', found["bad.csv"]["reason"]), found
    assert (found["a.csv"]["action"], found["a.csv"]["reason"]) == ("skip", "its content is loaded already")
    assert ledger(wherry) == remembered
    wherry.sync(status=1)
    wherry.drop("same.csv", ORDERS)
    wherry.drop("twice1.csv", ORDERS.replace("first", "twice"))
    wherry.drop("twice2.csv", ORDERS.replace("first", "twice"))
    found = {f["name"]: f for f in plan(wherry)["files"]}
    assert found["bad.csv"]["action"] == "skip" and "left out after 2 failed attempts" in found["bad.csv"]["reason"]
    assert found["same.csv"]["action"] == "skip" and 'same content as "a.csv"' in found["same.csv"]["reason"]
    assert found["twice1.csv"]["action"] == "load" and found["twice2.csv"]["action"] == "skip"
    text = wherry.ctl("plan", "orders").stdout
    assert text.startswith('orders: from files to sqlite, table "orders", write_mode append\n\n1 file to load, ')
    assert re.search(r"^twice1\.csv +\d+ B +NEW +0 +load *$", text, re.M), text
    assert "no change of tables" in text


def test_a_destination_that_was_replaced_is_asked_and_not_believed_to_be_the_same(wherry):
    wherry.pipeline("orders", wherry.orders())
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    remembered = ledger(wherry)
    for path in wherry.root.glob("out.db*"):
        path.unlink()
    made = plan(wherry)
    assert [(f["state"], f["action"]) for f in made["files"]] == [("COMMITTED", "load")]
    assert "does not have it any more" in made["files"][0]["reason"]
    assert any('CREATE TABLE "orders"' in s for s in made["statements"])
    assert list(wherry.root.glob("out.db*")) == [] and ledger(wherry) == remembered


def test_truncate_says_which_rows_stay(wherry, target):
    wherry.pipeline("orders", orders(wherry, target, write_mode="truncate"))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.drop("b.csv", ORDERS.replace("first", "second"))
    made = plan(wherry)
    assert made["notes"] == [
        '"write_mode: truncate": each file replaces all rows of the table; those of "b.csv" are what stays'
    ]
    assert wherry.sync()["outcome"] == "succeeded"
    assert plan(wherry)["notes"] == []


def test_a_quarantine_folder_is_not_made(wherry):
    wherry.pipeline(
        "orders",
        wherry.orders(),
        quarantine={"enabled": True, "dir": str(wherry.root / "aside"), "max_invalid_rows": 5},
    )
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    assert plan(wherry)["files"][0]["action"] == "load"
    assert not (wherry.root / "aside").exists()


# --- what a sync would fail with ---


def test_the_guard_says_what_the_sync_would_say(wherry, target):
    target.execute("CREATE TABLE orders (order_id text, note text, extra integer)")
    wherry.pipeline("orders", orders(wherry, target))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    before = target.snapshot()
    made = plan(wherry, status=1)
    assert "has other columns than the configuration" in made["error"] and made["statements"] == []
    (file,) = made["files"]
    assert (file["name"], file["action"], file["reason"]) == ("a.csv", "not_reached", "the sync would end before it")
    told = wherry.ctl("plan", "orders", status=1)
    assert re.search(r"^a\.csv .* not reached +the sync would end before it *$", told.stdout, re.M), told.stdout
    assert told.stdout.splitlines()[2].startswith("0 files to load; 0 loaded already")
    assert told.stderr == f"wherryctl: the sync would fail: {made['error']}\n"
    assert target.snapshot() == before
    run = wherry.sync(status=1)
    assert run["error"] == made["error"]


def test_a_table_of_another_connection(wherry, target):
    wherry.pipeline("first", orders(wherry, target))
    wherry.pipeline("second", orders(wherry, target))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync("first")
    made = plan(wherry, "second", status=1)
    assert 'belongs to connection "first"' in made["error"]
    assert wherry.sync("second", status=1)["error"] == made["error"]


def test_a_server_that_refuses(wherry, make_target):
    target = make_target("postgres")
    target.destination["url"] = re.sub("user=.*", "user=no_such_role", target.destination["url"])
    wherry.pipeline("orders", orders(wherry, target))
    wherry.start()
    made = plan(wherry, status=1)
    assert 'role "no_such_role" does not exist' in made["error"]
    assert wherry.sync(status=1)["error"] == made["error"]


def test_names_that_are_not_there(wherry):
    wherry.pipeline("orders", wherry.orders())
    wherry.pipeline("broken", "frequency: 1m\n")
    wherry.start()
    assert wherry.ctl("plan", "order", status=2).stderr == (
        'wherryctl: there is no connection "order"; did you mean "orders"?\n'
    )
    assert "broken.yaml" in wherry.ctl("plan", "broken", status=2).stderr
    assert "lends a folder" in wherry.ctl("plan", "orders", "--dir", "x", status=2).stderr
    wherry.stop()
    assert "no daemon listens" in wherry.ctl("plan", "orders", status=3).stderr


# --- the destination is only read ---


@pytest.mark.parametrize("left", ["both", "neither", "open"])
def test_a_database_in_wal_mode(wherry, make_target, left):
    target = make_target("sqlite")
    wherry.pipeline("orders", orders(wherry, target, destination={**target.destination, "journal_mode": "wal"}))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    other = sqlite3.connect(target.path)
    other.execute("CREATE TABLE theirs (a)")
    if left != "open":
        other.close()
    if left == "neither":
        for path in target.folder.glob("out.db-*"):
            path.unlink()
    wherry.drop("b.csv", ORDERS.replace("first", "second"))
    content = {name: found for name, found in target.snapshot().items() if not name.endswith("-shm")}
    names = set(target.snapshot())
    made = plan(wherry)
    assert (made["error"], made["statements"]) == (None, [])
    assert {f["name"]: f["action"] for f in made["files"]} == {"a.csv": "skip", "b.csv": "load"}
    after = target.snapshot()
    assert set(after) == names and {name: after[name] for name in content} == content
    other.close()
    assert wherry.sync()["outcome"] == "succeeded"


def test_nobody_waits_for_a_plan_and_it_waits_for_nobody(wherry, make_target):
    """A writer's lock on the database keeps a plan from nothing."""
    target = make_target("sqlite")
    wherry.pipeline("orders", orders(wherry, target))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    other = sqlite3.connect(target.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    assert plan(wherry)["error"] is None
    assert time.monotonic() - began < 30
    other.execute("ROLLBACK")
    other.close()


def test_a_duckdb_file_that_somebody_holds(wherry, make_target):
    target = make_target("duckdb")
    target.execute("CREATE TABLE theirs (a INTEGER)")
    wherry.pipeline("orders", orders(wherry, target))
    wherry.start()
    holder = subprocess.Popen(
        ["python3", "-c", "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print(flush=True); sys.stdin.read()"]
        + [str(target.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        executable=os.path.realpath("/proc/self/exe"),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, map(str, __import__("sys").path)))},
    )
    holder.stdout.readline()
    try:
        made = plan(wherry, status=1)
        assert f"pid {holder.pid}" in made["error"]
    finally:
        holder.communicate()


# --- programs ---

DECLARED = {"op": "schema", "tables": [{"table": "t", "primary_key": ["id"], "columns": {"id": "LONG", "n": "INT"}}]}
WIDER = {
    "op": "schema",
    "tables": [
        {"table": "t", "primary_key": ["id"], "columns": {"id": "LONG", "n": "STRING", "more": "BOOLEAN"}},
        {"table": "u", "primary_key": ["k"], "columns": {"k": "STRING", "at": "UTC_DATETIME"}},
    ],
}


def program(wherry, target, *items, **changes):
    emitter(wherry, lines(*items), destination=target.destination, **changes)


@pytest.mark.parametrize("history", [False, True])
def test_declared_tables_come_first_whatever_rows_bring(wherry, target, history):
    program(wherry, target, DECLARED, upsert(id=1, n=5, extra="x", big=2**40), history=history)
    wherry.start()
    copy, before = target.copy(), target.snapshot()
    target.executed()
    made = plan(wherry, "emit")
    assert target.snapshot() == before
    (created,) = [s for s in made["statements"] if "CREATE TABLE" in s and "_wherry_" not in s]
    assert "extra" not in created and ("_fivetran_start" in created) == history
    assert made["notes"] == [
        "what the source declares is planned; the rows that it then sends may bring further tables, columns and "
        "wider types"
    ]
    assert (made["files"], made["table"], made["write_mode"], made["source"]) == ([], None, None, "exec")
    assert wherry.sync("emit")["outcome"] == "succeeded"
    executed = target.executed()
    if executed is not None:
        count = len(made["statements"])
        assert executed[:count] == made["statements"] and "extra" in " ".join(executed[count:])
    # exactly the columns that rows brought are missing where only the plan was executed
    with_plan = json.dumps(list(target.catalog_with(copy, made["statements"]).values()))
    assert "extra" not in with_plan and "extra" in json.dumps(list(target.catalog().values()))
    assert plan(wherry, "emit")["statements"] == []


def test_columns_that_are_wider_by_declaration(wherry, target):
    program(wherry, target, DECLARED, upsert(id=1, n=5))
    wherry.start()
    wherry.sync("emit")
    program(wherry, target, WIDER)
    made = planned_and_done(wherry, target, "emit")
    text = "\n".join(made["statements"])
    assert '"more"' in text and '"u"' in text and "_wherry_state" not in text
    assert plan(wherry, "emit")["statements"] == []


def test_a_program_is_ended_at_its_first_row(wherry, target):
    marks = wherry.root / "programs"
    body = PYTHON + (
        f"say(**{DECLARED!r})\nsay(op='log', level='warning', message='working')\n"
        "say(op='upsert', table='t', data={'id': 1})\n"
        "import time\ntime.sleep(300)\n"
    )
    emitter(wherry, body, destination=target.destination)
    wherry.start()
    began = time.monotonic()
    made = plan(wherry, "emit")
    assert time.monotonic() - began < 60 and made["error"] is None
    assert any("CREATE TABLE" in s and '"t"' in s for s in made["statements"])
    assert "working" in made["notes"]
    assert marks.exists() and wherry.ctl_json("runs", "emit")["runs"] == []


def test_a_checkpoint_too_ends_it_and_its_failure_is_told(wherry, make_target):
    target = make_target("sqlite")
    program(wherry, target, DECLARED, {"op": "checkpoint", "state": {"at": 1}}, "{broken")
    wherry.start()
    assert plan(wherry, "emit")["error"] is None
    assert wherry.ctl("state", "emit", "get").stdout == "{}\n"
    emitter(wherry, "#!/bin/sh\necho no luck >&2\nexit 3\n", destination=target.destination)
    made = plan(wherry, "emit", status=1)
    assert made["error"].endswith("ended with status 3: no luck")
    assert not target.path.exists()
    program(wherry, target, {"op": "checkpoint", "state": {"at": 1}})
    assert "\nnothing declared changes tables\n" in wherry.ctl("plan", "emit").stdout


def test_a_schema_that_may_not_change(wherry, target):
    program(wherry, target, DECLARED, upsert(id=1, n=5))
    wherry.start()
    wherry.sync("emit")
    program(wherry, target, WIDER, on_schema_change="block_all")
    made = plan(wherry, "emit", status=1)
    assert "`on_schema_change: block_all`" in made["error"]
    assert wherry.sync("emit", status=1)["error"] == made["error"]


# --- keys whose types only rows tell ---


def schema(key, columns=None):
    return {"op": "schema", "tables": [{"table": "t", "primary_key": key, "columns": columns or {}}]}


def test_a_key_that_changes_is_refused_before_its_type_is_known(wherry, target):
    program(wherry, target, schema(["id"]), upsert(id=1, n=5))
    wherry.start()
    wherry.sync("emit")
    for key in (["id", "part"], ["part"], ["n"]):
        # another table's row comes first: this one's has yet to tell anything
        program(wherry, target, schema(key), upsert(table="u", a=1), upsert(id=1, n=5, part="x"))
        before = target.snapshot()
        made = plan(wherry, "emit", status=1)
        assert target.snapshot() == before and made["statements"] == []
        assert f'"t" has the primary key (id) in the destination and ({", ".join(key)}) in the source' in made["error"]
        assert wherry.sync("emit", status=1)["error"] == made["error"]


def test_a_key_without_a_type_leaves_the_rest_of_the_plan_as_it_is(wherry, target):
    program(wherry, target, schema(["id", "part"], {"part": "INT"}), upsert(table="u", a=1), upsert(id=1, part=2))
    wherry.start()
    made = plan(wherry, "emit")
    assert made["statements"] == [] and made["error"] is None
    assert made["notes"][0] == 'table "t" is made when its first row tells the types of its key (id)'
    wherry.sync("emit")
    assert plan(wherry, "emit")["notes"][1:] == [] and plan(wherry, "emit")["statements"] == []
    program(wherry, target, schema(["id", "part"], {"part": "LONG", "more": "NAIVE_DATE"}), upsert(id=1, part=2))
    made = planned_and_done(wherry, target, "emit")
    assert '"more"' in "".join(made["statements"]) and made["notes"][1:] == []
    program(
        wherry, target, schema(["id", "part"], {"less": "NAIVE_DATE"}), upsert(table="u", a=1), upsert(id=1, part=2)
    )
    made = planned_and_done(wherry, target, "emit")
    assert '"less"' in "".join(made["statements"])
    assert made["notes"][0] == 'table "t" is changed when its first row tells the types of its key (id, part)'


def test_the_row_that_ends_a_plan_tells_the_types_of_its_table(wherry, target):
    program(wherry, target, schema(["id"]), upsert(id=1, n=5), upsert(id=2, late="x"))
    wherry.start()
    made = plan(wherry, "emit")
    (created,) = [s for s in made["statements"] if "CREATE TABLE" in s and "_wherry_" not in s]
    assert '"id"' in created and '"n"' in created and '"late"' not in created
    assert len(made["notes"]) == 1


# --- connectors ---

UNTYPED = """
from fivetran_connector_sdk import Connector, Operations as op
def update(configuration, state):
    op.upsert("first", {"id": 1})
    op.upsert("t", {"id": 1, "part": "x", "n": 5})
    op.checkpoint({"at": 1})
def schema(configuration):
    return [
        {"table": "first", "primary_key": ["id"]},
        {"table": "t", "primary_key": %r, "columns": {"n": "INT"}},
        {"table": "typed", "primary_key": ["k"], "columns": {"k": "STRING", "at": "UTC_DATETIME"}},
    ]
connector = Connector(update=update, schema=schema)
"""


def test_what_a_connector_declares_is_planned(plain_wherry, request):
    wherry = plain_wherry
    target = SqliteTarget(wherry)
    connector(wherry, UNTYPED % ["id"], whole=True, destination=target.destination)
    wherry.start()
    made = plan(wherry, "weather")
    created = [s for s in made["statements"] if "CREATE TABLE" in s and "_wherry_" not in s]
    assert len(created) == 2 and '"first"' in created[0] and '"typed"' in created[1]
    assert made["notes"][0] == 'table "t" is made when its first row tells the types of its key (id)'
    assert (made["error"], made["source"], list(target.folder.iterdir())) == (None, "fivetran", [])
    assert wherry.ctl("state", "weather", "get").stdout == "{}\n"
    wherry.sync("weather")
    assert plan(wherry, "weather")["statements"] == []

    connector(wherry, UNTYPED % ["id", "part"], whole=True, destination=target.destination)
    before = target.snapshot()
    made = plan(wherry, "weather", status=1)
    assert 'table "t" has the primary key (id) in the destination and (id, part) in the source' in made["error"]
    assert target.snapshot() == before
    assert wherry.sync("weather", status=1)["error"] == made["error"]


def test_a_connector_is_ended_at_its_first_row_too(plain_wherry):
    wherry = plain_wherry
    connector(
        wherry,
        """
        try:
            op.upsert("t", {"id": 1, "more": 2})
        except Exception:
            pass  # whatever it makes of that
        time.sleep(300)
        """,
    )
    wherry.start()
    began = time.monotonic()
    made = plan(wherry, "weather")
    assert time.monotonic() - began < 60 and made["error"] is None
    (created,) = [s for s in made["statements"] if "CREATE TABLE" in s and "_wherry_" not in s]
    assert '"id"' in created and '"more"' not in created
    assert not wherry.database.exists()


# --- the daemon ---


def test_a_plan_is_no_run_and_none_is_made_while_syncing(wherry, make_target):
    target = make_target("sqlite")
    gate = wherry.root / "programs" / "gate"
    body = PYTHON + (
        f"say(**{DECLARED!r})\nimport time\nsay(op='upsert', table='t', data={{'id': 1}})\n"
        f"while not os.path.exists({str(gate)!r}):\n    time.sleep(0.05)\n"
    )
    emitter(wherry, body, destination=target.destination)
    wherry.start()
    status = wherry.status("emit")
    plan(wherry, "emit")
    assert wherry.status("emit") == status and wherry.ctl_json("runs")["runs"] == []
    wherry.ctl("sync", "emit")
    wait_for(lambda: wherry.status("emit")["state"] == "syncing", "the sync")
    for command in (["plan", "emit"], ["state", "emit", "get"]):
        assert re.match(r'wherryctl: "emit" is syncing \(run [0-9a-f-]{36}\)', wherry.ctl(*command, status=1).stderr)
    gate.touch()
    wait_for(lambda: wherry.status("emit")["state"] != "syncing", "its end")


# --- a file of one's own ---


def test_a_pipeline_file_that_was_never_run(wherry, tmp_path):
    target = SqliteTarget(wherry)
    file, home = tmp_path / "mine.yaml", tmp_path / "home"
    definition = orders(wherry, target)
    definition.pop("source")
    file.write_text(json.dumps(definition))
    wherry.drop("a.csv", ORDERS)

    def ctl(*arguments, status=0):
        done = subprocess.run(
            [wherry.build.wherryctl, *map(str, arguments)],
            capture_output=True,
            encoding="utf-8",
            env={
                "PATH": "/usr/bin:/bin",
                "HOME": str(home),
                "XDG_RUNTIME_DIR": str(tmp_path / "none"),
                "TMPDIR": str(tmp_path),
            },
        )
        assert done.returncode == status, done
        return done

    done = ctl("plan", file, "--dir", wherry.incoming)
    assert 'CREATE TABLE "orders" (' in done.stdout and done.stdout.count(";\n") >= 4 and done.stderr == ""
    assert not home.exists() and sorted(p.name for p in tmp_path.iterdir()) == ["mine.yaml"]
    assert list(target.folder.iterdir()) == []
    ctl("run", file, "--dir", wherry.incoming)
    done = ctl("plan", file, "--dir", wherry.incoming)
    assert "0 files to load; 1 loaded already" in done.stdout and "no change of tables" in done.stdout
    assert ctl("plan", tmp_path / "no.yaml", status=2).stderr == (
        f'wherryctl: "{tmp_path}/no.yaml" cannot be read: no such file or directory\n'
    )


def test_a_secret_is_masked_in_a_plan(wherry, make_target):
    """What a program prints goes the same way as in a sync."""
    target = make_target("sqlite")
    secret = "swordfish-1234"
    (wherry.root / "secret").write_text(secret)
    definition = {
        "frequency": "manual",
        "source": {"type": "exec", "command": ["sh", "-c", f'echo \'{{"op":"warning","message":"key {secret}"}}\'']},
        "destination": target.destination,
    }
    text = json.dumps(definition).replace(
        '"command"', '"configuration": {"key": !file ' + json.dumps(str(wherry.root / "secret")) + '}, "command"'
    )
    wherry.pipeline("emit", text)
    wherry.start()
    made = plan(wherry, "emit")
    assert secret not in json.dumps(made) and any(n.startswith("key ") for n in made["notes"])
