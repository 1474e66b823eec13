"""Killed at any instant, nothing is lost and nothing is repeated.

A sync of three files, one of which is bad the first time, runs under strace, which kills one of its three processes at
its N-th call of one kind (`inject=CALL:signal=KILL:when=N`; the call does not run). Then every file must be in the table
whole or not at all; the bad file is corrected, wherryd runs again undisturbed, and the table must equal the files, each row
once, with a ledger that says the same.

Every call of every kind that a dry trace shows is a point to kill at; CI takes a few of each kind, `tests/run --full` all.
A tracer must be the parent of what it traces, so worker and writer are wrapped in a program folder of their own; wherryd is
traced alone, its children are not followed.
"""

import collections
import concurrent.futures
import hashlib
import os
import random
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import harness
import pytest

HERE = Path(__file__).resolve().parent
CALLS = (
    "write writev pwrite64 sendto sendmsg fsync fdatasync sync_file_range ftruncate rename renameat renameat2 "
    "unlink unlinkat pipe pipe2 read recvfrom recvmsg splice"
).split()
KILLS_PER_KIND = 10
ROWS = 400


def rows_of(name, good=True):
    number = "abc0".index(name) * 1000
    lines = [f"{number + i},note {name} {i},{i}.5" for i in range(ROWS)]
    if not good:
        lines[-1] = "not a number,x,1"
    return "id,note,amount\n" + "\n".join(lines) + "\n"


def hash_of(text):
    return hashlib.sha256(text.encode()).hexdigest()


def wrapped_programs(folder, programs, traced, tracer):
    """A new folder of PROGRAMS (their paths by name) for --libexec-dir, the one called TRACED with TRACER in front."""
    folder.mkdir()
    for program, path in programs.items():
        wrapper = folder / program
        prefix = " ".join(tracer) + " " if program == traced else ""
        wrapper.write_text(f'#!/bin/sh\nexec {prefix}{path} "$@"\n')
        wrapper.chmod(0o755)
    return folder


class Scenario:
    """One copy of the prepared folders, and what must hold in it."""

    def __init__(self, build, base, programs=None):
        self.wherry = harness.Wherry(build)
        shutil.rmtree(self.wherry.root)
        shutil.copytree(base, self.wherry.root)
        self.programs = programs
        self.trace = self.wherry.root / "trace"

    def command(self):
        extra = [f"--libexec-dir={self.programs}"] if self.programs else []
        return [str(self.wherry.build.wherryd), *self.wherry.arguments(), *extra, "--once", "orders"]

    def once(self, tracer=()):
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            [*tracer, *self.command()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=harness.TIMEOUT_S,
            env=environment,
        )

    def run_traced(self, role, inject=None):
        """One sync with ROLE under strace. Returns how often it made each call, and whether it was killed."""
        tracer = ["strace", "-o", str(self.trace), "-e", "trace=" + ",".join(CALLS)]
        if inject:
            tracer += ["-e", f"inject={inject[0]}:signal=KILL:when={inject[1]}"]
        if role == "daemon":
            self.once(tracer)
        else:
            self.wrap(role, tracer)
            self.once()
        harness.wait_for(harness.all_gone, "the end of every process of the sync")
        trace = self.trace.read_text(errors="replace")
        self.programs = None
        return collections.Counter(re.findall(r"^(\w+)\(", trace, re.M)), "+++ killed by SIGKILL +++" in trace

    def wrap(self, role, tracer):
        names = {"worker": "source-files", "writer": "destination-sqlite"}
        build, original = self.wherry.build, self.programs
        programs = {"source-files": build.source("files"), "destination-sqlite": build.destination("sqlite")}
        if original:
            programs = {name: original / name for name in programs}
        self.programs = wrapped_programs(self.wherry.root / "programs", programs, names[role], tracer)

    # --- what must hold ---

    def table(self):
        """Rows by hash of the file they came from. Opened for writing: a hot journal is rolled back, as a reader would."""
        database = sqlite3.connect(self.wherry.database, timeout=harness.TIMEOUT_S)
        try:
            found = collections.defaultdict(list)
            for row in database.execute(
                "SELECT _source_file_hash, order_id, note, amount FROM orders ORDER BY order_id"
            ):
                found[row[0]].append(row[1:])
            return dict(found)
        finally:
            database.close()

    def check_no_half(self):
        for hash, rows in self.table().items():
            assert len(rows) == ROWS, f"{len(rows)} of {ROWS} rows of file {hash[:12]} are in the table"
            assert hash != hash_of(rows_of("b", good=False)), "rows of a bad file are in the table"

    def check_recovery(self):
        self.wherry.drop("b.csv", rows_of("b"))
        done = self.once()
        assert done.returncode == 0, f"the sync after the kill failed:\n{done.stdout.decode()}{done.stderr.decode()}"
        expected = {
            hash_of(rows_of(name)): [("abc0".index(name) * 1000 + i, f"note {name} {i}", i + 0.5) for i in range(ROWS)]
            for name in "abc0"
        }
        assert self.table() == expected
        self.wherry.start()
        ledger = {file["hash"]: file for file in self.wherry.files()}
        self.wherry.stop()
        committed = {hash: file["rows"] for hash, file in ledger.items() if file["state"] == "COMMITTED"}
        assert committed == {hash: ROWS for hash in expected}
        others = {hash: file["state"] for hash, file in ledger.items() if hash not in expected}
        assert set(others) <= {hash_of(rows_of("b", good=False))} and set(others.values()) <= {"FAILED", "PENDING"}, (
            others
        )

    def close(self):
        self.wherry.close()


@pytest.fixture(scope="module")
def base(plain_build, tmp_path_factory):
    """Folders with a table that already holds one file, three more waiting, the second of them bad."""
    wherry = harness.Wherry(plain_build)
    definition = {
        **wherry.orders(),
        "source": {"type": "files", "dir": "../../in"},
        "connector": {"type": "sqlite", "path": "../../out.db"},
    }
    wherry.pipeline("orders", definition)
    wherry.drop("0.csv", rows_of("0"))
    done = wherry.run_daemon("--once", "orders")
    assert done.returncode == 0, done.stderr
    for name in "abc":
        wherry.drop(f"{name}.csv", rows_of(name, good=name != "b"))
    folder = tmp_path_factory.mktemp("kill") / "base"
    shutil.copytree(wherry.root, folder)
    wherry.close()
    return folder


def kill_at(build, base, role, call, number, programs=None):
    """Kills ROLE at its NUMBER-th CALL, and checks. None where the run did not come that far; else what was wrong, or ""."""
    scenario = Scenario(build, base, programs)
    try:
        _, killed = scenario.run_traced(role, (call, number))
        if not killed:
            return None
        scenario.check_no_half()
        scenario.check_recovery()
        return ""
    except AssertionError as error:
        return f"{role} killed at {call} number {number}: {error}"
    finally:
        scenario.close()


def points_to_kill(calls, full, rng, kills=KILLS_PER_KIND):
    for call, count in sorted(calls.items()):
        numbers = range(1, count + 1)
        if not full and count > kills:
            # the first and the last of a kind are where things begin and end; the rest by chance
            numbers = sorted({1, count, *rng.sample(numbers, kills - 1)})
        for number in numbers:
            yield call, number


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_killed_at_every_call(plain_build, base, capsys):
    full = os.environ.get("WHERRY_TEST_FULL") == "1"
    seed = int(os.environ.get("WHERRY_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    rng = random.Random(seed)
    made, wanted, wrong = collections.Counter(), collections.Counter(), []
    points = []
    for role in ("daemon", "worker", "writer"):
        scenario = Scenario(plain_build, base)
        calls, _ = scenario.run_traced(role)
        scenario.close()
        assert calls, f"the trace of the {role} shows no call at all"
        for call, count in calls.items():
            wanted[role, call] = count
        points += [(role, call, number) for call, number in points_to_kill(calls, full, rng)]
    with concurrent.futures.ProcessPoolExecutor(harness.processors(), initializer=harness.become_subreaper) as pool:
        outcomes = pool.map(kill_at, *zip(*((plain_build, base, *point) for point in points)))
        for (role, call, _), outcome in zip(points, outcomes):
            if outcome is not None:
                made[role, call] += 1
            if outcome:
                wrong.append(outcome)
    with harness.aloud(capsys):
        print(f"\nkills made, of calls seen (seed {seed}):")
        for role, call in sorted(wanted):
            print(f"  {role:<8} {call:<16} {made[role, call]:>4} of {wanted[role, call]}")
    assert not wrong, "\n".join(wrong)
    missed = [kind for kind in wanted if not made[kind]]
    assert not missed, f"no kill was made at {missed}"


def test_a_writer_without_transactions_goes_red(plain_build, base, tmp_path):
    """The test above can fail: a writer that commits row by row leaves halves behind, and it says so."""
    programs = tmp_path / "programs"
    programs.mkdir()
    naive = programs / "destination-sqlite"
    naive.write_text(f'#!/bin/sh\nexec python3 {HERE / "naive_writer.py"} "$@"\n')
    naive.chmod(0o755)
    (programs / "source-files").symlink_to(plain_build.source("files"))
    scenario = Scenario(plain_build, base, programs)
    calls, _ = scenario.run_traced("writer")
    scenario.close()
    writes = calls["pwrite64"]
    assert writes > ROWS, "the naive writer did not write row by row"
    outcomes = [
        kill_at(plain_build, base, "writer", "pwrite64", number, programs)
        for number in (writes // 5, writes // 3, writes // 2)
    ]
    assert all(outcomes), outcomes
    assert any("rows of file" in outcome for outcome in outcomes), outcomes
