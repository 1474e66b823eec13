from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


CALLS = {
    "table None": lambda: op.upsert(None, {"id": 1}),
    "table int": lambda: op.upsert(5, {"id": 1}),
    "table empty": lambda: op.upsert("", {"id": 1}),
    "table blank": lambda: op.upsert("  ", {"id": 1}),
    "data None": lambda: op.upsert("t", None),
    "data list": lambda: op.upsert("t", [1]),
    "data str": lambda: op.upsert("t", "x"),
    "name int": lambda: op.upsert("t", {"id": 1, 5: "x"}),
    "name None": lambda: op.upsert("t", {"id": 1, None: "x"}),
    "update table": lambda: op.update(b"t", {"id": 1}),
    "delete table": lambda: op.delete(1.5, {"id": 1}),
    "delete None": lambda: op.delete("t", None),
    "truncate table": lambda: op.truncate([]),
    "truncate blank": lambda: op.truncate(" "),
    "schema type": lambda: op.upsert("t", {"id": 1}, schema=5),
    "schema blank": lambda: op.upsert("t", {"id": 1}, schema=" "),
    "state set": lambda: op.checkpoint({1}),
    "state datetime": lambda: op.checkpoint({"a": object}),
    "state bytes": lambda: op.checkpoint({"a": b"x"}),
    "error None": lambda: op.error(None),
    "error blank": lambda: op.error(" "),
    "error trace": lambda: op.error("message", 5),
    "warning int": lambda: op.warning(5),
    "warning blank": lambda: op.warning(""),
}


def update(configuration, state):
    for what, call in CALLS.items():
        try:
            call()
            op.upsert("accepted", {"what": what})
        except Exception as error:
            op.upsert("refused", {"what": what, "exception": type(error).__name__, "text": str(error)})


connector = Connector(update=update, schema=schema)
