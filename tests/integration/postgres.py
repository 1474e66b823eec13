"""A private PostgreSQL 15, on a Unix socket in a folder of its own, that ends with the tests.

initdb and postgres refuse to be run by root, who runs them as "nobody" then. The server dies with the process that started it
(parent-death signal); no cluster of the system is ever touched.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import frames
import harness
import pytest
import writers

BINARIES = Path("/usr/lib/postgresql/15/bin")
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "50",
    "shared_buffers": "64MB",
    "autovacuum": "off",
    "log_min_messages": "warning",
    "log_line_prefix": "%p ",
}
PORT = 5432  # of the socket's name, nothing listens on it


def as_owner():
    """What to put in front of a command, and the user it then runs as."""
    if os.geteuid() != 0:
        return [], pwd.getpwuid(os.geteuid()).pw_name
    user = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"], "nobody"


class Server:
    """One cluster. `url(database)` names it; `query` and `execute` run SQL through psql as its superuser."""

    def __init__(self, **settings):
        self.settings = {**SETTINGS, **settings}
        self.prefix, self.user = as_owner()
        # short: a socket's path has at most 107 bytes
        self.root = Path(tempfile.mkdtemp(prefix="wherry-pg-", dir="/tmp"))
        self.data, self.log_path = self.root / "data", self.root / "log"
        if self.prefix:
            shutil.chown(self.root, "nobody")
        self.root.chmod(0o755)
        subprocess.run(
            [*self.prefix, str(BINARIES / "initdb"), "-D", str(self.data), "--auth=trust", "--no-sync"]
            + ["--encoding=UTF8", "--locale=C.UTF-8", f"--username={self.user}"],
            check=True,
            capture_output=True,
            cwd="/",
        )
        self.process = None
        self.databases = 0
        self.start()

    # --- starting and stopping ---

    def start(self, **settings):
        options = [f"-c{name}={value}" for name, value in {**self.settings, **settings}.items()]
        death = ["setpriv", "--pdeathsig=KILL"] if not self.prefix else [*self.prefix, "--pdeathsig=KILL"]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*death, str(BINARIES / "postgres"), "-D", str(self.data), f"-cunix_socket_directories={self.root}"]
                + options,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        harness.lasting.add(self.process.pid)
        harness.wait_for(self.is_ready, "PostgreSQL to be ready")

    @property
    def port(self):
        return int(self.settings.get("port", PORT))

    def is_ready(self):
        assert self.process.poll() is None, f"PostgreSQL ended:\n{self.log()}"
        command = [str(BINARIES / "pg_isready"), "-q", "-h", str(self.root), "-p", str(self.port), "-d", "postgres"]
        return subprocess.run(command).returncode == 0

    def stop(self, number=signal.SIGINT):
        """SIGINT: every session is ended ("fast"); SIGQUIT: as a crash."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(harness.TIMEOUT_S)
        if self.process:
            harness.lasting.discard(self.process.pid)
        self.process = None

    def restart(self, number=signal.SIGINT, **settings):
        self.stop(number)
        self.start(**settings)

    def close(self):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.root, ignore_errors=True)

    def log(self):
        return self.log_path.read_text(errors="replace")

    # --- using it ---

    def create_database(self):
        """A new one; its name."""
        self.databases += 1
        name = f"test{self.databases}"
        self.execute(f"CREATE DATABASE {name}", database="postgres")
        return name

    def url(self, database):
        return f"postgresql:///{database}?host={self.root}&port={self.port}&user={self.user}"

    def psql(self, *arguments, database, sql=None, status=0):
        done = subprocess.run(
            ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", self.url(database), *arguments],
            input=sql or "",
            capture_output=True,
            encoding="utf-8",
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "PGTZ": "UTC"},
        )
        assert status is None or done.returncode == status, f"{sql or arguments}: {done.stderr}"
        return done

    def execute(self, *statements, database):
        self.psql(database=database, sql=";\n".join(statements) + ";\n")

    def query(self, sql, database):
        """Rows of texts; NULL is None."""
        done = self.psql("-A", "-t", "-F\x1f", "-R\x1e", "-P", "null=\x1d", "-c", sql, database=database)
        text = done.stdout.removesuffix("\n")
        return [tuple(None if v == "\x1d" else v for v in row.split("\x1f")) for row in text.split("\x1e") if row]


class Bouncer:
    """A PgBouncer in front of SERVER that hands out its connections per transaction."""

    def __init__(self, server, size=3):
        self.server = server
        self.root = Path(tempfile.mkdtemp(prefix="wherry-pgb-", dir="/tmp"))
        self.root.chmod(0o777)
        settings = self.root / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={server.root} user={server.user}\n[pgbouncer]\nlisten_addr =\n"
            f"unix_socket_dir = {self.root}\nlisten_port = {PORT}\nauth_type = any\npool_mode = transaction\n"
            f"default_pool_size = {size}\nserver_lifetime = 0\n"
        )
        settings.chmod(0o644)
        prefix = [*server.prefix, "--pdeathsig=KILL"] if server.prefix else ["setpriv", "--pdeathsig=KILL"]
        with open(self.root / "log", "wb") as log:
            self.process = subprocess.Popen(
                [*prefix, "pgbouncer", str(settings)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/"
            )
        harness.lasting.add(self.process.pid)
        harness.wait_for((self.root / f".s.PGSQL.{PORT}").exists, "PgBouncer to be ready")

    def close(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(harness.TIMEOUT_S)
        harness.lasting.discard(self.process.pid)
        shutil.rmtree(self.root, ignore_errors=True)


# --- for tests of destination-postgres by itself ---

COLUMNS = writers.COLUMNS
KEYED = [("id", "integer", frames.KEY | frames.DECLARED), ("note", "string", frames.DECLARED)]


@pytest.fixture(scope="session")
def server():
    found = Server()
    yield found
    found.close()


class Destination:
    """A database of its own, and the writers started on it; all end with the test."""

    def __init__(self, program, server, url=None):
        self.program, self.server = program, server
        self.database = server.create_database()
        self.url = url or server.url(self.database)
        self.writers = []

    def configuration(self, connection="orders", write_mode="append", files=True, url=None, own=None, **more):
        destination = {"type": "postgres", "url": url or self.url, "lock_timeout": 5, **(own or {})}
        return writers.configuration(len(self.writers) + 1, destination, connection, write_mode, files, **more)

    def start(self, **options):
        writer = frames.Writer([str(self.program)], self.configuration(**options))
        self.writers.append(writer)
        return writer

    def load(self, *parts, columns=COLUMNS, table="orders", end=True, **options):
        """A whole sync. The writer, with `.status`."""
        writer = self.start(**options)
        writer.put(frames.hello() + frames.table(table, columns) + b"".join(parts))
        if end:
            writer.put(frames.encode("END"))
        writer.status = writer.finish()
        return writer

    def query(self, sql):
        return self.server.query(sql, self.database)

    def execute(self, *statements):
        self.server.execute(*statements, database=self.database)

    def rows(self, table="orders"):
        return self.query(f"SELECT id, note, price FROM {table} ORDER BY id")

    def ledger(self):
        return self.query("SELECT name, row_count FROM _wherry_files ORDER BY name")

    def state(self):
        return self.query("SELECT sequence, epoch, run_id FROM _wherry_state")

    def has_table(self, name="orders"):
        return self.query(f"SELECT to_regclass('{name}') IS NOT NULL") == [("t",)]

    def backends(self):
        """Of writers, without those that ask."""
        found = self.query(
            f"SELECT pid FROM pg_stat_activity WHERE datname = '{self.database}' AND application_name = 'wherry'"
        )
        return [int(pid) for (pid,) in found]

    def busy(self):
        """Backends that are in a transaction of a writer's."""
        sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'wherry' AND state = 'idle in transaction'"
        return [int(pid) for (pid,) in self.query(sql)]

    def close(self):
        for writer in self.writers:
            writer.kill()


@pytest.fixture
def destination(build, server):
    found = Destination(build.destination("postgres"), server)
    yield found
    found.close()


def items(count, start=0):
    return [(i, f"note {i}", i / 4) for i in range(start, start + count)]


def shown(count, start=0):
    return [(str(i), f"note {i}", f"{i / 4:g}") for i in range(start, start + count)]


def failure(writer):
    assert writer.status == 1
    return writer.error()


def file_errors(writer):
    return [fields["error"] for fields in writer.frames("FILE_DONE") if fields["outcome"] != frames.LOADED]


def file_error(writer):
    (error,) = file_errors(writer)
    return error


def keyed(rows, operation="upsert", checkpoint=None):
    data = frames.rows(rows, operation=operation)
    return data + (
        frames.encode("CHECKPOINT", number=checkpoint, state=f'{{"at":{checkpoint}}}') if checkpoint else b""
    )


def committed(writer):
    while writer.expect("TAKEN", "COMMITTED").type != "COMMITTED":
        pass


def begin_load(destination, count=1000, **options):
    """A writer in the middle of a file; the backend's pid."""
    writer = destination.start(**options)
    parts = frames.file_frames("a.csv", items(count))
    cut = len(parts) - len(frames.encode("FILE_END", hash=bytes(32), error=""))
    writer.put(frames.hello() + frames.table("orders", COLUMNS) + parts[:cut])
    found = harness.wait_for(
        lambda: destination.query(
            f"SELECT pid FROM pg_stat_activity WHERE datname = '{destination.database}' AND query LIKE 'COPY%' AND state = 'active'"
        ),
        "the load",
    )
    writer.rest = parts[cut:] + frames.encode("END")
    return writer, int(found[0][0])


class holding:
    """A session of somebody else, in a transaction that executed STATEMENT."""

    def __init__(self, destination, statement):
        self.process = subprocess.Popen(
            ["psql", "-X", "-q", destination.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.process.stdin.write(f"BEGIN; {statement};\n\\echo held\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "held\n"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate("ROLLBACK;\n")
