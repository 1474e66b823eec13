"""What schema() returns, checked in the words of Fivetran's SDK, and declared."""

import syslog
from operator import index

from fivetran_connector_sdk import _wherry

TYPES = frozenset(
    "BOOLEAN SHORT INT LONG FLOAT DOUBLE NAIVE_DATE NAIVE_DATETIME UTC_DATETIME BINARY XML STRING JSON".split()
)
_UINT32_MAX = 2**32 - 1


def declare(response):
    seen = set()
    for entry in list(response):
        name, keys, columns = _table(entry, seen)
        seen.add(name)
        _wherry.declare(name, keys, columns)


def _table(entry, seen):
    schema = entry.get("schema")
    if "table" not in entry:
        raise ValueError(f"Entry missing table name: {entry}")
    name = entry["table"]
    if not isinstance(name, str):
        raise TypeError(f"Table name must be a string, got {type(name).__name__}")
    if not name.strip():
        raise ValueError("Table name must be a non-empty string")
    if schema is not None:
        if not isinstance(schema, str):
            raise TypeError(f"'schema' must be a string, got {type(schema).__name__}")
        if not schema.strip():
            raise ValueError("'schema' must be a non-empty string")
        raise ValueError(f'table "{name}" has "schema": the destination\'s schema is the connection\'s, name it there')
    if name in seen:
        raise ValueError(f"Table already defined: {name}")
    keys = entry["primary_key"] if "primary_key" in entry else []
    keys = [keys] if isinstance(keys, str) else list(keys)
    return name, keys, [(column, *_type(entry, column, given)) for column, given in _columns(entry, name).items()]


def _columns(entry, name):
    if "columns" not in entry and "column" in entry:
        _wherry.log(syslog.LOG_WARNING, f'table "{name}": "column" is taken for "columns" in schema()')
        return entry["column"]
    return entry["columns"] if "columns" in entry else {}


def _type(entry, column, given):
    """(type, precision, scale)"""
    if isinstance(given, str):
        if given.upper() == "DECIMAL":
            raise ValueError(
                "DECIMAL data type missing precision and scale. Use a dictionary for DECIMAL column type like: "
                '"col_name": {  # Decimal data type with precision and scale.\n'
                '    "type": "DECIMAL",\n    "precision": 15,\n    "scale": 2\n}'
            )
        if given.upper() not in TYPES:
            raise ValueError("Unrecognized column type encountered:: ", given)
        return given, 0, 0
    if not isinstance(given, dict):
        raise ValueError(f"Unrecognized column type for column: {column} in entry: {entry}. Got: {given}")
    if given["type"].upper() != "DECIMAL":
        raise ValueError(
            f"Expecting DECIMAL data type for dictionary column entry, but got: {given['type']} in entry: {entry} "
            f"for column: {column}. Dictionary type is only allowed for DECIMAL columns with 'precision' and 'scale' "
            "fields, as in: {'type': 'DECIMAL', 'precision': <int>, 'scale': <int>}. For all other data types, use a "
            "string as the column type."
        )
    # beyond what can be declared it is a DECIMAL of any size
    return "DECIMAL", min(_uint32(given["precision"]), 255), min(_uint32(given["scale"]), 255)


def _uint32(value):
    number = index(value)
    if not 0 <= number <= _UINT32_MAX:
        raise ValueError(f"Value out of range: {number}")
    return number
