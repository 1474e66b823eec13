#!/usr/bin/env python3
"""Writes the seeds of fuzz_sequence: streams that reach every frame type, every value, every end.

make_sequence_corpus.py [FOLDER]      default: corpus/sequence beside this file
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "integration"))

import frames
from frames import KEY, REQUIRED

ALL, FILES, ROWS = 0x07, 0x01, 0x06
COLUMNS = [
    ("s", "string"), ("i", "integer"), ("f", "float"), ("b", "boolean"), ("d", "date"), ("t", "timestamp"),
    ("n", "decimal"), ("j", "json"), ("x", "binary"),
]  # fmt: skip
ROW = [
    "é", -1, 1.5, True, frames.date(19000), frames.timestamp(1, 2, 60), frames.decimal("-1.5"),
    frames.json_value("{}"), b"\0",
]  # fmt: skip
KEYED = [("id", "integer", KEY), ("v", "string", REQUIRED)]

hello, end = frames.hello(), frames.encode("END")
table, keyed = frames.table("orders", COLUMNS), frames.table("keyed", KEYED)
good = frames.file_frames("a", [ROW, [None] * 9, [frames.ABSENT] * 9])
checkpoint = [frames.encode("CHECKPOINT", number=i, state=f'{{"at": {i}}}') for i in (1, 2)]


def keyed_rows(operation, *items):
    return frames.rows(items, operation=operation)


STREAMS = {
    "files": (FILES, 0, table + good + frames.file_frames("b", []) + end),
    "file-failed": (FILES, 0, table + frames.file_frames("a", [ROW], outcome=frames.FAILED) + good + end),
    "file-changed": (FILES, 0, table + frames.file_frames("a", [ROW], hash=bytes(32)) + good + end),
    "file-bad-value": (
        FILES,
        0,
        table + frames.file_frames("a", [ROW, [*ROW[:2], float("nan"), *ROW[3:]]]) + good + end,
    ),
    "file-cut": (FILES, 0, table + good[:-9]),
    "table-twice": (FILES, 0, table + good + table + good + end),
    "table-in-file": (
        FILES,
        0,
        frames.encode("FILE_BEGIN", hash=bytes(32), name="n\xff")
        + table
        + frames.rows([ROW])
        + table
        + frames.rows([ROW])
        + frames.encode("FILE_END", outcome=1, rows=2, quarantined=1)
        + end,
    ),  # fmt: skip
    "only-table": (FILES | 8 | 16, 0, table + good + end),
    "neighbour": (FILES | 8, 0, keyed),
    "reserved": (ALL, 0, frames.table("_wherry_state", COLUMNS)),
    "rows": (ROWS, 0, table + frames.rows([ROW] * 3) + checkpoint[0] + frames.rows([ROW]) + checkpoint[1] + end),
    "rows-merged": (ROWS, 32, table + frames.rows([ROW]) + checkpoint[0] + frames.rows([ROW]) + checkpoint[1] + end),
    "rows-after": (ROWS, 0, table + checkpoint[0] + frames.rows([ROW]) + end),
    "operations": (
        ROWS,
        0,
        keyed
        + keyed_rows("insert", [1, "a"])
        + keyed_rows("upsert", [1, "b"])
        + keyed_rows("update", [1, frames.ABSENT])
        + keyed_rows("delete", [1, None])
        + frames.encode("TRUNCATE", table=0)
        + checkpoint[0]
        + end,
    ),  # fmt: skip
    "insert-only": (ROWS | 16, 0, keyed + keyed_rows("upsert", [1, "b"])),
    "no-truncate": (2, 0, keyed + frames.encode("TRUNCATE", table=0)),
    "mixed": (ALL, 0, table + frames.rows([ROW]) + checkpoint[0] + good + frames.rows([ROW]) + end),
    "fails-data": (ALL, 16 | 3, table + good * 4 + end),
    "fails-late": (ALL, 16 | 7, table + good * 4 + end),
    "fails-hard": (ALL, 5, table + good * 4 + end),
    "socket-frame": (ALL, 0, frames.encode("OPENED", state="{}")),
    "state-not-json": (ROWS, 0, table + frames.encode("CHECKPOINT", number=1, state="{")),
    "empty": (ALL, 0, end),
    "after-end": (ALL, 0, end + table),
}


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "corpus" / "sequence"
    folder.mkdir(parents=True, exist_ok=True)
    for name, (rules, failures, data) in STREAMS.items():
        (folder / name).write_bytes(bytes([rules, failures]) + hello + data)
    (folder / "no-hello").write_bytes(bytes([ALL, 0]) + table)
    (folder / "version").write_bytes(bytes([ALL, 0]) + frames.hello(version=2))


if __name__ == "__main__":
    main()
