"""Values that `fivetran configuration` has encrypted: read with its key, by whoever has that, and secrets from then on."""

import base64
import json
import os
import subprocess

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from test_debug import Project
from test_deploy import Deployed

SECRET = "hunter2-is-secret, ünd lông"
KEY = bytes(range(32))
HOME_KEY = ".fivetran/connector_sdk/config_encryption_key"
PRINTING = """
from fivetran_connector_sdk import Connector, Operations as op

def update(configuration, state):
    print(configuration)
    op.upsert("t", {"id": 1, "length": len(configuration["key"]), "plain": configuration["plain"]})

connector = Connector(update=update, schema=lambda configuration: [{"table": "t", "primary_key": ["id"]}])
"""


def encrypted(name, text, key=KEY):
    nonce = os.urandom(12)
    sealed = AESGCM(key).encrypt(nonce, text.encode(), name.encode())
    return "fivetran_encrypted:" + base64.b64encode(nonce + sealed).decode()


def write_key(home, text):
    path = home / HOME_KEY
    path.parent.mkdir(parents=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.fixture
def deployed(wherry, tmp_path):
    write_key(tmp_path, base64.b64encode(KEY).decode() + "\n")
    found = Deployed(wherry)
    found.home = {"HOME": str(tmp_path)}
    return found


def refused(deployed, configuration, **environment):
    path = deployed.configuration(**configuration)
    error = deployed.refused("--configuration", path, env={**deployed.home, **environment})
    assert error.startswith(f"{path}: "), error
    return error.removeprefix(f"{path}: ")


def test_deploy_takes_them_over_as_secrets(deployed):
    given = {"key": encrypted("key", SECRET), "empty": encrypted("empty", ""), "plain": "as it is"}
    deployed.deploy("--configuration", deployed.configuration(**given), env=deployed.home)
    stored = json.loads((deployed.kept / "projects/weather/configuration.json").read_text())
    assert stored == {"key": SECRET, "empty": "", "plain": "as it is"}


def test_debug_reads_them(plain_build, tmp_path):
    project = Project(plain_build, tmp_path)
    write_key(project.home, base64.b64encode(KEY).decode())
    project.write("connector.py", PRINTING)
    given = {"key": encrypted("key", SECRET), "plain": "as it is"}
    project.write("configuration.json", json.dumps(given)).chmod(0o600)
    said = project.debug()
    assert project.query("SELECT length, plain FROM tester.t") == [(len(SECRET), "as it is")]
    assert SECRET not in said.stdout + said.stderr and "'key': '****'" in said.stdout
    found = subprocess.run(["grep", "-rla", SECRET, project.home, project.folder], capture_output=True, text=True)
    assert found.stdout == ""


BEGIN = 'invalid configuration; the value of "key" was encrypted by Fivetran\'s command, and '
END = "; write it in clear, it is kept as a secret"


# made when they are asked for: a test's name is the same in all processes
FOREIGN = {
    "of another key": lambda: encrypted("other", SECRET),
    "under another key": lambda: encrypted("key", SECRET, key=KEY[::-1]),
    "changed": lambda: encrypted("key", SECRET)[:-8] + "AAAAAAA=",
    "empty": lambda: "fivetran_encrypted:",
    "short": lambda: "fivetran_encrypted:AAAA",
    "no base64": lambda: "fivetran_encrypted:not base64",
    "without a tag": lambda: "fivetran_encrypted:" + base64.b64encode(b"x" * 27).decode(),
    "without a text": lambda: "fivetran_encrypted:" + base64.b64encode(b"x" * 28).decode(),
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_value_that_is_not_the_keys(deployed, tmp_path, foreign):
    assert refused(deployed, {"plain": "x", "key": FOREIGN[foreign]()}) == (
        f'{BEGIN}"{tmp_path}/{HOME_KEY}" holds another key{END}'
    )


@pytest.mark.parametrize(
    "text, why",
    [
        (None, ", where its key should be, is not there"),
        ("", " does not hold its key, which is 32 bytes in base64"),
        (base64.b64encode(KEY[:16]).decode(), " does not hold its key, which is 32 bytes in base64"),
        ("x" * 300, " does not hold its key, which is 32 bytes in base64"),
    ],
)
def test_a_key_that_is_none(deployed, tmp_path, text, why):
    home = tmp_path / "elsewhere"
    home.mkdir()
    if text is not None:
        write_key(home, text)
    assert refused(deployed, {"key": encrypted("key", SECRET)}, HOME=str(home)) == (
        f'{BEGIN}"{home}/{HOME_KEY}"{why}{END}'
    )


def test_a_daemon_without_the_key_says_so(deployed):
    """In a pipeline file they are read by wherryd, which has no such home."""
    path = deployed.configuration(key=encrypted("key", SECRET))
    wherry = deployed.wherry
    wherry.pipeline(
        "weather",
        f"frequency: manual\nsource: {{type: fivetran, project: {deployed.project}, configuration: !json {path}}}\n"
        f"destination: {{type: sqlite, path: {wherry.database}}}\n",
    )
    wherry.ctl("reload")
    error = wherry.sync("weather", status=1)["error"]
    assert f'the secret "!json {path}": {BEGIN}"' in error and ", where its key should be, is not there; " in error
    assert SECRET not in error
