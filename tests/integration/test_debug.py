"""wherryctl debug: a connector's project run once, without a daemon."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys

import duckdb
import pytest
import pythons
import wheels
from harness import SANITIZER_REPORT

SECRET = "hunter2-is-secret"
COUNTING = """
from fivetran_connector_sdk import Connector, Logging as log, Operations as op

def update(configuration, state):
    n = state.get("n", 0)
    log.info(f"round {n}")
    op.upsert("item", {"id": n, "note": "new"})
    op.upsert("item", {"id": 99, "note": "old"})
    op.update("item", {"id": 99, "note": "changed"})
    op.delete("item", {"id": 99})
    op.truncate("other")
    op.checkpoint({"n": n + 1})
    BODY

connector = Connector(update=update, schema=lambda configuration: [{"table": "item", "primary_key": ["id"]}])
"""


class Project:
    def __init__(self, build, folder):
        self.build = build
        self.folder = folder / "project"
        self.home = folder / "home"
        self.wheels = folder / "wheels"
        self.folder.mkdir()
        self.home.mkdir()
        wheels.make_wheel(self.wheels, "requests")
        self.connector()
        self.write("configuration.json", "{}").chmod(0o600)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def connector(self, body="pass"):
        self.write("connector.py", COUNTING.replace("BODY", body))

    def debug(self, *arguments, status=0, env=None):
        environment = wheels.settings(self.wheels, HOME=str(self.home), LC_ALL="C.UTF-8", **(env or {}))
        for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            environment.pop(name, None)
        done = subprocess.run(
            [self.build.wherryctl, "debug", self.folder, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            env=environment,
            timeout=120,
        )
        assert not SANITIZER_REPORT.search(done.stderr), done.stderr
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def python(self, *arguments, status=0, module=None, cwd=None, path=None):
        """python connector.py, with the build's module on its path."""
        module = module or self.build.path / "connectors/python"
        environment = wheels.settings(
            self.wheels,
            HOME=str(self.home),
            PYTHONPATH=str(module),
            PATH=f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"],
            XDG_STATE_HOME="",
            TMPDIR=str(self.home),
        )
        done = subprocess.run(
            [sys.executable, "-B", self.folder / "connector.py", *arguments],
            cwd=cwd or self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            env=environment,
            timeout=120,
        )
        assert done.returncode == status, done.stdout + done.stderr
        assert [p.name for p in self.home.iterdir() if p.name.startswith("wherry-debug")] == []
        return done

    def main(self, call, body="pass"):
        program = COUNTING.replace("BODY", body) + f'\nif __name__ == "__main__":\n    {call}\n    print("after it")\n'
        self.write("connector.py", program)

    def refused(self, *arguments, status=2, **options):
        return self.debug(*arguments, status=status, **options).stderr.removeprefix("wherryctl: ").rstrip("\n")

    def state(self):
        return json.loads((self.folder / "files/state.json").read_text())

    def query(self, sql):
        with duckdb.connect(str(self.folder / "files/warehouse.db"), read_only=True) as connection:
            return connection.execute(sql).fetchall()


@pytest.fixture
def project(plain_build, tmp_path):
    return Project(plain_build, tmp_path)


def counts(output):
    table = output[output.index("SYNC PROGRESS:") :].splitlines()
    assert table[1] == "Operation       | Calls"
    return {name.strip(): int(calls) for name, calls in (line.split("|") for line in table[3:9])}


def test_what_it_shows(project):
    said = project.debug().stdout
    assert said.startswith("Previous state:\n{}\n")
    assert re.search(r"^\d\d:\d\d:\d\d\.\d{3} info     round 0$", said, re.M)
    assert "[SchemaChange]: tester.item\n" in said
    assert 'Checkpoint: {"n": 1}\n' in said
    assert counts(said) == {
        "Upserts": 2,
        "Updates": 1,
        "Deletes": 1,
        "Truncates": 1,
        "SchemaChanges": 1,
        "Checkpoints": 1,
    }
    assert said.endswith("Sync SUCCEEDED\n")
    assert project.state() == {"n": 1}
    assert project.query("SELECT id, note, _fivetran_deleted FROM tester.item ORDER BY id") == [
        (0, "new", False),
        (99, "changed", True),
    ]


def test_it_goes_on_from_its_state(project):
    project.debug()
    said = project.debug().stdout
    assert said.startswith('Previous state:\n{"n": 1}\n')
    assert "[SchemaChange]" not in said
    assert project.state() == {"n": 2}
    project.write("files/state.json", '{"n": 10}')
    assert "round 10" in project.debug().stdout
    assert [row[0] for row in project.query("SELECT id FROM tester.item ORDER BY id")] == [0, 1, 10, 99]


def test_a_connector_is_told_that_it_is_debugged(project):
    """In the words of Fivetran's debug."""
    project.connector("op.upsert('t', {name: value for name, value in __import__('os').environ.items()})")
    project.debug()
    names = ["connection_id", "connection_name", "group_id", "deployment_model"]
    ((*found,),) = project.query(f"SELECT {', '.join('fivetran_' + name for name in names)} FROM tester.t")
    assert found == ["test_connection_id", "test_connection_name", "test_group_id", "local_debug"]


def test_a_given_state(project):
    path = project.write("mine.json", '{"n": 5}')
    assert "round 5" in project.debug("--state", path).stdout
    assert "round 5" in project.debug(env={"FIVETRAN_STATE": "mine.json"}).stdout
    assert project.state() == {"n": 6}


def test_reset_begins_anew(project):
    project.debug()
    subprocess.run([project.build.wherryctl, "reset", project.folder, "--yes"], check=True, capture_output=True)
    said = project.debug().stdout
    assert said.startswith("Previous state:\n{}\n")
    assert "[SchemaChange]: tester.item" in said
    assert project.state() == {"n": 1}


def test_a_failure_keeps_the_last_checkpoint(project):
    project.connector("op.upsert('item', {'id': 50}); raise ValueError('boom')")
    said = project.debug(status=1).stdout
    assert said.endswith("Sync FAILED: ValueError: boom\n")
    assert "raise ValueError('boom')" in said
    assert project.state() == {"n": 1}
    assert [row[0] for row in project.query("SELECT id FROM tester.item ORDER BY id")] == [0, 99]


def test_types_change_without_reset(project):
    project.connector("op.upsert('item', {'id': 0, 'v': 1})")
    project.debug()
    project.connector("op.upsert('item', {'id': 0, 'v': 'text'})")
    said = project.debug().stdout
    assert "[SchemaChange]: tester.item" in said
    assert project.query("SELECT v FROM tester.item WHERE id = 0") == [("text",)]


def test_an_environment_is_built_once(project):
    wheels.make_wheel(project.wheels, "tool")
    project.write("requirements.txt", "tool\nfivetran-connector-sdk\n")
    project.connector("import tool, requests; log.info('versions ' + tool.version + requests.version)")
    first = project.debug()
    assert "building the environment" in first.stderr
    assert "versions 1.01.0" in first.stdout
    assert "building the environment" not in project.debug().stderr


def test_another_python(project):
    """The newest that is found (tests/connectors tries what the module does under all of them)."""
    found = [(minor, program) for minor in reversed(pythons.MINORS) if (program := pythons.find(minor))]
    if not found:
        pytest.skip("there is no other Python on this machine, 3.10 to 3.14")
    minor, program = found[0]
    project.connector("import sys; op.upsert('t', {'a': 0.5, 'minor': sys.version_info.minor})")
    project.debug("--python-version", program)
    assert project.query("SELECT a, minor FROM tester.t") == [(0.5, minor)]


def test_a_failed_install(project):
    project.write("requirements.txt", "nowhere_to_be_found==9\n")
    said = project.debug(status=1).stdout
    assert said.startswith("Sync FAILED: requirements.txt cannot be installed: ")
    assert "No matching distribution found for nowhere_to_be_found==9" in said


def test_a_driver_without_its_library(project, tmp_path):
    """An extension that was linked against a library which is not there."""
    (tmp_path / "pq.c").write_text("int PQconnect(void); int PQconnect(void) { return 0; }\n")
    (tmp_path / "driver.c").write_text(
        "int PQconnect(void); int PyInit__x(void); int PyInit__x(void) { return PQconnect(); }\n"
    )
    cc = ["gcc", "-shared", "-fPIC"]
    subprocess.run([*cc, "-Wl,-soname,libpq.so.0", "pq.c", "-o", "libpq.so"], check=True, cwd=tmp_path)
    subprocess.run([*cc, "driver.c", "-L.", "-lpq", "-o", "_x.abi3.so"], check=True, cwd=tmp_path)
    extension = {"driver/_x.abi3.so": (tmp_path / "_x.abi3.so").read_bytes()}
    wheels.make_wheel(project.wheels, "driver", code="from driver import _x\n", files=extension)
    project.write("requirements.txt", "driver\n")
    project.connector("import driver")
    said = project.debug(status=1).stdout
    assert said.endswith(
        "Sync FAILED: ImportError: libpq.so.0: cannot open shared object file: No such file or directory; the package "
        '"driver" needs the shared library "libpq.so.0", which this machine lacks: install what brings it, below /usr\n'
    )


def test_the_configuration(project):
    project.connector("log.info('city is ' + configuration['city'])")
    project.write("configuration.json", '{"city": "Oslo"}').chmod(0o600)
    assert "city is Oslo" in project.debug().stdout
    other = project.write("other.json", '{"city": "Bern"}')
    other.chmod(0o600)
    assert "city is Bern" in project.debug("--configuration", "other.json").stdout
    assert "city is Bern" in project.debug(env={"FIVETRAN_CONFIGURATION": str(other)}).stdout


def test_no_configuration(project):
    (project.folder / "configuration.json").unlink()
    assert project.refused() == (
        f'configuration is required: there is no configuration.json in "{project.folder}"; make one ("{{}}" where '
        "nothing is needed), or name it with --configuration"
    )
    assert project.refused("--configuration", "absent.json") == (
        'the configuration "absent.json" cannot be read: no such file or directory'
    )


def test_bad_configuration_and_state(project):
    path = project.write("configuration.json", '{"a": 1}')
    path.chmod(0o600)
    assert project.refused() == (
        f'{path}: invalid configuration; all values must be strings: "a" is a number, write it in quotes'
    )
    path.write_text("{}")
    state = project.write("s.json", "{")
    assert project.refused("--state", state).startswith(f"{state}:1:1: invalid state; this is not JSON: ")
    state.write_text("[]")
    assert project.refused("--state", state) == f"{state}: invalid state; it must be a JSON object"
    assert project.refused("--state", "absent.json") == (
        'the state "absent.json" cannot be read: no such file or directory'
    )
    assert project.refused("--naming", "MINE") == (
        '"--naming MINE" is neither FIVETRAN (names are normalised) nor SOURCE (names stay)'
    )


def test_no_connector(project):
    (project.folder / "connector.py").unlink()
    assert project.refused().startswith(f'there is no connector.py in "{project.folder}"; ')


def test_a_build_without_duckdb_says_so_at_once(project, tmp_path):
    """Not after the minute that an environment may take."""
    (tmp_path / "alone/libexec/wherry").mkdir(parents=True)
    (tmp_path / "alone/bin").mkdir()
    alone = shutil.copy(project.build.wherryctl, tmp_path / "alone/bin")
    done = subprocess.run([alone, "debug", project.folder], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "wherryctl: debug writes a DuckDB file, and this wherry was built without DuckDB: there is no "
        f'"{tmp_path}/alone/libexec/wherry/destination-duckdb"; run "subprojects/fetch duckdb", then "meson setup '
        "--reconfigure\" with the build's folder, and build again\n"
    )


def test_a_world_readable_configuration_is_warned_about(project):
    path = project.folder / "configuration.json"
    path.chmod(0o644)
    assert f'warning: "{path}" can be read by every user of this machine; chmod 600 it' in project.debug().stderr


def test_secrets_are_masked(project):
    project.write("configuration.json", json.dumps({"key": SECRET})).chmod(0o600)
    project.connector("print(configuration); log.info(configuration['key']); raise ValueError(configuration['key'])")
    done = project.debug(status=1)
    assert SECRET not in done.stdout + done.stderr
    assert "Sync FAILED: ValueError: ****" in done.stdout
    found = subprocess.run(["grep", "-rla", SECRET, project.home, project.folder], capture_output=True, text=True)
    assert found.stdout.split() == [str(project.folder / "configuration.json")]


def test_a_database_that_is_open_elsewhere(project):
    project.debug()
    with duckdb.connect(str(project.folder / "files/warehouse.db")):
        said = project.debug(status=1).stdout
    reason = said[said.index("Sync FAILED: ") :]
    assert "warehouse.db" in reason
    assert str(os.getpid()) in reason


def test_names(project):
    project.connector("op.upsert('MyTable', {'userID': 1})")
    project.debug("--naming", "SOURCE")
    assert project.query('SELECT "userID" FROM tester."MyTable"') == [(1,)]
    project.debug("--naming=fivetran")
    assert project.query("SELECT user_id FROM tester.my_table") == [(1,)]


def test_the_files_are_the_users_own(project):
    before = os.umask(0o037)
    try:
        project.debug()
    finally:
        os.umask(before)
    assert stat.S_IMODE((project.folder / "files/warehouse.db").stat().st_mode) == 0o640
    assert sorted(path.name for path in (project.folder / "files").iterdir()) == ["state.json", "warehouse.db"]


# --- connector.debug() ---


def test_debug_in_python_is_that_of_the_command(project, tmp_path):
    project.main("connector.debug()")
    said = project.python().stdout
    assert said.startswith("Previous state:\n{}\n")
    assert said.endswith("Sync SUCCEEDED\nafter it\n")
    assert counts(said)["Upserts"] == 2
    assert project.state() == {"n": 1}
    said = project.python(cwd=tmp_path).stdout  # as an editor starts it
    assert 'Previous state:\n{"n": 1}\n' in said
    assert project.query("SELECT id FROM tester.item ORDER BY id") == [(0,), (1,), (99,)]


def test_debug_in_python_takes_dictionaries_and_hides_them(project):
    (project.folder / "configuration.json").unlink()
    project.main(
        f"connector.debug(configuration={{'key': '{SECRET}'}}, state={{'n': 7}}, naming='SOURCE_NAMING')",
        """
    op.upsert("Found", {"Key": configuration["key"][::-1]})
    print("told", configuration["key"])
""",
    )
    done = project.python()
    assert SECRET not in done.stdout + done.stderr
    assert 'Previous state:\n{"n": 7}\n' in done.stdout and "warning" not in done.stderr
    assert project.state() == {"n": 8}
    assert project.query('SELECT "Key" FROM tester."Found"') == [(SECRET[::-1],)]


def test_the_dictionaries_are_private_files(project, tmp_path):
    """A wherryctl that tells what it was given."""
    tool = tmp_path / "bin/wherryctl"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\nfor word; do echo "$word"; f="${word#*=}"; [ -f "$f" ] && stat -c %a "$f" && cat "$f"; done\n'
    )
    tool.chmod(0o755)
    module = tmp_path / "elsewhere/python"
    shutil.copytree(project.build.path / "connectors/python/fivetran_connector_sdk", module / "fivetran_connector_sdk")
    project.main("connector.debug(project_path='.', configuration={'key': 'v'}, state={'n': [1, None]})")
    said = project.python(module=module, path=tool.parent).stdout.splitlines()
    assert said[:2] == ["debug", str(project.folder)]
    assert re.fullmatch(r"--configuration=.*/wherry-debug-\w+/configuration.json", said[2])
    assert said[3:5] == ["600", '{"key": "v"}--state=' + said[2][16:].replace("configuration.json", "state.json")]
    assert said[5:] == ["600", '{"n": [1, null]}after it']


def test_debug_in_python_fails_as_the_command(project):
    project.main("connector.debug()", 'raise ValueError("no such city")')
    done = project.python(status=1)
    assert "Sync FAILED: ValueError: no such city\n" in done.stdout and "after it" not in done.stdout
    project.main("connector.debug(configuration={'key': 5})")
    said = project.python(status=2).stderr
    assert 'invalid configuration; all values must be strings: "key" is a number, write it in quotes' in said
    (project.folder / "configuration.json").unlink()
    project.main("connector.debug()")
    assert "configuration is required" in project.python(status=2).stderr


def test_debug_in_python_without_wherryctl(project, tmp_path):
    module = tmp_path / "elsewhere/python"
    shutil.copytree(project.build.path / "connectors/python/fivetran_connector_sdk", module / "fivetran_connector_sdk")
    project.main("connector.debug()")
    if not shutil.which("wherryctl"):
        said = project.python(status=1, module=module).stderr
        assert "RuntimeError: connector.debug() needs the program wherryctl, which is neither installed beside" in said
    said = project.python(module=module, path=project.build.wherryctl.parent).stdout
    assert said.endswith("Sync SUCCEEDED\nafter it\n")


def test_debug_in_a_sync_is_refused(project):
    project.write("connector.py", COUNTING.replace("BODY", "pass") + "\nconnector.debug()\n")
    said = project.debug(status=1).stdout
    assert 'keep connector.debug() under if __name__ == "__main__":' in said
