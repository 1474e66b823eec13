from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    raise LookupError("no such schema")


def update(configuration, state):
    op.checkpoint({})


connector = Connector(update=update, schema=schema)
