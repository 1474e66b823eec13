from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "Weird Table", "primary_key": ["User ID"], "columns": {"User ID": "INT"}}]


def update(configuration, state):
    op.upsert("Weird Table", {"User ID": 1, "ünïcode": 2, "A-B": 3, "😀": 4})
    op.upsert("weird table", {"User ID": 1})


connector = Connector(update=update, schema=schema)
