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

ALL, FILES, ROWS = 0x05, 0x01, 0x04  # the rules at the top of fuzz_sequence.c
NO_CASE, ONE_TABLE, INSERT_ONLY, HISTORY, FULL, LITTLE_MEMORY = 2, 8, 16, 32, 64, 128
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


def upserts(count):
    return frames.rows([ROW] * count, operation="upsert")


operations = (
    keyed
    + keyed_rows("upsert", [1, "b"], [2, "c"], [1, "d"])
    + keyed_rows("update", [1, frames.ABSENT], [3, "x"])
    + keyed_rows("delete", [1, None])
    + checkpoint[0]
    + keyed_rows("update", [1, "y"])
    + keyed_rows("upsert", [1, "z"])
    + frames.encode("TRUNCATE", table=0)
    + keyed_rows("upsert", [2, "z"])
    + checkpoint[1]
    + keyed_rows("delete", [2, None])
    + end
)
# every column meets a value of every other type
mixtures = b"".join(
    frames.table(f"t{i}", [("id", "integer", KEY), ("v", kind)], number=i)
    + frames.rows([(j, value) for j, value in enumerate(ROW + [2**53 + 1, frames.decimal("9" * 40)])], i, "upsert")
    for i, (_, kind) in enumerate(COLUMNS)
)
grows = (
    frames.table("t", [("id", "short", KEY)])
    + keyed_rows("upsert", [1])
    + frames.table("t", [("id", "integer", KEY), ("Id", "decimal", 0, 9, 2), ("w", "real")])
    + keyed_rows("upsert", [2**40, frames.decimal("1.25"), 0.1])
    + end
)


IS_DELETED, SEQUENCE = 64, 8
changes = frames.table(
    "orders", [("id", "integer", KEY), ("at", "decimal", SEQUENCE), ("v", "string"), ("d", "boolean", IS_DELETED)]
)


def changed(key, at, deleted=False):
    return [key, frames.decimal(at), "v", deleted]


def change_file(name, *items):
    return frames.file_frames(name, items, operation="upsert")


STREAMS = {
    "changes": (
        FILES | HISTORY,
        0,
        changes
        + change_file("a", changed(2, "1"), changed(1, "-1.5"), changed(1, "0", True), changed(2, "0.5"))
        + change_file("b", changed(1, "7"))
        + change_file("c")
        + end,
    ),
    "changes-spilled": (
        FILES | HISTORY | LITTLE_MEMORY,
        0,
        changes + change_file("a", *[changed(i % 7, str(i)) for i in range(50)]) + end,
    ),
    "changes-tied": (FILES | HISTORY, 0, changes + change_file("a", changed(1, "1"), changed(1, "1.0")) + end),
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
    "only-table": (FILES | ONE_TABLE | INSERT_ONLY, 0, table + good + end),
    "neighbour": (FILES | ONE_TABLE, 0, keyed),
    "reserved": (ALL, 0, frames.table("_wherry_state", COLUMNS)),
    "rows": (ROWS, 0, table + upserts(3) + checkpoint[0] + upserts(1) + checkpoint[1] + end),
    "rows-merged": (ROWS, 32, table + upserts(1) + checkpoint[0] + upserts(1) + checkpoint[1] + end),
    "rows-after": (ROWS, 0, table + checkpoint[0] + upserts(1) + end),
    "operations": (ROWS, 0, operations),
    "operations-history": (ROWS | HISTORY, 0, operations),
    "operations-full": (ROWS | FULL, 32, operations),
    "operations-flushed": (ROWS | LITTLE_MEMORY | NO_CASE, 32, operations),
    "operations-dropped": (ROWS | ONE_TABLE | FULL, 0, operations.replace(keyed, frames.table("orders", KEYED))),
    "operations-fail": (ROWS, 7, operations),
    "mixtures": (ROWS, 0, mixtures + end),
    "mixtures-blocked": (ROWS, 64, mixtures + end),
    "grows": (ROWS, 0, grows),
    "grows-no-case": (ROWS | NO_CASE, 0, grows),
    "keyless-update": (ROWS, 0, table + frames.rows([ROW], operation="update")),
    "insert-only": (ROWS | INSERT_ONLY, 0, keyed + keyed_rows("upsert", [1, "b"])),
    "no-truncate": (0, 0, keyed + frames.encode("TRUNCATE", table=0)),
    "mixed": (ROWS, 0, table + upserts(1) + checkpoint[0] + good + end),
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
