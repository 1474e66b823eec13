"""Wherry's own fivetran_connector_sdk: what a Fivetran connector imports, so that it runs unmodified.

    from fivetran_connector_sdk import Connector, Logging as log, Operations as op

A connector that Wherry runs (a pipeline with `source: {type: fivetran, …}`) gets this module first on its path, whatever
its requirements name. The operations are functions in C that put rows on the pipe to the writer.
"""

from fivetran_connector_sdk.logger import Logging
from fivetran_connector_sdk.operations import Operations

__version__ = "2.13.1"  # of Fivetran's module, whose interface this one has
__all__ = ["ByteStream", "ConfigurationForm", "Connector", "FileUpload", "Logging", "Operations", "Test", "form_field"]

_ELSEWHERE = (
    'a connector is run by Wherry: try it with "wherryctl debug" or connector.debug(), then "wherryctl deploy" it'
)


def __getattr__(name):
    """What few connectors import comes when it is asked for."""
    if name in ("ConfigurationForm", "Test"):
        from fivetran_connector_sdk import configuration_form as home
    elif name in ("ByteStream", "FileUpload"):
        from fivetran_connector_sdk import file_upload as home
    elif name == "form_field":
        import importlib

        return importlib.import_module("fivetran_connector_sdk.form_field")
    else:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(home, name)


class Connector:
    """What connector.py defines as `connector`: its functions update() and, if it has them, schema() and
    configuration_form()."""

    def __init__(self, update, schema=None, configuration_form=None):
        self.schema_method = schema
        self.update_method = update
        self.configuration_form_method = configuration_form
        self.configuration = None
        self.state = None

    def run(self, port=50049, configuration=None, state=None, log_level=Logging.Level.INFO):
        raise RuntimeError(_ELSEWHERE)

    def debug(self, project_path=None, configuration=None, state=None, naming=None, log_level=Logging.Level.DEBUG):
        """Syncs once, as `wherryctl debug`, which shows what every level logs. CONFIGURATION and STATE: dictionaries
        instead of the project's files."""
        if Logging._running:
            raise RuntimeError('the connector runs already: keep connector.debug() under if __name__ == "__main__":')
        from fivetran_connector_sdk import _debug

        _debug.debug(project_path, naming, configuration=configuration, state=state)

    def deploy(self, *arguments, **keywords):
        raise RuntimeError(_ELSEWHERE)
