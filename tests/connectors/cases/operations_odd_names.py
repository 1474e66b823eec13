import functools

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op

ROWS = {
    "empty name": {"": 1},
    "blank name": {" ": 1},
    "id": {"_fivetran_id": "mine"},
    "deleted": {"_fivetran_deleted": True},
    "synced": {"_fivetran_synced": "2024-02-09T01:02:03Z"},
    "accents": {"é": 1, "日本": 2, "😀": 3},
    "quotes": {'a"b': 1, "a'b": 2, "a`b": 3, "a;b": 4},
    "controls": {"a\tb": 1, "a\nb": 2},
}


def attempt(what, call):
    try:
        call()
        op.upsert("accepted", {"what": what})
    except Exception as error:
        op.upsert("refused", {"what": what, "exception": type(error).__name__, "text": str(error)})


def update(configuration, state):
    for what, row in ROWS.items():
        attempt(what, functools.partial(op.upsert, "t", {"what": what, **row}))
    attempt("nothing to delete", lambda: op.delete("keyed", {}))
    attempt("nothing to update", lambda: op.update("keyed", {}))


connector = Connector(update=update)
