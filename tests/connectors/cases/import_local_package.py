from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op
from helpers import rows
from helpers.more import NAME


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


def update(configuration, state):
    for row in rows():
        op.upsert("t", row)
    with open("data.txt", encoding="utf-8") as file:
        op.upsert("t", {"id": 9, "name": file.read().strip()})
    op.upsert("t", {"id": 10, "name": NAME})


connector = Connector(update=update, schema=schema)
