"""What holds for the tests of every folder: the order that they are begun in."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
