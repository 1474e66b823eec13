"""The control interface from outside: any Varlink client, who may call, and what wherryctl says and exits with."""

import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import threading
import time

import pytest
import varlink
from harness import ROOT, wait_for

INTERFACE = "org.wherry.Manager"
ORDERS = "id,note,amount\n1,first,9.5\n2,,\n"
BAD = "id,note,amount\nx,first,9.5\n"
NOBODY = 65534
COMPLETION = ROOT / "daemon/wherryctl/wherryctl.bash-completion"

CONNECTION_KEYS = {
    "name",
    "source",
    "destination",
    "frequency",
    "state",
    "outcome",
    "rows",
    "last_started_at",
    "next_run_at",
    "error",
}
RUN_KEYS = {
    *("run_id", "connection", "trigger", "outcome", "started_at", "finished_at", "duration_s", "rows_committed"),
    *("bytes_processed", "checkpoints", "error", "warnings", "files_scanned", "new_files", "committed", "failed"),
    *("skipped", "reclaimed", "retried", "quarantined_rows"),
}
FILE_KEYS = {
    *("name", "hash", "state", "attempts", "rows", "error", "last_run_id", "updated_at"),
    *("quarantined_rows", "quarantine_path"),
}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be another user")


def client(wherry):
    return varlink.Client.new_with_address(f"unix:{wherry.runtime_dir}/{INTERFACE}")


def connect(wherry):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(60)
    peer.connect(str(wherry.runtime_dir / INTERFACE))
    return peer


def receive(peer):
    data = b""
    while not data.endswith(b"\0"):
        part = peer.recv(65536)
        if not part:
            return None
        data += part
    return json.loads(data[:-1])


def call(peer, method, **parameters):
    peer.sendall(json.dumps({"method": method, "parameters": parameters}).encode() + b"\0")
    return receive(peer)


# --- a daemon that says what the test wants, for what a real one does too fast or too seldom ---


class Script:
    """Answers each call by what ANSWERS[method] yields: replies, or numbers of seconds to wait."""

    def __init__(self, runtime_dir, answers):
        self.answers = answers
        self.calls = []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(runtime_dir / INTERFACE))
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            with peer:
                try:
                    message = receive(peer)
                    if message is None:
                        continue
                    self.calls.append(message)
                    for answer in self.answers[message["method"].rsplit(".", 1)[1]]:
                        if not isinstance(answer, dict):
                            time.sleep(answer)
                        else:
                            peer.sendall(json.dumps(answer).encode() + b"\0")
                except OSError:
                    pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@pytest.fixture
def script(wherry):
    started = []

    def start(**answers):
        started.append(Script(wherry.runtime_dir, answers))
        return started[-1]

    yield start
    for server in started:
        server.close()


RUN = {
    **dict.fromkeys(RUN_KEYS),
    **{"run_id": "0190", "connection": "orders", "trigger": "manual", "outcome": "succeeded", "duration_s": 1.5},
    **{"rows_committed": 1234567, "bytes_processed": 45600000, "checkpoints": 1, "warnings": []},
    **{"files_scanned": 3, "new_files": 2, "committed": 2, "failed": 0, "skipped": 1, "retried": 0},
}


def report(continues=True, run=None, **progress):
    progress = {"run_id": "0190", "rows": 0, "bytes": 0, "bytes_total": None, "file": None, "phase": "load", **progress}
    parameters = {"run_id": "0190", "progress": None if run else progress, "run": run}
    return {"parameters": parameters, **({"continues": True} if continues else {})}


LOADING = [
    report(bytes_total=45600000, file="big.csv"),
    0.25,
    report(rows=400000, bytes=15200000, bytes_total=45600000, file="big.csv"),
    0.25,
    report(rows=800000, bytes=30400000, bytes_total=45600000, file="big.csv"),
    0.25,
    report(rows=1234567, bytes=45600000, bytes_total=45600000, file="big.csv"),
    0.25,
    report(continues=False, run=RUN),
]


def in_terminal(wherry, *arguments, columns=100, env=None, when_seen=None):
    """Runs wherryctl with a terminal for stdout and stderr; what it drew there, and its exit status. Interrupts it once
    WHEN_SEEN was drawn."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", **(env or {})}
    if env is None or "NO_COLOR" not in env:
        environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [wherry.build.wherryctl, f"--runtime-dir={wherry.runtime_dir}", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=slave,
        stderr=slave,
        env=environment,
    )
    os.close(slave)
    drawn = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not part:
            break
        drawn += part
        if when_seen and when_seen in drawn:
            process.send_signal(signal.SIGINT)
            when_seen = None
    os.close(master)
    return drawn.decode(), process.wait(60)


# --- introspection and a client that is not ours ---


def test_the_reference_client_introspects(wherry):
    wherry.start()
    with client(wherry) as connection, connection.open("org.varlink.service") as service:
        info = service.GetInfo()
        assert (info["vendor"], info["product"]) == ("Wherry", "wherryd")
        assert set(info["interfaces"]) == {"org.varlink.service", INTERFACE}
    peer = connect(wherry)
    for name in ("org.varlink.service", INTERFACE):
        reply = call(peer, "org.varlink.service.GetInterfaceDescription", interface=name)
        description = reply["parameters"]["description"]
        assert description == (ROOT / f"daemon/wherryd/{name}.varlink").read_text()
        assert varlink.Interface(description).name == name  # the reference client's parser takes it
    peer.close()


def test_the_reference_client_syncs_with_more(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    with client(wherry) as connection, connection.open(INTERFACE) as manager:
        replies = list(manager.Sync(connection="orders", _more=True))
        assert len(replies) >= 2
        assert all(
            reply["progress"]["run_id"] == reply["run_id"] and reply.get("run") is None for reply in replies[:-1]
        )
        run = replies[-1]["run"]
        assert replies[-1].get("progress") is None
        assert (run["outcome"], run["rows_committed"], run["run_id"]) == ("succeeded", 2, replies[0]["run_id"])
        assert manager.List()["connections"][0]["name"] == "orders"
        assert [file["name"] for file in manager.Files("orders")["files"]] == ["a.csv"]


def test_the_reference_client_understands_errors(wherry):
    wherry.pipeline("orders")
    wherry.start()
    with client(wherry) as connection, connection.open(INTERFACE) as manager:
        with pytest.raises(varlink.VarlinkError) as caught:
            manager.Sync("order")
        assert caught.value.error() == f"{INTERFACE}.NoSuchConnection"
        assert caught.value.parameters() == {"name": "order", "suggestion": "orders"}


def test_monitor_tells_of_connections_and_runs(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    peer = connect(wherry)
    peer.sendall(json.dumps({"method": f"{INTERFACE}.Monitor", "more": True}).encode() + b"\0")
    other = connect(wherry)  # answered after Monitor was taken up
    assert call(other, f"{INTERFACE}.List")
    run = wherry.sync()
    states, found, data = [], None, b""
    while not found or states[-1] != "idle":
        data += peer.recv(65536)
        *messages, data = data.split(b"\0")
        for message in messages:
            reply = json.loads(message)
            assert reply["continues"] is True
            if reply["parameters"]["connection"]:
                assert set(reply["parameters"]["connection"]) == CONNECTION_KEYS
                states.append(reply["parameters"]["connection"]["state"])
            found = reply["parameters"]["run"] or found
    assert "syncing" in states
    assert found == run
    peer.close()
    other.close()


# --- who may call, and bounds ---


def test_garbage_is_answered_with_an_error_before_the_end(wherry):
    wherry.start()
    for message in (b"garbage\0", b"{}\0", b'{"a":' + b"[" * 200_000 + b"\0", b"x" * ((1 << 20) + 1)):
        with connect(wherry) as peer:
            peer.sendall(message)
            assert receive(peer)["error"] == "org.varlink.service.InvalidParameter"
            assert receive(peer) is None
    wherry.daemon.wait_log("control: closed the connection of process")


@as_root
def test_a_user_without_the_right_is_refused_even_where_the_socket_lets_it_in(wherry):
    wherry.start()
    (wherry.runtime_dir / INTERFACE).chmod(0o666)
    wherry.runtime_dir.chmod(0o755)
    done = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        + [wherry.build.wherryctl, f"--runtime-dir={wherry.runtime_dir}", "status"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3
    assert 'refuses you: join the group "wherry"' in done.stderr
    assert done.stdout == ""
    wherry.daemon.wait_log(f'refused process [0-9]+, user {NOBODY}: it is neither root nor in the group "wherry"')


@as_root
def test_a_member_of_the_group_may_call(wherry, tmp_path):
    groups = tmp_path / "group"
    groups.write_text("root:x:0:\nwherry:x:54321:\n")
    groups.chmod(0o644)
    private = ["unshare", "-m", "sh", "-c", f'mount --bind {groups} /etc/group && exec "$@"', "sh"]
    if subprocess.run([*private, "true"], capture_output=True).returncode != 0:
        pytest.skip("needs a mount namespace")
    wherry.pipeline("orders", paused=True)
    wherry.start(wrapper=private)
    status = (wherry.runtime_dir / INTERFACE).stat()
    assert (status.st_gid, status.st_mode & 0o777) == (54321, 0o660)
    for identity in (["--regid=54321", "--clear-groups"], [f"--regid={NOBODY}", "--groups=54321"]):
        done = subprocess.run(
            ["setpriv", f"--reuid={NOBODY}", *identity]
            + [wherry.build.wherryctl, f"--runtime-dir={wherry.runtime_dir}", "status"],
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "orders" in done.stdout
    outsider = subprocess.run(
        ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        + [wherry.build.wherryctl, f"--runtime-dir={wherry.runtime_dir}", "status"],
        capture_output=True,
        text=True,
    )
    assert outsider.returncode == 3
    assert "permission denied" in outsider.stderr and 'join the group "wherry"' in outsider.stderr


def test_connections_of_one_user_are_bounded(wherry):
    wherry.start()
    peers = [connect(wherry) for _ in range(64)]
    assert "error" not in call(peers[-1], f"{INTERFACE}.List")
    done = wherry.ctl("status", status=3)
    assert "too many clients already (its limit is 64)" in done.stderr
    peers.pop().close()
    wait_for(lambda: wherry.ctl("status", status=None).returncode == 0, "the place of the one that left")
    for peer in peers:
        peer.close()


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(wherry):
    wherry.start()
    wherry.daemon.kill()
    assert (wherry.runtime_dir / INTERFACE).exists()
    wherry.start()
    assert wherry.ctl("status").returncode == 0
    second = subprocess.run(
        [wherry.build.wherryd, f"--config-dir={wherry.config_dir}", f"--state-dir={wherry.root}/other"]
        + [f"--runtime-dir={wherry.runtime_dir}"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode not in (0, None)
    assert f'another wherryd listens on "{wherry.runtime_dir}/{INTERFACE}"' in second.stderr
    assert wherry.ctl("status").returncode == 0
    wherry.stop()
    assert not (wherry.runtime_dir / INTERFACE).exists()


# --- wherryctl: what it says, and its exit status ---


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], 'no command; see "wherryctl help"'),
        (["stats"], 'unknown command "stats"; did you mean "status"?'),
        (["frobnicate"], 'unknown command "frobnicate"; see "wherryctl help"'),
        (["deplo"], 'unknown command "deplo"; did you mean "deploy"?'),
        (["deploy"], "say what the connection is to be called: wherryctl deploy --connection NAME"),
        (["status", "--jsn"], 'unknown option "--jsn"; did you mean "--json"?'),
        (["--ful", "sync", "orders"], 'unknown option "--ful"; did you mean "--full"?'),
        (["pause", "--frobnicate", "x"], 'unknown option "--frobnicate"; see "wherryctl help pause"'),
        (["status", "--full"], '"wherryctl status" has no option "--full"; see "wherryctl help status"'),
        (["sync"], '"wherryctl sync" needs more: wherryctl sync CONNECTION'),
        (["sync", "a", "b"], '"b" is too much: wherryctl sync CONNECTION'),
        (["sync", "a", "--json=yes"], 'option "--json" takes no value'),
        (["runs", "--limit"], 'option "--limit" needs a value: --limit N'),
        (["runs", "--limit", "few"], '"--limit few" is not a number above 0'),
        (["requeue", "a"], "name one file, or say --all-failed"),
        (["requeue", "a", "b", "--all-failed"], "name one file, or say --all-failed"),
        (["state", "a", "put"], "say what to do: wherryctl state CONNECTION get | set FILE | reset"),
        (["help", "synk"], 'unknown command "synk"; did you mean "sync"?'),
    ],
    ids=lambda value: " ".join(value) or "nothing" if isinstance(value, list) else "",
)
def test_wrong_use_says_what_is_right(wherry, arguments, text):
    done = wherry.ctl(*arguments, status=2)
    assert done.stderr.startswith("wherryctl: ")
    assert text in done.stderr
    assert done.stdout == ""


def test_help_and_version(wherry):
    everything = wherry.ctl("help").stdout
    for command in ("status", "sync", "cancel", "pause", "resume", "reload", "runs", "files", "requeue", "state"):
        assert f"  {command}" in everything
        own = wherry.ctl("help", command).stdout
        assert own.startswith(f"wherryctl {command}")
        assert wherry.ctl(command, "--help").stdout == own
        assert wherry.ctl("-h", command).stdout == own
    assert wherry.ctl("--help").stdout == everything
    assert (
        "load everything again; rows that do not come again are marked deleted\n" in wherry.ctl("help", "sync").stdout
    )
    assert re.fullmatch(r"wherryctl [0-9.]+\n", wherry.ctl("--version").stdout)


def test_no_daemon_says_what_to_do(wherry):
    done = wherry.ctl("status", status=3)
    assert f'no daemon listens on "{wherry.runtime_dir}/{INTERFACE}"' in done.stderr
    assert "systemctl start wherryd" in done.stderr
    assert '"wherryd"' in done.stderr
    assert done.stdout == ""
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(wherry.runtime_dir / INTERFACE))
    stale.close()
    assert "no daemon listens on" in wherry.ctl("sync", "orders", status=3).stderr


def test_commands_on_a_connection(wherry):
    assert "no connections: put a pipeline file into" in (wherry.start() and wherry.ctl("status").stdout)
    wherry.pipeline("orders")
    wherry.sync()
    assert wherry.ctl("pause", "orders").stdout.startswith("orders: paused")
    assert wherry.status()["state"] == "paused"
    assert wherry.ctl("resume", "orders").stdout == "orders: resumed\n"
    assert wherry.status()["state"] != "paused"
    assert '"orders" is not syncing: there is nothing to cancel' in wherry.ctl("cancel", "orders", status=2).stderr
    for command in (
        ["pause", "order"],
        ["sync", "order"],
        ["files", "order"],
        ["status", "order"],
        ["cancel", "order"],
    ):
        assert 'there is no connection "order"; did you mean "orders"?' in wherry.ctl(*command, status=2).stderr
    assert wherry.ctl("reload").stdout == "reloaded: 1 connection\n"
    (wherry.pipelines_dir / "bad.yaml").write_text("frequenzy: 1h\n")
    done = wherry.ctl("reload")
    assert done.stdout.startswith("reloaded: ") and done.stdout.endswith(", 1 broken\n")
    assert done.stderr.startswith("broken: ") and "bad" in done.stderr
    assert "did you mean" in wherry.ctl("sync", "bad", status=2).stderr
    assert wherry.daemon.notify.seen("RELOADING=1")


def test_status_is_a_table_for_people_and_an_object_for_programs(wherry):
    wherry.pipeline("orders", frequency="1h")
    wherry.pipeline("a_rather_long_name", paused=True)
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    header, *lines = wherry.ctl("status").stdout.splitlines()
    assert header.split() == ["NAME", "STATE", "LAST", "ROWS", "NEXT", "ERROR"]
    assert [line.split()[0] for line in lines] == ["a_rather_long_name", "orders"]
    assert re.match(r"orders +idle +succeeded [0-9]+s ago +[0-9]+  (in [0-9]+[ms]|now)$", lines[1])
    assert lines[0].split()[1:] == ["paused", "-", "-", "-"]
    assert header.index("STATE") == lines[1].index("idle") == lines[0].index("paused")
    assert len(wherry.ctl("status", "orders").stdout.splitlines()) == 2
    wherry.pipeline("by_hand")
    assert re.search(r"^by_hand +idle +- +-  manual$", wherry.ctl("status").stdout, re.M)
    wherry.pipeline("broken", frequency="often")
    said = {found["name"]: found["frequency"] for found in wherry.ctl_json("status")["connections"]}
    assert said == {"a_rather_long_name": "manual", "broken": None, "by_hand": "manual", "orders": "1h"}
    shown = wherry.ctl_json("status")
    assert set(shown) == {"connections"}
    assert all(set(connection) == CONNECTION_KEYS for connection in shown["connections"])


def test_json_prints_exactly_one_object_of_the_interface(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    queued = wherry.ctl_json("sync", "orders")
    assert set(queued) == {"run_id", "queued"} and queued["queued"] is True
    run = wherry.sync()
    assert set(run) == RUN_KEYS
    assert set(wherry.ctl_json("--json", "sync", "--follow", "orders")) == RUN_KEYS
    runs = wherry.ctl_json("runs", "orders", "--limit", "2")
    assert set(runs) == {"runs"} and len(runs["runs"]) == 2
    assert all(set(found) == RUN_KEYS for found in runs["runs"])
    files = wherry.ctl_json("files", "orders")
    assert set(files) == {"files"}
    assert [set(file) for file in files["files"]] == [FILE_KEYS]
    assert wherry.ctl("files", "orders", "--json").stdout.count("\n") == 1


def test_a_failed_sync_exits_with_1_and_names_the_error(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("bad.csv", BAD)
    done = wherry.ctl("sync", "orders", "--wait", status=1)
    assert done.stdout.startswith("orders: failed after ")
    assert "bad.csv" in done.stdout
    assert 'see "wherryctl files orders --failed"' in done.stdout
    assert wherry.sync(status=1)["outcome"] == "failed"
    listed = wherry.ctl("files", "orders", "--failed").stdout
    assert re.search(r"bad\.csv +FAILED +[0-9]+", listed)
    assert "failed" in wherry.ctl("runs").stdout
    assert wherry.ctl("requeue", "orders", "--all-failed").stdout.startswith("orders: 1 file queued again")
    done = wherry.ctl("requeue", "orders", "no.csv", status=2)
    assert 'no file "no.csv" was ever seen' in done.stderr


def test_state_is_read_replaced_and_reset(wherry, tmp_path):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    assert isinstance(json.loads(wherry.ctl("state", "orders", "get").stdout), dict)
    done = wherry.ctl("state", "orders", "set", "-", input='{"cursor": 7, "list": [1, 2.5, null]}')
    assert done.stdout == "orders: the state is set\n"
    assert json.loads(wherry.ctl("state", "orders", "get").stdout) == {"cursor": 7, "list": [1, 2.5, None]}
    assert wherry.ctl("state", "orders", "reset").stdout == "orders: the state is reset to {}\n"
    assert wherry.ctl("state", "orders", "get").stdout == "{}\n"
    bad = tmp_path / "state.json"
    bad.write_text('{"a": }')
    assert f"{bad}:1:" in wherry.ctl("state", "orders", "set", bad, status=2).stderr
    bad.write_text("[]")
    assert f"{bad}: a state is a JSON object" in wherry.ctl("state", "orders", "set", bad, status=2).stderr
    assert "cannot be read" in wherry.ctl("state", "orders", "set", tmp_path / "no.json", status=2).stderr


def test_check_and_run_need_no_daemon(wherry, tmp_path):
    definition = {**wherry.orders(), "columns": [{"source": "id", "dest": "order_id", "type": "integer"}]}
    path = wherry.pipeline("lone", {key: value for key, value in definition.items() if key != "source"})
    path = path.rename(tmp_path / "lone.yaml")
    wherry.drop("a.csv", ORDERS)
    run = ["run", path, "--dir", wherry.incoming, "--state-dir", tmp_path / "state"]
    assert wherry.ctl_json(*run)["rows_committed"] == 2
    assert wherry.ids() == [1, 2]
    assert wherry.ctl(*run).returncode == 0
    wherry.drop("b.csv", BAD)
    assert wherry.ctl(*run, status=1).returncode == 1
    good = wherry.pipeline("orders")
    assert wherry.ctl("check", good).returncode == 0
    good.write_text(good.read_text().replace('"columns"', '"colums"'))
    done = wherry.ctl("check", good, status=2)
    assert 'did you mean "columns"?' in done.stdout + done.stderr


# --- progress ---


def test_follow_draws_a_bar_on_a_terminal(wherry, script):
    server = script(Sync=LOADING)
    drawn, status = in_terminal(wherry, "sync", "orders", "--follow")
    assert status == 0
    assert server.calls[0]["more"] is True
    *frames, last = drawn.split("\r\x1b[K")
    frames = re.findall(r"\r([^\r]*)\x1b\[K", drawn)
    bars = [frame for frame in frames if "%" in frame]
    assert re.search(r"orders  \[-+\]   0%  0 B of 45\.6 MB", bars[0])
    assert re.search(r"\[#+-+\]  66%  30\.4 MB of 45\.6 MB  [0-9,]+ rows/s  [0-9.]+ s left  big\.csv", bars[-2]), bars
    assert re.search(r"\[#+\] 100%  45\.6 MB of 45\.6 MB  1,234,567 rows, committing  big\.csv", bars[-1]), bars
    assert frames[-1] == ""  # cleared at the end, for the summary
    assert "succeeded" in last and "1,234,567 rows, 45.6 MB, 3 files seen, 2 committed, 1 skipped" in last
    assert "\x1b[32msucceeded\x1b[0m" in last


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_the_bar_keeps_to_the_terminals_width(wherry, script, columns):
    script(Sync=LOADING)
    drawn, _ = in_terminal(wherry, "sync", "orders", "--follow", columns=columns)
    frames = re.findall(r"\r([^\r]*)\x1b\[K", drawn)
    assert len(frames) >= 4
    assert max(len(frame) for frame in frames) < columns


def test_follow_prints_plain_lines_elsewhere(wherry, script):
    script(Sync=LOADING)
    done = wherry.ctl("sync", "orders", "--follow")
    assert not re.search(r"[\r\x1b#]", done.stdout + done.stderr)
    first, *_, last = done.stdout.splitlines()
    assert first == 'orders: load "big.csv", 0 rows, 0 B of 45.6 MB'
    assert last.startswith("orders: succeeded after 1.5 s: 1,234,567 rows")


def test_follow_with_json_leaves_stdout_to_the_object(wherry, script):
    script(Sync=LOADING)
    done = wherry.ctl("sync", "orders", "--follow", "--json")
    assert json.loads(done.stdout) == RUN
    assert done.stderr == ""


@pytest.mark.parametrize("option", ["--follow", "--wait"])
def test_ctrl_c_leaves_the_sync_running(wherry, script, option):
    script(Sync=[report(), 5])
    if option == "--follow":
        drawn, status = in_terminal(wherry, "sync", "orders", option, when_seen=b"load")
    else:
        process = subprocess.Popen(
            [wherry.build.wherryctl, f"--runtime-dir={wherry.runtime_dir}", "sync", "orders", option],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        caught = re.compile(r"SigCgt:\s+([0-9a-f]+)")
        with open(f"/proc/{process.pid}/status") as file:
            wait_for(lambda: file.seek(0) or int(caught.search(file.read()).group(1), 16) & 2, "its handler of SIGINT")
        process.send_signal(signal.SIGINT)
        drawn, status = process.communicate(timeout=60)[0], process.returncode
    assert status == 130
    assert 'the sync of "orders" goes on; end it with "wherryctl cancel orders"' in drawn


def test_a_daemon_that_goes_is_told_of(wherry, script):
    script(Sync=[report()], List=[])
    done = wherry.ctl("sync", "orders", "--wait", status=3)
    assert f'the daemon on "{wherry.runtime_dir}/{INTERFACE}" has closed the connection' in done.stderr
    assert "has closed the connection" in wherry.ctl("status", status=3).stderr


def test_foreign_text_cannot_steer_the_terminal(wherry, script):
    evil = {"name": "\x1b[2Jx\ny.csv", "state": "FAILED", "attempts": 1, "rows": None, "error": "bad \x1b]0;title\x07"}
    script(
        Files=[{"parameters": {"files": [evil]}}],
        Cancel=[{"error": f"{INTERFACE}.Failed", "parameters": {"message": "one\x1b[1m\ntwo"}}],
    )
    assert "\x1b" not in wherry.ctl("files", "orders").stdout
    done = wherry.ctl("cancel", "orders", status=1)
    assert "\x1b" not in done.stderr
    assert done.stderr.splitlines() == ["wherryctl: one\\x1B[1m", "two"]


def test_lists_in_pieces_are_put_together(wherry, script):
    run = {**RUN, "started_at": "2026-01-01T00:00:00.000Z"}
    script(Runs=[{"parameters": {"runs": [run] * 3}, "continues": True}, {"parameters": {"runs": [run]}}])
    assert len(wherry.ctl_json("runs")["runs"]) == 4


def test_colours_and_widths_only_on_a_terminal(wherry, script):
    error = 'the table "orders" has other columns than the pipeline: ' * 4
    connection = {**dict.fromkeys(CONNECTION_KEYS), "name": "orders", "state": "broken", "error": error}
    script(List=[{"parameters": {"connections": [connection]}}])
    drawn, status = in_terminal(wherry, "status", columns=70)
    assert status == 0
    assert "\x1b[31mbroken\x1b[0m" in drawn
    plain = re.sub(r"\x1b\[[0-9]*m", "", drawn).splitlines()
    assert max(map(len, plain)) == 70 and plain[1].endswith("…")
    assert "\x1b" not in in_terminal(wherry, "status", env={"NO_COLOR": "1"})[0]
    assert "\x1b" not in in_terminal(wherry, "status", env={"TERM": "dumb"})[0]
    piped = wherry.ctl("status").stdout
    assert "\x1b" not in piped and error.strip() in piped


# --- completion ---


def complete(wherry, *words, path=True):
    """What Bash would offer for the last of WORDS."""
    shell = (
        f'source "{COMPLETION}"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _wherryctl; '
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", shell, "bash", str(wherry.build.wherryctl), *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes(wherry, script, tmp_path):
    daemon = f"--runtime-dir={wherry.runtime_dir}", "--runtime-dir", wherry.runtime_dir
    assert complete(wherry, "s") == ["status", "sync", "state"]
    assert complete(wherry, "sync", "x", "--f") == ["--full", "--follow"]
    assert complete(wherry, "files", "--f") == ["--failed"]
    assert complete(wherry, "help", "req") == ["requeue"]
    assert complete(wherry, "state", "orders", "") == ["get", "set", "reset"]
    assert complete(wherry, *daemon[1:], "sync", "") == []  # no daemon, no names, no complaint
    names = [
        {**dict.fromkeys(CONNECTION_KEYS), "name": name, "state": "idle"} for name in ("orders", "others", "weather")
    ]
    script(List=[{"parameters": {"connections": names}}])
    assert complete(wherry, *daemon[1:], "sync", "o") == ["orders", "others"]
    assert complete(wherry, *daemon[1:], "status", "") == ["orders", "others", "weather"]
    assert complete(wherry, *daemon[1:], "sync", "orders", "") == []
    assert complete(wherry, *daemon[1:], "sync", "--full", "--tables", "") == []
    assert complete(wherry, *daemon[1:], "sync", "--full", "--tables", "t", "o") == ["orders", "others"]
    (tmp_path / "orders.yaml").touch()
    (tmp_path / "orders.csv").touch()
    assert complete(wherry, *daemon[1:], "files", "o") == ["orders", "others"]
    assert complete(wherry, *daemon[1:], "requeue", f"{tmp_path}/o") == [f"{tmp_path}/orders.yaml"]


def test_completion_knows_every_command_and_option(wherry):
    text = COMPLETION.read_text()
    commands = re.findall(r"^  ([a-z]+) ", wherry.ctl("help").stdout, re.M)
    assert len(commands) > 10
    offered = re.search(r'local commands="(.*)"', text).group(1).split()
    assert offered == commands
    for command in commands:
        for option in re.findall(r"^  (--[a-z-]+)", wherry.ctl("help", command).stdout, re.M):
            assert option in complete(wherry, command, "--"), (command, option)


def test_help_is_aligned(wherry):
    for command in ("sync", "files", "runs"):
        for line in re.findall(r"^  --.*", wherry.ctl("help", command).stdout, re.M):
            assert re.fullmatch(r"  (?=--).{18}  \S.*", line), line
