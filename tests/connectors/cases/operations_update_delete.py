from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


def update(configuration, state):
    op.upsert("t", {"id": 1, "name": "a"})
    op.update("t", {"id": 1, "name": None})
    op.update("t", {"id": 7, "extra": 1.5})
    op.delete("t", {"id": 1})
    op.delete("t", {"id": 99, "name": "ignored"})
    op.truncate("t")
    op.upsert("t", {"id": 5})
    op.checkpoint({})


connector = Connector(update=update, schema=schema)
