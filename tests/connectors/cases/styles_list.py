from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


def update(configuration, state):
    return [op.upsert("t", {"id": i, "name": "x"}) for i in range(3)]


connector = Connector(update=update, schema=schema)
