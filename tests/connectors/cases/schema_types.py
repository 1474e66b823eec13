from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [
        {
            "table": "all",
            "primary_key": ["i", "s"],
            "columns": {
                "s": "string",
                "b": "BOOLEAN",
                "h": "SHORT",
                "i": "Int",
                "l": "LONG",
                "f": "FLOAT",
                "d": "DOUBLE",
                "n": "NAIVE_DATE",
                "t": "NAIVE_DATETIME",
                "u": "UTC_DATETIME",
                "y": "BINARY",
                "x": "XML",
                "j": "JSON",
                "c": {"type": "decimal", "precision": 15, "scale": 2},
            },
        }
    ]


def update(configuration, state):
    op.checkpoint({"schema": "done"})


connector = Connector(update=update, schema=schema)
