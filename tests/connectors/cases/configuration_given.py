from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": configuration["table"], "primary_key": ["k"]}]


def update(configuration, state):
    for key, value in sorted(configuration.items()):
        op.upsert(configuration["table"], {"k": key, "v": value})


connector = Connector(update=update, schema=schema)
