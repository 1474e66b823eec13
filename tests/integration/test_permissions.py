"""Who may read what a sync has made: a new database is as open as the operator's umask has it, its companions as it is."""

import os
import sqlite3

import pytest

ORDERS = "id,note,amount\n1,first,9.5\n2,,\n"


def mode(path):
    return path.stat().st_mode & 0o777


def beside(database, suffix):
    return database.with_name(database.name + suffix)


@pytest.mark.parametrize("umask, expected", [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600), (0o002, 0o664)])
@pytest.mark.parametrize("journal_mode, companions", [("truncate", ["-journal"]), ("wal", ["-wal", "-shm"])])
def test_the_umask_decides_about_a_new_database(wherry, umask, expected, journal_mode, companions):
    wherry.pipeline(
        "orders", connector={"type": "sqlite", "url": f"sqlite:///{wherry.database}", "journal_mode": journal_mode}
    )
    wherry.drop("a.csv", ORDERS)
    assert wherry.run_daemon("--once", umask=umask).returncode == 0
    assert wherry.ids() == [1, 2]
    assert mode(wherry.database) == expected
    assert {suffix: mode(beside(wherry.database, suffix)) for suffix in companions} == dict.fromkeys(
        companions, expected
    )
    assert mode(wherry.state_dir / "daemon/state.db") == 0o600  # ours alone, whatever the umask


@pytest.mark.parametrize("journal_mode, companions", [("truncate", ["-journal"]), ("wal", ["-wal", "-shm"])])
def test_companions_are_as_open_as_the_database_and_belong_to_its_owner(wherry, journal_mode, companions):
    """A journal that its readers may not open shuts them out; one that others may open shows them the data."""
    connection = sqlite3.connect(wherry.database)
    connection.execute(f"PRAGMA journal_mode = {journal_mode}")
    connection.execute("CREATE TABLE mine (id)")
    connection.commit()
    connection.close()
    for suffix in companions:
        beside(wherry.database, suffix).unlink(missing_ok=True)
    wherry.database.chmod(0o640)
    owner = (65534, 65533) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    os.chown(wherry.database, *owner)
    wherry.pipeline("orders")
    wherry.drop("a.csv", ORDERS)
    assert wherry.run_daemon("--once", umask=0).returncode == 0
    assert wherry.ids() == [1, 2]
    for path in (wherry.database, *(beside(wherry.database, suffix) for suffix in companions)):
        status = path.stat()
        assert (mode(path), status.st_uid, status.st_gid) == (0o640, *owner), path


@pytest.mark.parametrize("umask, expected", [(0o022, 0o644), (0o027, 0o640), (0o007, 0o660)])
def test_the_umask_decides_about_a_new_duckdb_database(wherry, umask, expected):
    if not wherry.build.destination("duckdb").exists():
        pytest.skip("this build has no duckdb destination")
    folder = wherry.root / "warehouse"
    folder.mkdir()
    database = folder / "orders.duckdb"
    wherry.pipeline("orders", connector={"type": "duckdb", "path": str(database)})
    wherry.drop("a.csv", ORDERS)
    assert wherry.run_daemon("--once", umask=umask).returncode == 0
    assert mode(database) == expected
    database.chmod(0o600)
    wherry.drop("b.csv", ORDERS)
    assert wherry.run_daemon("--once", umask=umask).returncode == 0
    assert {path.name: mode(path) for path in folder.iterdir()} == {database.name: 0o600}
