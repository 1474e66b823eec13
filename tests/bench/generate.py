#!/usr/bin/env python3
"""Rows in the shape of TPC-H's lineitem (16 columns, about 140 bytes each), the same for the same seed.

generate.py ROWS FILE.csv|FILE.ndjson
"""

import random
import sys

COLUMNS = [
    ("l_orderkey", "integer"),
    ("l_partkey", "integer"),
    ("l_suppkey", "integer"),
    ("l_linenumber", "integer"),
    ("l_quantity", "float"),
    ("l_extendedprice", "float"),
    ("l_discount", "float"),
    ("l_tax", "float"),
    ("l_returnflag", "string"),
    ("l_linestatus", "string"),
    ("l_shipdate", "date"),
    ("l_commitdate", "date"),
    ("l_receiptdate", "date"),
    ("l_shipinstruct", "string"),
    ("l_shipmode", "string"),
    ("l_comment", "string"),
]
SQLITE_TYPES = {"integer": "INTEGER", "float": "REAL", "string": "TEXT", "date": "TEXT"}

INSTRUCTIONS = ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"]
MODES = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"]
WORDS = 'carefully final deposits, blithely ironic "packages" sleep furiously; regular accounts above the slyly express'.split(
    " "
)


def _pools(rng):
    dates = [
        f"{year:04d}-{month:02d}-{day:02d}"
        for year in range(1992, 1999)
        for month in range(1, 13)
        for day in range(1, 29)
    ]
    comments = [" ".join(rng.choices(WORDS, k=rng.randint(2, 6))) for _ in range(5000)]
    return dates, comments


def rows(count, seed=1):
    """Yields tuples of Python values, typed as COLUMNS says (dates as text)."""
    rng = random.Random(seed)
    dates, comments = _pools(rng)
    random_ = rng.random
    for i in range(count):
        quantity = int(random_() * 50) + 1
        day = int(random_() * (len(dates) - 60))
        yield (
            i // 4 + 1,
            int(random_() * 200000) + 1,
            int(random_() * 10000) + 1,
            i % 4 + 1,
            float(quantity),
            round(quantity * (900 + random_() * 1100), 2),
            int(random_() * 11) / 100,
            int(random_() * 9) / 100,
            "NRA"[int(random_() * 3)],
            "OF"[int(random_() * 2)],
            dates[day],
            dates[day + 30],
            dates[day + int(random_() * 60)],
            INSTRUCTIONS[int(random_() * 4)],
            MODES[int(random_() * 7)],
            comments[int(random_() * 5000)],
        )


def _csv_line(row):
    quoted = [f'"{value.replace(chr(34), chr(34) * 2)}"' for value in row[13:]]
    return ",".join([str(value) for value in row[:13]] + quoted) + "\n"


def write_csv(path, count, repeat=1):
    """COUNT rows, their body written REPEAT times: ten million rows need not take ten times as long to make."""
    body = "".join(_csv_line(row) for row in rows(count)).encode()
    with open(path, "wb") as file:
        file.write((",".join(name for name, _ in COLUMNS) + "\n").encode())
        for _ in range(repeat):
            file.write(body)


def write_ndjson(path, count):
    import json

    names = [name for name, _ in COLUMNS]
    encode = json.JSONEncoder(separators=(",", ":")).encode
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(encode(dict(zip(names, row))) + "\n" for row in rows(count))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    write = write_ndjson if sys.argv[2].endswith(".ndjson") else write_csv
    write(sys.argv[2], int(sys.argv[1]))
