from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def update(configuration, state):
    op.upsert("s", {"a": 1})
    op.upsert("s", {"b": 2, "a": 1})
    op.upsert("s", {"a": 1, "b": None, "c": None})
    op.upsert("s", {"c": 3})
    op.upsert("s", {"c": 4, "b": 5, "a": 6})
    op.upsert("s", {})
    op.upsert("s", {"a": None})


connector = Connector(update=update)
