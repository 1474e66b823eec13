"""Killed at any instant, a DuckDB database is as it was at one checkpoint: what test_kill_operations.py does, there.

What a kill leaves is the database, its WAL, and what a checkpoint had begun beside them; whoever opens it next, here
Python's duckdb and then the writer, plays that back. One thread, so that the N-th call is the same one in each run. The
making of the database is part of it: DuckDB itself refuses a file whose maker died before its first pages were written.

CI takes a few calls of each kind, `tests/run --full` all.
"""

import collections
import re

import pytest
from operations_duckdb import Duckdb
from test_kill_operations import kill_everywhere, run, tracer


class OneThread(Duckdb):
    def configuration(self):
        return {"destination": {"type": "duckdb", "path": str(self.path), "threads": 1}}


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_killed_at_every_call(plain_build, tmp_path, capsys):
    assert run(OneThread(plain_build, tmp_path), tracer(tmp_path / "trace")).frames("DONE")
    calls = collections.Counter(re.findall(r"^(\w+)\(", (tmp_path / "trace").read_text(errors="replace"), re.M))
    assert calls["pwrite64"] + calls["write"] > 20 and calls["fsync"] + calls["fdatasync"] > 6, calls
    kill_everywhere(plain_build, OneThread, calls, capsys)
