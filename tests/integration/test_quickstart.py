"""README's first command, on a copy of etc/ and with the build under test: packages and building are left out."""

import csv
import os
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest
from harness import ROOT

SHIPPED = [Path("/usr/share/distro-info") / name for name in ("debian.csv", "ubuntu.csv")]
CHARACTERS = Path("/usr/share/unicode/UnicodeData.txt")


def run(folder, build):
    command = [folder / "etc/quickstart", "--build", build.path]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder / "home")}
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment)


def count(folder, table):
    with sqlite3.connect(folder / "etc/quickstart.d/example.db") as database:
        (found,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()
    database.close()
    return found


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return len(list(csv.reader(file))) - 1


def test_the_first_command_loads_what_debian_ships_and_can_be_repeated(build, tmp_path):
    if not all(path.exists() for path in [*SHIPPED, CHARACTERS]) or not shutil.which("sqlite3"):
        pytest.skip("needs the packages sqlite3, distro-info-data and unicode-data")
    tmp_path.chmod(0o755)
    ignored = shutil.ignore_patterns("quickstart.d")
    shutil.copytree(ROOT / "etc", tmp_path / "etc", ignore=ignored)
    expected = {path.stem: rows(path) for path in SHIPPED}
    expected["characters"] = len(CHARACTERS.read_text().splitlines())
    for attempt in ("first", "again"):
        done = run(tmp_path, build)
        assert done.returncode == 0, (attempt, done.stdout, done.stderr)
        assert {table: count(tmp_path, table) for table in expected} == expected
        assert "Bookworm" in done.stdout
        assert "how to go on" in done.stdout
        loaded = f"{expected['characters']:,} rows"
        assert (loaded in done.stdout.replace("characters ", "")) == (attempt == "first"), done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["etc"]
    assert (
        not {path.name for path in (tmp_path / "etc").iterdir()}
        - {path.name for path in (ROOT / "etc").iterdir()}
        - {"quickstart.d"}
    )


def test_a_wrong_argument_is_told(build, tmp_path):
    done = subprocess.run([ROOT / "etc/quickstart", "--bulid"], capture_output=True, text=True)
    assert done.returncode == 1
    assert '"--bulid"' in done.stderr and "--help" in done.stderr
