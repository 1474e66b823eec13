from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def update(configuration, state):
    op.checkpoint({"a": float("nan")})


connector = Connector(update=update)
