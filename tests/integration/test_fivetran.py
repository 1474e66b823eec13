"""Connectors written for Fivetran's SDK, run by the daemon: sandboxed, into SQLite, from their state on."""

import contextlib
import fcntl
import json
import os
import threading
from pathlib import Path

import pytest
from fivetran import connector, failed
from harness import ROOT, command_line, descendants, wait_for
from test_kill import wrapped_programs


@pytest.fixture
def running(plain_wherry):
    """Without sanitizers, which an interpreter inside of the sandbox cannot start with; tests/connectors has them."""
    plain_wherry.start()
    return plain_wherry


# --- what it does ---


def test_rows_and_state_go_on_from_sync_to_sync(running):
    connector(
        running,
        """
        start = state.get("cursor", 0)
        for i in range(start, start + 3):
            yield op.upsert("t", {"id": i, "note": f"n{i}", "More Data": [i]})
        op.delete("t", {"id": start})
        op.checkpoint({"cursor": start + 3})
        """,
    )
    for n in (1, 2, 3):
        run = running.sync("weather")
        assert (run["outcome"], run["checkpoints"]) == ("succeeded", 1)
        assert json.loads(running.ctl("state", "weather", "get").stdout) == {"cursor": 3 * n}
    assert running.query("SELECT id, note, more_data FROM t WHERE NOT _fivetran_deleted ORDER BY id") == [
        (i, f"n{i}", f"[{i}]") for i in range(9) if i % 3
    ]


def test_what_the_connector_sees(running):
    folder = connector(
        running,
        """
        import helpers.inner
        with open("data/words.txt") as file:
            words = file.read()
        open(os.path.join(os.environ["TMPDIR"], "mine"), "w").write("x")
        op.upsert("seen", {"configuration": configuration, "cwd": os.getcwd(), "first": sys.path[0], "last": sys.path[-1],
                           "inner": helpers.inner.NAME, "words": words, "tmp": os.environ["TMPDIR"],
                           "environment": {k: v for k, v in os.environ.items() if k.startswith("FIVETRAN_")}})
        """,
        source={"configuration": {"city": "Oslo", "empty": ""}},
        files={"helpers/__init__.py": "", "helpers/inner.py": "NAME = 'inner'\n", "data/words.txt": "words"},
    )
    running.sync("weather")
    columns = "configuration, cwd, first, last, inner, words, tmp, environment"
    ((configuration, cwd, first, last, inner, words, tmp, environment),) = running.query(f"SELECT {columns} FROM seen")
    assert json.loads(configuration) == {"city": "Oslo", "empty": ""}
    assert (cwd, last, inner, words) == (str(folder), str(folder), "inner", "words")
    assert os.path.isdir(first + "/fivetran_connector_sdk")
    assert not os.path.exists(tmp)
    assert json.loads(environment) == {
        "FIVETRAN_CONNECTION_ID": "weather",
        "FIVETRAN_CONNECTION_NAME": "weather",
        "FIVETRAN_DEPLOYMENT_MODEL": "wherry",
        "FIVETRAN_GROUP_ID": "wherry",
    }


def test_what_it_says_is_in_the_log(running):
    connector(
        running,
        """
        import logging, warnings
        print("printed")
        print("to stderr", file=sys.stderr)
        log.info("an info of secret-value-1")
        log.fine("not shown")
        log.warning("a warning")
        log.error("an error", exception=ValueError("with its exception"))
        logging.getLogger("library").warning("from a library")
        warnings.warn("deprecated")
        op.warning("kept with the run")
        """,
        source={"configuration": {"key": "secret-value-1"}},
    )
    run = running.sync("weather")
    assert run["warnings"] == ["a warning", "an error", "kept with the run"]
    text = running.daemon.log()
    for expected in ("printed", "to stderr", "an info of", "with its exception", "from a library", "deprecated"):
        assert expected in text
    assert "not shown" not in text


def test_what_is_called_a_secret_is_one_although_it_is_written_out(running):
    connector(
        running,
        "print(configuration); raise ValueError(configuration['apiKey'] + configuration['city'])",
        source={"configuration": {"apiKey": "hunter2-is-secret", "db_password": "another-one", "city": "Bergen"}},
    )
    run = running.sync("weather", status=1)
    assert run["error"] == "ValueError: ****Bergen"
    assert "hunter2" not in running.daemon.log() and "another-one" not in running.daemon.log()
    said = running.daemon.log()
    for name in ("apiKey", "db_password"):
        warning = f'"{name}" in "configuration" is written out; !env, !file or !credential keep it out of here'
        assert said.count(warning) == 1
    assert '"city" in' not in said


def test_multiprocessing_and_subprocesses_run(plain_wherry):
    plain_wherry.start()
    connector(
        plain_wherry,
        """
        import multiprocessing, subprocess
        results = {}
        for method in (None, "spawn", "forkserver"):
            context = multiprocessing.get_context(method)
            with context.Pool(2) as pool:
                numbers = pool.map(abs, [-1, -2, -3])
            with context.Manager() as manager:  # which listens on a socket
                shared = manager.dict(a=1)
                process = context.Process(target=shared.update, args=({"b": 2},))
                process.start()
                process.join()
                results[method or "default"] = [numbers, dict(shared)]
        path = os.path.join(os.environ["TMPDIR"], "tool")
        open(path, "w").write("#!/bin/sh\\necho from a tool\\n")
        tool = subprocess.run(["/bin/sh", path], capture_output=True, text=True).stdout
        op.upsert("t", {"id": 1, "results": results, "tool": tool})
        """,
    )
    plain_wherry.sync("weather")
    ((results, tool),) = plain_wherry.query("SELECT results, tool FROM t")
    assert json.loads(results) == dict.fromkeys(["default", "spawn", "forkserver"], [[1, 2, 3], {"a": 1, "b": 2}])
    assert tool == "from a tool\n"


def test_files_of_its_own_are_handled_as_usual(plain_wherry):
    """Copied with mode and time, linked, packed and unpacked, made executable and run, by Python and by programs."""
    plain_wherry.start()
    connector(
        plain_wherry,
        """
        import pathlib, resource, shutil, stat, subprocess, tempfile
        folder = pathlib.Path(tempfile.mkdtemp())
        here = pathlib.Path(__file__).parent
        shutil.copy2(here / "connector.py", folder / "copy")
        times = [path.stat().st_mtime_ns for path in (here / "connector.py", folder / "copy")]
        key = folder / "key"
        key.write_text("secret")
        key.chmod(0o400)
        os.utime(key, (1, 2))
        tool = folder / "tool"
        tool.write_text("#!/bin/sh\\necho run; chmod 644 $0; touch -t 202001010000 $0 && echo done\\n")
        os.chmod(tool, 0o700)
        said = subprocess.run([tool], capture_output=True, text=True).stdout
        os.symlink("key", folder / "link")
        shutil.copytree(folder, folder / "tree", symlinks=True)
        shutil.unpack_archive(shutil.make_archive(folder / "packed", "gztar", folder / "tree"), folder / "unpacked")
        missing = []
        for change in (lambda path: os.chmod(path, 0o600), os.utime):
            try:
                change(folder / "nowhere")
            except FileNotFoundError as error:
                missing.append(error.filename == str(folder / "nowhere") or str(error.filename))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        op.upsert("t", {"id": 1, "same_time": times[0] == times[1], "said": said, "missing": missing,
                        "key": stat.filemode(key.stat().st_mode), "time": int(key.stat().st_mtime),
                        "unpacked": sorted(path.name for path in (folder / "unpacked").iterdir()),
                        "link": os.readlink(folder / "unpacked/link"), "follows": os.chmod in os.supports_fd})
        """,
    )
    plain_wherry.sync("weather")
    (row,) = plain_wherry.query("SELECT same_time, said, missing, key, time, unpacked, link, follows FROM t")
    assert row == (1, "run\ndone\n", "[true,true]", "-r--------", 2, '["copy","key","link","tool"]', "key", 1)


def test_of_processes_it_sees_its_own(plain_wherry):
    """What libraries ask the kernel of it (DuckDB its cgroup, psutil its memory), and nothing of others."""
    plain_wherry.start()
    connector(
        plain_wherry,
        """
        seen = {}
        for path in ("self/cgroup", "self/status", "self/maps", f"{os.getpid()}/statm", "self/fd", "", "1/cmdline",
                     f"{os.getppid()}/status", f"{os.getppid()}/environ", "net/tcp", "self/root/etc/passwd"):
            try:
                whole = f"/proc/{path}"
                seen[path.replace(str(os.getppid()), "parent").replace(str(os.getpid()), "own")] = (
                    len(os.listdir(whole)) if path in ("self/fd", "") else len(open(whole).read())) > 0
            except PermissionError:
                seen[path.replace(str(os.getppid()), "parent")] = None
        op.upsert("t", {"id": 1, "seen": seen})
        """,
    )
    plain_wherry.sync("weather")
    ((seen,),) = plain_wherry.query("SELECT seen FROM t")
    own, others = ("self/cgroup", "self/status", "self/maps", "own/statm", "self/fd"), json.loads(seen)
    assert [others.pop(path) for path in own] == [True] * len(own)
    assert set(others) == {"", "1/cmdline", "parent/status", "parent/environ", "net/tcp", "self/root/etc/passwd"}
    assert set(others.values()) == {None}


def test_a_forked_process_is_told_that_it_has_no_stream(running):
    connector(
        running,
        """
        pid = os.fork()
        if pid == 0:
            try:
                op.upsert("t", {"id": 2})
            except RuntimeError as error:
                print("refused:", error, flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        op.upsert("t", {"id": 1})
        """,
    )
    running.sync("weather")
    assert running.query("SELECT id FROM t") == [(1,)]
    assert "refused: operations belong to the process that runs update()" in running.daemon.log()


def remove_one_that_is_not_locked(known, removed, stop):
    """As another sync does that starts at that moment: it takes a folder that nobody has locked for a dead one's."""
    while not removed and not stop.is_set():
        for folder in set(Path("/tmp").glob("wherry-scratch-*")) - known:
            with contextlib.suppress(OSError):
                descriptor = os.open(folder, os.O_RDONLY)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    folder.rmdir()
                    removed.append(folder)
                finally:
                    os.close(descriptor)


@pytest.mark.alone  # no other sync makes a temporary folder meanwhile
def test_two_that_start_at_once_leave_each_other_their_folders(plain_wherry):
    """strace holds the worker between making its temporary folder and locking it."""
    connector(
        plain_wherry, "open(os.path.join(os.environ['TMPDIR'], 'mine'), 'w').write('x'); op.upsert('t', {'id': 1})"
    )
    build, removed, stop = plain_wherry.build, [], threading.Event()
    programs = {"source-fivetran": build.source("fivetran"), "destination-sqlite": build.destination("sqlite")}
    tracer = ["strace", "-o", str(plain_wherry.root / "trace"), "-e", "inject=flock:delay_enter=200000"]
    folder = wrapped_programs(plain_wherry.root / "programs", programs, "source-fivetran", tracer)
    known = set(Path("/tmp").glob("wherry-scratch-*"))
    other = threading.Thread(target=remove_one_that_is_not_locked, args=(known, removed, stop))
    other.start()
    try:
        done = plain_wherry.run_daemon(f"--libexec-dir={folder}", "--once", "weather")
    finally:
        stop.set()
        other.join()
    assert len(removed) == 1, "the worker was not held"
    assert done.returncode == 0, done.stderr
    assert plain_wherry.query("SELECT id FROM t") == [(1,)]


# --- how it ends ---


def test_what_fails_soon_after_a_checkpoint_goes_on_from_it(running):
    """Although checkpoints that follow one another so fast are merged."""
    connector(
        running,
        """
        n = state.get("n", 0)
        for i in range(3):
            op.upsert("t", {"id": 10 * n + i})
            op.checkpoint({"n": n + 1})
        op.upsert("t", {"id": 10 * n + 9})
        raise ValueError("later")
        """,
        commit_interval="1h",
    )
    for n in (1, 2):
        assert running.sync("weather", status=1)["rows_committed"] == 3
        assert running.ctl("state", "weather", "get").stdout == f'{{"n":{n}}}\n'
    assert [row[0] for row in running.query("SELECT id FROM t ORDER BY id")] == [0, 1, 2, 10, 11, 12]


def test_an_exception_fails_the_sync_with_its_traceback(running):
    program = """
        op.upsert("t", {"id": 1})
        op.checkpoint({"at": 1})
        op.upsert("t", {"id": 2})
        raise LookupError("no such city")
    """
    error, log = failed(running, program)
    assert error == "LookupError: no such city"
    assert log.count("Traceback (most recent call last):") == 1
    assert 'raise LookupError("no such city")' in log and "_runner.py" not in log
    assert running.query("SELECT id FROM t") == [(1,)]
    assert json.loads(running.ctl("state", "weather", "get").stdout) == {"at": 1}


ENDS = {
    "sys.exit(3)": "update() ended with sys.exit(3)",
    "raise KeyboardInterrupt": "KeyboardInterrupt",
    "op.error('the source says no')": "the source says no",
    "configuration['api_key']": "KeyError: 'api_key'; the configuration has no \"api_key\": it is empty",
    "configuration['city'] = 'Oslo'; configuration['key']": (
        'KeyError: \'key\'; the configuration has no "key", only "city"'
    ),
    "{'other': 1}['key']": "KeyError: 'key'.",
    "os._exit(0)": "connector.py ended before update() had (by os._exit() or the like): what it sent is not kept",
    "os._exit(7)": '"connector.py" ended with status 7',
    "os.kill(os.getpid(), 9)": '"connector.py" was killed by SIGKILL',
    "return map(abs, [1])": "update() returned a map, of which nothing has run: use a for loop, or return list(…) of it",
    "op.upsert('t', {'id': None})": 'table "t": row 1, column "id": a column of the primary key is NULL',
    "op.upsert('t', {'id': 1, 'userID': 1, 'user_id': 2})": (
        'table "t": row 1: columns "userID" and "user_id" would both be called "user_id"; rename one, or say '
    ),
    "op.upsert('t', {'id': 'x'})": "TypeError: 'str' object cannot be interpreted as an integer",
    "open('out.csv', 'w')": (
        "PermissionError: [Errno 13] Permission denied: 'out.csv'; in the sandbox a connector writes to its temporary "
        "folder (tempfile, $TMPDIR), and nowhere else"
    ),
    "os.remove(__file__)": ".py'; in the sandbox a connector writes to its temporary folder (tempfile, $TMPDIR), and",
    "os.rename('/nowhere/a', '/usr/b')": "FileNotFoundError: [Errno 2] No such file or directory: '/nowhere/a' -> '/usr/b'.",
    "open(b'/etc/shadow')": (
        "PermissionError: [Errno 13] Permission denied: b'/etc/shadow'; in the sandbox a connector reads its project, its "
        "environment and /usr, and nothing else"
    ),
    "os.setpriority(os.PRIO_PROCESS, 0, 5)": "PermissionError: [Errno 1] Operation not permitted.",
    "os.write(3, b'garbage' * 10)": "the connector wrote to descriptor 3, which is not its",
}


@pytest.mark.parametrize("what", ENDS)
def test_a_bad_end_fails_the_sync_and_says_why(running, what):
    error, _ = failed(running, what)
    assert ENDS[what] in error + "."
    assert not running.database.exists(), "nothing of it is kept"


def test_garbage_on_the_pipe_fails_only_its_sync(running):
    connector(running, "op.upsert('t', {'id': 1})", name="neighbour")
    connector(running, "op.upsert('t2', {'id': 1}); os.write(4, b'garbage' * 100); time.sleep(60)")
    assert running.sync("weather", status=1)["outcome"] == "failed"
    assert running.sync("neighbour")["outcome"] == "succeeded"


def test_closed_descriptors_are_no_way_out(running):
    error, _ = failed(running, "os.closerange(0, 100)")
    assert "connector.py" in error or "Bad file descriptor" in error


PROJECTS = {
    "def update(": "SyntaxError: '(' was never closed (connector.py, line 1)",
    "import no_such_package_of_anybody": "ModuleNotFoundError: No module named 'no_such_package_of_anybody'; "
    "no line of requirements.txt names it",
    "x = 1": "connector.py makes no Connector",
    "from fivetran_connector_sdk import Connector\ncon = Connector(update=print)": (
        "Connector object must be named 'connector', but found: 'con'"
    ),
    "from fivetran_connector_sdk import Connector\na = Connector(print)\nb = Connector(update=print)": (
        "Connector object must be named 'connector', but found: 'a', 'b'; rename it in connector.py: "
        "connector = Connector(update=update, schema=schema)"
    ),
    "from fivetran_connector_sdk import Connector\nconnector = Connector(update=None)": (
        "connector.py calls Connector(update=…) with a NoneType: give it the function update() itself"
    ),
    "from fivetran_connector_sdk import Connector\nconnector = Connector(print, [{'table': 't'}])": (
        "connector.py calls Connector(schema=…) with a list: give it the function schema() itself"
    ),
    "from fivetran_connector_sdk import Connector\nconnector = Connector()": "TypeError: Connector.__init__() missing 1",
    "import sys\nsys.exit(2)": "connector.py called sys.exit(2) before update() ran",
    "from fivetran_connector_sdk import Connector\nconnector = Connector(print, lambda c: [{'table': 5}])": (
        "TypeError: Table name must be a string, got int"
    ),
}


@pytest.mark.parametrize("program", PROJECTS)
def test_a_project_that_cannot_run_says_why(running, program):
    error, _ = failed(running, program, whole=True)
    assert PROJECTS[program] in error


def test_an_import_names_the_line_of_the_requirements(running):
    files = {"requirements.txt": "requests\nNo-Such_Package-Of.Anybody>=2  # for rows\n".replace(".", "_")}
    error, _ = failed(running, "import no_such_package_of_anybody", whole=True, files=files)
    assert 'requirements.txt, line 2, names it ("No-Such_Package-Of_Anybody>=2")' in error


def test_no_connector_and_no_environment_are_configuration_errors(running):
    folder = connector(running, "pass")
    (folder / "connector.py").unlink()
    assert "has no connector.py" in running.sync("weather", status=1)["error"]
    (folder / "environment/bin").mkdir(parents=True)
    (folder / "environment/bin/python").symlink_to("/opt/gone/bin/python3.12")
    connector(running, "pass", source={"environment": str(folder / "environment")})
    assert (
        'was made for a Python that is gone ("/opt/gone/bin/python3.12"); make it anew, or deploy the connection again'
        in (running.sync("weather", status=1)["error"])
    )


CONFIGURATIONS = {
    '{"a": 1}': 'invalid configuration; all values must be strings: "a" is a number, write it in quotes',
    json.dumps({str(i): "x" for i in range(101)}): "invalid configuration; it has 101 keys, at most 100 are allowed",
    "[]": 'the secret "!json configuration.json" is not a JSON object',
}


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_a_file_of_configuration_that_is_none(running, text):
    folder = connector(running, "pass", files={"configuration.json": text})
    running.pipeline(
        "weather",
        f"frequency: manual\nsource: {{type: fivetran, project: {folder}, "
        f"configuration: !json {folder}/configuration.json}}\n"
        f"destination: {{type: sqlite, path: {running.database}}}\n",
    )
    wanted = CONFIGURATIONS[text].replace("configuration.json", f"{folder}/configuration.json")
    assert wanted in running.sync("weather", status=1)["error"]


# a Python that says it is another one
PRETENDER = """#!/bin/sh
exec /usr/bin/python3 -I -B -c 'import sys; {}; exec(sys.argv.pop(1))' "$4" "$5"
"""
NOT_SERVED = {
    "sys.version_info = (3, 9, 2)": "cpython 3.9 (",
    'sys.version_info = (3, 13, 0); sys.abiflags = "t"': "cpython 3.13t (",
    'sys.version_info = (3, 10, 0); sys.implementation.name = "pypy"': "pypy 3.10 (",
}


@pytest.mark.parametrize("what", NOT_SERVED)
def test_a_python_that_is_not_served(running, what):
    python = running.root / "pretender"
    python.write_text(PRETENDER.format(what))
    python.chmod(0o755)
    error, _ = failed(running, "pass", source={"python": str(python)})
    assert error.startswith('"connector.py" ended with status 1: ' + NOT_SERVED[what])
    assert error.endswith('") is not served: name a CPython from 3.10 to 3.14 with "python:"')


def test_cancel_ends_it_and_all_that_it_started(running):
    connector(
        running,
        """
        import subprocess
        subprocess.Popen(["sleep", "1000"])
        print("waiting", flush=True)
        time.sleep(1000)
        """,
    )
    running.ctl("sync", "weather")
    running.daemon.wait_log("waiting")
    running.ctl("cancel", "weather")
    wait_for(lambda: running.status("weather")["outcome"] == "cancelled", "the end")
    wait_for(lambda: len(descendants(running.daemon.process.pid)) == 0, "no process of it")


def test_a_slow_connector_is_not_held_back(running):
    """Its rows come to the writer although there are few, and it is seen to move."""
    connector(running, "op.upsert('t', {'id': 1})\nprint('one', flush=True)\ntime.sleep(3)\nop.upsert('t', {'id': 2})")
    running.ctl("sync", "weather")
    running.daemon.wait_log("one")
    running.sync("weather")
    assert running.query("SELECT count(*) FROM t") == [(2,)]


# --- what it cannot reach ---


def test_the_sandbox_holds(plain_wherry):
    plain_wherry.start()
    secret = plain_wherry.root / "secret"
    secret.write_text("hidden")
    connector(
        plain_wherry,
        """
        import socket
        def attempt(what, call):
            try:
                call()
                op.upsert("attempts", {"what": what, "error": None})
            except OSError as error:
                op.upsert("attempts", {"what": what, "error": type(error).__name__})
        attempt("read /etc/passwd", lambda: open("/etc/passwd").read())
        attempt("read a neighbour's file", lambda: open(configuration["secret"]).read())
        attempt("write into the project", lambda: open("x", "w"))
        attempt("write to the destination", lambda: open(configuration["database"], "a"))
        attempt("a unix socket", lambda: socket.socket(socket.AF_UNIX))
        attempt("signal the daemon", lambda: os.kill(int(configuration["daemon"]), 0))
        attempt("another session", os.setsid)
        attempt("loopback", lambda: socket.create_server(("127.0.0.1", 0)))
        """,
        source={
            "configuration": {
                "secret": str(secret),
                "database": str(plain_wherry.database),
                "daemon": str(plain_wherry.daemon.process.pid),
            }
        },
    )
    plain_wherry.sync("weather")
    found = dict(plain_wherry.query("SELECT what, error FROM attempts"))
    assert found.pop("loopback") is None
    assert len(found) == 7 and all(found.values()), found


def test_it_dies_with_the_daemon(running):
    connector(running, "print('waiting', flush=True)\ntime.sleep(1000)")
    running.ctl("sync", "weather")
    running.daemon.wait_log("waiting")
    found = [p for p in descendants(running.daemon.pid) if "fivetran_connector_sdk" in command_line(p)]
    assert found
    running.daemon.kill()
    wait_for(lambda: not any("fivetran_connector_sdk" in command_line(p) for p in found), "its end")


def test_the_example_runs(running):
    example = ROOT / "etc/examples/weather"
    connector(running, (example / "connector.py").read_text(), whole=True)
    running.sync("weather")
    running.sync("weather")
    assert running.query("SELECT city, count(*), max(at) FROM temperature GROUP BY city") == [
        ("Oslo", 48, "2026-01-02T23:00:00Z")
    ]
