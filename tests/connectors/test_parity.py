"""The same connector under Fivetran's own SDK (MIT, 2.13.1) and under Wherry's module: what both send must be equal.

`cases/NAME.py` is a connector, `cases/NAME_files` what lies beside it. Where Wherry differs on purpose, a line of
`differences.txt` says so, by case and place, with the rule: a difference without a line fails, and so does a line
without a difference.
"""

import base64
import concurrent.futures
import json
import math
import os
import shutil
import struct
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest
import wherry_side
from operations_pipe import Json

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = os.environ.get("WHERRY_BUILD", ROOT / "build-tests/sanitized")
TYPES = (
    "undeclared BOOLEAN SHORT INT LONG DECIMAL FLOAT DOUBLE NAIVE_DATE NAIVE_DATETIME UTC_DATETIME BINARY XML STRING JSON"
).split()
CONFIGURATIONS = {
    "configuration_decrypts": {"key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="},
    "configuration_given": {"table": "settings", "city": "Oslo", "empty": ""},
    **{f"types {kind}": {"type": kind} for kind in TYPES},
}
STATES = {"state_given": '{"cursor": 41}'}
CASES = sorted({f.stem for f in (HERE / "cases").glob("*.py")} - {"types"} | {f"types {kind}" for kind in TYPES})
COLUMN_TYPES = {
    "integer": "LONG",
    "float": "DOUBLE",
    "real": "FLOAT",
    "date": "NAIVE_DATE",
    "datetime": "NAIVE_DATETIME",
}


@pytest.fixture(scope="session")
def python():
    """The interpreter of the virtual environment with Fivetran's SDK; both sides run under it."""
    subprocess.run([HERE / "install-mit", sys.executable], check=True)
    return ROOT / ".venv-mit/bin/python"


AHEAD = 6


class Officially:
    """What Fivetran's SDK makes of each case. It mostly waits, so that several run at once: the one that is asked for,
    and those of the tests that come next."""

    def __init__(self, cases, python, folder):
        self.cases, self.python, self.folder = cases, python, folder
        self.pool = concurrent.futures.ThreadPoolExecutor(AHEAD)
        self.begun = {}

    def __call__(self, case):
        at = self.cases.index(case)
        for near in self.cases[at : at + AHEAD]:
            if near not in self.begun:
                self.begun[near] = self.pool.submit(official, near, project(near, self.folder / near), self.python)
        return self.begun[case]


@pytest.fixture(scope="session")
def officially(request, python, tmp_path_factory):
    tests = [item for item in request.session.items if item.name.startswith("test_parity[")]
    found = Officially([test.callspec.params["case"] for test in tests], python, tmp_path_factory.mktemp("official"))
    yield found
    found.pool.shutdown(cancel_futures=True)


def project(case, folder):
    folder.mkdir(exist_ok=True)
    name = case.split()[0]
    shutil.copy(HERE / f"cases/{name}.py", folder / "connector.py")
    if (HERE / f"cases/{name}_files").exists():
        shutil.copytree(HERE / f"cases/{name}_files", folder, dirs_exist_ok=True)
    return folder


# --- Fivetran's side ---


def official(case, folder, python):
    """(tables, operations, how it ended)"""
    read_end, write_end = os.pipe()
    command = [python, "-B", HERE / "mit_side.py", folder, json.dumps(CONFIGURATIONS.get(case, {}))]

    def place():
        os.dup2(write_end, 3)

    with subprocess.Popen(
        [*command, STATES.get(case, "{}")],
        preexec_fn=place,
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TZ": "UTC"},
    ):
        os.close(write_end)
        with os.fdopen(read_end) as file:
            lines = [json.loads(line) for line in file]
    tables, operations, end = {}, [], "gone"
    for line in lines:
        if "schema" in line:
            tables = {table["table"]: [tuple(column) for column in table["columns"]] for table in line["schema"]}
        elif "operation" in line:
            operations.append(official_operation(line))
        else:
            end = line.get("outcome") or official_error(line["error"])
    return tables, operations, end


def official_operation(line):
    kind = line["operation"]
    if kind == "checkpoint":
        return kind, line["state"]
    if "data" not in line:
        return kind, line["message"]
    row = {name: official_value(value) for name, value in line["data"].items()}
    return ("truncate", line["table"]) if kind == "truncate" else (kind, line["table"], row)


def official_value(value):
    kind, content = value[0], value[-1]
    if kind == "null":
        return None
    if kind in ("float", "double"):
        return float(content)
    if kind == "naive_date":
        return datetime.fromisoformat(content).date()
    if kind in ("naive_datetime", "utc_datetime"):
        return kind, datetime.fromisoformat(content)
    if kind == "decimal":
        return ("decimal", content)
    if kind == "json":
        return ("json", json_content(content))
    return base64.b64decode(content) if kind == "binary" else content


def official_error(details):
    """ "ValueError: boom" out of what gRPC says"""
    message, _, trace = details.partition("\nTraceback (most recent call last):\n")
    text = message.partition(" error: ")[2]
    lines = [line for line in trace.split("\n") if line and not line.startswith(" ")]
    kinds = [line.split(":")[0] for line in lines if line.split(":")[0].isidentifier() or "." in line.split(":")[0]]
    kind = kinds[-1].split(".")[-1] if kinds else "?"
    return (kind, text)


# --- Wherry's side ---


def wherry(case, folder, python):
    result = wherry_side.run(
        folder,
        BUILD,
        configuration=CONFIGURATIONS.get(case, {}),
        state=STATES.get(case, "{}"),
        python=python,
        naming="source",
    )
    tables = {}
    for name, columns in result.tables.items():
        declared = [column for column in columns if column[2] & 3]
        tables[name] = [
            (column, COLUMN_TYPES.get(kind, kind.upper()), bool(flags & 2), precision, scale)
            for column, kind, flags, precision, scale in declared
        ]
    operations = [wherry_operation(operation) for operation in result.operations]
    if case == "operations_warning":  # elsewhere they are ours too
        messages = [message for priority, message in result.logs if priority == 4]
        operations[:0] = [("warning", json.dumps({"message": message})) for message in messages]
    end = "success" if result.rows is not None else wherry_error(result.error) if result.error else "gone"
    return tables, operations, end, result


def wherry_operation(operation):
    if operation[0] in ("checkpoint", "truncate"):
        return operation
    kind, table, row = operation
    return kind, table, {name: wherry_value(value) for name, value in row.items()}


def wherry_value(value):
    if isinstance(value, Json):
        return ("json", json_content(value))
    if isinstance(value, datetime):
        return ("utc_datetime" if value.tzinfo else "naive_datetime", value.replace(tzinfo=None))
    if isinstance(value, Decimal):
        return ("decimal", str(value))
    return value


def wherry_error(error):
    kind, _, text = error.partition(": ")
    return kind.split(".")[-1], text


# --- both ---


def json_content(text):
    return json.dumps(json.loads(text), sort_keys=True)


def same_value(theirs, ours):
    """FLOAT values are singles there, and here the doubles that are nearest to a single's shortest text. A whole number
    for a DOUBLE stays whole here: the writer knows whether all of them are exact."""
    if isinstance(theirs, float) and type(ours) is int:
        return theirs == float(ours)
    if isinstance(theirs, float) and isinstance(ours, float):
        return theirs == ours or single(theirs) == single(ours) or (math.isnan(theirs) and math.isnan(ours))
    return type(theirs) is type(ours) and theirs == ours


def single(number):
    try:
        return struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)


def same_row(kind, keys, theirs, ours):
    """Of a delete only the key counts, and a NULL that an upsert names is one that it does not name."""
    if kind == "delete":
        theirs = {name: value for name, value in theirs.items() if name in keys}
    if kind in ("upsert", "update"):
        theirs, ours = ({k: v for k, v in row.items() if v is not None} for row in (theirs, ours))
    return theirs.keys() == ours.keys() and all(same_value(theirs[name], ours[name]) for name in theirs)


def place_of(operation, number):
    """What a difference is called: the row's own word, where it has one."""
    row = operation[2] if len(operation) == 3 else {}
    return row.get("what") or f"operation {number}"


def by_place(operations):
    """Rows with a word of their own are compared by it, whichever table they came to; the others in their order."""
    found, number = {}, 0
    for operation in operations:
        word = operation[2].get("what") if len(operation) == 3 else None
        if not word:
            number += 1
        found.setdefault(word or f"operation {number}", []).append(operation)
    return found


def same_operation(tables, theirs, ours):
    if theirs[:2] != ours[:2] or len(theirs) != len(ours):
        return theirs[0] == ours[0] == "checkpoint" and json_content(theirs[1]) == json_content(ours[1])
    keys = [column[0] for column in tables.get(theirs[1], []) if column[2]]
    return len(theirs) < 3 or same_row(theirs[0], keys, theirs[2], ours[2])


def column_kind(column):
    """XML is STRING here, and a DECIMAL that is too large for a size has none."""
    name, kind, key, precision, scale = column
    kind = {"XML": "STRING", "INSTANT": "UTC_DATETIME"}.get(kind, kind)
    if precision > 38 or scale > precision:
        precision = scale = 0
    return name, kind, key, precision, scale


def differences(theirs, ours):
    """{place: (theirs, ours)}"""
    found = {}
    for name in theirs[0].keys() | ours[0].keys():
        there = [column_kind(column) for column in theirs[0].get(name, []) if column[1] != "UNSPECIFIED" or column[2]]
        here = [column_kind(column) for column in ours[0].get(name, [])]
        # a key without a type gets that of its first value: until then Wherry cannot announce the table
        untyped = {column[0] for column in there if column[1] == "UNSPECIFIED"}
        known = [column for column in there if column[0] not in untyped]
        typed = [column for column in here if not (column[0] in untyped and column[2])]
        waits = untyped and not here
        if not waits and (typed != known or not untyped <= {column[0] for column in here}):
            found[f"table {name}"] = (there, here)
    their_places, our_places = by_place(theirs[1]), by_place(ours[1])
    for place in [*their_places, *(p for p in our_places if p not in their_places)]:
        there, here = their_places.get(place, []), our_places.get(place, [])
        if len(there) != len(here) or not all(same_operation(theirs[0], a, b) for a, b in zip(there, here)):
            found[place] = (there, here)
    if theirs[2] != ours[2] and not same_end(theirs[2], ours[2]):
        found["end"] = (theirs[2], ours[2])
    return found


def same_end(theirs, ours):
    """Notes may say more than the exception."""
    return (
        isinstance(theirs, tuple) and isinstance(ours, tuple) and theirs[0] == ours[0] and ours[1].startswith(theirs[1])
    )


def known_differences():
    """{case: {place: rule}}"""
    known = {}
    for number, line in enumerate((HERE / "differences.txt").read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        case, place, rule = (part.strip() for part in line.split("|"))
        assert rule in RULES, f"differences.txt, line {number}: no rule is called {rule!r}"
        known.setdefault(case, {})[place] = rule
    return known


# What differs on purpose, by the name that differences.txt calls it.
RULES = {
    "union": "what either of the SDK's two encodings accepts is accepted",
    "long integers": "whole numbers beyond 64 bits are sent with all their digits",
    "validated decimals": "the text of a DECIMAL must be a number",
    "not finite": "NaN and infinity, which no column holds, become NULL with a warning",
    "primary keys": "NULL or missing in a key, or no key where rows are named by one, fails the sync, naming table and row",
    "names": "a column whose name is empty is refused",
    "exits": "sys.exit() with anything but 0, and KeyboardInterrupt, fail the sync",
    "nothing ran": "a map or a coroutine, of which nothing has run, is an error",
    "errors end": "op.error() fails the sync at once",
    "key as text": "primary_key given as a text is one column",
    "threads": "threads that still run when update() returns are waited for",
}


@pytest.mark.parametrize("case", CASES)
def test_parity(case, officially, python, tmp_path):
    begun = officially(case)
    *ours, result = wherry(case, project(case, tmp_path / "wherry"), python)
    assert "Sanitizer" not in result.errors and "runtime error:" not in result.errors, result.errors
    theirs = begun.result()
    found = differences(theirs, ours)
    known = known_differences().get(case, {})
    new = {place: sides for place, sides in found.items() if place not in known}
    shown = "\n".join(f"{place}:\n  official {sides[0]}\n  wherry   {sides[1]}" for place, sides in new.items())
    assert not new, f"{shown}\n{result.errors}"
    gone = [place for place in known if place not in found]
    assert not gone, f"no difference any more: {gone}"


def test_each_difference_is_of_a_case():
    assert known_differences().keys() <= set(CASES)
