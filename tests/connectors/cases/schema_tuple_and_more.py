from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return ({"table": name, "primary_key": ("id",), "comment": 5} for name in ("Table", "table"))


def update(configuration, state):
    op.checkpoint({"schema": "done"})


connector = Connector(update=update, schema=schema)
