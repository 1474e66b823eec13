"""Whom destination-postgres connects to and as whom: urls, passwords, rights, ports; no secret is ever said."""

import socket
import subprocess

import frames
import harness
import postgres
import pytest
from postgres import COLUMNS, Destination, failure, items, shown

destination, server = postgres.destination, postgres.server  # fixtures


@pytest.fixture(scope="module")
def guarded():
    """A server that wants passwords."""
    found = postgres.Server()
    found.execute(
        "CREATE ROLE loader LOGIN PASSWORD 'hunter2hunter2'",
        "CREATE ROLE poor LOGIN PASSWORD 'pennies'",
        database="postgres",
    )
    hba = found.data / "pg_hba.conf"
    hba.write_text(f"local all {found.user} trust\nlocal all all scram-sha-256\n")
    found.restart()
    yield found
    found.close()


@pytest.fixture
def guarded_destination(build, guarded):
    found = Destination(build.destination("postgres"), guarded)
    guarded.execute(f"GRANT ALL ON DATABASE {found.database} TO loader", database="postgres")
    found.execute("GRANT ALL ON SCHEMA public TO loader")
    yield found
    found.close()


def url_of(destination, user="loader", password="hunter2hunter2"):
    return f"postgresql://{user}:{password}@/{destination.database}?host={destination.server.root}"


def test_a_password_works_in_every_form(guarded_destination):
    destination = guarded_destination
    root, database = destination.server.root, destination.database
    passfile = root / "passfile"
    passfile.write_text(f"*:*:{database}:loader:hunter2hunter2\n")
    passfile.chmod(0o600)
    forms = [
        {"url": url_of(destination)},
        {"url": url_of(destination).replace("postgresql:", "postgresql+psycopg2:")},
        {"url": url_of(destination).replace("postgresql:", "postgres:")},
        {"url": f"host={root} dbname={database} user=loader password=hunter2hunter2"},
        {"url": f"host={root} dbname={database} user=loader", "password": "hunter2hunter2"},
        {"url": f"host={root} dbname={database} user=loader passfile={passfile}"},
        {"url": f"host={root} dbname={database} user=loader", "passfile": str(passfile)},
        {"url": None, "environment": {"DATABASE_URL": url_of(destination), "PGHOST": None}},
        {"url": None, "environment": {"PGHOST": str(root), "PGDATABASE": database, "PGUSER": "loader", "PGPASSWORD": "hunter2hunter2"}},
    ]  # fmt: skip
    for i, own in enumerate(forms):
        own = {key: value for key, value in own.items() if value is not None}
        writer = destination.start()
        writer.kill()
        configuration = destination.configuration()
        configuration["destination"] = {"type": "postgres", **own}
        writer = frames.Writer([str(destination.program)], configuration)
        destination.writers.append(writer)
        writer.put(
            frames.hello()
            + frames.table("orders", COLUMNS)
            + frames.file_frames(f"{i}", items(1, i))
            + frames.encode("END")
        )
        assert writer.finish() == 0, (own, writer.seen)
    assert destination.rows() == shown(len(forms))


REFUSALS = [
    (dict(password="wrongwrong"), "configuration", 'FATAL: password authentication failed for user "loader"'),
    (dict(user="nobody2"), "configuration", 'FATAL: password authentication failed for user "nobody2"'),
]


@pytest.mark.parametrize("change, kind, text", REFUSALS, ids=["password", "role"])
def test_who_is_refused(guarded_destination, change, kind, text):
    writer = guarded_destination.load(frames.file_frames("a", items(1)), url=url_of(guarded_destination, **change))
    assert failure(writer)[0] == kind
    assert text in failure(writer)[1]
    assert (
        "hunter2" not in str(writer.seen)
        and "wrongwrong" not in str(writer.seen)
        and "LOCATION" not in str(writer.seen)
    )


def test_no_password_and_no_database(guarded_destination):
    root = guarded_destination.server.root
    kind, message = failure(guarded_destination.load(b"", url=f"host={root} dbname=postgres user=loader"))
    assert kind == "configuration" and "no password supplied" in message
    kind, message = failure(
        guarded_destination.load(b"", url=f"postgresql://loader:hunter2hunter2@/nowhere?host={root}")
    )
    assert kind == "configuration" and 'FATAL: database "nowhere" does not exist' in message


def test_rights_that_are_missing(guarded_destination):
    url = url_of(guarded_destination, "poor", "pennies")
    kind, message = failure(guarded_destination.load(frames.file_frames("a", items(1)), url=url))
    assert kind == "temporary"
    assert "cannot create its own tables: permission denied for schema public; grant it to this role" in message
    kind, message = failure(guarded_destination.load(frames.file_frames("a", items(1)), url=url, own={"schema": "new"}))
    assert "cannot create the schema: permission denied for database" in message


@pytest.mark.parametrize(
    "url", ["postgresql://me:hunter2hunter2@host:notaport/x", "hunter2hunter2", "host = x hunter2hunter2", "mysql://x"]
)
def test_a_url_that_is_none_tells_no_secret(destination, url):
    kind, message = failure(destination.load(b"", url=url))
    assert kind in ("configuration", "temporary")
    assert "hunter2" not in message


@pytest.mark.parametrize(
    "password", ["hunter@tail", "hunter/tail", "1/tail", "hunter@tail:tail", "hunter@a:tail", "hunter@a,tail"]
)
def test_a_password_that_is_not_encoded_is_not_taken_for_a_place(destination, password):
    writer = destination.load(b"", url=f"postgresql://me:{password}@127.0.0.1/x")
    assert failure(writer) == (
        "configuration",
        'the host, port or database in the url of the destination is none; in a password, "@", ":" and "/" must be written %40, %3A and %2F',
    )
    assert "tail" not in str(writer.seen) and "hunter" not in str(writer.seen)


def from_environment(destination, **environment):
    """A sync that knows of the server by libpq's variables alone; what it says at its end."""
    configuration = destination.configuration()
    configuration["destination"] = {"type": "postgres", "environment": environment}
    writer = frames.Writer([str(destination.program)], configuration)
    destination.writers.append(writer)
    writer.put(frames.hello() + frames.table("orders", COLUMNS) + frames.file_frames("a", items(1)))
    writer.put(frames.encode("END"))
    writer.status = writer.finish()
    return None if writer.status == 0 else failure(writer)


def test_services(destination, tmp_path):
    services = tmp_path / "services"
    services.write_text(
        f"[shop]\nhost={destination.server.root}\nuser={destination.server.user}\ndbname={destination.database}\n"
    )
    assert from_environment(destination, PGSERVICE="shop", PGSERVICEFILE=str(services)) is None
    assert destination.rows() == shown(1)
    kind, message = from_environment(destination, PGSERVICE="ship", PGSERVICEFILE=str(services))
    assert kind == "configuration"
    assert message == 'the service "ship" of the destination: definition of service "ship" not found'
    kind, message = from_environment(destination, PGSERVICE="shop", PGSERVICEFILE=str(tmp_path / "none"))
    assert kind == "configuration" and f'service file "{tmp_path}/none" not found' in message


def test_files_that_the_connection_needs(guarded_destination, tmp_path):
    destination, (passfile, other) = guarded_destination, (tmp_path / "pass", tmp_path / "none")
    here = dict(PGHOST=str(destination.server.root), PGDATABASE=destination.database, PGUSER="loader")
    passfile.write_text("*:*:*:loader:hunter2hunter2\n")
    passfile.chmod(0o640)
    kind, message = from_environment(destination, **here, PGPASSFILE=str(passfile))
    assert (kind, message) == (
        "configuration",
        f'others may read or write "{passfile}", the passfile of the destination, and libpq does not use such a file: chmod 600 it',
    )
    passfile.chmod(0o600)
    assert from_environment(destination, **here, PGPASSFILE=str(passfile)) is None
    assert destination.rows() == shown(1)
    kind, message = from_environment(destination, **here, PGPASSFILE="pass")
    assert (kind, message) == (
        "configuration",
        '"pass", the passfile of the destination, must be given with its whole path',
    )
    for variable, keyword in {
        "PGSSLROOTCERT": "sslrootcert",
        "PGSSLCERT": "sslcert",
        "PGSSLKEY": "sslkey",
        "PGSSLCRL": "sslcrl",
    }.items():
        kind, message = from_environment(destination, **here, **{variable: str(other)})
        assert (kind, message) == (
            "configuration",
            f'cannot read "{other}", the {keyword} of the destination: no such file or directory',
        )


def test_nothing_says_where(destination):
    configuration = destination.configuration()
    configuration["destination"] = {"type": "postgres", "environment": {"PGHOST": None, "DATABASE_URL": None}}
    writer = frames.Writer([str(destination.program)], configuration)
    destination.writers.append(writer)
    writer.status = writer.finish()
    kind, message = failure(writer)
    assert kind == "configuration"
    assert message == (
        'the postgres destination has no "url", and neither DATABASE_URL nor PGHOST is set in wherryd\'s environment'
    )


# --- over the network ---


@pytest.fixture(scope="module")
def listening():
    found = postgres.Server(listen_addresses="127.0.0.1", port=str(harness.free_port()))
    yield found
    found.close()


def test_over_tcp_only_the_ports_that_are_given(build, plain_build, listening):
    destination = Destination(plain_build.destination("postgres"), listening)
    try:
        url = f"postgresql://{listening.user}@localhost:{listening.port}/{destination.database}"
        assert destination.load(frames.file_frames("a", items(2)), url=url).status == 0
        for ports, status in (([listening.port], 0), ([443], 1)):
            sandbox = {"mode": "default", "ports": ports}
            writer = destination.load(frames.file_frames("a", items(2)), url=url, sandbox=sandbox)
            assert writer.status == status, writer.seen
        kind, message = failure(writer)
        assert kind == "temporary" and "Permission denied" in message
        assert destination.rows() == shown(2)
    finally:
        destination.close()


# --- through the daemon ---


def test_through_the_daemon(wherry, server):
    database = server.create_database()
    wherry.pipeline("orders", connector={"type": "postgres", "schema": "shop"})
    wherry.start(env={"DATABASE_URL": server.url(database)})
    wherry.drop("a.csv", "id,note,amount\n1,x,0.5\n2,,\n")
    run = wherry.sync()
    assert (run["outcome"], run["rows_committed"]) == ("succeeded", 2)
    assert server.query("SELECT order_id, note, amount FROM shop.orders ORDER BY 1", database) == [
        ("1", "x", "0.5"),
        ("2", None, None),
    ]
    wherry.drop("b.csv", "id,note,amount\n3,x,0.5\n")
    assert wherry.sync()["rows_committed"] == 1
    assert wherry.sync()["rows_committed"] == 0
    wherry.drop("c.csv", "id,note,amount\n3,a\0b,0.5\n")


def test_a_password_is_masked_wherever_it_stands(wherry, guarded):
    secret = "hunter3hunter3"
    for name, destination in {
        "url": {"url": f"postgresql://loader:{secret}@/x?host={guarded.root}"},
        "dsn": {"url": f"host={guarded.root} dbname=x user=loader password='{secret}'"},
        "query": {"url": f"postgresql:///x?host={guarded.root}&user=loader&password={secret}"},
        "key": {"url": f"host={guarded.root} dbname=x user=loader", "password": secret},
    }.items():
        path = wherry.pipeline(name, connector={"type": "postgres", **destination})
        checked = wherry.run_daemon("--once", name)
        assert checked.returncode == 2 or checked.returncode == 1
        printed = checked.stdout + checked.stderr
        assert secret not in printed and "authentication failed" in printed, printed
        warned = subprocess.run([wherry.build.wherryctl, "check", path], capture_output=True, text=True)
        assert "keep it out of here" in warned.stdout + warned.stderr
        path.unlink()


def test_the_environment_says_how_long_to_wait(wherry):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        wherry.pipeline("orders", connector={"type": "postgres", "url": f"postgresql://me@127.0.0.1:{port}/x"})
        wherry.start(env={"PGCONNECT_TIMEOUT": "2"})
        error = wherry.sync(status=1)["error"]
    assert error.endswith("no answer within 2 s (`connect_timeout`)"), error
