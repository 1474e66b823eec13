"""`log_table: true`: what is said in a sync, as rows of connector_sdk_log beside the tables that are synced."""

import datetime
import os
import re
import signal
import sqlite3
import time
from pathlib import Path

import duckdb
import frames
import harness
import postgres
import pytest
import writers
from fivetran import connector
from frames import KEY
from harness import children, command_line, wait_for
from postgres import server  # noqa: F401
from test_exec import KEYED, PYTHON, emitter, lines, upsert
from test_plan import CDC, CHANGES, ORDERS, TARGETS, make_target, orders, planned_and_done, target  # noqa: F401

DAY = 24 * 3600
COLUMNS = "id, CAST(event_time AS VARCHAR(60)), connection_id, sync_id, CAST(_fivetran_synced AS VARCHAR(60))"


@pytest.fixture
def running(wherry):
    wherry.start()
    return wherry


@pytest.fixture
def python(plain_wherry):
    """Without sanitizers, which an interpreter inside of the sandbox cannot start with."""
    plain_wherry.start()
    return plain_wherry


def emits(wherry, target, *items, name="emit", **changes):  # noqa: F811
    """A connection whose program prints ITEMS, or is the one text."""
    program = items[0] if isinstance(items[0], str) else lines(*items)
    emitter(wherry, program, name=name, destination=target.destination, log_table=True, **changes)


def select(target, sql):  # noqa: F811
    """Rows of texts, whatever the destination."""
    if hasattr(target, "server"):
        return target.server.query(f"SET search_path = {target.schema}; {sql}", target.database)
    if target.path.suffix == ".duckdb":
        with duckdb.connect(str(target.path), read_only=True) as connection:
            found = connection.execute(f"USE {target.schema}").execute(sql).fetchall()
    else:
        connection = sqlite3.connect(target.path)
        found = connection.execute(sql).fetchall()
        connection.close()
    return [tuple(None if value is None else str(value) for value in row) for row in found]


def said(target, where="true"):  # noqa: F811
    """(level, origin, message), in order."""
    return select(target, f"SELECT level, message_origin, message FROM connector_sdk_log WHERE {where} ORDER BY id")


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


LOG = {"op": "log", "message": "hello"}
ROW = upsert(id=1, note="a")


# --- what lands ---


def test_the_lines_of_a_good_sync(running, target):  # noqa: F811
    emits(
        running,
        target,
        KEYED,
        {"op": "log", "level": "debug", "message": "not shown"},
        {"op": "log", "message": 'an "info"; naïve'},
        {"op": "log", "level": "warning", "message": "a warning"},
        {"op": "log", "level": "error", "message": "an error"},
        ROW,
        "printed\tonly",
    )
    before = time.time()
    run = running.sync("emit")
    after = time.time()
    assert run["outcome"] == "succeeded" and run["warnings"] == ["a warning", "an error"]
    assert said(target) == [
        ("INFO", "connector_sdk", 'an "info"; naïve'),
        ("WARNING", "connector_sdk", "a warning"),
        ("ERROR", "connector_sdk", "an error"),
        ("INFO", "connector_sdk", "printed\\x09only"),
    ]
    rows = select(target, f"SELECT {COLUMNS} FROM connector_sdk_log ORDER BY id")
    assert [(r[0], r[2], r[3]) for r in rows] == [(f"{run['run_id']}-{i:08}", "emit", run["run_id"]) for i in range(4)]
    for row in rows:
        assert all(before - 1 <= moment(value) <= after + 1 for value in (row[1], row[4]))
    assert sorted(moment(row[1]) for row in rows) == [moment(row[1]) for row in rows]
    assert select(target, "SELECT id FROM t") == [("1",)]
    assert "not shown" not in running.daemon.log()


def test_the_lines_of_a_failing_sync(running, target):  # noqa: F811
    """The first one, too: its rows are rolled back, and nothing of ours is there yet."""
    failing = PYTHON + "say(op='upsert', table='t', data={'id': 1})\nraise LookupError('no such city')\n"
    emits(running, target, failing)
    run = running.sync("emit", status=1)
    assert "no such city" in run["error"] and run["warnings"] == []
    found = said(target)
    assert found[0] == ("INFO", "output", "Traceback (most recent call last):")
    assert found[-2] == ("INFO", "output", "LookupError: no such city")
    assert found[-1] == ("SEVERE", "library", run["error"])
    # The next one goes on as if nothing had been written, and its failure is the writer's.
    emits(running, target, KEYED, ROW, {"op": "checkpoint", "state": {"at": 1}}, LOG, upsert(id=None))
    run = running.sync("emit", status=1)
    assert '"id"' in run["error"]
    again = said(target, f"sync_id = '{run['run_id']}'")
    assert again == [("INFO", "connector_sdk", "hello"), ("SEVERE", "library", run["error"])]
    assert said(target) == [*found, *again]
    assert select(target, "SELECT id FROM t") == [("1",)]


def test_what_a_python_connector_says(python):
    """Each level, a message of lines, prints, other loggers, a traceback; and no secret, whoever says it."""
    secret = python.root / "key"
    secret.write_text("secret-value-1")
    connector(
        python,
        """
        import logging
        log.fine("not kept")
        log.info("the key is secret-value-1")
        log.warning("slow")
        log.error("failed", exception=ValueError("why"))
        log.severe("worse")
        log.critical("worst")
        print("printed secret-value-1")
        logging.getLogger("library").warning("from a library")
        op.upsert("t", {"id": 1})
        raise LookupError("no city for secret-value-1")
        """,
        source={"configuration": {"key": "the secret"}},
        log_table=True,
    )
    definition = (python.pipelines_dir / "weather.yaml").read_text()
    python.pipeline("weather", definition.replace('"the secret"', f'!file "{secret}"'))
    python.sync("weather", status=1)
    found = python.query("SELECT level, message_origin, message FROM connector_sdk_log ORDER BY id")
    # What is logged and what is printed come by two ways: neither waits for the other.
    logged = [(level, message) for level, origin, message in found if origin == "connector_sdk"]
    assert [level for level, _ in logged] == ["INFO", "WARNING", "ERROR", "ERROR", "SEVERE", "CRITICAL"]
    assert logged[2:4] == [("ERROR", "failed"), ("ERROR", "ValueError: why")]
    levels = {message: level for level, _, message in found}
    assert levels["from a library"] == "INFO"
    assert ("INFO", "output", "Traceback (most recent call last):") in found
    assert found[-1][:2] == ("SEVERE", "library") and "LookupError: no city for" in found[-1][2]
    text = repr(found)
    assert "secret-value-1" not in text and "not kept" not in text and "the key is " in text
    assert not python.query("SELECT 1 FROM sqlite_master WHERE name = 't'")


def test_the_log_level_is_the_tables(running, make_target):  # noqa: F811
    target = make_target("sqlite")  # noqa: F811
    debug = {"op": "log", "level": "debug", "message": "a detail"}
    emits(running, target, debug, LOG, log_level="debug")
    running.sync("emit")
    assert ("DEBUG", "connector_sdk", "a detail") in said(target)
    emits(running, target, LOG, {"op": "log", "level": "error", "message": "bad"}, log_level="error")
    run = running.sync("emit")
    assert said(target, f"sync_id = '{run['run_id']}'") == [("ERROR", "connector_sdk", "bad")]


@pytest.mark.parametrize("mode", ["append", "truncate", "cdc"])
def test_files_have_lines_too(wherry, target, mode):  # noqa: F811
    changes = {**(CDC if mode == "cdc" else {"write_mode": mode}), "log_table": True}
    wherry.pipeline("orders", orders(wherry, target, **changes))
    wherry.start()
    content = CHANGES if mode == "cdc" else ORDERS
    wherry.drop("a.csv", content)
    wherry.drop("b.csv", content.replace("9.5", "many"))
    run = wherry.sync(status=1)
    (failure,) = [file["error"] for file in wherry.files() if file["error"]]
    assert said(target) == [("ERROR", "library", failure), ("SEVERE", "library", run["error"])]
    assert int(select(target, "SELECT count(*) FROM orders")[0][0]) == content.count("\n") - 1
    assert select(target, "SELECT DISTINCT connection_id FROM connector_sdk_log") == [("orders",)]


def test_a_cancelled_sync(running, target):  # noqa: F811
    waits = PYTHON + "import time\nsay(op='log', message='waiting')\ntime.sleep(600)\n"
    emits(running, target, waits)
    running.ctl("sync", "emit")
    wait_for(lambda: "waiting" in running.daemon.log(), "the line")
    running.ctl("cancel", "emit")
    wait_for(lambda: running.status("emit")["outcome"] == "cancelled", "the cancel")
    assert said(target) == [("INFO", "connector_sdk", "waiting"), ("SEVERE", "library", "cancelled")]


def test_a_sync_without_a_line_writes_nothing(running, make_target):  # noqa: F811
    target = make_target("sqlite")  # noqa: F811
    emits(running, target, KEYED, ROW)
    running.sync("emit")
    assert "connector_sdk_log" not in target.catalog()


def test_what_a_killed_writer_knew_is_in_the_log_alone(running, make_target):  # noqa: F811
    target = make_target("sqlite")  # noqa: F811
    waits = PYTHON + "import time\nsay(op='log', message='before')\ntime.sleep(600)\n"
    emits(running, target, waits)
    running.ctl("sync", "emit")
    wait_for(lambda: "before" in running.daemon.log(), "the line")
    (writer,) = [p for p in children(running.daemon.process.pid) if "destination-sqlite" in command_line(p)]
    os.kill(writer, signal.SIGKILL)
    wait_for(lambda: running.status("emit")["outcome"] == "failed", "the failure")
    emits(running, target, {"op": "log", "message": "after"})
    running.sync("emit")
    assert said(target) == [("INFO", "connector_sdk", "after")]


# --- how long, how much ---


def test_seven_days_are_kept(running, target):  # noqa: F811
    emits(running, target, LOG)
    running.sync("emit")
    now = time.time()

    def line(days, connection="other", number=0):
        moment = datetime.datetime.fromtimestamp(now - days * DAY, datetime.timezone.utc)
        id_ = f"{int((now - days * DAY) * 1000) >> 16:08x}-{int((now - days * DAY) * 1000) & 0xFFFF:04x}-7000-{number}"
        stamp = moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return f"('{id_}', '{stamp}', '{connection}', 'r', 'INFO', '{days} days', 'library', '{stamp}')"

    target.execute(
        "INSERT INTO connector_sdk_log (id, event_time, connection_id, sync_id, level, message, message_origin,"
        f" _fivetran_synced) VALUES {line(400)}, {line(8)}, {line(8, 'emit', 1)}, {line(7.01)}, {line(6.99)}, {line(1)}"
    )
    # A sync that took eight days: its id is old, its last line is not.
    target.execute(
        "INSERT INTO connector_sdk_log (id, event_time, message)"
        " SELECT '00000000-old', event_time, 'late' FROM connector_sdk_log WHERE message = '1 days'"
    )
    running.sync("emit")
    assert [message for _, _, message in said(target)] == ["late", "6.99 days", "1 days", "hello", "hello"]


def test_a_flood_leaves_the_writer_small_and_the_table_bounded(plain_build, tmp_path, capsys):
    """A million lines, as fast as the writer takes them: the first and the last are kept, and what lies between is
    counted."""
    destination = writers.Destination(plain_build.destination("sqlite"), tmp_path)
    writer = destination.start(files=False, log_table=True)
    try:
        writer.opened()
        count, batch = 1_000_000, 10_000
        many = b"".join(line(f"line {i}", i) for i in range(batch))
        for _ in range(0, count, batch):
            writer.say(many)
        writer.put(frames.hello() + frames.encode("END"))
        writer.expect("DONE")
        writer.say(line("the last", count) + frames.encode("LINES_END"))
        peak = int(re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{writer.process.pid}/status").read_text()).group(1))
        assert writer.finish() == 0
    finally:
        writer.kill()
    with harness.aloud(capsys):
        print(f"\na million log lines: peak of the writer {peak / 1024:.1f} MB")
    assert peak <= 16 << 10
    found = destination.query("SELECT id, message FROM connector_sdk_log ORDER BY id")
    assert 10_000 < len(found) < 100_000
    assert found[0] == ("run-1-00000000", "line 0") and found[-1] == (f"run-1-{count:08}", "the last")
    (gap,) = [i for i, (_, message) in enumerate(found) if "are left out here" in message]
    assert found[gap][0] == f"run-1-{gap:08}" and found[gap - 1][1] == f"line {(gap - 1) % batch}"
    left_out = int(found[gap][1].split()[0])
    assert found[gap + 1] == (f"run-1-{gap + left_out:08}", f"line {(gap + left_out) % batch}")
    assert len(found) - gap - 1 + gap + left_out == count + 1
    assert destination.query("SELECT level, message_origin FROM connector_sdk_log WHERE message LIKE '%left out%'") == [
        ("WARNING", "library")
    ]


def line(message, number=0):
    return frames.encode(
        "LINE", time_us=1_700_000_000_000_000 + number, level="INFO", origin="connector_sdk", message=message
    )


def test_a_connector_that_floods_is_limited_as_in_the_log(running, make_target):  # noqa: F811
    target = make_target("sqlite")  # noqa: F811
    emits(
        running, target, PYTHON + "for i in range(50000):\n    print('x' * 50, i)\nsay(op='log', message='the end')\n"
    )
    running.sync("emit")
    found = said(target)
    assert 2000 <= len(found) < 10000
    assert any(level == "WARNING" and "lines of the worker suppressed" in message for level, _, message in found)


def test_lines_do_not_pile_up_before_a_writer_that_is_busy(running, make_target):  # noqa: F811
    """What it does not take waits in the daemon's memory, up to a bound."""
    target = make_target("sqlite")  # noqa: F811
    go = running.root / "programs" / "go"
    program = f"""
import pathlib, time
say(op="log", message="ready")
while not pathlib.Path({str(go)!r}).exists():
    time.sleep(0.01)
for i in range(1500):
    say(op="log", message=f"{{i}} " + "x" * 8000)
say(op="log", message="written")
time.sleep(0.5)
"""
    emits(running, target, PYTHON + program)
    running.ctl("sync", "emit")
    wait_for(lambda: " ready\n" in running.daemon.log(), "the line")
    (writer,) = [p for p in children(running.daemon.process.pid) if "destination-sqlite" in command_line(p)]
    os.kill(writer, signal.SIGSTOP)
    go.touch()
    wait_for(lambda: " written\n" in running.daemon.log(), "the lines")
    os.kill(writer, signal.SIGCONT)
    wait_for(lambda: running.status("emit")["outcome"], "the end")
    assert running.status("emit")["outcome"] == "succeeded"
    found = said(target)
    (left_out,) = [message for level, origin, message in found if "the writer was busy" in message]
    assert 1000 < int(left_out.split()[0]) and len(found) + int(left_out.split()[0]) - 1 == 1502


# --- whose table it is ---


def test_two_connections_share_it(running, target):  # noqa: F811
    """With and without history, at once, from the first moment on."""
    names = [f"c{i}" for i in range(3)]
    for i, name in enumerate(names):
        program = [{**KEYED, "tables": [{**KEYED["tables"][0], "table": name}]}, upsert(name, id=1), LOG]
        emits(running, target, *program, name=name, history=i % 2 == 1)
    for name in names:
        running.ctl("sync", name)
    wait_for(lambda: all(running.status(name)["outcome"] for name in names), "the syncs")
    assert [running.status(name)["outcome"] for name in names] == ["succeeded"] * 3
    for name in names:
        assert running.sync(name)["warnings"] == []
    found = select(target, "SELECT connection_id, count(*) FROM connector_sdk_log GROUP BY 1 ORDER BY 1")
    assert found == [(name, "2") for name in names]
    assert select(target, "SELECT connection FROM _wherry_tables WHERE table_name = 'connector_sdk_log'") == [("*",)]


def test_a_connection_has_no_table_of_that_name_beside_it(running, target):  # noqa: F811
    emits(running, target, upsert("Connector_SDK_Log", id=1), naming="source")
    run = running.sync("emit", status=1)
    assert run["error"] == (
        'table "Connector_SDK_Log" has the name of the table of log lines: leave out `log_table: true`, or give the '
        "table another name"
    )
    assert said(target) == [("SEVERE", "library", run["error"])]
    # Nor has one that asks for no lines.
    emitter(running, lines(upsert("connector_sdk_log", id=1)), name="late", destination=target.destination)
    run = running.sync("late", status=1)
    assert re.search(
        r'table "connector_sdk_log" in .+ holds log lines \(`log_table: true`\): connection "late" must not write to '
        r"it; choose another table, or delete its row in _wherry_tables$",
        run["error"],
    )
    assert len(said(target)) == 1


def test_a_table_that_another_connection_has_stays_its_own(running, target):  # noqa: F811
    emitter(running, lines(upsert("connector_sdk_log", message="mine")), name="first", destination=target.destination)
    running.sync("first")
    emits(running, target, KEYED, ROW, LOG)
    run = running.sync("emit")
    (warning,) = run["warnings"]
    assert re.search(
        r'^the log lines of this sync are not in table "connector_sdk_log": table "connector_sdk_log" in .+ belongs to '
        r'connection "first", and log lines must not be written to it; give that one another name$',
        warning,
    )
    assert select(target, "SELECT id FROM t") == [("1",)]
    assert select(target, "SELECT message FROM connector_sdk_log") == [("mine",)]


SHAPES = {
    "(a INTEGER)": 'lacks the column "id"',
    "(id INTEGER PRIMARY KEY, level VARCHAR)": 'has another type of column "id"',
}


@pytest.mark.parametrize("kind, shape", [(kind, min(SHAPES)) for kind in TARGETS] + [("sqlite", max(SHAPES))])
def test_a_table_of_another_shape_is_left_alone(running, make_target, kind, shape):  # noqa: F811
    target = make_target(kind)  # noqa: F811
    columns = shape.replace("VARCHAR", "TEXT") if kind == "sqlite" else shape
    target.execute(f"CREATE TABLE connector_sdk_log {columns}")
    emits(running, target, KEYED, ROW, LOG)
    (warning,) = running.sync("emit")["warnings"]
    assert warning == (
        'the log lines of this sync are not in table "connector_sdk_log": table "connector_sdk_log" is not one of log '
        f"lines: it {SHAPES[shape]}; give it another name, or drop it"
    )
    assert select(target, "SELECT id FROM t") == [("1",)]
    assert select(target, "SELECT * FROM connector_sdk_log") == []
    assert running.ctl_json("plan", "emit")["notes"][-1].startswith("what the source declares")
    assert any(n.startswith("log lines would not be written") for n in running.ctl_json("plan", "emit")["notes"])


def test_columns_of_somebody_elses_stay(running, make_target):  # noqa: F811
    """And the table's own may be in any order."""
    target = make_target("postgres")  # noqa: F811
    target.execute(
        "CREATE TABLE connector_sdk_log (seen boolean, message text, level text, id text PRIMARY KEY, sync_id text,"
        " _fivetran_synced timestamptz, event_time timestamptz, connection_id text, message_origin text)"
    )
    emits(running, target, LOG)
    assert running.sync("emit")["warnings"] == []
    assert said(target, "seen IS NULL") == [("INFO", "connector_sdk", "hello")]


# --- what it would do, and what it cannot ---


def test_a_plan_has_its_statement(running, target):  # noqa: F811
    emits(running, target, KEYED, upsert(id=1), LOG)
    made = planned_and_done(running, target, "emit")
    (created,) = [s for s in made["statements"] if "connector_sdk_log" in s]
    assert created.startswith("CREATE TABLE") and created == made["statements"][-1]
    assert len(made["statements"]) == len(set(made["statements"]))
    assert running.ctl_json("plan", "emit")["statements"] == []


def test_a_plan_of_files_has_its_statement(wherry, target):  # noqa: F811
    wherry.pipeline("orders", orders(wherry, target, log_table=True))
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    made = wherry.ctl_json("plan", "orders")
    assert "connector_sdk_log" in made["statements"][-1]
    assert len(made["statements"]) == len(set(made["statements"]))


def test_a_destination_that_takes_no_lines_only_warns(running, make_target):  # noqa: F811
    target = make_target("postgres")  # noqa: F811
    emits(running, target, KEYED, ROW, LOG)
    running.sync("emit")
    target.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'no room'"
        " USING ERRCODE = 'disk_full'; END$$",
        "CREATE TRIGGER t BEFORE INSERT ON connector_sdk_log EXECUTE FUNCTION full_disk()",
    )
    run = running.sync("emit")
    (warning,) = run["warnings"]
    assert run["outcome"] == "succeeded" and "are not in table" in warning and "no room" in warning
    assert len(said(target)) == 1
    target.execute("DROP TRIGGER t ON connector_sdk_log")
    assert running.sync("emit")["warnings"] == []
    # Read-only, so that the sync itself fails.
    target.execute(f"ALTER DATABASE {target.database} SET default_transaction_read_only = on")
    run = running.sync("emit", status=1)
    assert "read-only" in run["error"] and "are not in table" in run["warnings"][-1]


def test_a_lock_is_not_waited_for_at_length(destination):
    """Not so long as a sync waits for one (busy_timeout), and the writer is never the one that is killed for it."""
    writer = destination.start(files=False, log_table=True)
    writer.opened()
    writer.put(frames.hello() + frames.table("t", [("id", "integer", KEY)]) + frames.rows([(1,)], operation="upsert"))
    writer.put(frames.encode("END"))
    writer.expect("COMMITTED"), writer.expect("DONE")
    other = sqlite3.connect(destination.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer.say(line("hello") + frames.encode("LINES_END"))
    assert writer.finish() == 0
    other.close()
    assert [f["message"] for f in writer.frames("LOG") if f["priority"] == 4] == [
        'the log lines of this sync are not in table "connector_sdk_log": it took longer than 7 s'
    ]
    assert destination.query("SELECT id FROM t") == [(1,)]


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_writer_that_came_too_late_says_so(build, tmp_path, request, kind):
    """Its rows are not to be committed any more; its lines are compared with nothing."""
    if kind == "sqlite":
        destination = writers.Destination(build.destination("sqlite"), tmp_path)
    else:
        destination = postgres.Destination(build.destination("postgres"), request.getfixturevalue("server"))
    late = destination.start(files=False, log_table=True)
    table = frames.hello() + frames.table("t", [("id", "integer", KEY)])
    late.opened()
    other = destination.start(files=False, log_table=True)
    other.put(table + frames.rows([(1,)], operation="upsert") + frames.encode("END"))
    other.opened(), other.expect("COMMITTED"), other.expect("DONE")
    other.say(frames.encode("LINES_END"))
    assert other.finish() == 0
    late.put(table + frames.rows([(2,)], operation="upsert") + frames.encode("END"))
    wait_for(lambda: late.next().type == "ERROR", "the error")
    assert "was written by another run" in late.error()[1]
    late.say(line("too late") + frames.encode("LINES_END"))
    assert late.finish() == 1
    assert destination.query("SELECT message FROM connector_sdk_log") == [("too late",)]
    assert [int(id_) for (id_,) in destination.query("SELECT id FROM t")] == [1]
    assert [int(n) for (n,) in destination.query("SELECT sequence FROM _wherry_state")] == [1]


def test_lines_that_were_not_asked_for_are_refused(destination):
    writer = destination.start(files=False)
    writer.opened()
    writer.say(line("hello"))
    assert writer.finish() == 1
    assert writer.error() == ("internal", "the daemon sent frame LINE to a writer")
