import os
import signal
import sys
import threading

from fivetran_connector_sdk import Connector
from fivetran_connector_sdk import Logging as log
from fivetran_connector_sdk import Operations as op

PROJECT = os.path.dirname(os.path.abspath(__file__))


def attempt(what, call):
    try:
        op.upsert("t", {"what": what, "value": str(call())})
    except Exception as error:
        op.upsert("t", {"what": what, "value": f"{type(error).__name__}: {error}"})


def update(configuration, state):
    attempt("current folder", lambda: os.path.samefile(os.getcwd(), PROJECT))
    attempt("path", lambda: any(os.path.isdir(p) and os.path.samefile(p, PROJECT) for p in sys.path))
    attempt("module", lambda: sys.modules["connector"].PROJECT == PROJECT)
    attempt("name", lambda: __name__)
    attempt("variables", lambda: sorted(name for name in os.environ if name.startswith("FIVETRAN_")))
    attempt("main thread", lambda: threading.current_thread() is threading.main_thread())
    attempt("signal", lambda: signal.signal(signal.SIGUSR1, lambda *_: None))
    attempt("log an exception", lambda: log.warning(ValueError("x")))
    attempt("log a number", lambda: log.info(5))
    attempt("log nothing", lambda: log.info(None))
    attempt("log a set", lambda: log.info({1}))
    attempt("log without", lambda: log.info())


connector = Connector(update=update)
