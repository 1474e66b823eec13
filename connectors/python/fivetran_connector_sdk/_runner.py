"""Runs a connector for one sync: what source-fivetran starts, inside of the sandbox that it made.

It is told in BEGIN what to run, runs schema() and update() as Fivetran's runtime does (update on a thread that is not
the main one), and says how it ended. The main thread meanwhile sends what waits, so that a slow connector's rows are
not held back.
"""

import faulthandler
import importlib.util
import json
import linecache
import os
import sys
import threading
import time
import traceback

from fivetran_connector_sdk import Connector, _sandbox, _wherry
from fivetran_connector_sdk.logger import Logging
from fivetran_connector_sdk.operations import SyncFailed

CONTROL, OPERATIONS = 3, 4
TICK_S = 0.5
THREADS_WAIT_S = 60  # for those that update() left running
SOCK_STREAM = 1  # the module socket is not imported where the connector does not need it
ALWAYS_ALLOWED = (53,)
PORTS_SHOWN = 5
_HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class ConnectorError(Exception):
    """Something is wrong that is no exception of the connector's: there is no traceback to show."""


# --- the connector ---


def load(project):
    path = os.path.join(project, "connector.py")
    specification = importlib.util.spec_from_file_location("connector", path)
    module = importlib.util.module_from_spec(specification)
    sys.modules["connector"] = module
    specification.loader.exec_module(module)
    found = {name: value for name, value in vars(module).items() if isinstance(value, Connector)}
    if "connector" in found:
        return checked(found["connector"])
    if found:
        names = ", ".join(f"'{name}'" for name in sorted(found))
        raise ConnectorError(
            f"Connector object must be named 'connector', but found: {names}; "
            "rename it in connector.py: connector = Connector(update=update, schema=schema)"
        )
    raise ConnectorError(
        "connector.py makes no Connector: it needs a line such as connector = Connector(update=update, schema=schema)"
    )


def checked(connector):
    for name, given in (("update", connector.update_method), ("schema", connector.schema_method or checked)):
        if not callable(given):
            raise ConnectorError(
                f"connector.py calls Connector({name}=…) with a {type(given).__name__}: give it the function "
                f"{name}() itself"
            )
    return connector


# --- errors ---


def shown(error):
    """The exception's last line, as a traceback has it, with its notes."""
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    if isinstance(error, SyntaxError):
        return f"{name}: {error}"
    text = str(error)
    notes = "; ".join(str(note) for note in getattr(error, "__notes__", ()))
    return (f"{name}: {text}" if text else name) + (f" ({notes})" if notes else "")


def reason(error, begin):
    """Why the sync fails, with what its exception leaves unsaid where something is not there, or not allowed."""
    text, more = shown(error), None
    if isinstance(error, KeyError):
        more = missing_value(error, begin["configuration"])
    elif isinstance(error, PermissionError):
        more = _sandbox.explain(error, begin["project"])
    elif isinstance(error, ImportError) or "lib" in text:
        from fivetran_connector_sdk._missing import explain

        more = explain(error, text, begin["project"])
    return f"{text}; {more}" if more else text


def missing_value(error, configuration):
    """Of a KeyError in a line that asks the configuration for something which it does not have."""
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    (name,) = error.args if len(error.args) == 1 else (None,)
    if not place or not isinstance(name, str) or name in configuration:
        return None
    line = linecache.getline(place.tb_frame.f_code.co_filename, place.tb_lineno)
    if not any(value is configuration and f"{local}[" in line for local, value in place.tb_frame.f_locals.items()):
        return None
    names = ", ".join(f'"{name}"' for name in sorted(configuration))
    return f'the configuration has no "{name}"' + (f", only {names}" if names else ": it is empty")


def print_traceback(error):
    """From the connector's first line on; nothing where no line of it took part, as when schema()'s result is wrong."""
    place = error.__traceback__
    while place and place.tb_frame.f_code.co_filename.startswith((_HERE, "<frozen importlib")):
        place = place.tb_next
    if place or isinstance(error, SyntaxError):
        traceback.print_exception(type(error), error, place)
        sys.stderr.flush()


def fail(message, kind=_wherry.ERROR_TEMPORARY):
    _wherry.fail(kind, message.encode("utf-8", "backslashreplace").decode())
    return 1


def exit_status(error):
    """What sys.exit() was given: 0 is a normal end."""
    code = error.code
    return 0 if code is None or code == 0 else code


# --- the ports that it may connect to ---


class Ports:
    """Where the connection is narrowed to some, the kernel refuses all others with no more than "Permission denied", which
    many libraries do not hand on: a sync that failed says which it wanted."""

    def __init__(self, allowed):
        self.allowed = allowed
        self.wanted = []
        if allowed:
            sys.addaudithook(self.note)

    def note(self, event, arguments):
        if event != "socket.connect" or arguments[0].type != SOCK_STREAM or not isinstance(arguments[1], tuple):
            return
        port = arguments[1][1]
        if port not in (*ALWAYS_ALLOWED, *self.allowed, *self.wanted) and len(self.wanted) < PORTS_SHOWN:
            self.wanted.append(port)

    def explain(self, failure):
        if not self.wanted:
            return failure
        shown = ", ".join(str(port) for port in self.wanted)
        noun = "port" if len(self.wanted) == 1 else "ports"
        return f'{failure}; it wanted to connect to {noun} {shown}, which "sandbox: {{ports: {self.allowed}}}" does not allow'


# --- update() ---


class Update(threading.Thread):
    """update(), on a thread of its own."""

    def __init__(self, connector, configuration, state):
        super().__init__(name="update")
        self.connector = connector
        self.arguments = {"configuration": configuration, "state": state}
        self.error = None

    def run(self):
        try:
            exhaust(self.connector.update_method(**self.arguments))
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: a thread would swallow them
            self.error = error


def exhaust(result):
    """A generator runs; anything else that would only run if somebody asked for it is a mistake."""
    kind = type(result).__name__
    if kind == "generator":
        for _ in result:
            pass
        return
    if kind == "coroutine":
        result.close()
    if kind in ("coroutine", "async_generator"):
        raise ConnectorError(
            "update() is an async function, which nobody awaits: make it a plain one that calls asyncio.run(…)"
        )
    if hasattr(result, "__next__"):
        raise ConnectorError(
            f"update() returned a {kind}, of which nothing has run: use a for loop, or return list(…) of it"
        )


def wait_for_threads(update):
    """Rows of threads that still run would be lost. Names those that did not end."""
    deadline = time.monotonic() + THREADS_WAIT_S
    pools = sys.modules.get("concurrent.futures.thread")
    pool_threads = list(getattr(pools, "_threads_queues", ()))
    if pool_threads and hasattr(pools, "_python_exit"):
        # ends the pools as the interpreter's end does: what was given to them is done first
        threading.Thread(target=pools._python_exit, name="pools", daemon=True).start()
    waited = [update, threading.main_thread()]
    left = [t for t in threading.enumerate() if t not in waited and (t in pool_threads or not t.daemon)]
    for thread in left:
        while thread.is_alive() and time.monotonic() < deadline:
            thread.join(TICK_S)
            _wherry.tick()
    return [thread.name for thread in left if thread.is_alive()]


def run_update(connector, begin, state):
    """None, or why the sync fails."""
    update = Update(connector, begin["configuration"], state)
    update.start()
    while update.is_alive():
        update.join(TICK_S)
        _wherry.tick()
    error = update.error
    if isinstance(error, SystemExit):
        status = exit_status(error)
        if status != 0:
            return f"update() ended with sys.exit({status!r})"
    elif isinstance(error, ConnectorError):
        return str(error)
    elif isinstance(error, SyncFailed):
        return str(error)  # it was said already
    elif error is not None:
        print_traceback(error)
        return reason(error, begin)
    running = wait_for_threads(update)
    if running:
        names = ", ".join(f'"{name}"' for name in running)
        return f"{THREADS_WAIT_S} s after update() returned threads still run: {names}; join() them in update()"
    return _wherry.finish()


# --- the sync ---


def sync(begin, state):
    connector = load(begin["project"])
    if connector.configuration:
        begin["configuration"] = connector.configuration
    if connector.schema_method:
        from fivetran_connector_sdk._schema import declare

        declare(connector.schema_method(begin["configuration"]))
    return run_update(connector, begin, connector.state or json.loads(state))


def attempt(begin, state):
    """0, or 1 when it has failed and that was said."""
    ports = Ports(begin.get("ports"))
    try:
        failure = sync(begin, state)
    except ConnectorError as error:
        failure = str(error)
    except SyncFailed:
        return 1
    except SystemExit as error:
        failure = f"connector.py called sys.exit({error.code!r}) before update() ran"
    except BaseException as error:
        print_traceback(error)
        failure = reason(error, begin)
    if failure is not None:
        return fail(ports.explain(failure))
    _wherry.end()
    return 0


def main():
    faulthandler.enable()
    _sandbox.adapt()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")
    configuration, state = _wherry.begin(CONTROL, OPERATIONS)
    begin = json.loads(configuration)
    begin["configuration"] = begin.get("configuration") or {}
    Logging._running = True
    if begin.get("log_level") == "debug":
        Logging.LOG_LEVEL = Logging.Level.DEBUG
    _wherry.prepare(begin.get("naming") == "source", begin.get("max_value_size") or 0, bool(begin.get("plan")))
    project = begin["project"]
    sys.path.append(project)
    sys.argv = [os.path.join(project, "connector.py")]
    status = attempt(begin, state)
    sys.stdout.flush()
    sys.exit(status)
