from fivetran_connector_sdk import Connector


def update(configuration, state):
    pass


connector = Connector(update=update)
