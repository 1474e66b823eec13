def rows():
    yield {"id": 1, "name": "from a package"}
