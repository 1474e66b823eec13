from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def update(configuration, state):
    for value in ({}, {"a": None, "b": [1, 2.5, "é"]}, {1: "int key"}, {"big": 10**30}):
        op.checkpoint(value)


connector = Connector(update=update)
