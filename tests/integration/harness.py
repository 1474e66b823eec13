"""A private Wherry in temporary folders: the real wherryd, wherryctl, workers and writers of one build.

Nothing here waits for time to pass: readiness comes through a notify socket of our own, everything else is a condition
polled up to a bound. Nothing outlives a test: the process running pytest is a child subreaper, so that whatever a
daemon left behind turns up as our child and is found by leftovers().
"""

import contextlib
import ctypes
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = (
    120  # of every wait: generous, since sanitizers and a busy machine are slow; a test that waits so long fails
)
PR_SET_CHILD_SUBREAPER = 36
SANITIZER_REPORT = re.compile(
    r"(AddressSanitizer|LeakSanitizer|UndefinedBehaviorSanitizer|runtime error:|Assertion `).*"
)


class Build:
    """One build tree, found by an environment variable."""

    def __init__(self, path):
        self.path = Path(path)
        header = self.path / "wherry-build.h"
        self.sanitized = "WHERRY_SANITIZED 1" in header.read_text()
        self.wherryd = self.path / "daemon/wherryd/wherryd"
        self.wherryctl = self.path / "daemon/wherryctl/wherryctl"

    def source(self, kind):
        return self.path / f"connectors/sources/{kind}/source-{kind}"

    def destination(self, kind):
        return self.path / f"connectors/destinations/{kind}/destination-{kind}"


def default_build():
    path = os.environ.get("WHERRY_BUILD", ROOT / "build")
    if not (Path(path) / "wherry-build.h").exists():
        raise RuntimeError(f'"{path}" is no build of Wherry; set WHERRY_BUILD to one, or run tests/run')
    return Build(path)


def plain_build():
    """The build without sanitizers, or None: for what they would disturb (sandbox, tracing, memory, speed)."""
    path = os.environ.get("WHERRY_PLAIN_BUILD")
    if path:
        return Build(path)
    build = default_build()
    return None if build.sanitized else build


def wait_for(condition, what, timeout=TIMEOUT_S):
    """Polls CONDITION until it returns something true, and returns that."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(0.01)


def become_subreaper():
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(pid="self"):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:  # ended while we looked
            pass
    return found


def descendants(pid):
    found = []
    for child in children(pid):
        found += [child, *(descendants(child) if Path(f"/proc/{child}").exists() else [])]
    return found


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


lasting = set()  # children that serve more than one test: whoever starts one ends it


def leftovers():
    """Ends what is still our child, and returns how it was called. Empty when a test cleaned up as it should."""
    found = []
    for child in set(children()) - lasting:
        name = command_line(child)  # empty: it has ended, and only waits to be reaped
        if name:
            found.append(f"{child} {name}")
            for pid in [*descendants(child), child]:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        try:
            os.waitpid(child, 0)
        except ChildProcessError:
            pass
    return found


def all_gone():
    """Whether every child has ended, those of a killed daemon too: we are a subreaper, orphans become ours."""
    return all(os.waitpid(child, os.WNOHANG) != (0, 0) for child in set(children()) - lasting)


@contextlib.contextmanager
def aloud(capsys):
    """What is printed is seen while the tests run: on stderr, since the stdout of a process that shares them leads nowhere."""
    with capsys.disabled(), contextlib.redirect_stdout(sys.stderr):
        yield


def processors():
    """How many processes a test may keep busy: as many as there are processors for each of pytest's own."""
    return max(1, os.cpu_count() // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1)))


def free_port():
    """Of loopback, that nothing listened on just now. None that the kernel gives to whoever does not mind, and of a
    range of this process's own, so that nobody has taken it before the test has."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = 10000 + worker % 20 * 1000 + random.randrange(1000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def write_file(path, content):
    """Writes PATH as a careful producer does: under a name that is skipped, then renamed."""
    path = Path(path)
    if isinstance(content, str):
        content = content.encode()
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.rename(path)
    return path


class Notify:
    """The socket behind NOTIFY_SOCKET: what the daemon tells its service manager.

    Emptied by a thread, as a service manager does, since the kernel queues few datagrams (net.unix.max_dgram_qlen): a
    test that does something else for a while must not hold up the daemon.
    """

    def __init__(self, path):
        self.path = path
        self.messages = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.bind(str(path))
        path.chmod(0o666)  # the daemon may run as another user
        self.arrived = threading.Condition()
        self.closing, self.closed = os.pipe()
        self.thread = threading.Thread(target=self.drain, daemon=True)
        self.thread.start()

    def drain(self):
        while self.closing not in select.select([self.socket, self.closing], [], [])[0]:
            data, descriptors, _, _ = socket.recv_fds(self.socket, 65536, 16)
            for descriptor in descriptors:
                os.close(descriptor)
            with self.arrived:
                self.messages += data.decode().splitlines()
                self.arrived.notify_all()

    def receive(self, timeout):
        """Waits for one more message; False when none came."""
        with self.arrived:
            count = len(self.messages)
            return self.arrived.wait_for(lambda: len(self.messages) > count, timeout)

    def seen(self, pattern):
        with self.arrived:
            return [message for message in self.messages if re.search(pattern, message)]

    def pause(self):
        """Reads nothing more, as a service manager that hangs."""
        os.write(self.closed, b"x")
        self.thread.join()
        os.read(self.closing, 1)

    def resume(self):
        self.thread = threading.Thread(target=self.drain, daemon=True)
        self.thread.start()

    def fill(self):
        """While paused: sends to it until the kernel takes no more, neither from one sender nor from another."""
        sent = True
        while sent:
            sent = False
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.connect(str(self.path))
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sender.send(b"FILLED=1")
                        sent = True

    def close(self):
        if self.thread.is_alive():
            self.pause()
        if self.socket.fileno() >= 0:
            for descriptor in (self.closing, self.closed):
                os.close(descriptor)
        self.socket.close()


class Daemon:
    """One running wherryd."""

    def __init__(self, process, notify, log_path):
        self.process = process
        self.pid = process.pid
        self.notify = notify
        self.log_path = log_path

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_ready(self):
        deadline = time.monotonic() + TIMEOUT_S
        while not self.notify.seen("^READY=1$"):
            if self.process.poll() is not None:
                raise RuntimeError(f"wherryd ended with {self.process.returncode} before it was ready:\n{self.log()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"wherryd was not ready within {TIMEOUT_S} s:\n{self.log()}")
            self.notify.receive(0.05)

    def wait_notify(self, pattern, timeout=TIMEOUT_S):
        return wait_for(lambda: self.notify.seen(pattern), f"notification {pattern!r} of wherryd", timeout)

    def wait_log(self, pattern, timeout=TIMEOUT_S):
        try:
            return wait_for(lambda: re.search(pattern, self.log()), f"{pattern!r} in the log", timeout)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; the log is\n{self.log()}") from None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=TIMEOUT_S):
        return self.process.wait(timeout)

    def stop(self, timeout=TIMEOUT_S):
        """SIGTERM, and its exit status."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.end(timeout)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        return self.end()

    def end(self, timeout=TIMEOUT_S):
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            for pid in [*descendants(self.pid), self.pid]:
                os.kill(pid, signal.SIGKILL)
            self.process.wait()
            raise TimeoutError(f"wherryd did not stop within {timeout} s:\n{self.log()}") from None
        finally:
            self.notify.close()


class Wherry:
    """The folders of one private installation, and what can be done with them."""

    def __init__(self, build):
        self.build = build
        # short: a socket's path has at most 107 bytes
        self.root = Path(tempfile.mkdtemp(prefix="wherry-", dir="/tmp"))
        self.root.chmod(0o755)
        self.config_dir = self.root / "etc"
        self.pipelines_dir = self.config_dir / "pipelines.d"
        self.state_dir = self.root / "state"
        self.runtime_dir = self.root / "run"
        self.incoming = self.root / "in"
        self.database = self.root / "out.db"
        for folder in (self.pipelines_dir, self.state_dir, self.runtime_dir, self.incoming):
            folder.mkdir(parents=True)
        self.daemons = []

    # --- starting and stopping ---

    @property
    def daemon(self):
        return self.daemons[-1] if self.daemons else None

    def running(self):
        return self.daemon is not None and self.daemon.process.poll() is None

    def arguments(self):
        return [
            f"--config-dir={self.config_dir}",
            f"--state-dir={self.state_dir}",
            f"--runtime-dir={self.runtime_dir}",
        ]

    def start(self, *arguments, wait=True, env=None, wrapper=(), **popen):
        """Starts wherryd and waits until it says that it is ready. WRAPPER: a command in front (strace …)."""
        assert not self.running(), "one daemon at a time; stop the other first"
        number = len(self.daemons)
        notify = Notify(self.root / f"notify{number}")
        log_path = self.root / f"log{number}"
        environment = {**os.environ, "NOTIFY_SOCKET": str(notify.path), "LC_ALL": "C.UTF-8", **(env or {})}
        with open(log_path, "wb") as log:
            process = subprocess.Popen(
                [*map(str, wrapper), str(self.build.wherryd), *self.arguments(), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                **popen,
            )
        self.daemons.append(Daemon(process, notify, log_path))
        if wait:
            try:
                self.daemon.wait_ready()
            except Exception:
                self.daemon.kill()
                raise
        return self.daemon

    def stop(self):
        return self.daemon.stop()

    def run_daemon(self, *arguments, timeout=TIMEOUT_S, env=None, **run):
        """Runs wherryd until it ends by itself (--once, --check …)."""
        return subprocess.run(
            [str(self.build.wherryd), *self.arguments(), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=timeout,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            **run,
        )

    def close(self):
        try:
            if self.running():
                self.daemon.stop()
            for daemon in self.daemons:
                report = SANITIZER_REPORT.search(daemon.log())
                assert not report, f"a program of the daemon's broke:\n{daemon.log()[report.start() :]}"
        finally:
            shutil.rmtree(self.root, ignore_errors=True)

    # --- configuration and files ---

    def pipeline(self, name, definition=None, **changes):
        """Writes a connection: DEFINITION (YAML text, or a dict; default: orders()) with top-level CHANGES. Reloads."""
        if not isinstance(definition, str):
            definition = json.dumps({**(self.orders() if definition is None else definition), **changes}, indent=2)
        path = write_file(self.pipelines_dir / f"{name}.yaml", definition)
        if self.running():
            self.ctl("reload")
        return path

    def orders(self):
        """CSV files with an id, a note and an amount into table orders of out.db, by hand."""
        return {
            "frequency": "manual",
            "source": {"type": "files", "dir": str(self.incoming)},
            "format": "csv",
            "dest_table": "orders",
            "columns": [
                {"source": "id", "dest": "order_id", "type": "integer"},
                {"source": "note", "dest": "note", "type": "string", "required": False},
                {"source": "amount", "dest": "amount", "type": "float", "required": False},
            ],
            "connector": {"type": "sqlite", "url": f"sqlite:///{self.database}"},
        }

    def drop(self, name, content, folder=None):
        return write_file((folder or self.incoming) / name, content)

    # --- the control command ---

    def ctl(self, *arguments, status=0, timeout=TIMEOUT_S, input=None, env=None):
        """Runs wherryctl against this installation's daemon. STATUS: the exit status it must have; None: any."""
        done = subprocess.run(
            [str(self.build.wherryctl), f"--runtime-dir={self.runtime_dir}", *map(str, arguments)],
            input=input if input is not None else "",
            capture_output=True,
            encoding="utf-8",
            errors="backslashreplace",
            timeout=timeout,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        )
        if status is not None and done.returncode != status:
            log = self.daemon.log() if self.daemon else ""
            raise AssertionError(
                f"wherryctl {' '.join(map(str, arguments))} gave {done.returncode}, not {status}\n"
                f"stdout: {done.stdout}\nstderr: {done.stderr}\nlog: {log}"
            )
        return done

    def ctl_json(self, *arguments, **options):
        return json.loads(self.ctl(*arguments, "--json", **options).stdout)

    def sync(self, connection="orders", *arguments, status=0):
        """Syncs, waits for the end, and returns the run as `--json` prints it."""
        return self.ctl_json("sync", connection, "--wait", *arguments, status=status)

    def files(self, connection="orders", *arguments):
        return self.ctl_json("files", connection, *arguments)["files"]

    def status(self, connection="orders"):
        (found,) = self.ctl_json("status", connection)["connections"]
        return found

    # --- the destination ---

    def query(self, sql, *parameters, database=None):
        with sqlite3.connect(f"file:{database or self.database}?mode=ro", uri=True, timeout=TIMEOUT_S) as connection:
            connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            rows = connection.execute(sql, parameters).fetchall()
        connection.close()
        return rows

    def ids(self):
        """The order ids in table orders, sorted; none where there is no table yet."""
        if not self.database.exists() or not self.query("SELECT 1 FROM sqlite_master WHERE name = 'orders'"):
            return []
        return [row[0] for row in self.query("SELECT order_id FROM orders ORDER BY 1")]
