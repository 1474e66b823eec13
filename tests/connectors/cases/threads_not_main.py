import signal
import threading

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Operations as op


def update(configuration, state):
    op.upsert("t", {"main": threading.current_thread() is threading.main_thread()})
    try:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    except ValueError as error:
        op.upsert("refused", {"what": "signal", "exception": "ValueError", "text": str(error)})


connector = Connector(update=update)
