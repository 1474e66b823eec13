from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


def update(configuration, state):
    row, position = {"id": 1, "name": "before"}, {"cursor": [1]}
    op.upsert("t", row)
    row["name"] = "after"
    op.checkpoint(position)
    position["cursor"].append(2)
    row["id"] = 2
    op.upsert("t", row)
    row.clear()


connector = Connector(update=update, schema=schema)
