from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


def update(configuration, state):
    op.upsert(table="t", data={"id": 1, "name": "a"})
    op.upsert("t", data={"id": 2, "name": "b"})
    op.update(table="t", modified={"id": 1, "name": "c"})
    op.delete(table="t", keys={"id": 2})
    op.truncate(table="t")
    op.upsert("t", {"id": 3, "name": "c"}, schema=None, file=None)
    op.checkpoint(state={"a": 1})


connector = Connector(update=update, schema=schema)
