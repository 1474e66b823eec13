"""What an operations pipe carries, taken apart: TABLE, ROWS and TRUNCATE frames into operations of named values."""

import struct
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal

import frames

NAMES = {number: name for name, number in frames.COLUMN_TYPES.items()}
OPERATIONS = {number: name for name, number in frames.OPERATIONS.items()}
EPOCH = datetime(1970, 1, 1)


class Json(str):
    """A value that is JSON, as its text."""


class Pipe:
    """Feeds a result's `tables` and `operations`."""

    def __init__(self, result):
        self.result = result
        self.data = bytearray()
        self.names = {}  # of tables, by number
        self.columns = {}

    def feed(self, data):
        self.data += data
        for kind, payload in frames.take_whole(self.data):
            self.take(kind, payload)

    def end(self):
        assert not self.data, f"{len(self.data)} bytes of a frame that is not whole"

    def take(self, kind, payload):
        if kind == "TABLE":
            self.take_table(payload)
        elif kind == "ROWS":
            self.take_rows(payload)
        elif kind == "TRUNCATE":
            self.result.operations.append(("truncate", self.names[struct.unpack("<H", payload)[0]]))
        else:
            raise AssertionError(f"a {kind} frame on the pipe")

    def take_table(self, payload):
        number, _flags, length = struct.unpack_from("<HBI", payload)
        at = 7 + length
        name = payload[7:at].decode()
        (count,) = struct.unpack_from("<I", payload, at)
        at += 4
        columns = []
        for _ in range(count):
            (length,) = struct.unpack_from("<I", payload, at)
            column = payload[at + 4 : at + 4 + length].decode()
            at += 4 + length
            kind, flags, precision, scale = struct.unpack_from("<BBBB", payload, at)
            at += 4
            columns.append((column, NAMES[kind], flags, precision, scale))
        assert at == len(payload)
        self.names[number] = name
        self.columns[number] = [column[0] for column in columns]
        self.result.tables[name] = columns

    def take_rows(self, payload):
        table, operation, _, count = struct.unpack_from("<HBBI", payload)
        at = 8
        for _ in range(count):
            row = {}
            for column in self.columns[table]:
                value, at = take_value(payload, at)
                if value is not ABSENT:
                    row[column] = value
            self.result.operations.append((OPERATIONS[operation], self.names[table], row))
        assert at == len(payload), f"{len(payload) - at} bytes left over"


ABSENT = object()


def take_value(payload, at):
    tag = payload[at]
    at += 1
    if tag < 4:
        return (None, ABSENT, False, True)[tag], at
    if tag == 4:
        return struct.unpack_from("<q", payload, at)[0], at + 8
    if tag == 5:
        return struct.unpack_from("<d", payload, at)[0], at + 8
    if tag == 6:
        return date(1970, 1, 1) + timedelta(days=struct.unpack_from("<i", payload, at)[0]), at + 4
    if tag == 7:
        seconds, nanos, offset = struct.unpack_from("<qIh", payload, at)
        moment = EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)
        assert nanos % 1000 == 0
        return moment if offset == -32768 else moment.replace(tzinfo=timezone.utc), at + 14
    (length,) = struct.unpack_from("<I", payload, at)
    text = payload[at + 4 : at + 4 + length]
    at += 4 + length
    if tag == 11:
        return bytes(text), at
    text = text.decode()
    return {8: str, 9: Decimal, 10: Json}[tag](text), at
