"""The editor schema against the examples, and the check commands as a person runs them."""

import json
import subprocess

import jsonschema
import pytest
import yaml
from harness import ROOT

EXAMPLES = sorted((ROOT / "etc/pipelines.d").glob("*.yaml")) + sorted(
    (ROOT / "etc/quickstart-pipelines").glob("*.yaml")
)
GOOD = """\
frequency: 15m
source: {type: files, dir: in}
format: csv
dest_table: t
columns: [{source: a, type: string}]
destination: {type: sqlite, path: x.db}
"""


class Loader(yaml.SafeLoader):
    """A reference to a secret is text to an editor."""


for tag in ("!env", "!file", "!credential"):
    Loader.add_constructor(tag, lambda loader, node: loader.construct_scalar(node))


@pytest.fixture(scope="module")
def schema():
    return json.loads((ROOT / "etc/pipeline.schema.json").read_text())


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60)


def test_schema_is_what_wherryd_prints(build, schema):
    printed = run(build.wherryd, "--schema")
    assert printed.returncode == 0, printed.stderr
    assert json.loads(printed.stdout) == schema
    jsonschema.Draft7Validator.check_schema(schema)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_fit_the_schema(schema, example):
    jsonschema.validate(yaml.load(example.read_text(), Loader), schema)


@pytest.mark.parametrize(
    "change",
    [
        {"colums": 1},
        {"format": "cvs"},
        {"frequency": "soon"},
        {"frequency": "0s"},
        {"paused": "maybe"},
        {"columns": [{"source": "a"}]},
        {"columns": [{"source": "a", "type": "int"}]},
        {"csv": {"delimiter": ";;"}},
        {"retry_cap": 0},
        {"source": {"type": "files"}},
        {"source": {"type": "files", "dir": "in", "wach": True}},
        {"destination": {"type": "postgres", "port": 1}},
        {"sandbox": "loose"},
        {"sandbox": {"ports": [0]}},
        {"max_value_size": "1T"},
        {"dest_table": None},
    ],
    ids=str,
)
def test_schema_refuses_what_wherryd_refuses(build, schema, tmp_path, change):
    bad = {**yaml.safe_load(GOOD), **change}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(bad, schema)
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(bad))
    assert run(build.wherryd, "--check", file).returncode == 2


def test_check_command(build, tmp_path):
    (tmp_path / "pipelines.d").mkdir()
    (tmp_path / "pipelines.d/good.yaml").write_text(GOOD)
    for command in [build.wherryd, "--check"], [build.wherryctl, "check"]:
        options = ["--config-dir", tmp_path, "--state-dir", tmp_path / "state"]
        good = run(*command, *options)
        assert (good.stdout, good.stderr, good.returncode) == ("1 connection, all good\n", "", 0)
        (tmp_path / "pipelines.d/bad.yaml").write_text(GOOD.replace("columns", "colums"))
        bad = run(*command, *options)
        assert bad.stdout.splitlines() == [
            'bad.yaml:5:1: unknown key "colums"; did you mean "columns"?',
            "2 connections, 1 good, 1 broken",
        ]
        assert bad.returncode == 2
        file = tmp_path / "pipelines.d/bad.yaml"
        one = run(*command, *options, file)
        assert one.stdout.splitlines()[0] == f'{file}:5:1: unknown key "colums"; did you mean "columns"?'
        assert one.returncode == 2
        file.unlink()
