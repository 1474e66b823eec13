"""The manual pages: roff takes them without a warning, and they tell what the programs know."""

import json
import os
import re
import shutil
import subprocess

import pytest
from harness import ROOT

PAGES = ("wherryctl.1", "wherry-pipeline.5", "wherryd.8")


@pytest.fixture(scope="module")
def pages(build, tmp_path_factory):
    """By name, the path of the page's source."""
    folder = tmp_path_factory.mktemp("manual")
    commands = {"wherryctl.1": [build.wherryctl, "help", "--manual"], "wherry-pipeline.5": [build.wherryd, "--manual"]}
    for name, command in commands.items():
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        (folder / name).write_text(done.stdout)
    shutil.copy(ROOT / "daemon/wherryd/wherryd.8", folder)
    return {name: folder / name for name in PAGES}


def rendered(path):
    """As man shows it, on lines as long as they may be; what roff has to say about it."""
    environment = {**os.environ, "MANWIDTH": "1000", "LC_ALL": "C.UTF-8", "MANROFFOPT": "-ww"}
    done = subprocess.run(
        ["man", "--warnings", "-l", str(path)], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    return re.sub(r".\x08", "", done.stdout), done.stderr


@pytest.mark.parametrize("name", PAGES)
def test_roff_takes_it(pages, name):
    text, warnings = rendered(pages[name])
    assert warnings == ""
    assert text.splitlines()[0].split()[0] == name.split(".")[0].upper() + f"({name.split('.')[1]})"


def keys_of(schema):
    for name, value in schema.get("properties", {}).items():
        yield name
        yield from keys_of(value)
    for part in schema.get("anyOf", []):
        yield from keys_of(part)
    if isinstance(schema.get("items"), dict):
        yield from keys_of(schema["items"])


def test_every_key_has_its_place(pages):
    text = rendered(pages["wherry-pipeline.5"])[0]
    schema = json.loads((ROOT / "etc/pipeline.schema.json").read_text())
    for key in {*keys_of(schema), "max_syncs", "destinations", "defaults"} - {"type"}:
        assert re.search(rf"^ *{re.escape(key)} \(", text, re.MULTILINE), key
    for shown in (
        "retry_cap (a number from 1 to 1000000; default: 3)",
        "max_value_size (a size from 1K to 512M; default: 16M)",
        "stall_timeout (a duration of at least 1s, or off; default: 30m)",
        "write_mode (append, truncate or cdc; default: append)",
        "sandbox (a map, or default or strict; default: default)",
        "ports (a list of numbers from 1 to 65535)",
    ):
        assert shown in text
    assert re.search(r'^ *quote \(a character; default: "\)$', text, re.MULTILINE)


def test_every_command_has_its_place(build, pages):
    text = rendered(pages["wherryctl.1"])[0]
    listed = subprocess.run([build.wherryctl, "help"], capture_output=True, text=True, timeout=60).stdout
    commands = re.findall(r"^  ([a-z]+)  ", listed, re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        explained = subprocess.run([build.wherryctl, "help", command], capture_output=True, text=True, timeout=60)
        section = re.search(rf"^   {command}\n(.*?)(?=^   ?\w|\Z)", text, re.MULTILINE | re.DOTALL).group(1)
        assert explained.stdout.splitlines()[0] in section
        for option in re.findall(r"^  (--[a-z-]+)", explained.stdout, re.MULTILINE):
            assert option in text


def test_every_option_of_the_daemon_has_its_place(build, pages):
    text = rendered(pages["wherryd.8"])[0]
    listed = subprocess.run([build.wherryd, "--help"], capture_output=True, text=True, timeout=60).stdout
    for option in re.findall(r"--[a-z-]+", listed):
        assert option in text, option
