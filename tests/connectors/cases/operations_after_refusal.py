from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


def update(configuration, state):
    for i in range(100):
        try:
            op.upsert("t", {"id": i, "name": "n", "more": i, "bad": {i} if i % 3 == 0 else [i], "last": "x"})
            op.upsert("t", {"name": "n", "id": "x" if i % 5 == 0 else i})
        except TypeError as error:
            op.upsert("refused", {"what": f"row {i}", "text": str(error)})


connector = Connector(update=update, schema=schema)
