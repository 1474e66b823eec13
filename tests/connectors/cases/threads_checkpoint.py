import threading

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


def work(number):
    for i in range(3):
        op.upsert(f"t{number}", {"id": i, "name": "x"})
    op.checkpoint({"number": number})


def update(configuration, state):
    for number in range(3):
        thread = threading.Thread(target=work, args=(number,))
        thread.start()
        thread.join()


connector = Connector(update=update, schema=schema)
