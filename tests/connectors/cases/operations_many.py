from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def update(configuration, state):
    for i in range(1000):
        op.upsert("numbers", {"n": i, "square": i * i, "text": f"number {i}"})
        if i % 250 == 249:
            op.checkpoint({"n": i})


connector = Connector(update=update)
