from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def update(configuration, state):
    for i in range(5):
        op.upsert("texts", {"n": i, "text": "x" * 40_000})
    for i in range(3):
        op.upsert("texts", {"n": i, "text": "é" * 300_000, "bytes": b"b" * 300_000})


connector = Connector(update=update)
