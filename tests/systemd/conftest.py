"""Fixtures: `bookworm` and `trixie`, machines with a real systemd and with what `meson install` installs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

import harness


class Machine:
    """A booted container, reached through its process id."""

    def __init__(self, suite, usr_local):
        command = [HERE / "boot", "--suite", suite, "--bind", f"{usr_local}:/usr/local"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line.startswith("booted "):
            raise RuntimeError(f"no machine: the boot script ended with {self.process.wait()}")
        self.leader = int(line.split()[1])
        self.root = Path(f"/proc/{self.leader}/root")

    def run(self, *command, status=0, timeout=harness.TIMEOUT_S):
        """Runs COMMAND in the machine and returns what it printed. STATUS: the exit status it must have; None: any."""
        done = subprocess.run(
            ["nsenter", "--all", "--target", str(self.leader), "env", "-i", *self.environment(), *map(str, command)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if status is not None and done.returncode != status:
            raise AssertionError(f"{' '.join(map(str, command))} gave {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    @staticmethod
    def environment():
        return ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME=/root", "LC_ALL=C.UTF-8"]

    def write(self, path, content):
        """Writes a file of the machine, under a temporary name first."""
        path = self.root / path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return harness.write_file(path, content)

    def show(self, unit, name):
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait(harness.TIMEOUT_S)


@pytest.fixture(scope="session")
def usr_local(tmp_path_factory):
    """What `meson install` puts into /usr/local, from the build without sanitizers."""
    if os.geteuid() != 0 or not shutil.which("systemd-nspawn"):
        pytest.skip("needs root and systemd-nspawn to boot a machine")
    build = harness.plain_build()
    if build is None:
        pytest.skip("needs a build without sanitizers; set WHERRY_PLAIN_BUILD to one")
    destination = tmp_path_factory.mktemp("install")
    subprocess.run(
        ["meson", "install", "-C", build.path, "--no-rebuild", "--destdir", destination],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    destination.chmod(0o755)
    return destination / "usr/local"


def machine(suite, usr_local):
    booted = Machine(suite, usr_local)
    try:
        booted.run("systemd-sysusers")
        booted.run("journalctl", "--update-catalog")
        (booted.root / "etc/wherry/pipelines.d").mkdir(parents=True)
        (booted.root / "srv/incoming").mkdir()
        booted.run("systemctl", "daemon-reload")
        yield booted
    finally:
        booted.close()


@pytest.fixture(scope="module")
def bookworm(usr_local):
    yield from machine("bookworm", usr_local)


@pytest.fixture(scope="module")
def trixie(usr_local):
    yield from machine("trixie", usr_local)
