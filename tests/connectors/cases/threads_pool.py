import concurrent.futures

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "what": "STRING"}}]


def update(configuration, state):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: op.upsert("t", {"id": i, "what": f"row {i}"}), range(40)))


connector = Connector(update=update, schema=schema)
