"""The types of file uploads, for connectors that import them. Nothing takes files here: an operation that is given one
refuses it by name."""


class ByteStream:
    """Anything with read(size)."""

    def read(self, size=-1):
        raise NotImplementedError


class FileUpload:
    def __init__(self, path, stream, expected_bytes=None):
        self.path = path.strip() if isinstance(path, str) else path
        self.stream = stream
        self.expected_bytes = expected_bytes
