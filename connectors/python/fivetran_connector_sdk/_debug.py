"""connector.debug() under `if __name__ == "__main__"`: what `wherryctl debug` does, asked for from Python.

The connector runs in another process then, as a deployed one does: in its environment and in the sandbox. What was given
as a dictionary goes there by a private file, since everybody may read the arguments of a program.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

_PLACES = ((3, "bin/wherryctl"), (2, "daemon/wherryctl/wherryctl"))  # when installed; in a build


def find_wherryctl():
    """It belongs to this module where it lies beside it; a module that pip installed has that of the PATH."""
    above = Path(__file__).resolve().parent.parents
    for levels, below in _PLACES:
        path = above[min(levels, len(above) - 1)] / below
        if os.access(path, os.X_OK):
            return str(path)
    found = shutil.which("wherryctl")
    if found:
        return found
    raise RuntimeError(
        "connector.debug() needs the program wherryctl, which is neither installed beside this module "
        f'("{above[0]}") nor on the PATH; install Wherry, or put the folder of its wherryctl on the PATH'
    )


def find_project(given):
    """The current folder, as Fivetran's module has it; that of the program where an editor has started it elsewhere."""
    if given is not None:
        return os.path.abspath(given)
    folder = os.getcwd()
    program = getattr(sys.modules["__main__"], "__file__", None)
    if program and not os.path.exists(os.path.join(folder, "connector.py")):
        return os.path.dirname(os.path.abspath(program))
    return folder


@contextlib.contextmanager
def signals_for(process):
    """It hears of ^C by itself, and tells how far it came; what asks this process to end is passed on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {signal.SIGINT: lambda *_: None, signal.SIGTERM: lambda *_: process.terminate()}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def debug(project, naming, **given):
    """GIVEN: configuration and state, dictionaries or None. Ends the program where the sync has failed."""
    arguments = [find_wherryctl(), "debug", find_project(project)]
    if naming is not None:
        arguments.append(f"--naming={naming}")
    with tempfile.TemporaryDirectory(prefix="wherry-debug-") as folder:  # 0700
        for name, value in given.items():
            if value is None:
                continue
            path = os.path.join(folder, f"{name}.json")
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
                json.dump(value, file)
            arguments.append(f"--{name}={path}")
        sys.stdout.flush()
        process = subprocess.Popen(arguments)
        with signals_for(process):
            status = process.wait()
    if status != 0:
        sys.exit(status if status > 0 else 128 - status)
