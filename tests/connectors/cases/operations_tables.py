from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def update(configuration, state):
    for i in range(20):
        op.upsert(f"table_{i % 7}", {"i": i, f"column_{i % 3}": i})


connector = Connector(update=update)
