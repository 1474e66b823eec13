import sys

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


def update(configuration, state):
    op.upsert("t", {"id": 1, "name": "a"})
    sys.exit("words")


connector = Connector(update=update, schema=schema)
