"""States of a connector that are no JSON object, or hold what other programs cannot read."""

import json

import pytest
from fivetran import connector


@pytest.fixture
def running(plain_wherry):
    plain_wherry.start()
    return plain_wherry


def sync(wherry, state, status=0):
    connector(wherry, f"op.upsert('given', {{'id': 1, 'state': repr(state)}})\nop.checkpoint({state})")
    return wherry.sync("weather", status=status)


REFUSED = {
    "None": "a state must be a JSON object: '[' or '{' expected near 'null'",
    "[1]": "a state must be a JSON object",
    "'text'": "a state must be a JSON object: '[' or '{' expected near '\"text\"'",
    "5": "a state must be a JSON object: '[' or '{' expected near '5'",
    "float('nan')": "a state must be a JSON object: '[' or '{' expected near 'NaN'",
    "{'a': float('nan')}": "a state must be a JSON object: invalid token near 'NaN'",
    "{'a': -float('inf')}": "a state must be a JSON object: invalid token near '-'",
    "{'a': '\\ud800'}": "a state must be a JSON object: invalid Unicode '\\uD800'",
}


@pytest.mark.parametrize("state", REFUSED)
def test_a_state_that_is_no_object_fails_the_sync(running, state):
    """The one before it stays."""
    sync(running, "{'n': 1}")
    run = sync(running, state, status=1)
    assert run["outcome"] == "failed" and REFUSED[state] in run["error"]
    assert json.loads(running.ctl("state", "weather", "get").stdout) == {"n": 1}
    assert len(running.query("SELECT * FROM given")) == 1, "nothing of the failed sync is kept"


KEPT = [
    "{}",
    "{'': None, 'deep': [{'a': [1, 'é', '😀', True]}]}",
    "{'n': -0.0, 'm': 0.1, 'o': 1e22, 'p': 2**63 - 1, 'q': -(2**63)}",
]


@pytest.mark.parametrize("state", KEPT)
def test_a_state_comes_back_as_it_was(running, state):
    sync(running, state)
    sync(running, state)
    shown = repr(eval(state))
    assert (shown,) in running.query("SELECT state FROM given")
    assert json.loads(running.ctl("state", "weather", "get").stdout) == eval(state)


@pytest.mark.parametrize(
    "state, why", [("{'n': 2**70}", "too big integer"), ("{'n': 'a\\0b'}", "\\u0000 is not allowed")]
)
def test_a_state_that_cannot_be_shown_is_kept(running, state, why):
    sync(running, state)
    sync(running, state)
    assert (repr(eval(state)),) in running.query("SELECT state FROM given")
    said = running.ctl("state", "weather", "get", status=1).stderr
    assert "the state cannot be shown: " + why in said and "syncs go on from it as it is" in said


# --- a state that holds a secret ---


def test_a_secret_in_a_state_is_warned_about_once(running):
    secret = running.root / "secret"
    secret.write_text("hunter2-is-secret")
    connector(
        running,
        """
        key = configuration["key"]
        op.checkpoint({"n": 1, "deep": [{"a": "Bearer " + key}], key: 2} if state else {"n": 1})
        """,
        source={"configuration": {"key": "FILE"}},
    )
    path = running.config_dir / "pipelines.d/weather.yaml"
    path.write_text(path.read_text().replace('"FILE"', f"!file {secret}"))
    running.ctl("reload")
    assert running.sync("weather")["warnings"] == []
    assert running.sync("weather")["warnings"] == [
        'the state holds a secret in "deep", "****": in the destination it is no secret any more; have the source leave it '
        "out"
    ]
    assert running.sync("weather")["warnings"] == []
    assert "hunter2" not in running.daemon.log()
