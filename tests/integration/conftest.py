"""Fixtures: `wherry`, a private installation of the build under test; `plain_wherry`, of the one without sanitizers."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import harness
import writers


def pytest_configure():
    harness.become_subreaper()


@pytest.fixture(scope="session")
def build():
    return harness.default_build()


@pytest.fixture(scope="session")
def plain_build():
    found = harness.plain_build()
    if found is None:
        pytest.skip("needs a build without sanitizers; set WHERRY_PLAIN_BUILD to one")
    return found


@pytest.fixture(autouse=True)
def no_process_left():
    """Whatever a test started has ended with it."""
    yield
    left = harness.leftovers()
    assert not left, f"still running after the test: {left}"


@pytest.fixture
def wherry(build):
    installation = harness.Wherry(build)
    yield installation
    installation.close()


@pytest.fixture
def plain_wherry(plain_build):
    installation = harness.Wherry(plain_build)
    yield installation
    installation.close()


@pytest.fixture
def destination(build, tmp_path):
    """destination-sqlite by itself (writers.py)."""
    found = writers.Destination(build.destination("sqlite"), tmp_path)
    yield found
    for writer in found.writers:
        writer.kill()
    # What a killed writer's caretaker has left to do takes a moment.
    harness.wait_for(lambda: not harness.leftovers(), "the end of all writers")
