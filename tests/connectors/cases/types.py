"""Each value in a column of one type, which the configuration names; what is refused, with its exception."""

import datetime
import decimal
import enum
import fractions
import uuid

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


class Colour(enum.IntEnum):
    RED = 1


class Word(str):
    pass


UTC = datetime.timezone.utc
INDIA = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
VALUES = {
    "none": None,
    "true": True,
    "false": False,
    "zero": 0,
    "42": 42,
    "-1": -1,
    "40000": 40000,
    "2**31": 2**31,
    "-2**31": -(2**31),
    "2**53+1": 2**53 + 1,
    "2**63-1": 2**63 - 1,
    "2**63": 2**63,
    "-2**63": -(2**63),
    "10**30": 10**30,
    "10**400": 10**400,
    "int enum": Colour.RED,
    "1.5": 1.5,
    "42.0": 42.0,
    "42.42": 42.42,
    "1e39": 1e39,
    "1e300": 1e300,
    "nan": float("nan"),
    "inf": float("inf"),
    "text": "text",
    "text empty": "",
    "text 0": "0",
    "text 1": "1",
    "text 42": "42",
    "text ' 42 '": " 42 ",
    "text 1_000": "1_000",
    "text 1.5": "1.5",
    "text 1e400": "1e400",
    "text NaN": "NaN",
    "text true": "true",
    "text accents": "naïve 日本 😀",
    "text nul": "a\0b",
    "text surrogate": "\ud800",
    "text subclass": Word("word"),
    "bytes": b"a\xff",
    "bytes 42": b"42",
    "bytearray": bytearray(b"ab"),
    "list": [1, "a", None, 1.5],
    "dict": {"a": {"b": [True]}},
    "dict of dates": {"a": datetime.date(2024, 2, 9)},
    "dict nan": {"a": float("nan")},
    "tuple": (1, 2),
    "set": {1},
    "decimal": decimal.Decimal("1.10"),
    "decimal whole": decimal.Decimal("7"),
    "fraction": fractions.Fraction(1, 2),
    "uuid": uuid.UUID(int=7),
    "object": Colour,
    "date": datetime.date(2024, 2, 9),
    "datetime": datetime.datetime(2024, 2, 9, 1, 2, 3, 456789),
    "datetime utc": datetime.datetime(2024, 2, 9, 1, 2, 3, tzinfo=UTC),
    "datetime +05:30": datetime.datetime(2024, 2, 9, 1, 2, 3, tzinfo=INDIA),
    "datetime year 1": datetime.datetime(1, 1, 1, 0, 0, 0),
    "time": datetime.time(1, 2, 3),
    "timedelta": datetime.timedelta(seconds=5),
    "text date": "2024-02-09",
    "text date short": "2024-2-9",
    "text date spaces": " 2024-02-09 ",
    "text date impossible": "2024-02-30",
    "text leap day": "2024-02-29",
    "text no leap day": "2023-02-29",
    "text datetime T": "2024-02-09T01:02:03",
    "text datetime space": "2024-02-09 01:02:03",
    "text datetime fraction": "2024-02-09T01:02:03.5",
    "text datetime 6 digits": "2024-02-09T01:02:03.123456",
    "text datetime 7 digits": "2024-02-09T01:02:03.1234567",
    "text datetime spaces": "  2024-02-09T01:02:03Z ",
    "text datetime Z": "2024-02-09T01:02:03Z",
    "text datetime fraction Z": "2024-02-09 01:02:03.25Z",
    "text datetime +05:30": "2024-02-09T01:02:03+05:30",
    "text datetime -0530": "2024-02-09T01:02:03-0530",
    "text datetime +05": "2024-02-09T01:02:03+05",
    "text datetime z": "2024-02-09T01:02:03z",
    "text datetime UTC": "2024-02-09T01:02:03 UTC",
    "text datetime second 60": "2024-02-09T01:02:60Z",
    "text datetime hour 24": "2024-02-09T24:00:00Z",
    "text datetime short": "2024-2-9T1:2:3Z",
    "text datetime offset seconds": "2024-02-09T01:02:03+01:02:03",
}


def schema(configuration):
    kind = configuration["type"]
    if kind == "undeclared":
        return [{"table": "t", "primary_key": ["what"]}]
    if kind == "DECIMAL":
        kind = {"type": "DECIMAL", "precision": 20, "scale": 5}
    return [{"table": "t", "primary_key": ["what"], "columns": {"what": "STRING", "v": kind}}]


def update(configuration, state):
    for what, value in VALUES.items():
        try:
            op.upsert("t", {"what": what, "v": value})
        except Exception as error:
            op.upsert("refused", {"what": what, "exception": type(error).__name__, "text": str(error)})


connector = Connector(update=update, schema=schema)
