from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def update(configuration, state):
    for value in (None, [1], "text", 5, True):
        op.checkpoint(value)


connector = Connector(update=update)
