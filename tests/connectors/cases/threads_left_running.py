import threading
import time

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


def work():
    time.sleep(0.3)
    op.upsert("t", {"id": 2, "name": "late"})


def update(configuration, state):
    op.upsert("t", {"id": 1, "name": "early"})
    threading.Thread(target=work).start()


connector = Connector(update=update, schema=schema)
