"""systemd's own Varlink client (Debian 13) against the control socket."""

import json

import pytest
from harness import wait_for
from test_service import active, configure, ids

ADDRESS = "unix:/run/wherry/org.wherry.Manager"


@pytest.fixture
def service(trixie):
    configure(trixie, frequency="manual")
    trixie.write("/srv/incoming/a.csv", "id\n1\n2\n")
    trixie.run("systemctl", "start", "wherryd.socket", "wherryd.service")
    active(trixie)
    return trixie


def test_it_reads_the_description(service):
    information = service.run("varlinkctl", "info", ADDRESS)
    assert "org.wherry.Manager" in information
    assert "org.varlink.service" in information
    described = service.run("varlinkctl", "introspect", ADDRESS, "org.wherry.Manager")
    for method in ("List", "Sync", "Cancel", "Requeue", "Monitor"):
        assert f"method {method}(" in described


def test_it_calls_sync_with_more(service):
    call = json.dumps({"connection": "orders"})
    printed = service.run("varlinkctl", "call", "--more", "--json=short", ADDRESS, "org.wherry.Manager.Sync", call)
    replies = [json.loads(line.lstrip("\x1e")) for line in printed.splitlines() if line.strip()]
    last = replies[-1]["run"]
    assert (last["outcome"], last["connection"]) == ("succeeded", "orders")
    assert {reply["run_id"] for reply in replies} == {last["run_id"]}
    wait_for(lambda: ids(service) == [1, 2], "the rows")


def test_it_is_told_what_is_wrong(service):
    call = json.dumps({"connection": "odrers"})
    service.run("varlinkctl", "call", ADDRESS, "org.wherry.Manager.Sync", call, status=1)
