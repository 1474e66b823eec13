import threading

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


def work():
    raise ValueError("in a thread")


def update(configuration, state):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    op.upsert("t", {"id": 1, "name": "goes on"})


connector = Connector(update=update, schema=schema)
