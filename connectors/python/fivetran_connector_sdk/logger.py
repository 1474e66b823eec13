"""What a connector says. Its levels become the log's priorities."""

import json
import sys
import syslog
from enum import IntEnum

from fivetran_connector_sdk import _wherry


class Logging:
    class Level(IntEnum):
        DEBUG = 1
        FINE = 2
        INFO = 3
        WARNING = 4
        ERROR = 5
        SEVERE = 6
        CRITICAL = 7

    LOG_LEVEL = Level.INFO  # what is less is not said; DEBUG and FINE only where a run shows all
    _running = False  # else there is nobody to tell but the person at the terminal

    @staticmethod
    def _log(level, message, exception=None):
        if level < Logging.LOG_LEVEL:
            return
        if exception:
            import traceback

            message += "\n" + "".join(
                traceback.format_exception(type(exception), exception, exception.__traceback__, limit=1)
            )
        text = message if isinstance(message, str) else json.dumps(message)
        if not Logging._running:
            print(f"{level.name}: {text}", file=sys.stderr)
            return
        first, *more = text.rstrip("\n").split("\n")
        name = level.name.lower()
        _wherry.log(_PRIORITIES[level], _writable(first), name)
        for line in more:  # of the same message: one warning of the run, not many
            _wherry.log(max(_PRIORITIES[level], syslog.LOG_INFO), _writable(line), name)

    @staticmethod
    def debug(message):
        Logging._log(Logging.Level.DEBUG, message)

    @staticmethod
    def fine(message):
        Logging._log(Logging.Level.FINE, message)

    @staticmethod
    def info(message):
        Logging._log(Logging.Level.INFO, message)

    @staticmethod
    def warning(message):
        Logging._log(Logging.Level.WARNING, message)

    @staticmethod
    def error(message, exception=None):
        Logging._log(Logging.Level.ERROR, message, exception)

    @staticmethod
    def severe(message, exception=None):
        Logging._log(Logging.Level.SEVERE, message, exception)

    @staticmethod
    def critical(message, exception=None):
        Logging._log(Logging.Level.CRITICAL, message, exception)


_PRIORITIES = {
    Logging.Level.DEBUG: syslog.LOG_DEBUG,
    Logging.Level.FINE: syslog.LOG_DEBUG,
    Logging.Level.INFO: syslog.LOG_INFO,
    Logging.Level.WARNING: syslog.LOG_WARNING,
    Logging.Level.ERROR: syslog.LOG_ERR,
    Logging.Level.SEVERE: syslog.LOG_ERR,
    Logging.Level.CRITICAL: syslog.LOG_CRIT,
}


def _writable(text):
    """A lone surrogate, which no encoding has, as its escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
