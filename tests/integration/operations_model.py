"""What a connector's operations mean: a naive model in memory, and random streams to hold a destination against it.

Written from the documentation (lib/formats/kind.h, connectors/writer/destination.h, and the rules of docs/programs.md),
not from the C code: one dictionary per table, one operation after another, no batches and no coalescing. A value is kept
as it came and looked at as its column's final kind only when rows are compared, so nothing here depends on when a column
was widened.
"""

import base64
import datetime
import hashlib
import json
import struct
from collections import namedtuple
from decimal import Decimal

import frames

# --- kinds ---

Kind = namedtuple("Kind", "type precision scale", defaults=(0, 0))
TYPES = "string short int integer real float boolean date datetime instant decimal json binary".split()
NUMBERS = "short int integer integer real float float decimal".split()
WHOLE = {"short": 5, "int": 10, "integer": 19}  # and their digits as a decimal
RANGES = {"short": 1 << 15, "int": 1 << 31, "integer": 1 << 63}
FLOATS = ("real", "float")
DAYS = ("date", "datetime")
STRING = Kind("string")


def digits(text):
    """Before the point without leading zeros, after it without trailing ones."""
    whole, _, fraction = text.lstrip("-").partition(".")
    return len(whole.lstrip("0")), len(fraction.rstrip("0"))


def sized(whole, scale):
    return Kind("decimal", max(whole + scale, 1), scale) if whole + scale <= 38 else Kind("decimal")


def join(a, b):
    """The narrowest kind that holds both; whole numbers with floats are for the caller to judge."""
    if a == b:
        return a
    types = {a.type, b.type}
    if types <= set(WHOLE):
        return max(a, b, key=lambda kind: WHOLE[kind.type])
    if types <= {"decimal", *WHOLE}:
        parts = [(k.precision - k.scale, k.scale) if k.type == "decimal" else (WHOLE[k.type], 0) for k in (a, b)]
        if any(k == Kind("decimal") for k in (a, b)):
            return Kind("decimal")
        return sized(max(p[0] for p in parts), max(p[1] for p in parts))
    if types <= {*FLOATS, *WHOLE}:
        return Kind("float")
    if types <= set(DAYS):
        return Kind("datetime")
    return STRING


# --- values: a tag and what it says ---

Value = namedtuple("Value", "tag data")
NULL = Value("null", None)


def exact(integer):
    """Whether a double holds it and has the same text, whichever way it comes to a STRING column."""
    return -(2**53) <= integer <= 2**53


def is_single(number):
    try:
        (single,) = struct.unpack("<f", struct.pack("<f", number))
    except OverflowError:
        return False
    for count in range(1, 10):
        shown = float(f"{single:.{count}g}")
        if struct.pack("<f", shown) == struct.pack("<f", single):
            return shown == number
    return False


def holds(kind, value):
    tag, data = value
    if tag == "null" or kind.type == "string":
        return True
    if tag == "integer":
        if kind.type in WHOLE:
            return -RANGES[kind.type] <= data < RANGES[kind.type]
        if kind.type == "decimal":
            return kind.precision == 0 or abs(data) < 10 ** (kind.precision - kind.scale)
        return abs(data) <= 1 << 24 if kind.type == "real" else kind.type == "float" and exact(data)
    if tag == "float":
        return kind.type == "float" or (kind.type == "real" and is_single(data))
    if tag == "decimal":
        whole, scale = digits(data)
        fits = scale <= kind.scale and whole <= kind.precision - kind.scale
        return kind.type == "decimal" and (kind.precision == 0 or fits)
    return kind.type == tag or (tag == "date" and kind.type == "datetime")


def kind_of(value, instead_of=None):
    """INSTEAD_OF: the kind of a column that does not hold it."""
    if value.tag == "decimal":
        return sized(*digits(value.data))
    if instead_of == Kind("short") and holds(Kind("int"), value):
        return Kind("int")
    return Kind(value.tag)


def plain(number):
    """A Decimal without exponent and trailing zeros."""
    shown = f"{number:f}"
    shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    return "0" if shown in ("-0", "") else shown


def moment_text(seconds, nanos):
    day, second = divmod(seconds, 86400)
    shown = f"{datetime.date(1970, 1, 1) + datetime.timedelta(day)}T{datetime.timedelta(seconds=second)!s:0>8}"
    if nanos % 1000:
        return f"{shown}.{nanos:09}"
    return f"{shown}.{nanos // 1000:06}" if nanos else shown


def text(value):
    """The one text of a value."""
    tag, data = value
    if tag == "null":
        return ""
    if tag == "boolean":
        return "true" if data else "false"
    if tag in ("integer", "decimal"):
        return plain(Decimal(data))
    if tag == "float":
        return plain(Decimal(repr(data)))
    if tag == "date":
        return str(datetime.date(1970, 1, 1) + datetime.timedelta(data))
    if tag == "datetime":
        shown = moment_text(*data)
        return shown.removesuffix("T00:00:00")
    if tag == "instant":
        return moment_text(*data[:2]) + "Z"
    if tag == "json":
        return data[1]
    return base64.b64encode(data).decode() if tag == "binary" else data


def json_meaning(data):
    return json.loads(data, parse_float=Decimal, parse_int=Decimal)


def seen_as(value, kind):
    """What a column of KIND shows of a value: comparable with what a destination's adapter reads back."""
    tag, data = value
    if tag == "null":
        return None
    if kind.type == "string":
        return text(value)
    if kind.type == "decimal":
        return Decimal(data)
    if kind.type in FLOATS:
        return float(data) + 0.0  # no -0
    if kind.type == "datetime":
        return (data * 86400, 0) if tag == "date" else data
    if kind.type == "instant":
        return data[:2]
    return json_meaning(data[0]) if kind.type == "json" else data


def wire(value):
    tag, data = value
    if tag == "date":
        return frames.date(data)
    if tag == "datetime":
        return frames.timestamp(*data)
    if tag == "instant":
        return frames.timestamp(*data)
    if tag == "decimal":
        return frames.decimal(data)
    return frames.json_value(data[0]) if tag == "json" else data


# --- the model ---

Column = namedtuple("Column", "name kind flags", defaults=(0,))


class Table:
    def __init__(self, key):
        self.key = key  # names of columns; empty: none
        self.kinds = {}  # by name, in the order in which they came
        self.inexact = set()
        self.rows = {}

    def become(self, name, kind, inexact=False):
        is_ = self.kinds.get(name)
        to = kind if is_ is None else join(is_, kind)
        mixed = is_ is not None and to.type == "float" and {is_.type, kind.type} & set(WHOLE)
        if mixed and (inexact or name in self.inexact):
            to = STRING
        self.kinds[name] = to

    def take(self, name, value):
        inexact = value.tag == "integer" and not exact(value.data)
        if not holds(self.kinds[name], value):
            self.become(name, kind_of(value, self.kinds[name]), inexact)
        if inexact:
            self.inexact.add(name)

    def identity(self, row):
        if self.key:
            return tuple(seen_as(row[name], self.kinds[name]) for name in self.key)
        joined = ",".join(text(row.get(name, NULL)) for name in self.kinds)
        return hashlib.sha1(joined.encode("utf-8", "surrogatepass")).hexdigest().upper()

    def apply(self, operation, row, now):
        for name, value in row.items():
            self.take(name, value)
        self.change(operation, self.identity(row), row, now)

    def change(self, operation, key, row, now):
        if operation == "upsert":
            self.rows[key] = {"values": dict(row), "deleted": False}
        elif key in self.rows and operation == "update":
            self.rows[key]["values"].update(row)
        elif key in self.rows:
            self.rows[key]["deleted"] = True

    def truncate(self, now):
        for row in self.rows.values():
            row["deleted"] = True

    def shown(self, values):
        return {name: seen_as(values.get(name, NULL), kind) for name, kind in self.kinds.items()}

    def seen(self):
        """Kinds by column, and rows by identity: (values by column, deleted)."""
        return self.kinds, {key: (self.shown(row["values"]), row["deleted"]) for key, row in self.rows.items()}


class HistoryTable(Table):
    """The same with `history: true`: of each identity a list of versions, {"values", "start", "end"}. A time is the number
    of the batch: all that a batch does is done at one moment. An end is None, ("at", batch) or ("before", batch)."""

    def change(self, operation, key, row, now):
        versions = self.rows.setdefault(key, [])
        active = versions[-1] if versions and versions[-1]["end"] is None else None
        if operation == "upsert":
            self.begin(versions, dict(row), now)
        elif active and operation == "delete":
            active["end"] = ("at", now)
        elif active and set(row) - set(self.key):
            self.begin(versions, {**active["values"], **row}, now)

    @staticmethod
    def begin(versions, values, now):
        """The version before ends; one of the same batch never was."""
        if versions and versions[-1]["start"] == now:
            versions.pop()
        if versions and versions[-1]["end"] in (None, ("at", now)):
            versions[-1]["end"] = ("before", now)
        versions.append({"values": values, "start": now, "end": None})

    def truncate(self, now):
        for versions in self.rows.values():
            if versions and versions[-1]["end"] is None:
                versions[-1]["end"] = ("at", now)

    def seen(self):
        """Kinds by column, and by identity the versions, oldest first: (values by column, start, end)."""
        rows = {}
        for key, versions in self.rows.items():
            if versions:
                rows[key] = [(self.shown(v["values"]), v["start"], v["end"]) for v in versions]
        return self.kinds, rows


# --- streams ---
#
# A sequence is a list of syncs: {"interval", "memory", "aside", "end", "operations"}. An operation is ("table", name,
# columns), ("rows", name, operation, rows), ("truncate", name) or ("checkpoint",); a row is a dictionary of Values.
# Operations that make no sense where they stand (a table that is not described, a column that it does not have) are
# passed over, by the model and the encoder alike, so that anything may be left out when a failure is made smaller.


def sensible(operations):
    described, waiting = {}, set()
    for operation in operations:
        if operation[0] == "table":
            # One that nothing was done with yet may count or not, as the cut of batches has it.
            if operation[1] not in waiting:
                waiting.add(operation[1])
                described[operation[1]] = {column.name for column in operation[2]}
                yield operation
        elif operation[0] == "checkpoint":
            yield operation
        elif operation[1] in described:
            waiting.discard(operation[1])
            if operation[0] == "truncate":
                yield operation
                continue
            known = described[operation[1]]
            rows = [{name: value for name, value in row.items() if name in known} for row in operation[3]]
            yield (*operation[:3], rows)


def encode(operations, end, first=0):
    """The bytes of the pipe. A table keeps its number for the whole sync; states go on from FIRST."""
    numbers, columns, parts, checkpoints = {}, {}, [frames.hello()], 0
    for operation in sensible(operations):
        name = operation[1] if len(operation) > 1 else None
        if operation[0] == "table":
            number = numbers.setdefault(name, len(numbers))
            columns[name] = operation[2]
            parts.append(
                frames.table(name, [(c.name, c.kind.type, c.flags, *c.kind[1:]) for c in operation[2]], number)
            )
        elif operation[0] == "rows":
            items = [
                [wire(row[c.name]) if c.name in row else frames.ABSENT for c in columns[name]] for row in operation[3]
            ]
            parts.append(frames.rows(items, numbers[name], operation[2]))
        elif operation[0] == "truncate":
            parts.append(frames.encode("TRUNCATE", table=numbers[name]))
        else:
            checkpoints += 1
            state = json.dumps({"at": first + checkpoints})
            parts.append(frames.encode("CHECKPOINT", number=checkpoints, state=state))
    return b"".join(parts) + (frames.encode("END") if end else b"")


class Model:
    def __init__(self, history=False):
        self.tables, self.state, self.batch = {}, "{}", 0
        self.kind = HistoryTable if history else Table

    def run(self, operations, interval=0):
        """Yields itself after each checkpoint, with its state, and after the last operation. Within an INTERVAL
        checkpoints do not end a batch."""
        checkpoints = 0
        self.batch += 1
        for operation in sensible(operations):
            if operation[0] == "table":
                key = [c.name for c in operation[2] if c.flags & frames.KEY]
                table = self.tables.setdefault(operation[1], self.kind(key))
                for column in operation[2]:
                    table.become(column.name, column.kind)
            elif operation[0] == "rows":
                for row in operation[3]:
                    self.tables[operation[1]].apply(operation[2], row, self.batch)
            elif operation[0] == "truncate":
                self.tables[operation[1]].truncate(self.batch)
            else:
                checkpoints += 1
                self.batch += interval == 0
                self.state = json.dumps({"at": checkpoints})
                yield self
        yield self


# --- random ones ---


class Pools:
    """Values of each kind, few enough to meet again; what the destination cannot hold is left out."""

    def __init__(self, nul=True, nanoseconds=True):
        small = [0, 1, -1, 7, 100]
        self.values = {
            "string": ["", "a", "A", "1", "1e5", "007", "true", "é", "é", "a,b", "a\nb", "x" * 300, "2024-01-01", "\U0001f600"],
            "short": [*small, 32767, -32768],
            "int": [*small, 2**31 - 1, -(2**31)],
            "integer": [*small, 2**53, 2**53 + 1, 2**60, -(2**63), 2**63 - 1, 10**15],
            "real": [0.0, -0.0, 0.5, 0.1, 42.42, 16777216.0, -3e38],
            "float": [0.0, 0.1, 1.0, 5.0, 1e22, 1e-7, 1 / 3, -1.5e300, 9007199254740993.0, 123456789.125],
            "boolean": [True, False],
            "date": [0, 19782, -719162, 2932896],
            "datetime": [(0, 0), (86400, 0), (86399, 500000000), (-62135596800, 0), (1700000000, 1000)],
            "instant": [(0, 0, 0), (0, 0, 330), (1700000000, 250000000, -60), (253402300799, 0, 0)],
            "decimal": ["0", "1", "1.0", "1.50", "-0.01", "12345.678", "99999999999999999999", "9" * 40 + ".25", "0.10"],
            "json": [
                ('{"b": 1.0, "a": [1, {}]}', '{"a":[1,{}],"b":1.0}'), ('"x"', '"x"'), ("1e5", "100000"), ("null", "null"),
                ('{"y": -2.5E-3, "x": [1.50e1, -0.0]}', '{"x":[15.0,0.0],"y":-0.0025}'),
                ('{"a": 1, "a": 2}', '{"a":2}'), ("[ ]", "[]"), ('"\\u00e9"', '"é"'), ("true", "true"),
            ],
            "binary": [b"", b"\0", b"\xff\xfe", b"text"],
        }  # fmt: skip
        if nul:
            self.values["string"] += ["\0", "a\0b"]
        if nanoseconds:
            self.values["datetime"].append((0, 1))
            self.values["instant"].append((5, 999999999, 0))

    def value(self, rng, kind):
        if kind.type == "decimal" and kind.precision:
            return Value("decimal", rng.choice([v for v in self.values["decimal"] if holds(kind, Value("decimal", v))]))
        data = rng.choice(self.values[kind.type])
        tag = "integer" if kind.type in WHOLE else "float" if kind.type in FLOATS else kind.type
        return Value(tag, data)


def random_kind(rng, types=TYPES):
    kind = rng.choice(types)
    return Kind("decimal", 7, 3) if kind == "decimal" and rng.random() < 0.5 else Kind(kind)


class Shape:
    """A table that a sequence writes: its key, its columns so far, how wild its values are."""

    KEYS = ("integer", "string", "int", "date", "decimal", "boolean", "binary", "instant", "float", "datetime")

    def __init__(self, rng, name, pools):
        self.name, self.pools = name, pools
        self.key = [
            Column(f"k{i}", Kind(rng.choice(self.KEYS)), frames.KEY) for i in range(rng.choice([0, 1, 1, 1, 2]))
        ]
        self.keys = [{c.name: pools.value(rng, c.kind) for c in self.key} for _ in range(rng.choice([1, 2, 4]))]
        self.columns = [Column(name, random_kind(rng)) for name in rng.sample(["a", "B c", "é", "select", 'x"y'], 3)]
        self.mixing = rng.choice([0, 0, 0.03, 0.3])
        self.mixed = rng.choice([TYPES, NUMBERS])  # numbers mix in more ways than the rest

    def describe(self, rng):
        columns = [c for c in self.columns if rng.random() < 0.9] + self.key
        if len(columns) == 0:
            columns = self.columns[:1]
        rng.shuffle(columns)
        self.described = columns
        return ("table", self.name, columns)

    def grow(self, rng):
        self.columns.append(Column(f"c{len(self.columns)}", random_kind(rng)))
        if rng.random() < self.mixing:
            at = rng.randrange(len(self.columns))
            self.columns[at] = self.columns[at]._replace(kind=random_kind(rng, self.mixed))

    def row(self, rng, operation):
        row = dict(rng.choice(self.keys)) if self.key else {}
        for column in self.described:
            if column.flags & frames.KEY or operation == "delete" or rng.random() < 0.25:
                continue
            kind = random_kind(rng, self.mixed) if rng.random() < self.mixing else column.kind
            row[column.name] = NULL if rng.random() < 0.15 else self.pools.value(rng, kind)
        return row

    def rows(self, rng):
        operation = rng.choice(["upsert", "upsert", "update", "delete"]) if self.key else "upsert"
        count = rng.choice([1, 1, 2, 5])
        return ("rows", self.name, operation, [self.row(rng, operation) for _ in range(count)])


def random_operations(rng, shapes):
    operations = [shape.describe(rng) for shape in shapes]
    for _ in range(rng.randrange(1, 14)):
        shape, dice = rng.choice(shapes), rng.random()
        if dice < 0.7:
            operations.append(shape.rows(rng))
        elif dice < 0.8:
            operations.append(("truncate", shape.name))
        elif dice < 0.9:
            operations.append(("checkpoint",))
        else:
            before = shape.rows(rng)
            shape.grow(rng)
            operations += [before, shape.describe(rng), shape.rows(rng)]
    return operations


def random_rules(rng):
    """A sync's bounds. A table's first row takes some 7 kB of the coalescer's memory: below that each row is flushed by
    itself, and above, after more or fewer of them, or set aside in a file of so many bytes at most."""
    return {
        "interval": rng.choice([0, 0, 60]),
        "memory": rng.choice([1, 10_000, 30_000, 100_000, 16 << 20]),
        "aside": rng.choice([0, 1, 1 << 28, 1 << 28]),
        "end": rng.random() < 0.85,
    }


def random_group(rng, pools, count):
    """COUNT sequences side by side, each on tables of its own, in syncs that they have in common: a process and a look at
    the result cost more than what a sequence does. What is cut by one's checkpoints and bounds is cut for all."""
    shapes = [
        [Shape(rng, f"{number} {name}", pools) for name in rng.sample(["orders", "Items", "x"], rng.choice([1, 1, 2]))]
        for number in range(count)
    ]
    return [
        {**random_rules(rng), "operations": interleaved(rng, [random_operations(rng, own) for own in shapes])}
        for _ in range(rng.choice([2, 3]))
    ]


def interleaved(rng, lists):
    """All of them in one, each in its own order."""
    turns = [number for number, items in enumerate(lists) for _ in items]
    rng.shuffle(turns)
    left = [iter(items) for items in lists]
    return [next(left[number]) for number in turns]


def random_sequence(rng, pools):
    shapes = [Shape(rng, name, pools) for name in rng.sample(["orders", "Items", "x y"], rng.choice([1, 1, 2, 3]))]
    return [{**random_rules(rng), "operations": random_operations(rng, shapes)} for _ in range(rng.choice([1, 2, 3]))]
