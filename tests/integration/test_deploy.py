"""wherryctl init, package, reset, deploy and configuration, against the real daemon."""

import base64
import json
import os
import socket
import stat
import subprocess
import zipfile

import duckdb
import pytest
import wheels
from harness import wait_for

SECRET = "hunter2-is-secret"
CONNECTOR = """
from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op

def update(configuration, state):
    op.upsert("t", {"id": 1, "keys": ",".join(sorted(configuration)), "version": VERSION})
    op.checkpoint(state)

connector = Connector(update=update, schema=lambda configuration: [{"table": "t", "primary_key": ["id"]}])
"""


class Deployed:
    """An installation with one destination, and a project to deploy to it."""

    def __init__(self, wherry):
        self.wherry = wherry
        self.project = wherry.root / "project"
        self.wheels = wherry.root / "wheels"
        self.kept = wherry.state_dir / "deployed"
        self.project.mkdir()
        wheels.make_wheel(self.wheels, "requests")
        self.write("connector.py", CONNECTOR.replace("VERSION", "1"))
        self.destinations("warehouse")
        wherry.start(env=self.settings())

    def settings(self):
        return wheels.settings(self.wheels)

    def destinations(self, *names):
        text = "".join(f"  {name}: {{type: sqlite, path: {self.wherry.root}/{name}.db}}\n" for name in names)
        (self.wherry.config_dir / "wherry.yaml").write_text(f"destinations:\n{text}" if names else "")

    def write(self, name, text):
        path = self.project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def configuration(self, **values):
        path = self.write("configuration.json", json.dumps(values))
        path.chmod(0o600)
        return path

    def deploy(self, *arguments, name="weather", **options):
        return self.wherry.ctl("deploy", self.project, "--connection", name, *arguments, **options)

    def refused(self, *arguments, status=2, **options):
        done = self.deploy(*arguments, status=status, **options)
        return done.stderr.removeprefix("wherryctl: ").rstrip("\n")

    def pipeline(self, name="weather"):
        return (self.kept / f"pipelines.d/{name}.yaml").read_text()

    def versions(self, name="weather"):
        return sorted((self.kept / f"projects/{name}/versions").iterdir())

    def files(self, name="weather"):
        folder = self.versions(name)[-1] / "project"
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def rows(self):
        return self.wherry.query("SELECT keys, version FROM t", database=self.wherry.root / "warehouse.db")


@pytest.fixture
def deployed(wherry):
    return Deployed(wherry)


@pytest.fixture
def running(plain_wherry):
    """For tests that sync: a plain Python cannot load a module with sanitizers."""
    return Deployed(plain_wherry)


# --- init ---


def test_init_makes_a_project(wherry):
    project = wherry.root / "new"
    said = wherry.ctl("init", project).stdout
    assert sorted(path.name for path in project.iterdir()) == [
        ".gitignore",
        "configuration.json",
        "connector.py",
        "requirements.txt",
    ]
    assert f'run it with "wherryctl debug {project}"' in said
    assert "configuration.json" in (project / ".gitignore").read_text().splitlines()
    assert stat.S_IMODE((project / "configuration.json").stat().st_mode) == 0o600
    again = wherry.ctl("init", project, status=2).stderr
    assert (
        again == f'wherryctl: "{project}/connector.py" is there already; nothing was changed (--force writes it anew)\n'
    )
    (project / "connector.py").write_text("old")
    (project / "requirements.txt").write_text("mine")
    assert wherry.ctl("init", project, "-f").stdout.startswith("  connector.py\nrun it with ")
    assert "def update(" in (project / "connector.py").read_text()
    assert (project / "requirements.txt").read_text() == "mine"


@pytest.mark.parametrize("template", ["hello", "cursor"])
def test_templates_are_python(wherry, template):
    wherry.ctl("init", wherry.root / "new", "--template", template)
    compile((wherry.root / "new/connector.py").read_text(), "connector.py", "exec")


def test_unknown_template(wherry):
    said = wherry.ctl("init", wherry.root / "new", "--template", "helo", status=2).stderr
    assert said == 'wherryctl: there is no template "helo"; there are "hello" and "cursor"\n'
    assert not (wherry.root / "new").exists()


# --- package and reset ---


def test_what_is_packed(wherry, tmp_path):
    files = {
        "connector.py": "",
        "requirements.txt": "",
        "tools/__init__.py": "",
        "tools/data.csv": "1",
        "drivers/installation.sh": "#!/bin/sh\n",
        "configuration.json": "{}",
        "files/warehouse.db": "",
        ".hidden": "",
        ".git/config": "",
        "tools/__pycache__/x.pyc": "",
        "venv/pyvenv.cfg": "",
        "venv/lib/x.py": "",
        "notes.log": "",
        "kept.log": "",
        "build/x.py": "",
        "tools/build/y.py": "",
        ".gitignore": "*.log\n!kept.log\n/build/\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    wherry.ctl("package", tmp_path)
    with zipfile.ZipFile(tmp_path / "files/code.zip") as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "connector.py",
            "drivers/installation.sh",
            "kept.log",
            "requirements.txt",
            "tools/__init__.py",
            "tools/build/y.py",
            "tools/data.csv",
        ]
        assert archive.read("tools/data.csv") == b"1"


def test_links_out_of_the_project_are_refused(wherry, tmp_path):
    (tmp_path / "connector.py").write_text("")
    (tmp_path / "passwords").symlink_to("/etc/passwd")
    said = wherry.ctl("package", tmp_path, status=2).stderr
    assert said == (
        'wherryctl: "passwords" is a symbolic link out of the project, to "/etc/passwd"; put the file itself there, or '
        "leave the link out with .gitignore\n"
    )


def test_no_connector(wherry, tmp_path):
    for command in ("package", "reset"):
        said = wherry.ctl(command, tmp_path, status=2).stderr
        assert said == (
            f'wherryctl: there is no connector.py in "{tmp_path}"; go to the project\'s folder or name it, or make a '
            'new one with "wherryctl init"\n'
        )


def test_reset(wherry, tmp_path):
    (tmp_path / "connector.py").write_text("")
    (tmp_path / "files").mkdir()
    (tmp_path / "files/warehouse.db").write_text("")
    said = wherry.ctl("reset", tmp_path, input="n\n", status=1)
    assert said.stdout.endswith("Go on? (Y/n): nothing was changed\n")
    assert "nobody answers; --yes does" in wherry.ctl("reset", tmp_path, status=2).stderr
    assert (tmp_path / "files").exists()
    assert wherry.ctl("reset", tmp_path, input="\n").stdout.endswith("reset successful\n")
    assert not (tmp_path / "files").exists()
    for flag in ("--yes", "--force", "-f", "--non-interactive"):
        assert wherry.ctl("reset", tmp_path, flag).stdout == "reset successful\n"


# --- deploy ---


def test_deploy_and_sync(running):
    running.configuration(api_key=SECRET, city="Oslo")
    said = running.deploy("--configuration", running.project / "configuration.json").stdout
    assert said.splitlines()[-3:] == [
        "start it with",
        "  wherryctl resume weather",
        "  wherryctl sync weather --follow",
    ]
    assert 'deployed "weather": 1 file, Python 3.' in said
    assert 'into "warehouse"; it is paused' in said
    assert running.wherry.status("weather")["state"] == "paused"
    assert running.wherry.sync("weather")["outcome"] == "succeeded"
    assert running.rows() == [("api_key,city", 1)]


def test_tables_lie_in_a_schema_of_the_connections_own(running):
    path = running.wherry.root / "lake" / "x.duckdb"
    path.parent.mkdir()
    text = (
        f"destinations:\n  lake: {{type: duckdb, path: {path}}}\n  named: {{type: duckdb, path: {path}, schema: s}}\n"
    )
    (running.wherry.config_dir / "wherry.yaml").write_text(text)
    running.wherry.ctl("reload")
    running.deploy("--destination", "lake")
    running.deploy("--destination", "named", name="other")
    running.wherry.sync("weather")
    running.wherry.sync("other")
    with duckdb.connect(str(path), read_only=True) as connection:
        found = connection.execute(
            "SELECT table_schema FROM information_schema.tables WHERE table_name = 't'"
        ).fetchall()
    assert sorted(found) == [("s",), ("weather",)]


def test_deploy_again_keeps_the_configuration(running):
    running.configuration(api_key=SECRET)
    running.deploy("--configuration", running.project / "configuration.json")
    running.wherry.ctl("resume", "weather")
    running.write("connector.py", CONNECTOR.replace("VERSION", "2"))
    said = running.deploy("--force").stdout
    assert "deployed again" in said
    assert "paused" not in said
    assert 'the configuration stays as it was; "--configuration configuration.json" replaces it\n' in said
    running.wherry.sync("weather")
    assert running.rows() == [("api_key", 2)]


def test_deploying_a_configuration_replaces_all_of_it(deployed):
    path = deployed.configuration(old="1")
    said = deployed.deploy().stdout
    assert said.endswith('configuration.json is not deployed; "--configuration configuration.json" does it\n')
    deployed.deploy("--configuration", path, "--yes")
    deployed.deploy("--configuration", deployed.configuration(new="1"), "--yes")
    assert deployed.wherry.ctl("configuration", "weather").stdout == "new\n"


def test_overwriting_is_asked_for(deployed):
    deployed.deploy()
    before = deployed.pipeline()
    said = deployed.deploy(input="\n", status=1).stdout
    assert '"weather" was deployed already. Overwrite its code? (y/N): nothing was changed' in said
    assert deployed.refused("--non-interactive") == (
        '"weather" was deployed already. Overwrite its code? Answer with --yes'
    )
    assert deployed.pipeline() == before
    deployed.deploy(input="y\n")
    assert deployed.pipeline() != before


@pytest.mark.parametrize("name", ["Weather", "1weather", "weather-report", "../weather", "w" * 64])
def test_bad_names(deployed, name):
    assert deployed.refused(name=name) == (
        f'"{name}" cannot name a connection: a-z, 0-9 and _, beginning with a letter or _, at most 63'
    )
    assert call(deployed.wherry, "Deploy", connection=name)["error"] == "org.wherry.Manager.BadConfiguration"
    assert not deployed.kept.exists()


def test_no_name(deployed):
    assert deployed.wherry.ctl("deploy", deployed.project, status=2).stderr == (
        "wherryctl: say what the connection is to be called: wherryctl deploy --connection NAME\n"
    )


def test_names_from_the_environment(deployed):
    path = deployed.configuration(key=SECRET)
    env = {
        "FIVETRAN_CONNECTION_NAME": "from_environment",
        "FIVETRAN_DESTINATION_NAME": "warehouse",
        "FIVETRAN_CONFIGURATION": str(path),
        "FIVETRAN_NAMING": "source",
    }
    deployed.wherry.ctl("deploy", deployed.project, env=env)
    assert 'naming: "source"' in deployed.pipeline("from_environment")
    assert deployed.wherry.ctl("configuration", "from_environment").stdout == "key\n"


def test_flags_without_meaning_are_noted_and_never_shown(deployed):
    done = deployed.deploy("--api-key", SECRET, "--proxy-id=" + SECRET, "--hybrid-deployment-agent-id", SECRET)
    for flag in ("--api-key", "--proxy-id", "--hybrid-deployment-agent-id"):
        assert f'wherryctl: note: "{flag}" has no meaning here and is not used\n' in done.stderr
    assert SECRET not in done.stderr + done.stdout + deployed.wherry.daemon.log()

    done = deployed.wherry.ctl("configuration", "weather", "--test", "--disable-encryption")
    assert done.stderr.count("has no meaning here and is not used") == 2


FLAGS = {  # those that Fivetran's command takes, besides the project's folder
    "init": ["-f", "--force", "--yes", "--non-interactive", "--template hello"],
    "debug": [
        "--configuration c.json",
        "--state s.json",
        "--naming SOURCE",
        "--proxy-id x",
        "--proxy-host-config-key x",
    ],
    "deploy": [
        *["--api-key x", "--destination d", "--connection c", "--configuration c.json", "--python-version 3.12"],
        *["--python 3.12", "--hybrid-deployment-agent-id x", "--proxy-id x", "--proxy-host-config-key x"],
        *["--naming FIVETRAN", "--package-id x", "--options-file x", "--profile x"],
        *["-f", "--force", "--yes", "--non-interactive"],
    ],
    "package": ["-f", "--force", "--yes", "--non-interactive"],
    "reset": ["-f", "--force", "--yes", "--non-interactive"],
    "configuration": ["--test", "--disable-encryption"],
    "version": [],
}


@pytest.mark.parametrize("command", FLAGS)
def test_every_published_flag_is_taken(wherry, command):
    """With --help nothing is done, but a flag that is not known is refused all the same."""
    for flag in FLAGS[command]:
        help = wherry.ctl(command, "--help").stdout
        assert f"  {flag.split()[0]} " in help, f"{command} {flag}"
    flags = " ".join(FLAGS[command]).split()
    assert wherry.ctl(command, *flags, "--help").stdout.startswith(f"wherryctl {command}")


def test_a_flag_of_another_command_is_called_as_it_was_given(wherry):
    for flag in ("--yes", "-f", "--proxy-id=x"):
        name = flag.partition("=")[0]
        assert f'"wherryctl status" has no option "{name}"' in wherry.ctl("status", flag, status=2).stderr


def test_state_is_not_deployed(deployed):
    assert deployed.refused("--state", "x.json") == (
        '"wherryctl deploy" has no option "--state"; see "wherryctl help deploy"'
    )


def test_which_destination(deployed):
    deployed.destinations("one", "two")
    deployed.wherry.ctl("reload")
    assert deployed.refused() == 'there are several destinations: "one", "two"; say which with --destination'
    assert deployed.refused("--destination", "three") == (
        'wherry.yaml has no destination "three"; there are "one", "two"'
    )
    deployed.deploy("--destination", "two")
    deployed.deploy("--yes")
    assert 'destination: "two"' in deployed.pipeline()
    deployed.destinations()
    deployed.wherry.ctl("reload")
    assert "has no destination to deploy to; add one, such as" in deployed.refused(name="other")


def test_a_name_of_pipelines_d_is_refused(deployed):
    path = deployed.wherry.pipeline("weather", deployed.wherry.orders())
    assert deployed.refused() == (
        f'"weather" is the connection of "{path}" already, so that '
        f'"{deployed.kept}/pipelines.d/weather.yaml" cannot have its name; deploy under another name, or remove that '
        "file"
    )


def test_a_name_that_comes_into_pipelines_d_later(deployed):
    deployed.deploy()
    path = deployed.wherry.pipeline("weather", deployed.wherry.orders())
    status = deployed.wherry.status("weather")
    assert status["state"] == "broken"
    assert status["error"] == (
        f'{path}: "weather" was deployed, too: "{deployed.kept}/pipelines.d/weather.yaml"; remove one of the two files'
    )
    path.unlink()
    deployed.wherry.ctl("reload")
    assert deployed.wherry.status("weather")["state"] == "paused"


def test_a_failed_install_leaves_everything_as_it_was(running):
    running.deploy()
    before = running.pipeline()
    running.write("requirements.txt", "nowhere_to_be_found==9\n")
    error = running.refused("--yes")
    assert error.startswith("requirements.txt cannot be installed: ")
    assert "No matching distribution found for nowhere_to_be_found==9" in error
    assert running.pipeline() == before
    assert running.wherry.sync("weather")["outcome"] == "succeeded"
    assert len(running.versions()) == 1


def test_a_deploy_that_is_interrupted_changes_nothing(deployed):
    words = [deployed.wherry.build.wherryctl, f"--runtime-dir={deployed.wherry.runtime_dir}", "deploy"]
    asking = subprocess.Popen(
        [*words, deployed.project, "--connection", "weather"], stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert any("building the environment" in line for line in asking.stdout)
    asking.kill()
    asking.communicate()
    deployed.wherry.daemon.wait_log("not deployed: whoever asked for it has gone; all is as it was")
    assert not (deployed.kept / "pipelines.d/weather.yaml").exists()
    assert deployed.wherry.ctl_json("status")["connections"] == []
    wait_for(lambda: not deployed.versions(), "no version")
    deployed.deploy()


def test_another_python_that_is_not_served(deployed):
    assert deployed.refused("--python-version", "3.9") == (
        '"python: 3.9" is not served: name a version from 3.10 to 3.14, or the path of an interpreter'
    )
    assert not (deployed.kept / "pipelines.d/weather.yaml").exists()


def test_a_bad_frequency_is_refused_before_it_is_in_place(deployed):
    assert 'weather.yaml:3:12: "frequency"' in deployed.refused("--frequency", "often")
    assert not (deployed.kept / "pipelines.d/weather.yaml").exists()


def waiting_for(name):
    """The connector, which first waits for file NAME in its folder."""
    return CONNECTOR.replace("VERSION", "1").replace(
        "    op.upsert",
        f"    import time, os\n    print('begun')\n    while not os.path.exists('{name}'):\n        time.sleep(0.05)\n"
        "    import helper\n    op.upsert",
    )


def begin_waiting_for(running, name):
    """Deploys it and begins a sync; the folder of the version that runs."""
    running.write("connector.py", waiting_for(name))
    running.write("helper.py", "")
    running.deploy()
    running.wherry.ctl("resume", "weather")
    running.wherry.daemon.wait_log("begun")
    (version,) = running.versions()
    return version


def test_a_running_sync_finishes_on_the_old_code(running):
    running.write("connector.py", waiting_for("goes_on"))
    running.write("helper.py", "")
    running.deploy()
    waiting = subprocess.Popen(
        [running.wherry.build.wherryctl, f"--runtime-dir={running.wherry.runtime_dir}", "sync", "weather", "--wait"],
        stdout=subprocess.PIPE,
    )
    running.wherry.daemon.wait_log("begun")
    first = running.versions()[0] / "project"
    (running.project / "helper.py").unlink()
    for version in (2, 3, 4):
        running.write("connector.py", CONNECTOR.replace("VERSION", str(version)))
        running.deploy("--yes")
    (first / "goes_on").write_text("")  # it is there still
    waiting.communicate()
    assert waiting.returncode == 0, running.wherry.daemon.log()
    assert running.rows() == [("", 1)]
    running.wherry.sync("weather")
    assert running.rows() == [("", 4)]


def test_old_versions_go(deployed):
    for version in range(4):
        deployed.write("connector.py", CONNECTOR.replace("VERSION", str(version)))
        deployed.deploy("--yes")
    wait_for(lambda: len(deployed.versions()) == 2, "two versions")


def test_large_and_executable_files_arrive_whole(deployed):
    content = os.urandom(3_000_000)
    (deployed.project / "data.bin").write_bytes(content)
    deployed.write("empty.txt", "")
    deployed.write("tools/run.sh", "#!/bin/sh\n").chmod(0o755)
    deployed.deploy()
    folder = deployed.versions()[-1] / "project"
    assert (folder / "data.bin").read_bytes() == content
    assert deployed.files() == ["connector.py", "data.bin", "empty.txt", "tools/run.sh"]
    assert os.access(folder / "tools/run.sh", os.X_OK)


def test_drivers_are_packed_and_spoken_of(deployed):
    deployed.write("drivers/installation.sh", "#!/bin/sh\n")
    assert "drivers/installation.sh is not run" in deployed.deploy().stdout


# --- what configuration may be ---


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('{"a": 1}', 'invalid configuration; all values must be strings: "a" is a number, write it in quotes'),
        ('{"a": true}', 'invalid configuration; all values must be strings: "a" is a boolean, write it in quotes'),
        ('{"a": {}}', 'invalid configuration; all values must be strings: "a" is an object, write it in quotes'),
        ("[]", "invalid configuration; it must be a JSON object"),
        (
            json.dumps({str(i): "x" for i in range(101)}),
            "invalid configuration; it has 101 keys, at most 100 are allowed",
        ),
    ],
)
def test_bad_configurations(deployed, text, error):
    path = deployed.write("c.json", text)
    path.chmod(0o600)
    assert deployed.refused("--configuration", path) == f"{path}: {error}"


def test_configurations_that_are_no_json(deployed):
    path = deployed.write("c.json", '{\n  "password": "' + SECRET + '",\n}\n')
    path.chmod(0o600)
    error = deployed.refused("--configuration", path)
    assert error == f"{path}:3:1: invalid configuration; this is not JSON"
    path.write_text('{"a": "1", "a": "2"}')
    assert deployed.refused("--configuration", path).endswith(": a key stands there twice")
    assert deployed.refused("--configuration", "absent.json") == (
        'the configuration "absent.json" cannot be read: no such file or directory'
    )


def test_a_world_readable_configuration_is_warned_about(deployed):
    path = deployed.configuration(a="1")
    path.chmod(0o644)
    said = deployed.deploy("--configuration", path).stderr
    assert said == f'wherryctl: warning: "{path}" can be read by every user of this machine; chmod 600 it\n'


def test_secrets_are_nowhere_else(running):
    running.configuration(api_key=SECRET)
    running.write(
        "connector.py", CONNECTOR.replace("VERSION", "1").replace("    op.ups", "    print(configuration)\n    op.ups")
    )
    running.deploy("--configuration", running.project / "configuration.json")
    running.wherry.ctl("configuration", "weather", "set", "token", input=SECRET + "2\n")
    running.wherry.sync("weather")
    stored = running.kept / "projects/weather/configuration.json"
    assert json.loads(stored.read_text()) == {"api_key": SECRET, "token": SECRET + "2"}
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600
    assert stat.S_IMODE(running.kept.stat().st_mode) == 0o700
    found = subprocess.run(
        ["grep", "-rla", SECRET, running.wherry.state_dir, *running.wherry.root.glob("log*")],
        capture_output=True,
        text=True,
    ).stdout
    assert found.split() == [str(stored)]


# --- configuration ---


def test_changing_values(running):
    running.deploy()
    ctl = running.wherry.ctl
    assert ctl("configuration", "weather").stdout == "weather: the configuration is empty\n"
    said = ctl("configuration", "weather", "set", "b", input="first\nsecond\n").stdout
    assert said == 'weather: "b" is set; the next sync uses it\n'
    ctl("configuration", "weather", "set", "a", input="x")
    assert ctl("configuration", "weather").stdout == "a\nb\n"
    assert running.wherry.ctl_json("configuration", "weather") == {"names": ["a", "b"]}
    stored = json.loads((running.kept / "projects/weather/configuration.json").read_text())
    assert stored == {"a": "x", "b": "first\nsecond"}
    running.wherry.sync("weather")
    assert running.rows() == [("a,b", 1)]
    ctl("configuration", "weather", "unset", "a")
    assert ctl("configuration", "weather").stdout == "b\n"
    assert ctl("configuration", "weather", "unset", "a", status=2).stderr == (
        'wherryctl: the configuration of "weather" has no "a"; "wherryctl configuration weather" lists what it has\n'
    )


def test_configuration_of_what_was_not_deployed(deployed):
    path = deployed.wherry.pipeline("orders", deployed.wherry.orders())
    assert deployed.wherry.ctl("configuration", "orders", status=2).stderr == (
        f'wherryctl: "orders" was not deployed: its configuration stands in "{path}"\n'
    )
    assert "there is no connection" in deployed.wherry.ctl("configuration", "nothing", status=2).stderr
    assert "say what to do" in deployed.wherry.ctl("configuration", "orders", "sett", "x", status=2).stderr


# --- undeploy ---


def undeployed(name, destination="warehouse"):
    return (
        f'undeployed "{name}": its code, environment and configuration are removed\n'
        f'rows and state stay in "{destination}": deployed again under this name it goes on from there, and\n'
        f'"wherryctl sync {name} --full" then begins anew\n'
    )


def test_undeploy_leaves_rows_and_state(running):
    counting = CONNECTOR.replace("VERSION", "1").replace(
        "checkpoint(state)", 'checkpoint({"n": state.get("n", 0) + 1})'
    )
    running.write("connector.py", counting)
    running.deploy("--configuration", running.configuration(api_key=SECRET))
    running.wherry.ctl("resume", "weather")
    running.wherry.sync("weather")
    assert running.wherry.ctl("undeploy", "weather", "--force").stdout == undeployed("weather")
    assert running.wherry.ctl_json("status")["connections"] == []
    assert not (running.kept / "pipelines.d/weather.yaml").exists()
    wait_for(lambda: not list((running.kept / "projects").iterdir()), "the end of its files")
    wait_for(lambda: not list((running.kept / "uploads").iterdir()), "the end of what was put aside")
    assert running.rows() == [("api_key", 1)]
    running.deploy()
    assert running.wherry.status("weather")["state"] == "paused", "new, although it was resumed before"
    assert running.wherry.ctl("configuration", "weather").stdout == "weather: the configuration is empty\n"
    running.wherry.sync("weather")
    assert json.loads(running.wherry.ctl("state", "weather", "get").stdout) == {"n": 2}


def undeploy_amid_a_deploy(deployed):
    wheels.make_wheel(deployed.wheels, "tool")
    deployed.write("requirements.txt", "tool\n")  # else nothing is built
    words = [deployed.wherry.build.wherryctl, f"--runtime-dir={deployed.wherry.runtime_dir}", "deploy", "--yes"]
    asking = subprocess.Popen(
        [*words, deployed.project, "--connection", "weather"], stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert any("building the environment" in line for line in asking.stdout)
    said = deployed.wherry.ctl("undeploy", "weather", "--force", status=1).stderr
    asking.communicate()
    assert asking.returncode == 0
    return said


def test_undeploying_is_asked_for(deployed):
    question = 'Remove "weather", with its code, environment and configuration?'
    deployed.deploy()
    said = deployed.wherry.ctl("undeploy", "weather", input="\n", status=1).stdout
    assert said == f"{question} (y/N): nothing was changed\n"
    refused = deployed.wherry.ctl("undeploy", "weather", "--non-interactive", status=2).stderr
    assert refused == f"wherryctl: {question} Answer with --yes\n"
    looked = call(deployed.wherry, "Undeploy", connection="weather")["parameters"]
    assert looked == {"destination": "warehouse", "syncing": False}
    assert undeploy_amid_a_deploy(deployed) == (
        'wherryctl: a deploy of "weather" is going on: try again when it has ended\n'
    )
    assert deployed.wherry.status("weather")["state"] == "paused"
    assert deployed.wherry.ctl("undeploy", "weather", input="y\n").stdout == f"{question} (y/N): " + undeployed(
        "weather"
    )
    assert deployed.wherry.ctl_json("status")["connections"] == []
    assert call(deployed.wherry, "Undeploy", connection="weather")["error"].endswith(".NoSuchConnection")


def test_undeploy_of_what_was_not_deployed(deployed):
    path = deployed.wherry.pipeline("orders", deployed.wherry.orders())
    assert deployed.wherry.ctl("undeploy", "orders", status=2).stderr == (
        f'wherryctl: "orders" was not deployed: it is defined in "{path}"; remove that file, then "wherryctl reload"\n'
    )
    assert deployed.wherry.ctl("undeploy", "order", "--force", status=2).stderr == (
        'wherryctl: there is no connection "order"; did you mean "orders"?\n'
    )
    assert "there is no connection" in deployed.wherry.ctl("undeploy", "../orders", status=2).stderr
    assert path.exists()


def test_undeploy_ends_a_conflict_of_names(deployed):
    deployed.deploy()
    deployed.wherry.pipeline("weather", deployed.wherry.orders())
    assert deployed.wherry.status("weather")["state"] == "broken"
    said = deployed.wherry.ctl_json("undeploy", "weather", "--yes")
    assert said == {"destination": "warehouse", "syncing": False}
    assert deployed.wherry.status("weather")["state"] == "idle"
    wait_for(lambda: not list((deployed.kept / "projects").iterdir()), "the end of its files")


def test_a_sync_goes_on_although_its_connection_is_undeployed(running):
    """And is in nobody's way: what is deployed under its name meanwhile stays."""
    version = begin_waiting_for(running, "goes_on")
    said = running.wherry.ctl("undeploy", "weather", input="y\n").stdout
    assert said.startswith(
        '"weather" is syncing, and that sync would go on to its end; "wherryctl cancel weather" ends it now\n'
    )
    assert "\nits sync goes on to its end, with the code that it has\n" in said
    assert running.wherry.ctl_json("status")["connections"] == []
    assert not (running.kept / "projects/weather/configuration.json").exists()
    (version / "project/goes_on").write_text("")
    running.wherry.daemon.wait_log("weather: synced 1 row")
    assert running.rows() == [("", 1)]
    wait_for(lambda: not (running.kept / "projects/weather").exists(), "the end of its files")


def test_what_is_deployed_while_the_undeployed_still_runs_stays(running):
    version = begin_waiting_for(running, "goes_on")
    running.wherry.ctl("undeploy", "weather", "--force")
    running.write("connector.py", CONNECTOR.replace("VERSION", "2"))
    said = running.deploy().stdout
    assert 'deployed "weather"' in said and "it is paused" in said
    (version / "project/goes_on").write_text("")
    running.wherry.daemon.wait_log("weather: synced 1 row")
    assert running.rows() == [("", 1)]
    running.wherry.sync("weather")
    assert running.rows() == [("", 2)]


def test_what_an_undeployed_connection_left_goes_with_a_restart(running):
    begin_waiting_for(running, "never")
    running.wherry.ctl("undeploy", "weather", "--force")
    running.wherry.daemon.kill()
    assert (running.kept / "projects/weather").exists()
    running.wherry.start(env=running.settings())
    wait_for(lambda: not (running.kept / "projects/weather").exists(), "the end of its files")


# --- what a client may try ---


def call(wherry, method, **parameters):
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(30)
        peer.connect(str(wherry.runtime_dir / "org.wherry.Manager"))
        message = {"method": f"org.wherry.Manager.{method}", "parameters": parameters}
        peer.sendall(json.dumps(message).encode() + b"\0")
        answer = b""
        while not answer.endswith(b"\0"):
            answer += peer.recv(65536)
    return json.loads(answer[:-1])


@pytest.mark.parametrize(
    "path", ["../x", "/etc/x", "a/../../x", ".", "..", "a//b", "", "a/", "x\n", "x" * 256, "/".join("a" * 60)]
)
def test_paths_do_not_escape(deployed, path):
    upload = call(deployed.wherry, "Deploy", connection="weather")["parameters"]["upload"]
    file = {"path": path, "data": base64.b64encode(b"x").decode()}
    answer = call(deployed.wherry, "Deploy", connection="weather", upload=upload, files=[file])
    assert answer["error"] == "org.wherry.Manager.BadConfiguration"
    assert answer["parameters"]["message"] == f'"{path}" is no path of a project\'s file'


def test_bad_pieces(deployed):
    def attempt(**file):
        upload = call(deployed.wherry, "Deploy", connection="weather")["parameters"]["upload"]
        answer = call(deployed.wherry, "Deploy", connection="weather", upload=upload, files=[file])
        return answer["parameters"].get("message")

    assert attempt(path="a", data="!") == 'the data of "a" is not base64'
    assert attempt(path="a") == '"a" is no path of a project\'s file'
    assert attempt(path="a", data="", append=True) == '"a" cannot be stored: no such file or directory'
    answer = call(deployed.wherry, "Deploy", connection="weather", upload="nothing", files=[])
    assert answer["parameters"]["message"] == "there is no such upload any more: deploy again"
    assert call(deployed.wherry, "Deploy", connection="weather", files=[1])["error"].endswith("InvalidParameter")


def test_a_project_without_connector(deployed):
    upload = call(deployed.wherry, "Deploy", connection="weather")["parameters"]["upload"]
    answer = call(deployed.wherry, "Deploy", connection="weather", upload=upload, commit=True)
    assert answer["parameters"]["message"] == "the project has no connector.py"


def test_uploads_are_bounded(deployed):
    for _ in range(8):
        assert "upload" in call(deployed.wherry, "Deploy", connection="weather")["parameters"]
    answer = call(deployed.wherry, "Deploy", connection="weather")
    assert answer["parameters"]["message"] == "8 deploys are going on already: try again when one has ended"


def test_what_was_not_committed_goes_with_a_restart(deployed):
    call(deployed.wherry, "Deploy", connection="weather")
    uploads = deployed.kept / "uploads"
    assert len(list(uploads.iterdir())) == 1
    deployed.wherry.stop()
    deployed.wherry.start(env=deployed.settings())
    assert not uploads.exists()


def test_deployed_connections_are_there_after_a_restart(deployed):
    deployed.deploy()
    deployed.wherry.stop()
    deployed.wherry.start(env=deployed.settings())
    assert deployed.wherry.status("weather")["state"] == "paused"
