"""The fields of a configuration form."""


class FormField:
    """One field, as it was described."""

    def __init__(self, kind, name, label, required, **more):
        self.kind = kind
        self.name = name
        self.label = label
        self.required = required
        self.__dict__.update({key: value for key, value in more.items() if value is not None})


class DropdownFieldParam:
    def __init__(self, value, label=None, description=None):
        self.value = value
        self.label = label
        self.description = description


class TextField:
    plain_text = "plain_text"
    password = "password"

    def __new__(cls, name, label, field_type="plain_text", *, description=None, required=False, placeholder=None):
        return FormField(field_type, name, label, required, description=description, placeholder=placeholder)


class DropdownField:
    def __new__(cls, name, label, *, fields, description=None, required=False, placeholder=None):
        if not fields:
            raise ValueError(f"DropdownField '{name}' must define at least one option in 'fields'.")
        return FormField(
            "dropdown", name, label, required, fields=list(fields), description=description, placeholder=placeholder
        )


class ToggleField:
    def __new__(cls, name, label, *, description=None, required=False):
        return FormField("toggle", name, label, required, description=description)
