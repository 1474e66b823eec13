"""A real SSH server on a loopback port, for whoever runs the tests to log in to, and a small server of rows behind it.

sshd needs little: as root the folder /run/sshd for its unprivileged half, as another user nothing but a login of that user's
own. Keys and settings are in a folder of the test's, PAM has no part in it, and no setting of the system is read. It dies
with the process that started it (parent-death signal).
"""

import json
import os
import pwd
import shutil
import socketserver
import subprocess
import tempfile
import threading
from pathlib import Path

import harness

SSHD = "/usr/sbin/sshd"  # it wants to be called by its whole path
SETTINGS = """
ListenAddress 127.0.0.1
Port {port}
HostKey {root}/host
AuthorizedKeysFile {root}/client.pub
AuthenticationMethods publickey
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
LogLevel VERBOSE
AllowTcpForwarding local
PermitOpen {behind}
"""


class Server:
    """`port`, `user`, `key` (the client's, as text) and `host_key` (a line as in known_hosts, without the name); who
    logs in may go on to BEHIND ("127.0.0.1:5432") and nowhere else."""

    def __init__(self, behind):
        self.root = Path(tempfile.mkdtemp(prefix="wherry-ssh-", dir="/tmp"))
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.port = harness.free_port()
        self.log_path = self.root / "log"
        for name in ("host", "client"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(self.root / name)]
            subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        self.key = (self.root / "client").read_text()
        self.host_key = (self.root / "host.pub").read_text().strip()
        (self.root / "settings").write_text(SETTINGS.format(root=self.root, port=self.port, behind=behind))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", SSHD, "-D", "-e", "-f", str(self.root / "settings")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        harness.lasting.add(self.process.pid)
        harness.wait_for(self.is_ready, "sshd to be ready")

    def is_ready(self):
        assert self.process.poll() is None, f"sshd ended:\n{self.log()}"
        return "Server listening on" in self.log()

    def log(self):
        return self.log_path.read_text(errors="replace")

    def close(self):
        harness.wait_for(lambda: not harness.descendants(self.process.pid), "the end of all logins")
        self.process.terminate()
        self.process.wait(harness.TIMEOUT_S)
        harness.lasting.discard(self.process.pid)
        shutil.rmtree(self.root, ignore_errors=True)


class Rows:
    """A server that is told how many rows are known, and answers with the others, one JSON object a line."""

    def __init__(self):
        self.rows = []
        rows = self.rows

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                known = int(self.rfile.readline())
                self.wfile.write("".join(json.dumps(row) + "\n" for row in rows[known:]).encode())

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
