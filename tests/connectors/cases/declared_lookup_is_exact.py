from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "decl", "primary_key": ["id"], "columns": {"id": "INT", "v": "STRING"}}]


def update(configuration, state):
    op.upsert("decl", {"id": 1, "v": 5, "V": 5})
    op.upsert("Decl", {"ID": 1, "v": 5})


connector = Connector(update=update, schema=schema)
