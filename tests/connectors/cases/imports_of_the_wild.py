import fivetran_connector_sdk
from fivetran_connector_sdk import Connector, Logging, Operations
from fivetran_connector_sdk import Logging as log
from fivetran_connector_sdk import Operations as op
from fivetran_connector_sdk.operations import Operations as same


def update(configuration, state):
    log.info("an info")
    log.warning("a warning")
    Logging.error("an error", exception=ValueError("shown"))
    op.upsert("t", {"same": same is Operations, "levels": [level.name for level in Logging.Level]})
    op.upsert("t", {"numbers": [int(level) for level in Logging.Level]})
    op.upsert("t", {"version": fivetran_connector_sdk.__version__})


connector = Connector(update=update)
