import collections
import types

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


def update(configuration, state):
    op.upsert("t", collections.OrderedDict([("name", "a"), ("id", 1)]))
    op.upsert("t", types.MappingProxyType({"id": 2, "name": "b"}))
    chained = collections.ChainMap({"id": 3}, {"name": "c"})
    op.upsert("t", chained)
    default = collections.defaultdict(str, id=4)
    default["name"]
    op.upsert("t", default)


connector = Connector(update=update, schema=schema)
