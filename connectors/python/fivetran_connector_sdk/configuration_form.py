"""configuration_form() of a connector describes the fields that it asks for, and tests of what was entered."""

from fivetran_connector_sdk.form_field import FormField


class ConfigurationForm:
    def __init__(self):
        self._fields = []
        self._tests = []  # (label, function)

    def add_field(self, field):
        if not isinstance(field, FormField):
            raise TypeError(f"field must be a form_field, got {type(field).__name__}: {field!r}")
        self._fields.append(field)
        return self

    def add_test(self, *, label, func):
        name = getattr(func, "__name__", repr(func))
        if not label:
            raise ValueError(f"label must not be empty for test function '{name}'")
        if not callable(func):
            raise TypeError("func must be callable")
        if name == "<lambda>":
            raise ValueError(
                "anonymous lambda functions cannot be used as test functions; "
                "assign the function to a named variable first"
            )
        if any(known.__name__ == name for _, known in self._tests):
            raise ValueError(
                f"a test function named '{name}' is already registered; each test function must have a unique name"
            )
        self._tests.append((label, func))
        return self


class TestResult:
    def __init__(self, failure=None):
        self.failure = failure  # None: success


class Test:
    """What a test of a form returns."""

    @staticmethod
    def success():
        return TestResult()

    @staticmethod
    def failure(message):
        return TestResult(message)
