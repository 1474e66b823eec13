"""Operations is a class to whoever asks."""

import inspect
import pickle
from typing import Optional
from unittest import mock

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


class Mine(op):
    @staticmethod
    def both(table, first, second):
        op.upsert(table, first)
        Mine.upsert(table, second)


def put(row: op, through: Optional[op] = None, either: "op | None" = None) -> None:  # noqa: UP007
    (through or op).upsert("t", row)


def update(configuration, state):
    put({"id": 1}, op())
    put({"id": 2}, Mine)
    put({"id": 3}, Mine())
    Mine.both("t", {"id": 4}, {"id": 5})
    seen = []
    with mock.patch.object(op, "upsert", lambda table, data: seen.append(data)):
        op.upsert("t", {"id": 6})
    with mock.patch(f"{__name__}.op.checkpoint") as replaced:
        op.checkpoint({"id": 7})
    told = {
        "patched": f"{seen} {replaced.call_count}",
        "name": f"{op.__name__} {op.__qualname__}",
        "of": f"{isinstance(op(), op)} {isinstance(Mine(), op)} {isinstance(5, op)} {issubclass(Mine, op)} {issubclass(op, op)}",
        "bases": f"{Mine.__mro__[1].__name__} {len(Mine.__mro__)}",
        "pickled": str(pickle.loads(pickle.dumps(op)) is op),
        "union": f"{isinstance(op(), op | None)} {isinstance(5, int | op)} {isinstance('x', op | int)}",
        "equal": f"{op == op} {op != Mine} {hash(op) == hash(op)} {callable(op)}",
        "has": str([name for name in ("upsert", "update", "delete", "checkpoint", "insert") if hasattr(op, name)]),
        "put": str(list(inspect.signature(put).parameters)),
    }
    for what, text in told.items():
        op.upsert("told", {"what": what, "text": text})
    op.checkpoint({})


connector = Connector(update=update)
