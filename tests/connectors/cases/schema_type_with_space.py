from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "a", "columns": {"c": " INT"}}]


def update(configuration, state):
    op.checkpoint({"schema": "done"})


connector = Connector(update=update, schema=schema)
