import threading

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "what": "STRING"}}]


def work(first):
    for i in range(first, first + 50):
        op.upsert("t", {"id": i, "what": f"of thread {first}"})  # the order is each thread's own


def update(configuration, state):
    threads = [threading.Thread(target=work, args=(100 * n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    op.checkpoint({"done": 4})


connector = Connector(update=update, schema=schema)
