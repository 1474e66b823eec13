from fivetran_connector_sdk import Connector


def update(configuration, state):
    raise KeyError("missing")


connector = Connector(update=update)
