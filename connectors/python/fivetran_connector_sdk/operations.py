"""What a connector calls for its rows. The functions are the extension's own: a call is one call."""

import json
import sys
import syslog

from fivetran_connector_sdk import _wherry


class SyncFailed(BaseException):
    """op.error() ends the sync. No Exception, so that a connector's own handlers let it pass."""


def _check(text, what):
    if not isinstance(text, str):
        raise TypeError(f"{what} must be a string, got {type(text).__name__}")


def _check_message(message):
    _check(message, "Message")
    if not message.strip():
        raise ValueError("Message must be a non-empty string")


class Operations:
    upsert = _wherry.upsert
    update = _wherry.update
    delete = _wherry.delete
    truncate = _wherry.truncate
    checkpoint = _wherry.checkpoint

    @staticmethod
    def error(message, trace=None):
        """Fails the sync, with this message; what came after the last checkpoint is not kept."""
        _check_message(message)
        if trace is not None:
            _check(trace, "Trace")
            for line in trace.strip().splitlines():
                _wherry.log(syslog.LOG_INFO, line)
        _wherry.fail(_wherry.ERROR_TEMPORARY, message)
        raise SyncFailed(message)

    @staticmethod
    def warning(message):
        """A warning that is kept with the run, where `wherryctl status` shows it."""
        _check_message(message)
        _wherry.log(syslog.LOG_WARNING, json.dumps(message)[1:-1] if "\n" in message else message)


class _LikeItsClass:
    """Operations under Python 3.11, which looks `op.upsert` up anew each time where `op` is an imported class, for a
    tenth of what a row costs, but knows where an object has it. Otherwise it is as good as the class: it can be called,
    inherited from, asked about instances, and patched."""

    def __init__(self, real):
        self.upsert, self.update, self.delete = real.upsert, real.update, real.delete
        self.truncate, self.checkpoint = real.truncate, real.checkpoint
        self.error, self.warning = real.error, real.warning
        self.__name__ = self.__qualname__ = real.__name__
        self._real = real

    def __call__(self):
        return self._real()

    def __mro_entries__(self, bases):
        return (self._real,)

    def __instancecheck__(self, instance):
        return isinstance(instance, self._real)

    def __subclasscheck__(self, subclass):
        return subclass is self or issubclass(subclass, self._real)

    def __or__(self, other):
        return self._real | other

    def __ror__(self, other):
        return other | self._real

    def __reduce__(self):
        return self.__name__

    def __repr__(self):
        return repr(self._real)


if sys.version_info[:2] == (3, 11):
    Operations = _LikeItsClass(Operations)
