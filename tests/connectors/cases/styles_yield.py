from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


def update(configuration, state):
    for i in range(5):
        yield op.upsert("t", {"id": i, "name": f"n{i}"})
    yield op.checkpoint({"i": 5})


connector = Connector(update=update, schema=schema)
