"""Killed at any instant, a DuckDB database is as it was at one checkpoint: what test_kill_operations.py does, there.

What a kill leaves is the database, its WAL, and what a checkpoint had begun beside them; whoever opens it next, here
Python's duckdb and then the writer, plays that back. One thread, so that the N-th call is the same one in each run. The
making of the database is part of it: DuckDB itself refuses a file whose maker died before its first pages were written.

CI takes a few calls of each kind, `tests/run --full` all.
"""

import collections
import concurrent.futures
import os
import random
import re

import harness
import pytest
from operations_duckdb import Duckdb
from test_kill import points_to_kill
from test_kill_operations import kill_at, run, tracer


class OneThread(Duckdb):
    def configuration(self):
        return {"destination": {"type": "duckdb", "path": str(self.path), "threads": 1}}


@pytest.mark.timeout(3000)
def test_killed_at_every_call(plain_build, tmp_path, capsys):
    full = os.environ.get("WHERRY_TEST_FULL") == "1"
    seed = int(os.environ.get("WHERRY_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    assert run(OneThread(plain_build, tmp_path), tracer(tmp_path / "trace")).frames("DONE")
    calls = collections.Counter(re.findall(r"^(\w+)\(", (tmp_path / "trace").read_text(errors="replace"), re.M))
    assert calls["pwrite64"] + calls["write"] > 20 and calls["fsync"] + calls["fdatasync"] > 6, calls
    points = list(points_to_kill(calls, full, random.Random(seed)))
    made, wrong = collections.Counter(), []
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), initializer=harness.become_subreaper) as pool:
        outcomes = pool.map(kill_at, *zip(*((plain_build, OneThread, *point) for point in points)))
        for (call, _), outcome in zip(points, outcomes):
            made[call] += outcome is not None
            if outcome:
                wrong.append(outcome)
    with capsys.disabled():
        print(f"\nkills made, of calls seen (duckdb, seed {seed}):")
        for call in sorted(calls):
            print(f"  {call:<16} {made[call]:>4} of {calls[call]}")
    assert not wrong, "\n".join(wrong)
    missed = [call for call in calls if not made[call]]
    assert not missed, f"no kill was made at {missed}"
