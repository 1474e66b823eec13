"""The module under every Python that is served and that the machine has, against what it does under the tests' own: the
extension is compiled once, on the limited API."""

import concurrent.futures
import sys

import pytest
import wherry_side
from pythons import MINORS, find
from test_parity import BUILD, CASES, CONFIGURATIONS, STATES, project

TRIED = [case for case in CASES if case.startswith(("types ", "operations_m", "operations_r", "styles_"))]


def run(case, folder, python):
    """What is on the pipe, and how it ended. The words of Python's own exceptions are its version's."""
    options = {"configuration": CONFIGURATIONS.get(case), "state": STATES.get(case, "{}"), "naming": "source"}
    result = wherry_side.run(project(case, folder), BUILD, python=python, **options)
    for _, table, *row in (operation for operation in result.operations if operation[0] == "upsert"):
        if table == "refused":
            row[0].pop("text")
        if row and row[0].get("what") == "int enum":
            row[0].pop("v", None)  # str() of one is another since 3.11
    error = result.error and result.error.split(":")[0]
    return result.tables, result.operations, result.rows, error, result.status, sorted(result.logs)


@pytest.fixture(scope="session")
def under(tmp_path_factory):
    """under(python): {case: what it did}"""
    known = {}

    def run_all(python):
        if python not in known:
            folder = tmp_path_factory.mktemp("pythons")
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                known[python] = dict(zip(TRIED, pool.map(lambda case: run(case, folder / case, python), TRIED)))
        return known[python]

    return run_all


@pytest.mark.parametrize("minor", MINORS)
def test_every_python_does_the_same(under, minor):
    program = find(minor)
    if not program:
        pytest.skip(f"python3.{minor} is not on this machine")
    ours, theirs = under(sys.executable), under(program)
    for case in TRIED:
        assert theirs[case] == ours[case], f"{case} under {program}"
