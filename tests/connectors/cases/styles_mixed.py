from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


def more():
    yield op.upsert("t", {"id": 10, "name": "ten"})
    op.upsert("t", {"id": 11, "name": "eleven"})


def update(configuration, state):
    op.upsert("t", {"id": 1, "name": "one"})
    yield op.upsert("t", {"id": 2, "name": "two"})
    yield from more()
    yield None
    yield [op.upsert("t", {"id": 12, "name": "twelve"})]
    op.checkpoint({"done": True})


connector = Connector(update=update, schema=schema)
