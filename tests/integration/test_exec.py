"""Connections whose source is a program: what it may print, how it ends, and what it cannot reach."""

import json
import os
import random
import re
import signal
import textwrap
import time
from pathlib import Path

import pytest
from harness import ROOT, children, command_line, descendants, wait_for

PYTHON = "#!/usr/bin/env python3\nimport json, os, sys\ndef say(**line):\n    print(json.dumps(line), flush=True)\n"
SHELL = "#!/bin/sh\n"


def emitter(wherry, program, name="emit", folder=None, **changes):
    """A connection NAME that runs PROGRAM, which lies in a folder of its own."""
    folder = folder or wherry.root / "programs"
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.prog"
    path.write_text(textwrap.dedent(program))
    path.chmod(0o755)
    source = {"type": "exec", "command": [str(path)], **changes.pop("source", {})}
    definition = {
        "frequency": "manual",
        "source": source,
        "destination": {"type": "sqlite", "path": str(wherry.database)},
        "commit_interval": "0",
        **changes,
    }
    wherry.pipeline(name, definition)
    return path


def lines(*items):
    return (
        SHELL + "cat <<'END'\n" + "".join((i if isinstance(i, str) else json.dumps(i)) + "\n" for i in items) + "END\n"
    )


def upsert(table="t", **data):
    return {"op": "upsert", "table": table, "data": data}


KEYED = {"op": "schema", "tables": [{"table": "t", "primary_key": ["id"], "columns": {"id": "LONG"}}]}


def rows(wherry, sql="SELECT id, note FROM t WHERE NOT _fivetran_deleted ORDER BY id"):
    return wherry.query(sql)


@pytest.fixture
def running(wherry):
    wherry.start()
    return wherry


# --- what it prints ---


def test_operations_land(running):
    emitter(
        running,
        lines(
            KEYED,
            upsert(id=1, note="a", big=123456789012345678901234567890, ratio=0.5, tags=["x", {"y": 1}]),
            upsert(id=2, note="b"),
            upsert(id=3, note="c"),
            "this is only said",
            {"op": "update", "table": "t", "data": {"id": 2, "note": "B"}},
            {"op": "delete", "table": "t", "keys": {"id": 3}},
            {"op": "log", "level": "debug", "message": "not shown"},
            {"op": "log", "message": {"n": 1}},
            {"op": "warning", "message": "half of it is missing"},
            {"op": "checkpoint", "state": {"cursor": 17}},
        ),
    )
    run = running.sync("emit")
    assert run["outcome"] == "succeeded"
    assert run["checkpoints"] >= 1
    assert run["warnings"] == ["half of it is missing"]
    assert rows(running) == [(1, "a"), (2, "B")]
    assert rows(running, "SELECT big, ratio, tags FROM t WHERE id = 1") == [
        ("123456789012345678901234567890", 0.5, '["x",{"y":1}]')
    ]
    assert json.loads(running.ctl("state", "emit", "get").stdout) == {"cursor": 17}
    log = running.daemon.log()
    assert "this is only said" in log and '{"n":1}' in log and "not shown" not in log


def test_begin_is_what_the_program_gets(running):
    emitter(
        running,
        PYTHON
        + """
begin = json.load(sys.stdin)
say(op="upsert", table="begin", data={"got": json.dumps(begin), "args": sys.argv[1:], "cwd": os.getcwd(),
    "env": sorted(os.environ), "tmp": os.environ["TMPDIR"]})
open(os.environ["TMPDIR"] + "/mine", "w").write("x")
say(op="checkpoint", state={"n": begin["state"].get("n", 0) + 1})
""",
        source={"configuration": {"city": "Oslo", "key": {"nested": [1]}}},
    )
    run = running.sync("emit")
    (got, arguments, cwd, environment, tmp), *_ = running.query("SELECT got, args, cwd, env, tmp FROM begin")
    assert json.loads(got) == {
        "configuration": {"city": "Oslo", "key": {"nested": [1]}},
        "connection": "emit",
        "run_id": run["run_id"],
        "full": False,
        "max_value_size": 16777216,
        "state": {},
    }
    assert json.loads(arguments) == []
    assert cwd == str(running.pipelines_dir)
    assert set(json.loads(environment)) <= {
        "HOME",
        "LANG",
        "LC_CTYPE",
        "PATH",
        "TMPDIR",
        "TZ",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    }
    assert not Path(tmp).exists()
    running.sync("emit")
    assert json.loads(running.ctl("state", "emit", "get").stdout) == {"n": 2}
    running.sync("emit", "--full")
    assert json.loads(running.ctl("state", "emit", "get").stdout) == {"n": 1}


def test_state_can_be_set_and_reset(running):
    emitter(
        running,
        PYTHON
        + """
n = json.loads(sys.stdin.readline())["state"].get("n", 0)
say(op="upsert", table="seen", data={"n": n})
say(op="checkpoint", state={"n": n + 1})
""",
    )
    running.sync("emit")
    running.ctl("state", "emit", "set", "-", input='{"n": 40}')
    assert json.loads(running.ctl("state", "emit", "get").stdout) == {"n": 40}
    running.sync("emit")
    running.ctl("state", "emit", "reset")
    assert json.loads(running.ctl("state", "emit", "get").stdout) == {}
    assert [row[0] for row in running.query("SELECT n FROM seen ORDER BY 1")] == [0, 40]


def test_a_truncate_takes_what_earlier_syncs_wrote(running):
    emitter(running, lines(KEYED, upsert(id=1, note="a"), upsert("free", x=1)))
    running.sync("emit")
    emitter(running, lines(KEYED, {"op": "truncate", "table": "t"}, upsert(id=2, note="b")))
    running.sync("emit")
    assert rows(running) == [(2, "b")]
    assert running.query("SELECT count(*) FROM free WHERE NOT _fivetran_deleted") == [(1,)]


def test_a_truncate_needs_nothing_but_the_name(running):
    emitter(running, lines({"op": "truncate", "table": "t"}, {"op": "checkpoint", "state": {"n": 1}}))
    assert running.sync("emit")["checkpoints"] == 1
    assert running.query("SELECT name FROM sqlite_schema WHERE name = 't'") == []
    emitter(running, lines({"op": "truncate", "table": "t"}, upsert(id=1, note="a")))
    running.sync("emit")
    emitter(running, lines({"op": "truncate", "table": "t"}))
    running.sync("emit")
    assert rows(running) == []
    assert running.query("SELECT id, note FROM t") == [(1, "a")]


def test_a_full_sync_deletes_what_it_does_not_see(running):
    emitter(running, lines(KEYED, upsert(id=1, note="a"), upsert(id=2, note="b")))
    running.sync("emit")
    emitter(running, lines(KEYED, upsert(id=2, note="c")))
    running.sync("emit")
    assert rows(running) == [(1, "a"), (2, "c")]
    running.sync("emit", "--full")
    assert rows(running) == [(2, "c")]
    assert running.query("SELECT note FROM t WHERE _fivetran_deleted") == [("a",)]


def test_on_schema_change_is_heeded(running):
    emitter(running, lines(KEYED, upsert(id=1, note="a")))
    running.sync("emit")
    emitter(running, lines(KEYED, upsert(id=2, note="b", more=1)), on_schema_change="block_all")
    assert running.sync("emit", status=1)["error"] == (
        'table "t" has no column "more", and `on_schema_change: block_all` forbids to add it'
    )
    emitter(running, lines(KEYED, upsert(id=2, note="b", more=1), upsert("u", x=1)), on_schema_change="allow_columns")
    assert running.sync("emit", status=1)["error"] == (
        'table "u" is not in the destination, and `on_schema_change: allow_columns` forbids to make it'
    )
    assert rows(running) == [(1, "a")]
    emitter(running, lines(KEYED, upsert(id=2, note="b", more=1)), on_schema_change="allow_columns")
    running.sync("emit")
    assert running.query("SELECT id, more FROM t ORDER BY id") == [(1, None), (2, 1)]


def test_a_full_sync_of_some_tables_makes_them_anew(running):
    program = lines(KEYED, upsert(id=1, note="a"), upsert("free", x=1), {"op": "checkpoint", "state": {"n": 1}})
    emitter(running, program)
    running.sync("emit")
    emitter(running, program.replace("note", "remark"))
    running.sync("emit", "--full", "--tables", "t,nope")
    running.daemon.wait_log('table "nope" was not made anew: the source has sent no such table')
    assert '"t" was not made anew' not in running.daemon.log()
    assert "note" not in running.query("SELECT sql FROM sqlite_master WHERE name = 't'")[0][0]
    assert running.query("SELECT id, remark FROM t") == [(1, "a")]
    assert running.query("SELECT x FROM free") == [(1,)]


def test_tables_go_with_a_full_sync_of_operations(running):
    running.pipeline("orders")
    said = running.ctl("sync", "orders", "--tables", "t", status=2).stderr
    assert said == 'wherryctl: "--tables" goes with "--full", which makes tables anew\n'
    said = running.ctl("sync", "orders", "--full", "--tables", "t", status=2).stderr
    assert 'the files of "orders" go to one table: leave out the tables' in said


def test_names_are_normalised_unless_told_otherwise(running):
    emitter(running, lines(upsert("MyTable", userID=1)))
    emitter(running, lines(upsert("MyTable2", userID=1)), name="kept", naming="source")
    running.sync("emit")
    running.sync("kept")
    assert running.query("SELECT user_id FROM my_table") == [(1,)]
    assert running.query('SELECT "userID" FROM "MyTable2"') == [(1,)]


def test_the_last_line_needs_no_end(running):
    emitter(running, SHELL + """printf '{"op":"upsert","table":"t","data":{"id":1,"note":"x"}}'""")
    running.sync("emit")
    assert rows(running) == [(1, "x")]


def test_a_byte_order_mark_is_no_part_of_the_first_line(running):
    emitter(running, lines("\ufeff" + json.dumps(KEYED), upsert(id=1, note="a"), upsert(id=1, note="b")))
    running.sync("emit")
    assert rows(running) == [(1, "b")]  # by the key that the first line declares


def test_text_that_only_speaks_of_operations_is_logged(running):
    said = ['sent {"op":"upsert","table":"t","data":{}} at last', 'next: {"op":"other"}', '{"op":"other"}', "[1]"]
    emitter(running, lines(*said, KEYED, upsert(id=1, note="a")))
    running.sync("emit")
    assert rows(running) == [(1, "a")]
    log = running.daemon.log()
    assert all(line in log for line in said)


# --- bad input ---

BAD = {
    "not_json": ('{"op": "upsert",', r'^line 1: not valid JSON: .* at character \d+: "\{"op": "upsert","$'),
    "not_utf8": (b'{"op":"log","message":"\xff"}', r"^line 1: not valid JSON: .*UTF-8"),
    "misspelt": ('{"op":"upsret","table":"t"}', r'^line 1: unknown operation "upsret"; did you mean "upsert"\?: '),
    "no_table": ('{"op":"upsert","data":{}}', r'^line 1: upsert needs "table": '),
    "no_data": ('{"op":"upsert","table":"t"}', r'^line 1: upsert needs "data": '),
    "bad_data": ('{"op":"upsert","table":"t","data":[1]}', r'^line 1: "data" must be an object: '),
    "too_much": ('{"op":"upsert","table":"t","data":{},"id":1}', r'^line 1: "id" does not belong to upsert: '),
    "twice": ('{"op":"truncate","table":"t","table":"u"}', r'^line 1: "table" stands there twice: '),
    "no_keys": ('{"op":"delete","table":"t"}', r'^line 1: a delete needs "keys", and them alone: '),
    "bad_state": ('{"op":"checkpoint","state":5}', r'^line 1: "state" must be an object: '),
    "bad_level": ('{"op":"log","level":"loud","message":"x"}', r'^line 1: unknown level "loud"; there are debug, '),
    "key_missing": (
        json.dumps(KEYED) + '\n\n{"op":"upsert","table":"t","data":{"note":1}}',
        r'^table "t": line 3, row 1, column "id": a column of the primary key is missing: ',
    ),
    "key_null": (
        json.dumps(KEYED) + '\n{"op":"upsert","table":"t","data":{"id":null}}',
        r'^table "t": line 2, row 1, column "id": a column of the primary key is NULL: ',
    ),
    "bad_value": (
        json.dumps(KEYED) + '\n{"op":"upsert","table":"t","data":{"id":"x"}}',
        r'^table "t": line 2, row 1, column "id": this is not a whole number: "x"$',
    ),
    "delete_without_key": (
        '{"op":"delete","table":"u","keys":{"id":1}}',
        r'^table "u": line 1, row 1: a delete needs a table with a primary key, and this one declares none: ',
    ),
    "bad_type": (
        '{"op":"schema","tables":[{"table":"t","columns":{"a":"INTT"}}]}',
        r'^table "t": line 1, column "a": unknown type "INTT"; did you mean "INT"\?: ',
    ),
    "bad_decimal": (
        '{"op":"schema","tables":[{"table":"t","columns":{"a":{"type":"DECIMAL"}}}]}',
        r'^table "t": line 1, column "a": a DECIMAL needs a "precision" and a "scale", as whole numbers: ',
    ),
    "declared_twice": (
        json.dumps(KEYED) + "\n" + json.dumps(KEYED),
        r'^table "t": line 2: the table is declared twice: ',
    ),
    "too_deep": (
        '{"op":"upsert","table":"t","data":{"a":' + "[" * 600 + "]" * 600 + "}}",
        r'^line 1, column "a": JSON nested too deeply \(more than 512 levels\): ',
    ),
    "too_large_a_number": (
        '{"op":"upsert","table":"t","data":{"a":1e400}}',
        r'^table "t": line 1, row 1, column "a": the number is too large for a float; declare the column DECIMAL: "1e400"$',
    ),
    "names_meet": (
        '{"op":"upsert","table":"t","data":{"userID":1,"user_id":2}}',
        r'^table "t": line 1, row 1: columns "userID" and "user_id" would both be called "user_id"; rename one, or say '
        r'"naming: source": ',
    ),
    "after_a_progress_bar": (
        json.dumps(KEYED) + '\n50%\r100%\r{"op":"upsert","table":"t","data":{"id":1}}',
        r"^line 2: upsert must begin its line: print what stands before it on a line of its own, or to stderr: "
        r'"50%\\x0D100%\\x0D\{"op"',
    ),
    "in_a_list": (
        '[{"op":"truncate","table":"t"}, {"op":"checkpoint","state":{}}]',
        r'^line 1: truncate must begin its line: print what stands before it .*: "\[\{"op":"truncate"',
    ),
    "error": ('{"op":"error","message":"the source says no","trace":"…"}', r"^the source says no$"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_lines_fail_the_sync_and_nothing_is_kept(running, what):
    line, expected = BAD[what]
    good = json.dumps(upsert("good", id=1)).encode() + b"\n" if what == "error" else b""
    text = good + (line if isinstance(line, bytes) else line.encode()) + b"\n"
    (running.root / "programs").mkdir()
    (running.root / "programs/text").write_bytes(text)
    emitter(running, SHELL + f"cat {running.root}/programs/text\nsleep 60\n")
    started = time.monotonic()
    run = running.sync("emit", status=1)
    assert time.monotonic() - started < 20  # it was told to end
    assert run["outcome"] == "failed"
    assert re.search(expected, run["error"]), run["error"]
    assert run["rows_committed"] == 0
    assert json.loads(running.ctl("state", "emit", "get").stdout) == {}


def test_lines_that_are_too_long_are_refused(running):
    emitter(running, PYTHON + "sys.stdout.write('x' * 5000)\nsys.stdout.flush()\nsys.stdin.read()\nimport time; time.sleep(60)",
            max_value_size="1K")  # fmt: skip
    run = running.sync("emit", status=1)
    assert run["error"].startswith('line 1: the line is longer than "max_value_size" allows (1024 bytes): "xxx')


# --- how it ends ---

ENDS = {
    "status": (SHELL + "echo 'cannot reach it' >&2\nexit 3", r'"[^"]*emit.prog" ended with status 3: cannot reach it$'),
    "signal": (SHELL + "kill -9 $$", r'"[^"]*emit.prog" was killed by SIGKILL$'),
    "exception": (PYTHON + "{}['key']", r'"[^"]*emit.prog" ended with status 1: KeyError: \'key\'$'),
    "interpreter": (
        "#!/no/such/interpreter\n",
        r'cannot run "[^"]*emit.prog": the interpreter in its first line is missing$',
    ),
}


@pytest.mark.parametrize("what", ENDS)
def test_a_bad_end_fails_the_sync_and_says_why(running, what):
    program, expected = ENDS[what]
    emitter(running, program)
    assert re.search(expected, running.sync("emit", status=1)["error"])


def test_what_came_after_the_last_checkpoint_is_not_kept(running):
    tail = "\nexit 1"
    emitter(
        running,
        lines(KEYED, upsert(id=1, note="a"), {"op": "checkpoint", "state": {"n": 1}}, upsert(id=2, note="b")) + tail,
    )
    assert running.sync("emit", status=1)["rows_committed"] == 1
    assert rows(running) == [(1, "a")]
    assert json.loads(running.ctl("state", "emit", "get").stdout) == {"n": 1}


def test_rows_without_a_checkpoint_are_written_at_the_end(running):
    emitter(running, lines(KEYED, upsert(id=1, note="a")))
    running.sync("emit")
    assert rows(running) == [(1, "a")]
    assert json.loads(running.ctl("state", "emit", "get").stdout) == {}


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["/no/such/program"], 'cannot run "/no/such/program": no such file or directory'),
        (["no-such-program"], 'there is no program "no-such-program" on the path'),
        (["/etc"], 'cannot run "/etc": it is not a file'),
        (["/etc/os-release"], 'cannot run "/etc/os-release": it is not executable; chmod \\+x it'),
    ],
)
def test_a_program_that_cannot_run_is_a_configuration_error(running, command, expected):
    emitter(running, "", source={"command": command})
    assert re.match(expected, running.sync("emit", status=1)["error"])
    assert running.status("emit")["state"] == "broken"


def test_a_program_on_the_path_is_found(running):
    emitter(running, "", source={"command": ["echo", json.dumps(upsert(id=1, note="x"))]})
    running.sync("emit")
    assert rows(running) == [(1, "x")]


def test_cancel_lets_the_program_end_by_itself(running):
    emitter(
        running,
        PYTHON
        + """
import signal, time
def end(*_):
    print("ended in order", file=sys.stderr, flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
say(op="upsert", table="t", data={"id": 1})
print("ready", file=sys.stderr, flush=True)
time.sleep(60)
""",
    )
    running.ctl("sync", "emit")
    running.daemon.wait_log("ready")
    running.ctl("cancel", "emit")
    running.daemon.wait_log("ended in order")
    wait_for(lambda: running.status("emit")["outcome"] == "cancelled", "the cancel")


STUBBORN = {
    "ignores_the_signal": "trap '' TERM\nsleep 60 & wait\nsleep 60",
    "closes_its_output": "exec >&-\nsleep 60",
    "forks_a_daemon": "(trap '' TERM; sleep 60) &\n(sleep 60 &) &\nexit 0",
    "stops_itself": "kill -STOP $$",
}


@pytest.mark.parametrize("what", STUBBORN)
def test_nothing_of_it_outlives_its_sync(running, what):
    emitter(running, SHELL + "echo started >&2\n" + STUBBORN[what])
    running.ctl("sync", "emit")
    running.daemon.wait_log("started")
    if what != "forks_a_daemon":
        running.ctl("cancel", "emit")
    wait_for(lambda: running.status("emit")["outcome"], "the sync's end")
    wait_for(lambda: not children(running.daemon.pid), "the end of its processes")
    outcome = "succeeded" if what == "forks_a_daemon" else "cancelled"
    assert running.status("emit")["outcome"] == outcome
    if what == "forks_a_daemon":
        assert "left a process behind that holds its output open" in running.daemon.log()


def test_a_flood_on_stderr_is_limited(running):
    emitter(
        running,
        PYTHON
        + "for i in range(30000): print('noise', i, file=sys.stderr)\nsay(op='upsert', table='t', data={'id': 1})",
    )
    running.sync("emit")
    assert re.search(r"\d+ lines of the worker suppressed", running.daemon.log())


def test_it_dies_with_the_daemon(running):
    emitter(running, SHELL + "echo started >&2\nexec sleep 60")
    running.ctl("sync", "emit")
    running.daemon.wait_log("started")
    pid = running.daemon.pid
    programs = wait_for(lambda: [p for p in descendants(pid) if command_line(p).startswith("sleep")], "the program")
    running.daemon.kill()
    wait_for(lambda: not any(command_line(p).startswith("sleep") for p in programs), "its end")


COUNTING = """
import time
last = json.loads(sys.stdin.readline())["state"].get("last", 0)
for i in range(last + 1, last + 100001):
    say(op="upsert", table="t", data={"id": i, "note": "x" * 100})
    if i % 50 == 0:
        say(op="checkpoint", state={"last": i})
        time.sleep(0.002)
"""
VICTIMS = {"worker": "source-exec", "writer": "destination-sqlite", "program": "emit.prog"}


@pytest.mark.parametrize("victim", VICTIMS)
def test_killed_anywhere_state_and_rows_agree(running, victim):
    """Rows and state are one transaction: whoever dies whenever, the state is that of the last row, and no row is twice."""
    emitter(running, PYTHON + COUNTING)
    rng = random.Random(victim)

    def pids():
        return [p for p in descendants(running.daemon.pid) if VICTIMS[victim] in command_line(p)]

    progressed = set()
    for turn in range(30):  # a busy machine needs more of them
        if turn >= 6 and len(progressed) > 2:
            break
        running.ctl("sync", "emit")
        (pid, *_) = wait_for(pids, f"the {victim}")
        time.sleep(rng.uniform(0.05, 0.6))
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: running.status("emit")["state"] in ("idle", "backoff"), "the sync's end")
        assert running.status("emit")["outcome"] == "failed"
        last = json.loads(running.ctl("state", "emit", "get").stdout).get("last", 0)
        there = running.query("SELECT 1 FROM sqlite_master WHERE name = 't'")
        found = (
            running.query("SELECT count(*), count(DISTINCT id), coalesce(max(id), 0) FROM t") if there else [(0, 0, 0)]
        )
        assert found == [(last, last, last)]
        progressed.add(last)
    assert len(progressed) > 2, "it was never killed in the midst of its work"


# --- the sandbox ---

ATTEMPTS = {
    "read /etc/shadow": "open('/etc/shadow').read()",
    "read a home": "os.listdir('/root')",
    "read the state database": "open('{state}/daemon/state.db', 'rb').read()",
    "list the state folder": "os.listdir('{state}')",
    "read another connection": "open('{pipelines}/neighbour.yaml').read()",
    "read the destination": "open('{database}', 'rb').read()",
    "read another program": "os.listdir('{root}/neighbour')",
    "write beside itself": "open(os.path.dirname(os.path.abspath(__file__)) + '/x', 'w')",
    "write to /tmp": "open('/tmp/wherry-escape', 'w')",
    "connect to the control socket": "socket.socket(socket.AF_UNIX).connect('{run}/org.wherry.Manager')",
    "have a raw socket": "socket.socket(socket.AF_INET, socket.SOCK_RAW)",
    "listen": "socket.create_server(('127.0.0.1', 0))",
    "signal the daemon": "os.kill({daemon}, 0)",
    "leave its group": "os.setsid()",
    "trace its parent": "open(f'/proc/{{os.getppid()}}/mem', 'rb')",
    "be a set-id program": "os.chmod(__file__, 0o4755); os.stat(__file__).st_mode & 0o4000 or open('/nowhere')",
}


def test_the_sandbox_holds(plain_wherry):
    wherry = plain_wherry
    wherry.start()
    (wherry.root / "neighbour").mkdir()
    wherry.pipeline("neighbour", paused=True)
    values = {"state": wherry.state_dir, "pipelines": wherry.pipelines_dir, "database": wherry.database,
              "root": wherry.root, "run": wherry.runtime_dir, "daemon": wherry.daemon.pid}  # fmt: skip
    tries = {name: code.format(**values) for name, code in ATTEMPTS.items()}
    body = f"""
import socket, subprocess
for name, code in {tries!r}.items():
    try:
        exec(code)
        outcome = "worked"
    except OSError as error:
        outcome = type(error).__name__
    say(op="upsert", table="tries", data={{"name": name, "outcome": outcome}})
honest = subprocess.run(["date", "+%Y"], capture_output=True, text=True).stdout.strip()
say(op="upsert", table="tries", data={{"name": "honest", "outcome": honest}})
socket.socket(socket.AF_INET).close()
open(os.environ["TMPDIR"] + "/x", "w").close()
"""
    emitter(wherry, PYTHON + body)
    wherry.sync("emit")
    outcomes = dict(wherry.query("SELECT name, outcome FROM tries"))
    assert outcomes.pop("honest").isdigit()
    assert outcomes.keys() == ATTEMPTS.keys()
    assert {name for name, outcome in outcomes.items() if outcome == "worked"} == set()


def test_a_program_in_pipelines_d_sees_no_other_file_there(plain_wherry):
    plain_wherry.start()
    emitter(plain_wherry, SHELL + f"cat {plain_wherry.pipelines_dir}/emit.yaml", folder=plain_wherry.pipelines_dir)
    assert "Permission denied" in plain_wherry.sync("emit", status=1)["error"]


def test_files_that_the_command_names_may_be_read(plain_wherry):
    wherry = plain_wherry
    wherry.start()
    programs, data, others = (wherry.root / name for name in ("programs", "data", "others"))
    for folder in (programs, data, others):
        folder.mkdir()
        (folder / "neighbour.py").write_text("VALUE = 1\n")
    (data / "orders.csv").write_text("1234567")
    (wherry.pipelines_dir / "programs").symlink_to(programs)
    named, beside, below = data / "orders.csv", data / "neighbour.py", others / "neighbour.py"
    secret = wherry.pipelines_dir / "emit.yaml"
    script = f"""
import neighbour
for path in {[str(named), str(beside), str(below), str(secret)]}:
    try:
        outcome = str(len(open(path).read()))
    except OSError as error:
        outcome = type(error).__name__
    say(op="upsert", table="tries", data={{"path": path, "outcome": outcome}})
"""
    (programs / "emit.py").write_text(PYTHON + script)
    # a script by its relative name, a file and a folder by their full ones; the rest opens nothing
    command = ["python3", "programs/emit.py", named, others, f"--file={beside}", data / "missing", ".", "..", "/", ""]
    definition = {
        "frequency": "manual",
        "source": {"type": "exec", "command": [str(argument) for argument in command]},
        "destination": {"type": "sqlite", "path": str(wherry.database)},
    }
    wherry.pipeline("emit", definition)
    wherry.sync("emit")
    assert dict(wherry.query("SELECT path, outcome FROM tries")) == {
        str(named): "7",
        str(beside): "PermissionError",
        str(below): "10",
        str(secret): "PermissionError",
    }


# --- the examples ---


@pytest.mark.parametrize("name", ["shell", "python", "c"])
def test_examples_run(running, name, tmp_path):
    folder = ROOT / "etc/examples"
    program = folder / {"shell": "emit.sh", "python": "emit.py", "c": "emit.c"}[name]
    assert len(program.read_text().splitlines()) <= 30
    command = [str(program)]
    if name == "c":
        built = running.root / "emit-c"
        os.system(f"cc -Wall -Werror -o {built} {program}")
        command = [str(built)]
    definition = {
        "frequency": "manual",
        "source": {"type": "exec", "command": command, "configuration": {"city": "Oslo"}},
        "destination": {"type": "sqlite", "path": str(running.database)},
    }
    running.pipeline("example", definition)
    for expected in (3, 6):
        run = running.sync("example")
        assert run["outcome"] == "succeeded"
        assert running.query("SELECT count(*), max(id) FROM readings") == [(expected, expected)]
    assert json.loads(running.ctl("state", "example", "get").stdout) == {"last": 6}
