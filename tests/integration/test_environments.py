"""Virtual environments of connectors: what is installed, by whom, when anew, and what a person is told."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import wheels
from wheels import make_wheel

VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


class Builder:
    def __init__(self, build, folder):
        self.program = build.path / "connectors/environment/build-environment"
        self.folder = folder / "kept"
        self.project = folder / "project"
        self.wheels = folder / "wheels"
        self.project.mkdir()
        make_wheel(self.wheels, "requests")
        self.log = ""

    def settings(self, **more):
        return wheels.settings(self.wheels, **more)

    def requirements(self, text):
        (self.project / "requirements.txt").write_text(text)

    def run(self, *arguments, env=None):
        done = subprocess.run(
            [self.program, "--folder", self.folder, "--project", self.project, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            env=env or self.settings(),
        )
        self.log = done.stderr
        result = json.loads(done.stdout)
        assert done.returncode == ("error" in result), done.stderr
        return result

    def build(self, *arguments, **options):
        result = self.run(*arguments, **options)
        assert "error" not in result, self.log
        return result

    def fail(self, *arguments, **options):
        return self.run(*arguments, **options)["error"]


@pytest.fixture
def builder(plain_build, tmp_path):
    return Builder(plain_build, tmp_path)


def python(built, code):
    return subprocess.run([built["python"], "-c", code], capture_output=True, encoding="utf-8")


def test_requests_is_always_there(builder):
    built = builder.build()
    assert python(built, "import requests; print(requests.version)").stdout == "1.0\n"
    assert built["cached"] is False


def test_the_sdk_is_left_out(builder):
    make_wheel(builder.wheels, "fivetran_connector_sdk")
    make_wheel(builder.wheels, "tool")
    builder.requirements("tool\nFivetran.Connector_SDK[x]>=1\n")
    built = builder.build()
    assert python(built, "import tool").returncode == 0
    assert python(built, "import fivetran_connector_sdk").returncode == 1
    assert '"Fivetran.Connector_SDK[x]>=1" is left out: Wherry\'s own module serves' in builder.log


def test_the_same_requirements_are_built_once(builder):
    make_wheel(builder.wheels, "tool")
    builder.requirements("tool")
    first = builder.build()
    again = builder.build()
    assert (again["environment"], again["cached"]) == (first["environment"], True)
    builder.requirements("# the same, in other words\n  tool  # yes\n")
    assert builder.build()["environment"] == first["environment"]


def test_a_failed_install_keeps_what_is_there(builder):
    make_wheel(builder.wheels, "tool")
    builder.requirements("tool")
    first = builder.build()
    builder.requirements("tool\nnowhere_to_be_found==9\n")
    error = builder.fail()
    assert error.startswith("requirements.txt cannot be installed: ")
    assert "No matching distribution found for nowhere_to_be_found==9" in error
    assert python(first, "import tool").returncode == 0
    builder.requirements("tool")
    assert builder.build()["cached"] is True


def test_environments_that_nobody_keeps_go(builder):
    first = builder.build()
    make_wheel(builder.wheels, "tool")
    builder.requirements("tool")
    second = builder.build("--keep", first["environment"])
    assert Path(first["environment"]).exists()
    builder.build()
    assert not Path(first["environment"]).exists()
    assert Path(second["environment"]).exists()
    kept = Path(second["environment"]).parent
    assert sorted(path.name for path in kept.iterdir()) == [
        Path(second["environment"]).name,
        Path(second["environment"]).name + ".json",
    ]


def test_what_a_killed_build_left_goes(builder):
    builder.build()
    half = builder.folder / "environments" / "0123456789abcdef-1"
    (half / "lib").mkdir(parents=True)
    builder.build()
    assert not half.exists()


def test_another_python_is_another_environment(builder):
    first = builder.build("--python", VERSION)
    assert first["version"].startswith(VERSION + ".")
    assert builder.fail("--python", "3.9") == (
        '"python: 3.9" is not served: name a version from 3.10 to 3.14, or the path of an interpreter'
    )
    assert builder.fail("--python", "/nowhere/python3") == (
        'the interpreter "/nowhere/python3" cannot be run: no such file or directory'
    )
    assert builder.fail("--python", "/bin/true") == '"/bin/true" is no Python interpreter'


def test_a_python_that_is_not_there(builder, tmp_path):
    # a home and a path without any; what lies in /usr may still be there
    (tmp_path / "empty").mkdir()
    env = builder.settings(PATH=str(tmp_path / "empty"), HOME=str(tmp_path / "empty"))
    absent = [minor for minor in range(10, 15) if not shutil.which(f"python3.{minor}", path="/usr/bin:/usr/local/bin")]
    error = builder.fail("--python", f"3.{absent[0]}", env=env)
    assert re.fullmatch(
        rf"there is no Python 3\.{absent[0]} on this machine; there are: .+; "
        rf"install python3\.{absent[0]}, or ask for another version",
        error,
    )


def test_a_shim_is_not_trusted(builder, tmp_path):
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "python3.14").write_text("#!/bin/sh\necho 3.14.0\n")
    (shims / "python3.14").chmod(0o755)
    error = builder.run(
        "--python", "3.14", env=builder.settings(PATH=f"{shims}:/usr/bin:/bin", HOME=str(tmp_path))
    ).get("error", "")
    assert "there is no Python 3.14" in error or shutil.which("python3.14", path="/usr/bin:/usr/local/bin")


def test_a_removed_interpreter_means_a_new_environment(builder, tmp_path):
    first = builder.build()
    record = Path(first["environment"] + ".json")
    (Path(first["environment"]) / "bin/python").unlink()
    second = builder.build()
    assert second["environment"] != first["environment"]
    assert not record.exists()


def test_no_network_and_nothing_required(builder):
    shutil.rmtree(builder.wheels)
    built = builder.build()
    assert 'warning: "requests" cannot be installed: ' in builder.log
    assert python(built, "import requests").returncode == 1
    make_wheel(builder.wheels, "requests")
    assert python(builder.build(), "import requests").returncode == 0


def test_programs_of_packages_can_be_run(builder):
    files = {"tool-1.0.data/scripts/tool-script": "#!python\nprint('it runs')\n"}
    make_wheel(builder.wheels, "tool", files=files)
    builder.requirements("tool")
    built = builder.build()
    script = Path(built["environment"]) / "bin/tool-script"
    assert subprocess.run([script], capture_output=True, encoding="utf-8").stdout == "it runs\n"


HOSTILE = """
import os, socket, sys
def tried(what, call):
    try:
        call()
        print("COULD", what, flush=True)
    except OSError as error:
        print("could not", what, error.errno, flush=True)
print("hello from setup", file=sys.stderr)
tried("read", lambda: open({secret!r}).read())
tried("write", lambda: open({beside!r}, "w"))
tried("list", lambda: os.listdir({folder!r}))
tried("ask", lambda: socket.socket(socket.AF_UNIX))
os.chmod({secret!r}, 0o777)
raise SystemExit("stopped")
"""


def test_a_hostile_package(builder, tmp_path):
    """Its code runs locked down: it reads and writes nothing of ours, and changes no file's mode."""
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    secret.chmod(0o600)
    package = builder.project / "package"
    package.mkdir()
    names = {"secret": str(secret), "beside": str(tmp_path / "new"), "folder": str(tmp_path)}
    builder.requirements("./package\n")
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (package / "backend.py").write_text(HOSTILE.format(**names))
    builder.fail()
    assert "could not read 13" in builder.log
    assert "could not write 13" in builder.log
    assert "could not list 13" in builder.log
    assert "could not ask" in builder.log
    assert "COULD" not in builder.log
    assert secret.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "new").exists()


def test_the_installer_is_told_only_what_is_meant_for_it(builder, tmp_path):
    package = builder.project / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (package / "backend.py").write_text("import os\nprint('SEEN', sorted(os.environ))\nraise SystemExit('stopped')\n")
    builder.requirements("./package\n")
    builder.fail(env=builder.settings(DATABASE_URL="postgres://u:hunter2@h/d"))
    assert "SEEN" in builder.log
    assert "DATABASE_URL" not in builder.log
    assert "PIP_FIND_LINKS" in builder.log


UV = """#!/bin/sh
echo "uv is called: $*" >&2
SAYS
exit 1
"""


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        (
            "printf 'error: No solution found\n  cause: Because nothing is there\\n' >&2",
            "No solution found: Because nothing is there",
        ),
        ("printf '  × No solution\n  ╰─▶ Because nothing\n      is there.\\n' >&2", "Because nothing is there."),
        ("echo 'broken' >&2", "broken"),
    ],
)
def test_uv_goes_first(builder, tmp_path, says, reason):
    """A stand-in: what it is called with, and that its reason is quoted."""
    home = tmp_path / "home"
    (home / ".local/bin").mkdir(parents=True)
    (home / ".local/bin/uv").write_text(UV.replace("SAYS", says))
    (home / ".local/bin/uv").chmod(0o755)
    builder.requirements("tool")
    error = builder.fail(env=builder.settings(HOME=str(home)))
    assert error == f"requirements.txt cannot be installed: {reason}"
    assert re.search(
        r"uv is called: pip install --python \S+/bin/python .* -r \S+/requirements.txt requests", builder.log
    )
