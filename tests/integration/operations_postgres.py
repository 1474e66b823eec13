"""destination-postgres before the model of test_operations.py: a schema per sequence, in one server for all of them."""

import atexit
import datetime
import json
import os
import re
import subprocess
from decimal import Decimal
from pathlib import Path

import postgres
from operations_model import Kind, json_meaning

SERVERS, SESSIONS = [], {}  # sessions by process: none is shared


def the_server():
    if not SERVERS:
        SERVERS.append(postgres.Server(fsync="off"))
        atexit.register(SERVERS[0].close)
        SERVERS[0].database = SERVERS[0].create_database()
    return SERVERS[0]


def parse_moment(shown):
    moment = datetime.datetime.fromisoformat(
        re.sub(r"\.(\d+)$", lambda match: "." + match.group(1).ljust(6, "0"), shown)
    )
    return (moment - datetime.datetime(1970, 1, 1)) // datetime.timedelta(seconds=1), moment.microsecond * 1000


class Postgres:
    name = "postgres"
    nul = nanoseconds = False
    KINDS = {
        "text": "string", "smallint": "short", "integer": "int", "bigint": "integer", "real": "real",
        "double precision": "float", "boolean": "boolean", "date": "date", "timestamp without time zone": "datetime",
        "timestamp with time zone": "instant", "numeric": "decimal", "jsonb": "json", "bytea": "binary",
    }  # fmt: skip

    def __init__(self, build, folder):
        self.server = the_server()
        self.program, self.schema = build.destination("postgres"), Path(folder).name

    @staticmethod
    def prepare():
        """Before others than this process may need the server."""
        the_server()

    def close(self):
        self.query(f'SET client_min_messages = error; DROP SCHEMA IF EXISTS "{self.schema}" CASCADE')
        SESSIONS.pop(os.getpid()).communicate()

    def query(self, sql):
        """Through one psql for all of a sequence: starting one takes longer than what it is asked."""
        if os.getpid() not in SESSIONS:
            url = self.server.url(self.server.database)
            arguments = ["-X", "-q", "-A", "-t", "-F\x1f", "-P", "null=\x1d", "-c", "SET TimeZone = 'UTC'", "-f", "-"]
            started = subprocess.Popen(
                ["psql", *arguments, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
            )
            SESSIONS[os.getpid()] = started
        session = SESSIONS[os.getpid()]
        session.stdin.write(sql + "\n;\n\\echo \x1e\n")
        session.stdin.flush()
        text = ""
        while not text.endswith("\x1e\n"):
            line = session.stdout.readline()
            assert line, "psql ended"
            text += line
        rows = text.removesuffix("\x1e\n").split("\n")[:-1]
        return [tuple(None if v == "\x1d" else v for v in row.split("\x1f")) for row in rows]

    def configuration(self):
        url = self.server.url(self.server.database)
        return {"destination": {"type": "postgres", "url": url, "schema": self.schema}}

    def state(self):
        found = self.query(f"SELECT to_regclass('\"{self.schema}\"._wherry_state') IS NOT NULL")
        if found == [("f",)]:
            return "{}"
        rows = self.query(f"SELECT state FROM \"{self.schema}\"._wherry_state WHERE connection = 'model'")
        return rows[0][0] if rows else "{}"

    def tables(self):
        columns, found = {}, {}
        for table, column, kind in self.query(
            "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c JOIN pg_attribute a ON"
            f" a.attrelid = c.oid WHERE c.relnamespace = '\"{self.schema}\"'::regnamespace AND c.relkind = 'r' AND a.attnum > 0"
            " AND NOT a.attisdropped AND c.relname NOT LIKE '\\_wherry%' ORDER BY 1, a.attnum"
            if self.query(f"SELECT 1 FROM pg_namespace WHERE nspname = '{self.schema}'")
            else "SELECT 1 WHERE false"
        ):
            columns.setdefault(table, {})[column] = self.kind(kind)
        for table, kinds in columns.items():
            values = ", ".join('"' + column.replace('"', '""') + '"::text' for column in kinds)
            quoted = '"' + table.replace('"', '""') + '"'
            rows = self.query(f'SELECT array_to_json(ARRAY[{values}]) FROM "{self.schema}".{quoted}')
            found[table] = (
                kinds,
                [
                    {column: self.value(kinds[column], value) for column, value in zip(kinds, json.loads(row))}
                    for (row,) in rows
                ],
            )
        return found

    def kind(self, declared):
        match = re.fullmatch(r"([a-z ]+)(?:\((\d+),(\d+)\))?", declared)
        return Kind(self.KINDS[match.group(1)], int(match.group(2) or 0), int(match.group(3) or 0))

    @staticmethod
    def value(kind, shown):
        if shown is None:
            return None
        if kind.type in ("short", "int", "integer"):
            return int(shown)
        if kind.type in ("real", "float"):
            return float(shown)
        if kind.type == "boolean":
            return {"false": False, "true": True}[shown]
        if kind.type == "decimal":
            return Decimal(shown)
        if kind.type == "date":
            return (datetime.date.fromisoformat(shown) - datetime.date(1970, 1, 1)).days
        if kind.type == "datetime":
            return parse_moment(shown)
        if kind.type == "instant":
            assert shown.endswith("+00"), shown
            return parse_moment(shown[:-3])
        if kind.type == "binary":
            return bytes.fromhex(shown.removeprefix("\\x"))
        return json_meaning(shown) if kind.type == "json" else shown
