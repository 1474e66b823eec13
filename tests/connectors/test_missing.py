"""What a sync's error says of packages and shared libraries that are not there (`_missing.py`)."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
FILE = ROOT / "connectors/python/fivetran_connector_sdk/_missing.py"


@pytest.fixture(scope="module")
def missing():
    specification = importlib.util.spec_from_file_location("_missing", FILE)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def raised(error, file="/srv/project/connector.py"):
    """ERROR with a traceback that ends in FILE."""
    try:
        exec(compile("raise error", file, "exec"), {"error": error})
    except BaseException as caught:
        return caught


def explain(missing, error, project="/nowhere"):
    return missing.explain(error, f"{type(error).__name__}: {error}", str(project))


SITE = "/srv/environment/lib/python3.12/site-packages"
LACKS = ", which this machine lacks: "
LIBRARIES = {
    ("libpq.so.5", "psycopg2/_psycopg.cpython-312-x86_64-linux-gnu.so"): (
        f'the package "psycopg2" needs the shared library "libpq.so.5"{LACKS}install Debian\'s package "libpq5"'
    ),
    ("libodbc.so.2", "pyodbc.cpython-312-x86_64-linux-gnu.so"): (
        f'the package "pyodbc" needs the shared library "libodbc.so.2"{LACKS}install Debian\'s package "unixodbc"'
    ),
    ("libmariadb.so.3", "MySQLdb/_mysql.cpython-312-x86_64-linux-gnu.so"): (
        f'the package "MySQLdb" needs the shared library "libmariadb.so.3"{LACKS}install Debian\'s package "libmariadb3"'
    ),
    ("libxslt.so.1", "lxml/etree.cpython-312-x86_64-linux-gnu.so"): (
        f'the package "lxml" needs the shared library "libxslt.so.1"{LACKS}install Debian\'s package "libxslt1.1"'
    ),
    ("libaio.so.1", "cx_Oracle.cpython-312-x86_64-linux-gnu.so"): (
        f'the package "cx_Oracle" needs the shared library "libaio.so.1"{LACKS}install Debian\'s package "libaio1"'
    ),
    ("libpq.so.4", "old/_x.abi3.so"): (
        f'the package "old" needs the shared library "libpq.so.4"{LACKS}install what brings it, below /usr'
    ),
    ("libvendor-1.2+x.so", "vendor/x.so"): (
        f'the package "vendor" needs the shared library "libvendor-1.2+x.so"{LACKS}install what brings it, below /usr'
    ),
}


@pytest.mark.parametrize("library, path", LIBRARIES)
def test_an_extension_without_its_library(missing, library, path):
    error = ImportError(f"{library}: cannot open shared object file: No such file or directory", path=f"{SITE}/{path}")
    assert explain(missing, raised(error)) == LIBRARIES[library, path]


def test_a_library_that_is_opened_by_hand(missing):
    text = "libclntsh.so: cannot open shared object file: No such file or directory"
    said = f'needs the shared library "libclntsh.so"{LACKS}install what brings it, below /usr'
    error = raised(RuntimeError(f'DPI-1047: Cannot locate a 64-bit Oracle Client library: "{text}"'))
    assert explain(missing, error) == f"the connector {said}"
    error = raised(OSError(text), f"{SITE}/oracledb/thick.py")
    assert explain(missing, error) == f'the package "oracledb" {said}'
    error = raised(
        ImportError("no pq wrapper available.\n- 'python': libpq library not found"), f"{SITE}/psycopg/pq.py"
    )
    assert explain(missing, error) == (
        f'the package "psycopg" needs the shared library "libpq.so"{LACKS}install Debian\'s package "libpq5"'
    )


def test_an_odbc_driver(missing):
    text = "('01000', \"[01000] [unixODBC][Driver Manager]Can't open lib 'ODBC Driver 18 for SQL Server' : file not found\")"
    assert explain(missing, raised(RuntimeError(text))) == (
        'the ODBC driver "ODBC Driver 18 for SQL Server" is not on this machine, or lies where a connector may not '
        'read: install it, below /usr ("odbcinst -q -d" lists those that are known)'
    )


def absent(name, **options):
    return raised(ModuleNotFoundError(f"No module named '{name}'", name=name), **options)


NAMED = [
    ("yaml", "PyYAML>=6"),
    ("dateutil", "python-dateutil"),
    ("psycopg2", "psycopg2-binary==2.9.9"),
    ("google.cloud.bigquery", "google-cloud-bigquery"),
    ("google.cloud", "google-cloud-storage>=2"),
    ("snowflake", "snowflake_connector_python"),
    ("tool", "git+https://example.org/x.git#egg=tool"),
    ("tool", "Tool @ https://example.org/x.tar.gz"),
]


@pytest.mark.parametrize("module, line", NAMED)
def test_the_line_that_should_have_brought_a_package(missing, tmp_path, module, line):
    (tmp_path / "requirements.txt").write_text(f"# {module}\nrequests\n  {line}   # why\n")
    assert explain(missing, absent(module), tmp_path) == (
        f'requirements.txt, line 3, names it ("{line}"): it is not installed for {sys.executable}'
    )


@pytest.mark.parametrize("module, line", [("request", "requests"), ("tool", "# tool\n-r tool.txt"), ("a", "--a\n./a")])
def test_lines_that_name_something_else(missing, tmp_path, monkeypatch, module, line):
    (tmp_path / "requirements.txt").write_text(line)
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    said = "no line of requirements.txt names it; add one with the package that brings it"
    assert explain(missing, absent(module), tmp_path) == (
        f"{said}, and install it for {sys.executable} or deploy the project"
    )
    (tmp_path / f"lib/python{VERSION}").mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert explain(missing, absent(module), tmp_path) == said


def test_what_else_is_known_of_a_package(missing, monkeypatch):
    assert explain(missing, absent("bs4")).startswith(
        'no line of requirements.txt names it; add one with "beautifulsoup4"'
    )
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert explain(missing, absent("requests")) == (
        f"it is in every environment that Wherry makes: deploy the project, or install it for {sys.executable}"
    )
    said = explain(missing, absent("numpy", file=f"{SITE}/pandas/compat/__init__.py"))
    assert said.startswith('the package "pandas" imports it; no line of requirements.txt names it; ')


def test_an_environment_of_another_python(missing, tmp_path, monkeypatch):
    (tmp_path / "lib/python3.9/site-packages").mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    assert explain(missing, absent("tool")) == (
        f'the environment "{tmp_path}" was made for Python 3.9, and its interpreter is {VERSION} now; make it anew, or '
        "deploy the connection again"
    )
    (tmp_path / f"lib/python{VERSION}").mkdir()
    assert explain(missing, absent("tool")).startswith("no line of requirements.txt names it")


@pytest.mark.parametrize(
    "error", [ImportError("cannot import name 'a' from 'b'"), ValueError("a lib"), OSError(2, "x")]
)
def test_other_errors_speak_for_themselves(missing, error):
    assert explain(missing, raised(error)) is None
