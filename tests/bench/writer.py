#!/usr/bin/env python3
"""The writer alone: op frames from a file into destination-sqlite, to be timed, profiled or traced.

    writer.py make ROWS FILE                        the frames of one file of lineitem rows
    writer.py run PROGRAM FILE DATABASE [PREFIX…]   PREFIX: a command that starts PROGRAM, such as `perf record -g --`

`run` prints seconds of wall time, of the writer's CPU time, and its peak memory in KiB; a second run with other frames
loads into a table that is not empty.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

import frames
import generate


def make(count, path):
    number = {name: date_number(name) for name in generate._pools(__import__("random").Random(1))[0]}
    hash_ = frames.digest(path.encode())
    with open(path, "wb") as file:
        file.write(frames.hello() + frames.table("lineitem", generate.COLUMNS))
        file.write(frames.encode("FILE_BEGIN", hash=hash_, size=1, name=os.path.basename(path)))
        batch = []
        for row in generate.rows(count):
            batch.append([*row[:10], *(frames.date(number.get(d) or date_number(d)) for d in row[10:13]), *row[13:]])
            if len(batch) == 800:  # about FRAME_ROWS_TARGET bytes
                file.write(frames.rows(batch))
                batch = []
        if batch:
            file.write(frames.rows(batch))
        file.write(frames.encode("FILE_END", outcome=frames.LOADED, hash=hash_, rows=count) + frames.encode("END"))


def date_number(text):
    import datetime

    return (datetime.date.fromisoformat(text) - datetime.date(1970, 1, 1)).days


def peak_kib(pid):
    """Before its last mebibyte: ru_maxrss would count what Python itself had before exec."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next((int(line.split()[1]) for line in status if line.startswith("VmHWM")), 0)


def run(program, path, database, prefix):
    configuration = {
        "connection": "bench",
        "run_id": "bench",
        "files": True,
        "write_mode": "append",
        "dest_table": "lineitem",
        "destination": {"type": "sqlite", "path": os.path.abspath(database)},
    }
    start = time.perf_counter()
    writer = frames.Writer([*prefix, program], configuration)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        while os.sendfile(writer.pipe, file.fileno(), None, 1 << 20):
            peak = peak_kib(writer.process.pid)
    status = writer.finish()
    wall = time.perf_counter() - start
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    if status != 0 or not writer.frames("DONE"):
        sys.exit(f"failed: {writer.seen[-3:]}")
    print(
        json.dumps(
            {
                "wall_s": round(wall, 3),
                "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
                "user_s": round(usage.ru_utime, 3),
                "peak_kib": peak,
                "frames_mb": size >> 20,
            }
        )
    )


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "make":
        make(int(sys.argv[2]), sys.argv[3])
    elif len(sys.argv) >= 5 and sys.argv[1] == "run":
        run(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    else:
        sys.exit(__doc__)
