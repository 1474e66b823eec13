"""The standard library's multiprocessing where there are no sockets of AF_UNIX.

The sandbox has none, since a kernel that lets a program connect to one path lets it connect to all, and wherryd's
control socket is one. So managers and listeners, which would make such a socket unless they are told otherwise, get a
port of the loopback interface (who connects must know a key in either case), and where processes come from a fork
server by default (Python 3.14), they are forked, as they were before.
"""

import sys
from importlib.machinery import PathFinder


def _listen_on_ports(module):
    module.default_family = "AF_INET"


def _fork(module):
    methods = module._concrete_contexts
    if module._default_context._default_context is methods.get("forkserver"):
        module._default_context._default_context = methods["fork"]


_CHANGES = {"multiprocessing.connection": _listen_on_ports, "multiprocessing.context": _fork}


class _Finder:
    """Of these modules when they are imported, which costs nothing where they are not."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        change = _CHANGES.get(name)
        found = change and PathFinder.find_spec(name, path, target)
        if not found:
            return None
        execute = found.loader.exec_module

        def execute_and_change(module):
            execute(module)
            change(module)

        found.loader.exec_module = execute_and_change
        return found


def adapt():
    sys.meta_path.insert(0, _Finder)
