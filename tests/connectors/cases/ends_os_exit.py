import os
import time

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def update(configuration, state):
    op.upsert("t", {"a": 1})
    op.checkpoint({"at": 1})
    time.sleep(1)  # Fivetran's side is read by another thread of the same process
    op.upsert("t", {"a": 2})
    os._exit(3)


connector = Connector(update=update)
