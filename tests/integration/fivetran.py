"""Projects with a connector.py, and connections that run them."""

import textwrap

HEAD = """
import os, sys, time
from fivetran_connector_sdk import Connector, Operations as op, Logging as log
"""
SCHEMA = """
def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "LONG"}}]
connector = Connector(update=update, schema=schema)
"""


def connector(wherry, program, name="weather", whole=False, files=(), **changes):
    """A connection NAME whose project has PROGRAM, the body of update(), or the whole of connector.py."""
    folder = wherry.root / "projects" / name
    folder.mkdir(parents=True, exist_ok=True)
    program = textwrap.dedent(program)
    if not whole:
        program = HEAD + "def update(configuration, state):\n" + textwrap.indent(program, "    ") + SCHEMA
    (folder / "connector.py").write_text(program)
    for path, content in dict(files).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    source = {"type": "fivetran", "project": str(folder), **changes.pop("source", {})}
    definition = {
        "frequency": "manual",
        "source": source,
        "destination": {"type": "sqlite", "path": str(wherry.database)},
        "commit_interval": "0",
        **changes,
    }
    wherry.pipeline(name, definition)
    return folder


def failed(wherry, program, **options):
    """The sync's error and the log."""
    connector(wherry, program, **options)
    return wherry.sync("weather", status=1)["error"], wherry.daemon.log()
