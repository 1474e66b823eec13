"""What a connector calls for its rows. The functions are the extension's own: a call is one call."""

import json
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
