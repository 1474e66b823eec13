"""A connector that reaches its source through an SSH tunnel that it opens by itself: paramiko, a real sshd, the sandbox."""

import json
import sys

import pytest
import ssh
from fivetran import connector
from harness import free_port

# As the tunnels of paramiko's demonstrations and of sshtunnel do: a listener of its own on loopback, to which the
# connector itself connects; each connection goes on as a channel of its own ("direct-tcpip").
TUNNEL = """
import io, json, select, socket, socketserver, threading
import paramiko
from fivetran_connector_sdk import Connector, Operations as op

class Listener(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

def listener(transport, far, port):
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            channel = transport.open_channel("direct-tcpip", far, self.request.getpeername())
            while True:
                readable = select.select([self.request, channel], [], [])[0]
                for one, other in ((self.request, channel), (channel, self.request)):
                    if one in readable:
                        data = one.recv(4096)
                        if not data:
                            channel.close()
                            return
                        other.sendall(data)
    return Listener(("127.0.0.1", port), Handler)

def logged_in(configuration):
    port = int(configuration["ssh_port"])
    client = paramiko.SSHClient()
    key = paramiko.Ed25519Key(data=__import__("base64").b64decode(configuration["host_key"].split()[1]))
    client.get_host_keys().add(f"[127.0.0.1]:{port}", key.get_name(), key)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    own = paramiko.Ed25519Key.from_private_key(io.StringIO(configuration["key"]))
    client.connect("127.0.0.1", port, configuration["user"], pkey=own, allow_agent=False, look_for_keys=False)
    return client

def update(configuration, state):
    known = state.get("known", 0)
    with logged_in(configuration) as client:
        far = ("127.0.0.1", int(configuration["far_port"]))
        with listener(client.get_transport(), far, int(configuration["near_port"])) as near:
            threading.Thread(target=near.serve_forever, daemon=True).start()
            with socket.create_connection(near.server_address) as connection:
                connection.sendall(f"{known}\\n".encode())
                for line in connection.makefile():
                    op.upsert("t", json.loads(line))
                    known += 1
            near.shutdown()
    op.checkpoint({"known": known})

connector = Connector(
    update=update, schema=lambda configuration: [{"table": "t", "primary_key": ["id"], "columns": {"id": "LONG"}}]
)
"""


@pytest.fixture
def source():
    found = ssh.Rows()
    yield found
    found.close()


@pytest.fixture
def server(source):
    found = ssh.Server(f"127.0.0.1:{source.port}")
    yield found
    found.close()


def through(wherry, server, source, near_port=0, **changes):
    configuration = {
        "ssh_port": str(server.port),
        "host_key": server.host_key,
        "user": server.user,
        "key": server.key,
        "near_port": str(near_port),
        "far_port": str(source.port),
    }
    # the environment of the tests themselves, which has paramiko
    settings = {"environment": sys.prefix, "configuration": configuration}
    connector(wherry, TUNNEL, whole=True, source=settings, **changes)


def test_rows_come_through_a_tunnel(plain_wherry, server, source):
    plain_wherry.start()
    through(plain_wherry, server, source)
    for count in (3, 5):
        source.rows += [{"id": i, "note": f"n{i}"} for i in range(len(source.rows), count)]
        plain_wherry.sync("weather")
        assert plain_wherry.query("SELECT id, note FROM t ORDER BY id") == [(i, f"n{i}") for i in range(count)]
        assert json.loads(plain_wherry.ctl("state", "weather", "get").stdout) == {"known": count}
    assert "PRIVATE KEY" not in plain_wherry.daemon.log()


def test_a_tunnel_within_the_ports_that_are_given(plain_wherry, server, source):
    """The server's, and that of the tunnel's own end, which then has to be known."""
    plain_wherry.start()
    near = free_port()
    source.rows.append({"id": 1, "note": "n"})
    through(plain_wherry, server, source, near, sandbox={"ports": [server.port, near]})
    plain_wherry.sync("weather")
    assert plain_wherry.query("SELECT id, note FROM t") == [(1, "n")]


def test_a_tunnel_past_the_ports_that_are_given(plain_wherry, server, source):
    plain_wherry.start()
    through(plain_wherry, server, source, sandbox={"ports": [443]})
    assert plain_wherry.sync("weather", status=1)["error"] == (
        f"PermissionError: [Errno 13] Permission denied; it wanted to connect to port {server.port}, "
        'which "sandbox: {ports: [443]}" does not allow'
    )
    assert server.log().count("Connection from") == 0
    through(plain_wherry, server, source, sandbox={"ports": [server.port]})
    error = plain_wherry.sync("weather", status=1)["error"]
    assert error.startswith("PermissionError: ") and "it wanted to connect to port" in error
    assert not plain_wherry.database.exists()
