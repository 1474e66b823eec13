"""A destination-sqlite that lacks what matters: it commits row by row. The kill test must find it out.

It speaks the protocol, cleans up after a bad file and remembers what it loaded, as a well-meant script would; only a kill shows
what is wrong with it.
"""

import json
import os
import select
import sqlite3
import struct
import sys

import frames

CONTROL, OPERATIONS = 3, 4


def take_value(data, at):
    tag = data[at]
    at += 1
    if tag == 0:
        return None, at
    if tag in (4, 5):
        return struct.unpack_from("<q" if tag == 4 else "<d", data, at)[0], at + 8
    assert tag == 8, f"a value of tag {tag}, which this writer has no use for"
    (length,) = struct.unpack_from("<I", data, at)
    return data[at + 4 : at + 4 + length].decode(), at + 4 + length


class NaiveWriter:
    def __init__(self, configuration):
        self.run_id, self.connection = configuration["run_id"], configuration["connection"]
        self.db = sqlite3.connect(configuration["destination"]["path"], isolation_level=None)
        self.db.execute("PRAGMA synchronous = OFF")
        self.columns, self.file, self.total = 0, None, 0
        (self.sequence,) = self.db.execute("SELECT sequence FROM _wherry_state").fetchone()

    def say(self, kind, **fields):
        os.write(CONTROL, frames.encode(kind, **fields))

    def opened(self):
        run_id, state = self.db.execute("SELECT run_id, state FROM _wherry_state").fetchone()
        self.say("OPENED", sequence=self.sequence, epoch=1, run_id=run_id, state=state)

    def seen(self, hash_):
        known = self.db.execute("SELECT 1 FROM _wherry_files WHERE content_hash = ?", [hash_.hex()]).fetchone()
        self.say("FILE_VERDICT", hash=hash_, verdict=frames.SKIP if known else frames.UNKNOWN)

    def rows(self, payload):
        (count,) = struct.unpack_from("<I", payload, 4)
        at = 8
        for _ in range(count):
            row = []
            for _ in range(self.columns):
                value, at = take_value(payload, at)
                row.append(value)
            self.db.execute(
                "INSERT INTO orders (order_id, note, amount, _source_file_hash, _ingested_at) VALUES (?, ?, ?, ?, '')",
                [*row, self.file],
            )

    def file_end(self, outcome, hash_, rows, error):
        if outcome == frames.LOADED:
            self.sequence += 1
            self.total += rows
            self.db.execute("UPDATE _wherry_state SET sequence = ?, run_id = ?", [self.sequence, self.run_id])
            self.db.execute(
                "INSERT INTO _wherry_files VALUES (?, ?, '', ?, ?, '')",
                [self.connection, hash_.hex(), rows, self.run_id],
            )
        else:
            self.db.execute("DELETE FROM orders WHERE _source_file_hash = ?", [hash_.hex()])
        self.say("FILE_DONE", outcome=outcome, hash=hash_, rows=rows, sequence=self.sequence, error=error)

    def take(self, kind, payload):
        if kind == "TABLE":
            (name,) = struct.unpack_from("<I", payload, 3)
            (self.columns,) = struct.unpack_from("<I", payload, 7 + name)
        elif kind == "ROWS":
            self.rows(payload)
        elif kind == "FILE_BEGIN":
            self.file = frames.decode(kind, payload).fields["hash"].hex()
        elif kind == "FILE_END":
            fields = frames.decode(kind, payload).fields
            self.file_end(fields["outcome"], fields["hash"], fields["rows"], fields["error"])
        return kind != "END"


class Stream:
    def __init__(self, fd):
        self.fd, self.data = fd, b""

    def read(self):
        """One read(); the frames that are complete with it, or None at the end."""
        data = os.read(self.fd, 1 << 16)
        if not data:
            return None
        self.data += data
        found = []
        while len(self.data) >= 8:
            length, number = struct.unpack_from("<IB", self.data)
            if len(self.data) < 8 + length:
                break
            found.append((frames.TYPES[number - 1], self.data[8 : 8 + length]))
            self.data = self.data[8 + length :]
        return found


def main():
    os.write(CONTROL, frames.hello("destination-sqlite"))
    control, operations = Stream(CONTROL), Stream(OPERATIONS)
    begin = []
    while not begin:
        begin = control.read()
    writer = NaiveWriter(json.loads(frames.decode(*begin[0]).fields["configuration"]))
    writer.opened()
    while True:
        for stream in (s for s in (control, operations) if s.fd in select.select([CONTROL, OPERATIONS], [], [])[0]):
            taken = stream.read()
            if taken is None:
                sys.exit(1)
            for kind, payload in taken:
                if stream is control:
                    if kind == "FILE_SEEN":
                        writer.seen(frames.decode(kind, payload).fields["hash"])
                elif not writer.take(kind, payload):
                    writer.say("DONE", rows=writer.total)
                    return


main()
