import asyncio

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def schema(configuration):
    return [{"table": "t", "primary_key": ["id"], "columns": {"id": "INT", "name": "STRING"}}]


async def work():
    await asyncio.sleep(0)
    op.upsert("t", {"id": 1, "name": "x"})


def update(configuration, state):
    asyncio.run(work())


connector = Connector(update=update, schema=schema)
