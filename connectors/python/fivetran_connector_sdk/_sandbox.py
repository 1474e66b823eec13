"""What the standard library does in another way, where the sandbox refuses the usual one.

Processes: there are no sockets of AF_UNIX, since a kernel that lets a program connect to one path lets it connect to
all, and wherryd's control socket is one. So managers and listeners, which would make such a socket unless they are told
otherwise, get a port of the loopback interface (who connects must know a key in either case). A fork server cannot be:
where processes come from one by default (Python 3.14), they are forked, as they were before, and where a connector asks
for one, they are spawned, and begin as empty as from there.

Modes and times: a kernel that lets a program change them by path does so for each path, so the filter answers that it
was done, and nothing is. By descriptor they can be changed, and so they are here: a file that was copied keeps its mode
and its times, and a program that was fetched can be made executable. Programs that a connector runs go without.
"""

import functools
import os
import sys
from importlib.machinery import PathFinder


def _listen_on_ports(module):
    module.default_family = "AF_INET"


def _manage_on_ports(module):
    # A spawned manager has the standard library as it is, and listens where it is told.
    begin = module.BaseManager.__init__

    @functools.wraps(begin)
    def __init__(self, address=None, *arguments, **named):
        begin(self, ("127.0.0.1", 0) if address is None else address, *arguments, **named)

    module.BaseManager.__init__ = __init__


def _without_a_server(module):
    methods = module._concrete_contexts
    if module._default_context._default_context is methods.get("forkserver"):
        module._default_context._default_context = methods["fork"]
    methods["forkserver"] = methods["spawn"]


_CHANGES = {
    "multiprocessing.connection": _listen_on_ports,
    "multiprocessing.context": _without_a_server,
    "multiprocessing.managers": _manage_on_ports,
}


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


def _by_descriptor(change):
    @functools.wraps(change)
    def changed(path, *arguments, dir_fd=None, follow_symlinks=True, **named):
        if isinstance(path, int) or not follow_symlinks:
            return change(path, *arguments, dir_fd=dir_fd, follow_symlinks=follow_symlinks, **named)
        try:
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
        except PermissionError:  # it cannot be read: as programs do
            return change(path, *arguments, dir_fd=dir_fd, **named)
        try:
            return change(file, *arguments, **named)
        finally:
            os.close(file)

    for able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        if change in able:
            able.add(changed)
    return changed


def explain(error, project):
    """What a connector may do, where ERROR names a path that it may not use so."""
    if not isinstance(error.filename, str | bytes):
        return None
    path = os.fsdecode(error.filename)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except PermissionError:
        if os.path.realpath(path).startswith(os.path.realpath(project) + os.sep):
            return None  # its owner's doing
        return "in the sandbox a connector reads its project, its environment and /usr, and nothing else"
    except OSError:
        pass  # it was to be made
    return "in the sandbox a connector writes to its temporary folder (tempfile, $TMPDIR), and nowhere else"


def adapt():
    sys.meta_path.insert(0, _Finder)
    os.chmod, os.utime = _by_descriptor(os.chmod), _by_descriptor(os.utime)
