"""The wire of lib/formats/frame.h in Python: to talk to one worker or one writer without the daemon.

`encode(type, **fields)` makes a frame, `Reader` takes bytes apart again into `Frame(type, fields)`; `rows()` makes a
ROWS frame from Python values. `Writer` runs a destination program as the daemon would.
"""

import fcntl
import hashlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import time
from collections import namedtuple

MAGIC, VERSION = 0x59525257, 1

TYPES = (
    "HELLO TABLE ROWS TRUNCATE CHECKPOINT FILE_BEGIN FILE_END END BEGIN OPENED LOG PROGRESS ERROR CANCEL WORKER_GONE "
    "TAKEN COMMITTED FILE_SEEN FILE_VERDICT FILE_NOTE FILE_DONE DONE FILE_RETIRED PLAN LINE LINES_END"
).split()
NUMBERS = {name: i + 1 for i, name in enumerate(TYPES)}

OPERATIONS = {"insert": 1, "upsert": 2, "update": 3, "delete": 4}
COLUMN_TYPES = {
    name: i + 1
    for i, name in enumerate(
        "string integer float boolean date timestamp decimal json binary short int real datetime instant".split()
    )
}
DECLARED, KEY, REQUIRED, SEQUENCE, IS_DELETED = 1, 2, 4, 8, 64
LOADED, FAILED, CHANGED, ABORTED = 1, 2, 3, 4
LOAD, SKIP, UNKNOWN = 1, 2, 3
KINDS = [None, "configuration", "data", "temporary", "changed", "cancelled", "internal"]

# Fields in wire order: a struct letter, "hash" or "str".
LAYOUTS = {
    "HELLO": [("magic", "I"), ("version", "H"), ("features", "I"), ("program", "str")],
    "TRUNCATE": [("table", "H")],
    "CHECKPOINT": [("number", "Q"), ("state", "str")],
    "FILE_BEGIN": [("hash", "hash"), ("size", "Q"), ("name", "str")],
    "FILE_END": [("outcome", "B"), ("hash", "hash"), ("rows", "Q"), ("quarantined", "Q"), ("error", "str")],
    "END": [],
    "BEGIN": [("configuration", "str"), ("state", "str")],
    "OPENED": [("sequence", "Q"), ("epoch", "Q"), ("run_id", "str"), ("state", "str")],
    "LOG": [("priority", "B"), ("message", "str"), ("table", "str"), ("level", "str")],
    "PROGRESS": [("rows", "Q"), ("bytes", "Q"), ("bytes_total", "Q"), ("file", "str"), ("phase", "str")],
    "ERROR": [("kind", "B"), ("message", "str")],
    "CANCEL": [],
    "WORKER_GONE": [],
    "TAKEN": [("number", "Q")],
    "COMMITTED": [("sequence", "Q"), ("rows", "Q"), ("state", "str")],
    "FILE_SEEN": [("hash", "hash"), ("size", "Q"), ("name", "str")],
    "FILE_VERDICT": [("hash", "hash"), ("verdict", "B"), ("rows", "Q")],
    "FILE_NOTE": [("what", "B"), ("name", "str"), ("message", "str")],
    "FILE_DONE": [
        ("outcome", "B"),
        ("hash", "hash"),
        ("rows", "Q"),
        ("quarantined", "Q"),
        ("sequence", "Q"),
        ("error", "str"),
    ],
    "DONE": [("rows", "Q"), ("bytes", "Q")],
    "FILE_RETIRED": [("hash", "hash")],
    "PLAN": [("statement", "str")],
    "LINE": [("time_us", "Q"), ("level", "str"), ("origin", "str"), ("message", "str")],
    "LINES_END": [],
}
DEFAULTS = {"I": 0, "H": 0, "B": 0, "Q": 0, "hash": bytes(32), "str": b""}

Frame = namedtuple("Frame", "type fields")


def text(value):
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<I", len(data)) + data


def framed(kind, payload):
    number = NUMBERS[kind] if isinstance(kind, str) else kind
    return struct.pack("<IBBH", len(payload), number, 0, 0) + payload


def encode(kind, **fields):
    payload = b""
    for name, code in LAYOUTS[kind]:
        value = fields.pop(name, DEFAULTS[code])
        payload += text(value) if code == "str" else value if code == "hash" else struct.pack("<" + code, value)
    assert not fields, f"{kind} has no {', '.join(fields)}"
    return framed(kind, payload)


def hello(program="source-test", magic=MAGIC, version=VERSION):
    return encode("HELLO", magic=magic, version=version, program=program)


def table(name, columns, number=0, flags=0):
    """COLUMNS: (name, type), (name, type, flags) or (name, type, flags, precision, scale)."""
    payload = struct.pack("<HB", number, flags) + text(name) + struct.pack("<I", len(columns))
    for column in columns:
        kind = column[1] if isinstance(column[1], int) else COLUMN_TYPES[column[1]]
        flags, precision, scale = (*column[2:], 0, 0, 0)[:3]
        payload += text(column[0]) + struct.pack("<BBBB", kind, flags, precision, scale)
    return framed("TABLE", payload)


class Raw(bytes):
    """A value as its bytes on the wire, tag included."""


ABSENT = Raw(b"\1")


def date(days):
    return Raw(struct.pack("<Bi", 6, days))


def timestamp(seconds, nanos=0, offset=-32768):
    return Raw(struct.pack("<BqIh", 7, seconds, nanos, offset))


def decimal(value):
    return Raw(b"\x09" + text(value))


def json_value(value):
    return Raw(b"\x0a" + text(value))


def value(item):
    if isinstance(item, Raw):
        return bytes(item)
    if item is None:
        return b"\0"
    if isinstance(item, bool):
        return b"\3" if item else b"\2"
    if isinstance(item, int):
        return struct.pack("<Bq", 4, item)
    if isinstance(item, float):
        return struct.pack("<Bd", 5, item)
    if isinstance(item, bytes):
        return b"\x0b" + text(item)
    return b"\x08" + text(item)


def rows(items, number=0, operation="insert", count=None):
    payload = struct.pack("<HBBI", number, OPERATIONS[operation], 0, len(items) if count is None else count)
    return framed("ROWS", payload + b"".join(value(item) for row in items for item in row))


def digest(content):
    return hashlib.sha256(content).digest()


def file_frames(name, items=(), content=None, outcome=LOADED, per_frame=1000, operation="insert", **end):
    """FILE_BEGIN, ROWS, FILE_END of a file whose hash is that of CONTENT (its name, if not given)."""
    hash_ = digest(name.encode() if content is None else content)
    items = list(items)
    parts = [encode("FILE_BEGIN", hash=hash_, size=1, name=name)]
    parts += [rows(items[i : i + per_frame], operation=operation) for i in range(0, len(items), per_frame)]
    end = {"hash": hash_, "rows": len(items), "error": "" if outcome == LOADED else "bad file", **end}
    return b"".join(parts) + encode("FILE_END", outcome=outcome, **end)


def decode(kind, payload):
    fields, at = {}, 0
    for name, code in LAYOUTS[kind]:
        if code == "hash":
            fields[name], at = payload[at : at + 32], at + 32
        elif code == "str":
            (length,) = struct.unpack_from("<I", payload, at)
            fields[name], at = payload[at + 4 : at + 4 + length].decode(), at + 4 + length
        else:
            (fields[name],) = struct.unpack_from("<" + code, payload, at)
            at += struct.calcsize("<" + code)
    assert at == len(payload), f"{kind}: {len(payload) - at} bytes left over"
    return Frame(kind, fields)


def take_whole(data):
    """Takes the frames that are whole from the beginning of DATA, a bytearray: the type and the payload of each."""
    while len(data) >= 8:
        length, number = struct.unpack_from("<IB", data)
        if len(data) < 8 + length:
            return
        payload = bytes(data[8 : 8 + length])
        del data[: 8 + length]
        yield TYPES[number - 1], payload


class Reader:
    """Bytes in, frames out: those in LAYOUTS (what programs say to the daemon)."""

    def __init__(self):
        self.data = bytearray()

    def feed(self, data):
        self.data += data
        for kind, payload in take_whole(self.data):
            yield decode(kind, payload)


def placing(*descriptors):
    """For a child before it runs its program: DESCRIPTORS become 3, 4 and so on, as the daemon places them."""

    def place():  # by way of free ones above all others, since each may stand where another has to go
        free = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 32) for descriptor in descriptors]
        for number, descriptor in enumerate(free, 3):
            os.dup2(descriptor, number)

    return place


class Gone(Exception):
    pass


class Writer:
    """A destination program, started as the daemon starts it: socket on 3, pipe on 4."""

    def __init__(self, program, configuration, pipe_from=None, begin=True, send_buffer=None, **popen):
        ours, theirs = socket.socketpair()
        if send_buffer:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
        if pipe_from is None:
            read_end, self.pipe = os.pipe()
        else:
            read_end, self.pipe = pipe_from, None
        self.socket, self.reader, self.seen, self.pending = ours, Reader(), [], []

        command = program if isinstance(program, list) else [str(program)]
        self.process = subprocess.Popen(
            command, preexec_fn=placing(theirs.fileno(), read_end), close_fds=False, **popen
        )
        theirs.close()
        os.close(read_end)
        if begin:
            self.begin(configuration)

    def begin(self, configuration):
        self.say(encode("BEGIN", configuration=json.dumps(configuration)))

    def say(self, data):
        self.socket.sendall(data)

    def put(self, data):
        """Onto the pipe, whole; a writer that is gone is noticed by finish()."""
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self.pipe, view) :]
        except BrokenPipeError:
            pass

    def close_pipe(self):
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None

    def next(self, timeout=60):
        deadline = time.monotonic() + timeout
        while not self.pending:
            if not select.select([self.socket], [], [], max(0, deadline - time.monotonic()))[0]:
                raise TimeoutError(f"no frame; so far: {self.seen}")
            data = self.socket.recv(1 << 16)
            if not data:
                raise Gone(f"the program has ended; so far: {self.seen}")
            self.pending += self.reader.feed(data)
        frame = self.pending.pop(0)
        self.seen.append(frame)
        return frame

    def expect(self, *kinds, timeout=60):
        """The next frame of one of KINDS; LOG and PROGRESS in between are passed over, ERROR is not."""
        while True:
            frame = self.next(timeout)
            if frame.type in kinds:
                return frame
            if frame.type not in ("LOG", "PROGRESS"):
                raise AssertionError(f"{frame} where {kinds} was due; before: {self.seen}")

    def opened(self):
        self.expect("HELLO")
        return self.expect("OPENED")

    def finish(self, timeout=60):
        """Reads to the end; the exit status. TIMEOUT is of silence: on a busy machine much that is told of takes long."""
        self.close_pipe()
        try:
            while True:
                self.next(timeout)
        except (Gone, ConnectionResetError):
            pass
        self.socket.close()
        return self.process.wait(timeout)

    def kill(self):
        self.close_pipe()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.socket.close()

    def frames(self, kind):
        return [frame.fields for frame in self.seen if frame.type == kind]

    def error(self):
        """(kind, message) of its ERROR frame."""
        (fields,) = self.frames("ERROR")
        return KINDS[fields["kind"]], fields["message"]
