"""wherryd as a service of a real systemd: activation, start, scheduled sync, journal, reload, watchdog, stop.

One machine for all tests of this file; each takes up where it finds the service and says what it needs of it.
"""

import json
import re

import pytest
from harness import wait_for

DATABASE = "/var/lib/wherry/out.db"
PIPELINE = {
    "frequency": "1s",
    "source": {"type": "files", "dir": "/srv/incoming"},
    "format": "csv",
    "dest_table": "orders",
    "columns": [{"source": "id", "dest": "order_id", "type": "integer"}],
    "connector": {"type": "sqlite", "url": f"sqlite:///{DATABASE}"},
}


def configure(machine, name="orders", **changes):
    machine.write(f"/etc/wherry/pipelines.d/{name}.yaml", json.dumps({**PIPELINE, **changes}))


def ids(machine):
    """The order ids in the table; none where there is no table yet."""
    printed = machine.run("sqlite3", "-readonly", DATABASE, "SELECT order_id FROM orders ORDER BY 1", status=None)
    return [int(line) for line in printed.split()]


def entries(machine, *matches):
    lines = machine.run("journalctl", "--output=json", "--no-pager", *matches).splitlines()
    return [json.loads(line) for line in lines]


def active(machine):
    return wait_for(lambda: machine.show("wherryd.service", "ActiveState") == "active", "wherryd.service to be active")


@pytest.fixture
def service(bookworm):
    """The service, running on one connection that syncs each second."""
    configure(bookworm)
    bookworm.run("systemctl", "start", "wherryd.socket", "wherryd.service")
    active(bookworm)
    return bookworm


def test_the_first_call_on_the_socket_starts_the_daemon(bookworm):
    configure(bookworm)
    bookworm.run("systemctl", "stop", "wherryd.service", "wherryd.socket")
    bookworm.run("systemctl", "start", "wherryd.socket")
    assert bookworm.show("wherryd.service", "ActiveState") == "inactive"
    status = json.loads(bookworm.run("wherryctl", "status", "--json"))
    assert [connection["name"] for connection in status["connections"]] == ["orders"]
    assert bookworm.show("wherryd.service", "ActiveState") == "active"
    socket = bookworm.run("stat", "--format=%a %U %G", "/run/wherry/org.wherry.Manager").split()
    assert socket == ["660", "wherry", "wherry"]


def test_the_daemon_runs_as_its_own_user_and_says_what_it_does(service):
    pid = service.show("wherryd.service", "MainPID")
    assert service.run("ps", "-o", "user=,comm=", "-p", pid).split() == ["wherry", "wherryd"]
    assert service.show("wherryd.service", "StatusText")


def test_a_scheduled_sync_loads_what_was_dropped(service):
    service.write("/srv/incoming/scheduled.csv", "id\n1\n2\n")
    wait_for(lambda: {1, 2} <= set(ids(service)), "the scheduled sync")


def test_the_journal_has_the_fields_of_a_connection(service):
    service.write("/srv/incoming/journal.csv", "id\n10\n")
    wait_for(lambda: 10 in ids(service), "the scheduled sync")
    run = wait_for(
        lambda: [r for r in json.loads(service.run("wherryctl", "runs", "orders", "--json"))["runs"] if r["committed"]],
        "a finished run",
    )[0]
    found = wait_for(
        lambda: len(e := entries(service, "CONNECTION=orders", f"RUN_ID={run['run_id']}")) >= 2 and e,
        "a line at the start and one at the end",
    )
    for entry in found:
        assert entry["_SYSTEMD_UNIT"] == "wherryd.service"
        assert entry["SYSLOG_IDENTIFIER"] == "wherryd"
        assert entry["PRIORITY"] in "34567"
    described = [entry for entry in found if entry.get("MESSAGE_ID")]
    assert described
    assert all(re.fullmatch("[0-9a-f]{32}", entry["MESSAGE_ID"]) for entry in described)
    explained = service.run("journalctl", "--catalog", "--no-pager", f"MESSAGE_ID={described[-1]['MESSAGE_ID']}", "-n1")
    assert "Subject: " in explained and "orders" in explained


def test_a_failed_sync_is_an_error_in_the_journal(service):
    service.write("/srv/incoming/bad.csv", "id\nnine\n")
    found = wait_for(lambda: entries(service, "CONNECTION=orders", "PRIORITY=3"), "an error")
    assert any("bad.csv" in entry["MESSAGE"] and "nine" in entry["MESSAGE"] for entry in found)
    (service.root / "srv/incoming/bad.csv").unlink()


def test_reload_takes_up_a_new_connection(service):
    configure(service, "later", frequency="manual", dest_table="later")
    service.run("systemctl", "reload", "wherryd.service")
    names = lambda: [c["name"] for c in json.loads(service.run("wherryctl", "status", "--json"))["connections"]]  # noqa: E731
    wait_for(lambda: names() == ["later", "orders"], "the new connection")
    assert service.show("wherryd.service", "ActiveState") == "active"


def test_only_the_group_may_use_the_socket(service):
    def status_as(groups):
        return service.run(
            *("setpriv", "--reuid=nobody", "--regid=nogroup", groups, "wherryctl", "status", "--json"), status=None
        )

    assert "orders" in status_as("--groups=wherry")
    assert "orders" not in status_as("--clear-groups")


def test_the_watchdog_is_fed_and_bites(service):
    service.write("/run/systemd/system/wherryd.service.d/watchdog.conf", "[Service]\nWatchdogSec=2s\n")
    service.run("systemctl", "daemon-reload")
    service.run("systemctl", "restart", "wherryd.service")
    active(service)
    fed = set()

    def fed_thrice():
        fed.add(service.show("wherryd.service", "WatchdogTimestampMonotonic"))
        return len(fed) >= 3

    wait_for(fed_thrice, "three signs of life")
    assert service.show("wherryd.service", "NRestarts") == "0"
    service.run("kill", "-STOP", service.show("wherryd.service", "MainPID"))
    wait_for(lambda: service.show("wherryd.service", "NRestarts") == "1", "the watchdog's restart")
    active(service)
    (service.root / "run/systemd/system/wherryd.service.d/watchdog.conf").unlink()
    service.run("systemctl", "daemon-reload")
    service.run("systemctl", "restart", "wherryd.service")


def test_a_killed_daemon_comes_back_and_loses_nothing(service):
    before = set(ids(service))
    service.run("kill", "-KILL", service.show("wherryd.service", "MainPID"))
    service.write("/srv/incoming/after.csv", "id\n20\n")
    wait_for(lambda: set(ids(service)) == before | {20}, "the sync of the next daemon")
    assert len(ids(service)) == len(before) + 1


def test_stopping_is_clean_and_leaves_the_socket(service):
    service.run("systemctl", "stop", "wherryd.service")
    assert service.show("wherryd.service", "Result") == "success"
    assert service.show("wherryd.service", "ActiveState") == "inactive"
    assert "wherry" not in service.run("ps", "-u", "wherry", "-o", "comm=", status=None)
    assert service.show("wherryd.socket", "ActiveState") == "active"
    assert "orders" in service.run("wherryctl", "status")
    assert service.show("wherryd.service", "ActiveState") == "active"
    # systemd itself found nothing to complain of in our units
    assert not re.findall(r"wherry.*(unknown|ignor|invalid)", service.run("journalctl", "-b", "_PID=1"), re.I)
