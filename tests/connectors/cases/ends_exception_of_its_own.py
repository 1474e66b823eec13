from fivetran_connector_sdk import Connector


class Refused(Exception):
    def __str__(self):
        return "refused with more\nthan one line"


def update(configuration, state):
    try:
        raise OSError("first")
    except OSError as error:
        raise Refused() from error


connector = Connector(update=update)
