"""What the machine lacks for a connector: a package of Python, or a shared library that a package is linked against.

An import only says what was not found. Who has to install it also needs to know which line of requirements.txt should
have brought it, which package asks for it, and what Debian calls the library. Loaded only when something has failed.
"""

import os
import re
import sys

_LIBRARY = re.compile(
    r"([\w.+-]+\.so(?:\.[\w.]+)?): cannot open shared object file"
    r"|\b(lib[\w+-]+) library not found"  # psycopg, which looks for it by itself
)
_ODBC_DRIVER = re.compile(r"\[unixODBC\].*Can't open lib '([^']+)'")
_INSTALLED = re.compile(r"/(?:site|dist)-packages/([\w.+-]+)")

# What brings a shared library in Debian 12. A name without a version is brought in every one.
LIBRARIES = {
    "libaio.so.1": "libaio1",
    "libblas.so.3": "libblas3",
    "libbz2.so": "libbz2-1.0",
    "libct.so.4": "libct4",
    "libcurl-gnutls.so.4": "libcurl3-gnutls",
    "libcurl.so.4": "libcurl4",
    "libexslt.so.0": "libxslt1.1",
    "libfbclient.so.2": "libfbclient2",
    "libffi.so.8": "libffi8",
    "libgdal.so.32": "libgdal32",
    "libgeos_c.so.1": "libgeos-c1v5",
    "libgfortran.so.5": "libgfortran5",
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgomp.so.1": "libgomp1",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
    "libkrb5.so.3": "libkrb5-3",
    "liblapack.so.3": "liblapack3",
    "liblber-2.5.so.0": "libldap-2.5-0",
    "libldap-2.5.so.0": "libldap-2.5-0",
    "libltdl.so.7": "libltdl7",
    "liblz4.so.1": "liblz4-1",
    "liblzma.so.5": "liblzma5",
    "libmagic.so.1": "libmagic1",
    "libmariadb.so.3": "libmariadb3",
    "libmemcached.so.11": "libmemcached11",
    "libodbc.so": "unixodbc",
    "libodbcinst.so": "unixodbc",
    "libopenblas.so.0": "libopenblas0",
    "libpcre.so.3": "libpcre3",
    "libpq.so.5": "libpq5",
    "libproj.so.25": "libproj25",
    "librdkafka.so.1": "librdkafka1",
    "libsasl2.so.2": "libsasl2-2",
    "libsnappy.so.1": "libsnappy1v5",
    "libsodium.so.23": "libsodium23",
    "libsqlite3.so.0": "libsqlite3-0",
    "libssh2.so.1": "libssh2-1",
    "libstdc++.so.6": "libstdc++6",
    "libsybdb.so.5": "libsybdb5",
    "libtdsodbc.so": "tdsodbc",
    "libxml2.so.2": "libxml2",
    "libxmlsec1-openssl.so.1": "libxmlsec1-openssl",
    "libxmlsec1.so.1": "libxmlsec1",
    "libxslt.so.1": "libxslt1.1",
    "libyaml-0.so.2": "libyaml-0-2",
    "libzmq.so.5": "libzmq5",
    "libzstd.so.1": "libzstd1",
}

_ODBC = (
    'the ODBC driver "{}" is not on this machine, or lies where a connector may not read: install it, below /usr '
    '("odbcinst -q -d" lists those that are known)'
)

# What is imported under another name than it is installed by. "python-NAME" and "NAME-…" are found without.
PACKAGES = {
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "Crypto": "pycryptodome",
    "cv2": "opencv-python",
    "fitz": "pymupdf",
    "git": "gitpython",
    "github": "pygithub",
    "jwt": "pyjwt",
    "MySQLdb": "mysqlclient",
    "nacl": "pynacl",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "pkg_resources": "setuptools",
    "psycopg2": "psycopg2-binary",
    "serial": "pyserial",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}


def explain(error, text, project):
    """What ERROR, which has ended a sync and reads TEXT, leaves unsaid; None: nothing."""
    library, driver = _LIBRARY.search(text), _ODBC_DRIVER.search(text)
    if library:
        return _library(error, library[1] or f"{library[2]}.so")
    if driver:
        return _ODBC.format(driver[1])
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _package(error, project)
    return None


# --- who asks for it ---


def _places(error):
    """Files of the traceback, the innermost first; before them that of the extension that could not be loaded."""
    files = [getattr(error, "path", None)]
    place = error.__traceback__
    while place:
        files.insert(1, place.tb_frame.f_code.co_filename)
        place = place.tb_next
    return [file for file in files if isinstance(file, str)]


def _importer(error):
    """The installed package that asked; None: the connector's own code did, or Python's."""
    for file in _places(error):
        installed = _INSTALLED.search(file)
        if installed:
            return installed[1].split(".")[0]
    return None


# --- shared libraries ---


def _brought_by(library):
    """Where no version is asked for, any will do."""
    if library in LIBRARIES:
        return LIBRARIES[library]
    base, _, version = library.partition(".so")
    known = [name for name in LIBRARIES if name.partition(".so")[0] == base]
    return next((LIBRARIES[name] for name in known if not version or name.endswith(".so")), None)


def _library(error, library):
    importer, package = _importer(error), _brought_by(library)
    who = f'the package "{importer}" needs' if importer else "the connector needs"
    how = f'install Debian\'s package "{package}"' if package else "install what brings it, below /usr"
    return f'{who} the shared library "{library}", which this machine lacks: {how}'


# --- packages ---


def _normal(name):
    """PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _requirements(project):
    """(number, line, normalised name) of what requirements.txt names."""
    try:
        with open(os.path.join(project, "requirements.txt"), encoding="utf-8-sig", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for number, line in enumerate(lines, 1):
        line = re.sub(r"(^|\s)#.*", "", line).strip()
        name = re.search(r"#egg=([\w.-]+)", line) or re.match(r"([A-Za-z0-9][\w.-]*)", line)
        if name:
            yield number, line, _normal(name[1])


def _is_of(requirement, module):
    """Whether the package REQUIREMENT is likely to bring MODULE, a name with dots."""
    parts = module.split(".")
    if requirement == PACKAGES.get(parts[0]):
        return True
    names = {_normal(".".join(parts[:n])) for n in range(1, len(parts) + 1)}
    if requirement in names or requirement.removeprefix("python-") in names:
        return True
    return requirement.startswith(_normal(parts[0]) + "-")


def _made_for():
    """The Python that the environment's packages are for, where that is another one: its link leads elsewhere now."""
    ours = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    library = os.path.join(sys.prefix, "lib")
    if sys.prefix == sys.base_prefix or os.path.isdir(os.path.join(library, ours)):
        return None
    try:
        others = [name for name in os.listdir(library) if re.fullmatch(r"python3\.\d+", name)]
    except OSError:
        return None
    return others[0].removeprefix("python") if others else None


def _package(error, project):
    importer, made_for = _importer(error), _made_for()
    who = f'the package "{importer}" imports it; ' if importer else ""
    if made_for:
        return (
            f'the environment "{sys.prefix}" was made for Python {made_for}, and its interpreter is '
            f"{sys.version_info[0]}.{sys.version_info[1]} now; make it anew, or deploy the connection again"
        )
    for number, line, name in _requirements(project):
        if _is_of(name, error.name):
            return (
                f'{who}requirements.txt, line {number}, names it ("{line}"): it is not installed for {sys.executable}'
            )
    if error.name == "requests" and sys.prefix == sys.base_prefix:
        return (
            f"{who}it is in every environment that Wherry makes: deploy the project, or install it for {sys.executable}"
        )
    package = PACKAGES.get(error.name.split(".")[0])
    how = f'"{package}"' if package else "the package that brings it"
    here = "" if sys.prefix != sys.base_prefix else f", and install it for {sys.executable} or deploy the project"
    return f"{who}no line of requirements.txt names it; add one with {how}{here}"
