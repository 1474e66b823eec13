from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def update(configuration, state):
    op.upsert("seen", {"state": state, "cursor": state.get("cursor")})
    state["cursor"] = state.get("cursor", 0) + 1
    op.checkpoint(state)


connector = Connector(update=update)
