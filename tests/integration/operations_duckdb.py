"""How test_operations.py starts destination-duckdb, and reads back what it wrote."""

import datetime
import re
import struct
from decimal import Decimal
from pathlib import Path

import duckdb
from operations_model import Kind, json_meaning

EPOCH = datetime.datetime(1970, 1, 1)
KINDS = {
    "VARCHAR": "string", "SMALLINT": "short", "INTEGER": "int", "BIGINT": "integer", "FLOAT": "real", "DOUBLE": "float",
    "BOOLEAN": "boolean", "DATE": "date", "TIMESTAMP": "datetime", "TIMESTAMP WITH TIME ZONE": "instant",
    "JSON": "json", "BLOB": "binary",
}  # fmt: skip
# Read as what Python holds in full: times as microseconds, decimals as text.
READ = {
    "datetime": "epoch_us({})",
    "instant": "epoch_us({})",
    "decimal": "{}::VARCHAR",
    "json": "{}::VARCHAR",
}


def single(number):
    """The double nearest to the shortest text of the single that is nearest to NUMBER."""
    packed = struct.pack("<f", number)
    for digits in range(1, 10):
        shown = float(f"{struct.unpack('<f', packed)[0]:.{digits}g}")
        if abs(shown) < 3.4028236e38 and struct.pack("<f", shown) == packed:
            return shown
    raise ValueError(number)


class Duckdb:
    name = "duckdb"
    nul, nanoseconds = True, False

    def __init__(self, build, folder):
        self.program, self.path = build.destination("duckdb"), Path(folder) / "t.duckdb"

    def configuration(self):
        return {"destination": {"type": "duckdb", "path": str(self.path), "threads": 2}}

    def connect(self):
        return duckdb.connect(str(self.path), read_only=True, config={"threads": 1})

    def state(self):
        if not self.path.exists():
            return "{}"
        with self.connect() as database:
            try:
                found = database.execute("SELECT state FROM _wherry_state WHERE connection = 'model'").fetchall()
            except duckdb.CatalogException:
                found = []
        return found[0][0] if found else "{}"

    def tables(self):
        if not self.path.exists():
            return {}
        with self.connect() as database:
            columns = database.execute(
                "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT starts_with(table_name,"
                " '_wherry') AND NOT internal ORDER BY table_name, column_index"
            ).fetchall()
            facts = (
                database.execute(
                    "SELECT table_name, column_name FROM _wherry_columns WHERE fact = 'decimal'"
                ).fetchall()
                if columns
                else []
            )
            kinds = {}
            for name, column, declared in columns:
                kind = Kind("decimal") if (name, column) in facts else self.kind(declared)
                kinds.setdefault(name, {})[column] = kind
            return {name: (kinds[name], self.rows(database, name, kinds[name])) for name in kinds}

    def rows(self, database, name, kinds):
        shown = ", ".join(READ.get(kind.type, "{}").format(self.quote(column)) for column, kind in kinds.items())
        rows = database.execute(f"SELECT {shown} FROM {self.quote(name)}").fetchall()
        return [{column: self.value(kinds[column], value) for column, value in zip(kinds, row)} for row in rows]

    @staticmethod
    def quote(name):
        return '"' + name.replace('"', '""') + '"'

    @staticmethod
    def kind(declared):
        sized = re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", declared)
        return Kind("decimal", int(sized.group(1)), int(sized.group(2))) if sized else Kind(KINDS[declared])

    @staticmethod
    def value(kind, stored):
        if stored is None:
            return None
        if kind.type == "decimal":
            return Decimal(stored)
        if kind.type == "real":
            return single(stored) + 0.0
        if kind.type == "date":
            return (stored - EPOCH.date()).days
        if kind.type in ("datetime", "instant"):
            seconds, microseconds = divmod(stored, 1000000)
            return seconds, microseconds * 1000
        return json_meaning(stored) if kind.type == "json" else stored
