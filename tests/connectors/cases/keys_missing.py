from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


def update(configuration, state):
    for what, row in {"missing": {"name": "a"}, "null": {"id": None, "name": "b"}, "empty": {}}.items():
        try:
            op.upsert("t", row)
            op.upsert("accepted", {"what": what})
        except ValueError as error:
            op.upsert("refused", {"what": what, "exception": type(error).__name__, "text": str(error)})


connector = Connector(update=update, schema=schema)
