"""Who may include whom, and who links what: the layering of the tree holds by itself."""

import re
import subprocess

import pytest
from harness import ROOT

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
LIB = ("lib/basics/", "lib/formats/", "lib/system/")
GENERATED = ("wherry-build.h", "naming-unicode.h")  # what the build makes
ROW_DATA = ("libarchive", "libyyjson", "libcurl", "libpq")
DAEMON_ONLY = ("libuv", "libsystemd", "libfyaml")


def allowed(path):
    """The folders that a file at PATH may include from."""
    parts = path.split("/")
    if parts[0] == "lib":
        return LIB[: LIB.index(f"lib/{parts[1]}/") + 1]
    if parts[0] == "connectors" and parts[1] in ("worker", "writer"):
        return (*LIB, f"connectors/{parts[1]}/")
    if parts[:2] == ["connectors", "python"]:
        return (*LIB, "connectors/worker/", "connectors/python/")
    if parts[:2] == ["connectors", "environment"]:
        return (*LIB, "connectors/worker/", "connectors/environment/")
    if parts[0] == "connectors" and len(parts) == 3:
        return LIB  # what several of a kind share knows none of them
    if parts[0] == "connectors":
        shared = {"sources": "worker", "destinations": "writer"}[parts[1]]
        return (*LIB, f"connectors/{shared}/", "/".join(parts[:3]) + "/")
    if parts[0] == "daemon":
        return (*LIB, f"daemon/{parts[1]}/")
    raise AssertionError(f"{path}: in no layer")


def may_include(path, include):
    """Whether PATH may include INCLUDE: what lies right in connectors/destinations/ is for all destinations."""
    if path.startswith("connectors/destinations/") and include.startswith("connectors/destinations/"):
        if include.count("/") == 2:
            return True
    return include in GENERATED or include.startswith(allowed(path))


def sources():
    return sorted(
        str(path.relative_to(ROOT))
        for folder in ("lib", "connectors", "daemon")
        for suffix in ("c", "h")
        for path in (ROOT / folder).rglob(f"*.{suffix}")
    )


def test_includes_go_downward():
    wrong = []
    for path in sources():
        for include in INCLUDE.findall((ROOT / path).read_text()):
            if not may_include(path, include):
                wrong.append(f'{path} includes "{include}"')
    assert not wrong, "\n".join(wrong)


def test_the_rule_would_notice():
    """The check above rests on these answers."""
    assert "lib/system/" not in allowed("lib/basics/error.c")
    assert "lib/formats/" in allowed("lib/system/spawn.c")
    assert "connectors/worker/" not in allowed("connectors/writer/writer.c")
    assert "connectors/writer/" not in allowed("connectors/sources/files/main.c")
    assert "connectors/sources/files/" not in allowed("connectors/sources/other/main.c")
    assert may_include("connectors/destinations/sqlite/config.c", "connectors/destinations/database-file.h")
    assert not may_include("connectors/destinations/sqlite/config.c", "connectors/destinations/duckdb/duckdb.h")
    assert not may_include("connectors/destinations/database-file.c", "connectors/destinations/duckdb/duckdb.h")
    assert not may_include("connectors/sources/files/config.c", "connectors/destinations/database-file.h")
    assert not [folder for folder in allowed("daemon/wherryd/main.c") if folder.startswith("connectors/")]
    assert len(sources()) > 50


def test_connector_tables_are_all_that_the_daemon_sees_of_connectors(build):
    """The daemon links config.c of each connector and nothing else of it."""
    names = {path.name for path in build.path.glob("daemon/wherryd/wherryd")}
    assert names == {"wherryd"}
    symbols = subprocess.run(["nm", build.wherryd], capture_output=True, text=True, check=True).stdout
    assert "source_files_keys" in symbols
    assert "destination_sqlite_keys" in symbols
    assert not re.search(
        r" [TtDdBb] (worker_main|writer_main|yyjson_read\w*|source_files|destination_sqlite)$", symbols, re.M
    )


def libraries(program):
    dynamic = subprocess.run(["readelf", "-d", program], capture_output=True, text=True, check=True).stdout
    return re.findall(r"NEEDED.*\[(.*)\]", dynamic)


def linked(program, names):
    return [library for library in libraries(program) if library.startswith(names)]


def test_the_daemon_links_no_parser_of_row_data(build):
    assert libraries(build.wherryd)
    assert not linked(build.wherryd, ROW_DATA)


def test_wherryctl_links_little(build):
    assert not linked(build.wherryctl, (*ROW_DATA, "libsqlite3", "libseccomp", "libfyaml", "libuv"))


@pytest.mark.parametrize("kind", sorted(path.name for path in (ROOT / "connectors/sources").iterdir() if path.is_dir()))
def test_sources_link_nothing_of_the_daemon_nor_of_a_destination(build, kind):
    assert libraries(build.source(kind))
    assert not linked(build.source(kind), (*DAEMON_ONLY, "libsqlite3", "libpq"))


@pytest.mark.parametrize(
    "kind", sorted(path.name for path in (ROOT / "connectors/destinations").iterdir() if path.is_dir())
)
def test_destinations_link_nothing_of_the_daemon_nor_of_a_source(build, kind):
    assert libraries(build.destination(kind))
    assert not linked(build.destination(kind), (*DAEMON_ONLY, "libarchive", "libyyjson"))
