"""The daemon itself: schedule, reload, cancel, stop, `--once`, and supervision of programs that do not behave.

Where a worker or writer must misbehave, a program of the test's own stands in for it: the daemon finds it in a libexec
folder that is given with --libexec-dir, and it speaks the real wire (frames.py).
"""

import functools
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from harness import children, command_line, wait_for

ORDERS = "id,note,amount\n1,first,9.5\n2,second,10\n3,,\n"
PROLOGUE = """#!{python}
import os, select, signal, socket, subprocess, sys, time
sys.path.insert(0, {folder!r})
sys.dont_write_bytecode = True
from frames import *

control = socket.socket(fileno=3)
reader, waiting = Reader(), []

def send(kind, **fields):
    control.sendall(encode(kind, **fields))

def fail(number, message):
    control.sendall(framed("ERROR", bytes([number]) + text(message)))

def put(data):
    while data:
        data = data[os.write(4, data):]

def receive(*kinds):
    while True:
        while not waiting:
            data = control.recv(1 << 16)
            if not data:
                sys.exit(9)
            waiting.extend(reader.feed(data))
        frame = waiting.pop(0)
        if not kinds or frame.type in kinds:
            return frame

control.sendall({greeting})
begin = receive("BEGIN", "CANCEL").fields
if not begin:
    sys.exit(1)  # cancelled before it began
"""


class Programs:
    """A libexec folder with the real programs, and stand-ins where a test wants them."""

    def __init__(self, wherry):
        self.folder = wherry.root / "libexec"
        self.folder.mkdir()
        self.option = f"--libexec-dir={self.folder}"
        self.real = {path.name: path for path in (wherry.build.source("files"), wherry.build.destination("sqlite"))}
        for name in self.real:
            self.restore(name)

    def restore(self, name):
        (self.folder / name).unlink(missing_ok=True)
        (self.folder / name).symlink_to(self.real[name])

    def replace(self, name, body, greeting="hello()"):
        """BODY is Python; it runs once BEGIN has arrived."""
        path = self.folder / name
        path.unlink()
        folder = str(Path(__file__).resolve().parent)
        path.write_text(PROLOGUE.format(python=sys.executable, folder=folder, greeting=greeting) + body)
        path.chmod(0o755)


@pytest.fixture
def programs(wherry):
    return Programs(wherry)


def start_with_worker(wherry, programs, body, **changes):
    programs.replace("source-files", body)
    wherry.pipeline("orders", **changes)
    wherry.start(programs.option)


def wait_state(wherry, state, connection="orders"):
    return wait_for(lambda: wherry.status(connection)["state"] == state, f"state {state} of {connection}")


# --- programs that do not behave ---

CLEAN_END = 'put(hello() + encode("END"))\nsend("DONE")\n'
UNTIL_CANCEL = 'receive("CANCEL")\nfail(5, "cancelled")\n'
WAIT = "\ntime.sleep(60)"
MISBEHAVIOUR = {
    "garbage": ('control.sendall(b"\\xff" * 100)' + WAIT, "the worker broke the protocol: "),
    "a_second_hello": ("control.sendall(hello())" + WAIT, "out of turn|its HELLO is not one"),
    "a_writers_frame": ('send("COMMITTED", sequence=1)' + WAIT, "a frame of type 17 is out of turn"),
    "a_frame_after_its_last": ('send("DONE")\nsend("FILE_SEEN", name="a")' + WAIT, "a frame of type 18 is out of turn"),
    "a_frame_too_long": (
        'control.sendall(b"\\xff\\xff\\xff\\x3f\\x0b\\0\\0\\0")' + WAIT,
        "the worker broke the protocol: ",
    ),
    "a_crash": ("os.kill(os.getpid(), signal.SIGSEGV)", "^the worker was killed by SIGSEGV before it was done$"),
    "an_exit_without_a_word": ("sys.exit(0)", "^the worker ended with status 0 before it was done$"),
    "an_error": ('fail(3, "the source is away")', "^the source is away$"),
    "no_end_on_the_pipe": ('put(hello())\nsend("DONE")', "END|without|ended"),
    "garbage_on_the_pipe": ('put(b"\\xff" * 64)\nreceive("CANCEL")', "frame|protocol|operations"),
}


@pytest.mark.parametrize("what", MISBEHAVIOUR)
def test_a_worker_that_misbehaves_fails_its_sync_and_nothing_else(wherry, programs, what):
    body, error = MISBEHAVIOUR[what]
    start_with_worker(wherry, programs, body)
    run = wherry.sync(status=1)
    assert run["outcome"] == "failed"
    assert re.search(error, run["error"]), run["error"]
    assert wherry.status()["error"] == run["error"]
    programs.restore("source-files")
    wherry.drop("a.csv", ORDERS)
    assert wherry.sync()["rows_committed"] == 3


def test_a_writer_that_misbehaves_fails_its_sync(wherry, programs):
    programs.replace("destination-sqlite", 'send("FILE_VERDICT", verdict=1)\ntime.sleep(60)')
    wherry.pipeline("orders")
    wherry.start(programs.option)
    assert re.search("the writer broke the protocol: a frame of type 19", wherry.sync(status=1)["error"])


def test_a_program_of_another_version_is_refused(wherry, programs):
    programs.replace("source-files", "time.sleep(60)", greeting="hello(version=7)")
    wherry.pipeline("orders")
    wherry.start(programs.option)
    assert "the worker speaks version 7 of the protocol" in wherry.sync(status=1)["error"]
    assert wherry.status()["state"] == "broken"  # waits for an operator: no release fits itself by retrying


def test_a_missing_program_is_an_error_of_configuration(wherry, programs):
    (programs.folder / "source-files").unlink()
    wherry.pipeline("orders", frequency="1h")
    wherry.start(programs.option)
    wait_state(wherry, "broken")
    assert "source-files" in wherry.status()["error"]
    assert wherry.status()["next_run_at"] is None


def test_what_a_worker_left_behind_is_ended_with_its_sync(wherry, programs):
    pid_file = wherry.root / "orphan"
    start_with_worker(
        wherry,
        programs,
        f"""
orphan = os.fork()
if orphan == 0:
    os.setsid()
    if os.fork() == 0:
        open({str(pid_file)!r}, "w").write(str(os.getpid()))
        time.sleep(1000)  # holds the socket, the pipe and the log
    os._exit(0)
while not os.path.exists({str(pid_file)!r}) or not open({str(pid_file)!r}).read():
    time.sleep(0.01)
{CLEAN_END}""",
    )
    started = time.monotonic()
    assert wherry.sync()["outcome"] == "succeeded"
    assert time.monotonic() - started < 9  # not by a deadline
    # dead by now; that its parent reaps it may take a moment longer
    wait_for(lambda: not Path(f"/proc/{pid_file.read_text()}").exists(), "the orphan's end", timeout=5)


def test_a_worker_that_does_not_listen_is_killed_within_the_bound(wherry, programs):
    start_with_worker(wherry, programs, "signal.signal(signal.SIGTERM, signal.SIG_IGN)\ntime.sleep(1000)")
    wherry.ctl("sync", "orders")
    wait_state(wherry, "syncing")
    wherry.ctl("cancel", "orders")
    wait_state(wherry, "idle")
    assert wherry.status()["outcome"] == "cancelled"


def test_a_sync_in_which_nothing_moves_is_ended_and_says_so(wherry, programs):
    start_with_worker(wherry, programs, UNTIL_CANCEL, stall_timeout="1s")
    run = wherry.sync(status=1)
    assert run["outcome"] == "stalled"
    assert re.search(r'nothing moved for 1s \("stall_timeout"\)', run["error"])
    wherry.daemon.wait_log("stalled after")


def test_progress_and_log_lines_keep_a_sync_from_stalling(wherry, programs):
    body = "for i in range(12):\n    time.sleep(0.2)\n    print(i, flush=True)\n"
    body += "for i in range(12):\n    time.sleep(0.2)\n    send('PROGRESS', bytes=i + 1)\n"
    start_with_worker(wherry, programs, body + CLEAN_END, stall_timeout="1s")
    assert wherry.sync()["outcome"] == "succeeded"


def test_the_same_progress_over_and_over_is_none(wherry, programs):
    body = "while not select.select([control], [], [], 0.05)[0]:\n    send('PROGRESS', bytes=1)\n"
    start_with_worker(wherry, programs, body, stall_timeout="1s")
    assert wherry.sync(status=1)["outcome"] == "stalled"


# --- what programs print ---


def test_a_file_whose_reading_breaks_off_fails_the_run(wherry, programs):
    """It is not the file's fault, so no attempt is counted; but a run that has not loaded it did not succeed."""
    body = """
    file = digest(b"x")
    put(hello())
    send("FILE_SEEN", hash=file, size=1, name="x.csv")
    receive("FILE_VERDICT")
    put(encode("FILE_BEGIN", hash=file, size=1, name="x.csv"))
    put(encode("FILE_END", outcome=ABORTED, hash=file, error="x.csv: input/output error"))
    put(encode("END"))
    send("DONE")
    """
    start_with_worker(wherry, programs, textwrap.dedent(body))
    run = wherry.sync(status=1)
    assert run["outcome"] == "failed" and run["error"] == "x.csv: input/output error"
    assert run["failed"] == 1
    assert [file["attempts"] for file in wherry.files()] == [0]


def test_what_a_worker_prints_is_one_line_each_and_forges_nothing(wherry, programs):
    body = r"""
print("plain", flush=True)
print("\x1b[31mred\x1b[0m \0 \udcff", file=open(1, "w", errors="surrogateescape", closefd=False))
sys.stderr.write("an error line\r\n")
os.write(1, b"x" * 20000 + b"\n")
os.write(1, b"no newline at the end")
send("LOG", priority=4, message="first\n2026-01-01T00:00:00.000Z error forged", table="orders")
"""
    start_with_worker(wherry, programs, body + CLEAN_END)
    run = wherry.sync()
    log = wherry.daemon.log()
    assert re.search(r"^\S+ info orders: plain$", log, re.M)
    assert r"orders: \x1B[31mred\x1B[0m \x00 \xFF" in log
    assert re.search(r"^\S+ info orders: an error line$", log, re.M)
    assert re.search(r"^\S+ info orders: x{8192}…$", log, re.M)
    assert re.search(r"^\S+ info orders: no newline at the end$", log, re.M)
    assert re.search(r"^\S+ warning orders: first\\x0A2026-01-01T00:00:00.000Z error forged$", log, re.M)
    assert len(run["warnings"]) == 1 and run["warnings"][0].startswith("first")


def test_a_flood_of_lines_is_suppressed_and_counted(wherry, programs):
    start_with_worker(wherry, programs, 'print("again\\n" * 20000, flush=True)\n' + CLEAN_END)
    wherry.sync()
    log = wherry.daemon.log()
    said = len(re.findall("orders: again", log))
    suppressed = sum(int(n) for n in re.findall(r"(\d+) lines of the worker suppressed", log))
    assert 2000 <= said < 10000
    assert said + suppressed == 20000


def test_the_programs_see_nothing_of_the_daemons_environment(wherry, programs):
    body = 'print("env=" + ",".join(sorted(os.environ)), "fds=" + ",".join(sorted(os.listdir("/proc/self/fd"))))\n'
    start_with_worker(wherry, programs, body + CLEAN_END)
    wherry.sync()
    found = re.search(r"env=(\S*) fds=(\S*)", wherry.daemon.log())
    assert set(found[1].split(",")) <= {"PATH", "LANG", "TZ", "LC_CTYPE"}
    assert set(found[2].split(",")) - {"5", "6"} == {"0", "1", "2", "3", "4"}  # 5, 6: the listing itself


# --- the schedule ---


def test_a_failed_sync_is_retried_after_a_backoff(wherry, programs):
    body = f"""
if os.path.exists({str(wherry.root / "tried")!r}):
    put(hello() + encode("END"))
    send("DONE")
    sys.exit(0)
open({str(wherry.root / "tried")!r}, "w")
fail(3, "not yet")
"""
    start_with_worker(wherry, programs, body, frequency="1h")
    status = wait_for(lambda: wherry.status()["state"] == "backoff" and wherry.status(), "backoff")
    assert (status["outcome"], status["error"]) == ("failed", "not yet")
    assert status["next_run_at"] is not None


def test_a_frequency_of_seconds_runs_again_and_again(wherry):
    wherry.pipeline("orders", frequency="1s")
    wherry.start()
    wait_for(lambda: len(wherry.ctl_json("runs", "orders")["runs"]) >= 3, "three runs")
    runs = wherry.ctl_json("runs", "orders")["runs"]
    starts = sorted(run["started_at"] for run in runs)
    assert len(set(start[:19] for start in starts[1:])) == len(starts) - 1  # never twice in one slot
    assert {run["trigger"] for run in runs} == {"schedule"}


def test_sync_joins_the_run_that_is_running(wherry, programs):
    start_with_worker(wherry, programs, UNTIL_CANCEL)
    first = wherry.ctl_json("sync", "orders")["run_id"]
    wait_state(wherry, "syncing")
    assert wherry.ctl_json("sync", "orders")["run_id"] == first
    assert wherry.ctl("sync", "orders", "--full", status=None).returncode != 0  # that one is not what was asked for
    wherry.ctl("cancel", "orders")
    wait_state(wherry, "idle")
    assert [run["run_id"] for run in wherry.ctl_json("runs", "orders")["runs"]] == [first]


def test_cancel_ends_a_sync_and_its_waiters_learn_of_it(wherry, programs):
    start_with_worker(wherry, programs, 'send("PROGRESS", bytes=1)\n' + UNTIL_CANCEL)
    wherry.ctl("sync", "orders")
    wait_state(wherry, "syncing")
    wherry.ctl("cancel", "orders")
    wait_state(wherry, "idle")
    run = wherry.ctl_json("runs", "orders")["runs"][0]
    assert (run["outcome"], run["error"]) == ("cancelled", "cancelled")
    assert wherry.ctl("cancel", "orders", status=None).returncode != 0  # nothing runs any more


def queue_behind_another(wherry, programs):
    """The sync of "two" waits for that of "one", as only one may run."""
    (wherry.config_dir / "wherry.yaml").write_text("max_syncs: 1\n")
    programs.replace("source-files", UNTIL_CANCEL)
    for name in ("one", "two"):
        wherry.pipeline(name, connector={"type": "sqlite", "url": f"sqlite:///{wherry.root}/{name}.db"})
    wherry.start(programs.option)
    wherry.ctl("sync", "one")
    wherry.ctl("sync", "two")


def test_max_syncs_bounds_what_runs_at_once(wherry, programs):
    queue_behind_another(wherry, programs)
    assert [wherry.status(name)["state"] for name in ("one", "two")] == ["syncing", "queued"]
    wherry.ctl("cancel", "one")
    wait_state(wherry, "syncing", "two")
    wherry.ctl("cancel", "two")
    wait_state(wherry, "idle", "two")


def test_a_queued_run_can_be_cancelled(wherry, programs):
    queue_behind_another(wherry, programs)
    wherry.ctl("cancel", "two")
    assert wherry.status("two")["state"] == "idle"
    assert wherry.status("two")["outcome"] == "cancelled"
    wherry.ctl("cancel", "one")
    wait_state(wherry, "idle", "one")


def test_a_watched_folder_may_come_later(wherry):
    folder = wherry.root / "later/still/in"
    wherry.pipeline("orders", source={"type": "files", "dir": str(folder), "watch": True})
    wherry.start()
    wait_state(wherry, "idle")
    folder.mkdir(parents=True)
    wherry.drop("a.csv", ORDERS, folder)
    wait_for(lambda: wherry.ids() == [1, 2, 3], "the first file")
    shutil.rmtree(wherry.root / "later")
    folder.mkdir(parents=True)
    wherry.drop("b.csv", "id,note,amount\n4,,\n", folder)
    wait_for(lambda: wherry.ids() == [1, 2, 3, 4], "a file in the folder that came again")


def test_a_watched_folder_replaced_while_nobody_looks(wherry):
    """Whoever looks only afterwards finds a folder where one was, but it is another, and its file was never announced."""
    wherry.pipeline("orders", source={"type": "files", "dir": str(wherry.incoming), "watch": True})
    daemon = wherry.start()
    wait_state(wherry, "idle")
    daemon.signal(signal.SIGSTOP)
    shutil.rmtree(wherry.incoming)
    wherry.incoming.mkdir()
    wherry.drop("a.csv", ORDERS)
    daemon.signal(signal.SIGCONT)
    wait_for(lambda: wherry.ids() == [1, 2, 3], "the file in the other folder")


def test_files_that_arrive_while_a_watched_sync_runs_are_the_next_runs(wherry, programs):
    go = wherry.root / "go"
    body = f"while not os.path.exists({str(go)!r}):\n    time.sleep(0.01)\n" + CLEAN_END
    programs.replace("source-files", body)
    wherry.pipeline("orders", source={"type": "files", "dir": str(wherry.incoming), "watch": True})
    wherry.start(programs.option)
    wait_state(wherry, "syncing")
    wherry.drop("a.csv", ORDERS)
    time.sleep(0.2)  # longer than arrivals are gathered
    go.touch()
    wait_for(lambda: len(wherry.ctl_json("runs", "orders")["runs"]) == 2, "a second run")
    wait_state(wherry, "idle")
    assert {run["trigger"] for run in wherry.ctl_json("runs", "orders")["runs"]} == {"watch"}


def test_files_that_came_while_nobody_watched_are_loaded(wherry):
    """By hand only, so that nothing but the watch can load them: while paused, and in a folder that a reload brings."""
    source = {"type": "files", "dir": str(wherry.incoming), "watch": True}
    wherry.pipeline("orders", source=source)
    wherry.start()
    wait_for(lambda: wherry.status()["outcome"] == "succeeded", "the first look")
    wherry.ctl("pause", "orders")
    wherry.drop("a.csv", "id,note,amount\n1,x,1\n")
    wherry.ctl("resume", "orders")
    wait_for(lambda: wherry.ids() == [1], "the file that came during the pause")
    other = wherry.root / "other"
    other.mkdir()
    wherry.drop("b.csv", "id,note,amount\n2,x,1\n", folder=other)
    wherry.pipeline("orders", source={**source, "dir": str(other)})
    wait_for(lambda: wherry.ids() == [1, 2], "the file in the new folder")


def test_a_paused_connection_is_not_woken_by_files(wherry):
    wherry.pipeline("orders", paused=True, source={"type": "files", "dir": str(wherry.incoming), "watch": True})
    wherry.pipeline("other", source={"type": "files", "dir": str(wherry.incoming), "watch": True}, dest_table="other")
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    # not of the last run: the file may have been found by the first look, and then be announced
    others = functools.partial(wherry.ctl_json, "runs", "other")
    wait_for(lambda: 3 in [run["rows_committed"] for run in others()["runs"]], "the neighbour's sync")
    assert wherry.ctl_json("runs", "orders")["runs"] == []


def test_pause_and_resume_hold_over_restarts_whatever_the_file_says(wherry):
    wherry.pipeline("orders", frequency="1h", paused=True)
    wherry.start()
    wherry.ctl("resume", "orders")
    wait_state(wherry, "idle")
    wherry.stop()
    wherry.start()
    assert wherry.status()["state"] != "paused"
    wherry.ctl("pause", "orders")
    wherry.stop()
    wherry.pipeline("orders", frequency="1h")
    wherry.start()
    assert wherry.status()["state"] == "paused"


# --- reload ---


def test_reload_adds_changes_and_removes(wherry):
    wherry.pipeline("orders", frequency="1h")
    wherry.start()
    wait_for(lambda: wherry.status()["outcome"] == "succeeded", "the first run")
    wherry.pipeline("second", frequency="1h", dest_table="second")
    wait_for(lambda: wherry.status("second")["outcome"] == "succeeded", "the new connection's run")
    (wherry.pipelines_dir / "orders.yaml").unlink()
    wherry.ctl("reload")
    gone = wherry.ctl("status", "orders", status=None)
    assert gone.returncode != 0 and "orders" in gone.stderr


def test_reload_tries_again_what_failed_by_configuration(wherry):
    """What was wrong need not be in the file: here it is the table."""
    with sqlite3.connect(wherry.database) as database:
        database.execute("CREATE TABLE orders (something_else TEXT)")
    database.close()
    wherry.pipeline("orders", frequency="24h")
    wherry.drop("a.csv", "id,note,amount\n1,x,1\n")
    wherry.start()
    wherry.daemon.wait_log("something_else")
    wait_for(lambda: wherry.status()["outcome"] == "failed", "the failed sync's end")
    with sqlite3.connect(wherry.database) as database:
        database.execute("DROP TABLE orders")
    database.close()
    wherry.ctl("reload")
    wait_for(lambda: wherry.ids() == [1], "the sync after the reload")


def test_a_broken_file_is_shown_and_harms_no_other(wherry):
    wherry.pipeline("orders")
    broken = wherry.pipeline("broken", frequency="1h", colums=[])
    wherry.start()
    status = wherry.status("broken")
    assert status["state"] == "broken"
    assert re.search(r'broken.yaml:\d+:\d+: unknown key "colums"; did you mean "columns"\?', status["error"])
    done = wherry.ctl("sync", "broken", status=2)
    assert "colums" in done.stderr
    wherry.drop("a.csv", ORDERS)
    assert wherry.sync()["rows_committed"] == 3
    broken.write_text(json.dumps({**wherry.orders(), "dest_table": "mended", "frequency": "1h"}))
    wherry.ctl("reload")
    wait_for(lambda: wherry.status("broken")["outcome"] == "succeeded", "the mended connection's run")
    broken.write_text("{")
    assert "broken" in str(wherry.ctl("reload", status=None))
    assert wherry.status("broken")["state"] == "broken"


def test_a_running_sync_finishes_on_what_it_started_with(wherry, programs):
    go = wherry.root / "go"
    body = f"""
while not os.path.exists({str(go)!r}):
    time.sleep(0.01)
print("table", __import__("json").loads(begin["configuration"])["dest_table"], flush=True)
"""
    start_with_worker(wherry, programs, body + CLEAN_END)
    wherry.ctl("sync", "orders")
    wait_state(wherry, "syncing")
    wherry.pipeline("orders", dest_table="changed")
    (wherry.pipelines_dir / "orders.yaml").unlink()
    wherry.daemon.signal(signal.SIGHUP)
    wherry.daemon.wait_log("removed: its file is gone")
    go.touch()
    wherry.daemon.wait_log(r"orders: nothing new|orders: synced")
    assert "table orders" in wherry.daemon.log()


def test_a_file_that_comes_back_while_its_sync_runs_is_the_same_connection(wherry, programs):
    start_with_worker(wherry, programs, UNTIL_CANCEL)
    run_id = wherry.ctl_json("sync", "orders")["run_id"]
    wait_state(wherry, "syncing")
    (wherry.pipelines_dir / "orders.yaml").unlink()
    wherry.ctl("reload")
    wherry.pipeline("orders")
    assert wherry.ctl_json("sync", "orders")["run_id"] == run_id
    wherry.ctl("cancel", "orders")
    wait_state(wherry, "idle")


def test_a_bad_wherry_yaml_keeps_what_was(wherry):
    wherry.pipeline("orders")
    wherry.start()
    (wherry.config_dir / "wherry.yaml").write_text("max_sync: 1\n")
    done = wherry.ctl("reload", status=2)
    assert re.search(r'wherry.yaml:1:1: .*"max_sync".*"max_syncs"', done.stderr)
    wherry.daemon.signal(signal.SIGHUP)
    wherry.daemon.wait_log("the configuration was not reloaded; the one before stays")
    assert wherry.status()["state"] == "idle"


# --- stop, start, and what the service manager is told ---


def test_stop_cancels_and_the_next_start_makes_up_for_it(wherry, programs):
    start_with_worker(wherry, programs, UNTIL_CANCEL, frequency="24h")
    wait_state(wherry, "syncing")
    started = time.monotonic()
    assert wherry.stop() == 0
    assert time.monotonic() - started < 9
    programs.restore("source-files")
    wherry.start(programs.option)
    wait_for(lambda: wherry.status()["outcome"] == "succeeded", "the run that makes up for it")
    second, first = wherry.ctl_json("runs", "orders")["runs"]
    assert (first["outcome"], first["error"]) == ("cancelled", "wherryd was stopped")


def test_a_killed_daemons_run_is_failed_and_retried(wherry, programs):
    start_with_worker(wherry, programs, UNTIL_CANCEL, frequency="24h")
    wait_state(wherry, "syncing")
    wherry.daemon.kill()
    programs.restore("source-files")
    wherry.start(programs.option)
    run = wherry.ctl_json("runs", "orders")["runs"][-1]
    assert (run["outcome"], run["error"]) == ("failed", "wherryd ended while this sync ran")
    status = wherry.status()
    assert status["state"] in ("backoff", "syncing", "idle") and status["next_run_at"]


def test_the_service_manager_is_told(wherry):
    wherry.pipeline("orders")
    daemon = wherry.start(env={"WATCHDOG_USEC": "200000"})
    daemon.wait_notify("^STATUS=1 connection, 0 syncing$")
    daemon.wait_notify("^WATCHDOG=1$")
    count = len(daemon.notify.seen("^WATCHDOG=1$"))
    wait_for(lambda: len(daemon.notify.seen("^WATCHDOG=1$")) > count + 2, "more of the watchdog")
    daemon.signal(signal.SIGHUP)
    daemon.wait_notify("^RELOADING=1$")
    assert int(daemon.notify.seen("^MONOTONIC_USEC=")[0].split("=")[1]) <= time.monotonic_ns() // 1000
    wait_for(lambda: len(daemon.notify.seen("^READY=1$")) == 2, "ready again")
    daemon.signal(signal.SIGTERM)
    daemon.wait_notify("^STOPPING=1$")
    assert daemon.stop() == 0


def test_a_stuck_loop_starves_the_watchdog(wherry):
    wherry.pipeline("orders")
    daemon = wherry.start(env={"WATCHDOG_USEC": "200000"})
    daemon.wait_notify("^WATCHDOG=1$")
    daemon.signal(signal.SIGSTOP)
    while daemon.notify.receive(0.3):
        pass
    count = len(daemon.notify.seen("^WATCHDOG=1$"))
    time.sleep(0.5)
    assert len(daemon.notify.seen("^WATCHDOG=1$")) == count
    daemon.signal(signal.SIGCONT)
    wait_for(lambda: len(daemon.notify.seen("^WATCHDOG=1$")) > count, "the watchdog again")


def test_an_idle_daemon_does_not_wake(wherry):
    wherry.pipeline("orders")
    daemon = wherry.start()
    wherry.sync()

    def switches():
        text = Path(f"/proc/{daemon.pid}/status").read_text()
        return int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", text, re.M)[1])

    time.sleep(0.5)
    before = switches()
    time.sleep(1.5)
    assert switches() - before <= 1


# --- once ---


def test_once_prints_a_line_for_each_run_and_exits_as_they_went(wherry):
    wherry.pipeline("orders")
    wherry.pipeline("second", dest_table="second", paused=True)
    wherry.drop("a.csv", ORDERS)
    done = wherry.run_daemon("--once")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"orders: synced 1 file, 3 rows, \S+ k?B in .*\n", done.stdout)
    done = wherry.run_daemon("--once", "second")  # paused, but named
    assert done.stdout.startswith("second: synced 1 file, 3 rows")
    wherry.drop("b.csv", "id,note,amount\nx,,\n")
    done = wherry.run_daemon("--once", "orders")
    assert done.returncode == 1
    assert re.search(r"^orders: failed after .*b\.csv", done.stdout)


def test_once_as_json_is_a_run_or_several(wherry):
    wherry.pipeline("orders")
    wherry.drop("a.csv", ORDERS)
    one = json.loads(wherry.run_daemon("--once", "--json", "orders").stdout)
    assert (one["connection"], one["trigger"], one["rows_committed"]) == ("orders", "once", 3)
    wherry.pipeline("second", dest_table="second")
    several = json.loads(wherry.run_daemon("--json", "--once").stdout)
    assert sorted(run["connection"] for run in several["runs"]) == ["orders", "second"]


def test_once_with_a_wrong_name_or_a_broken_file_is_wrong_use(wherry):
    wherry.pipeline("orders")
    done = wherry.run_daemon("--once", "ordres")
    assert done.returncode == 2
    assert 'there is no connection "ordres"; did you mean "orders"?' in done.stderr
    wherry.pipeline("broken", "frequency: often\n")
    done = wherry.run_daemon("--once")
    assert done.returncode == 2
    assert "broken.yaml:1:" in done.stderr
    assert done.stdout.startswith("orders: ")  # one bad file never stops the others


def test_once_with_a_file_of_its_own(wherry, tmp_path):
    definition = wherry.orders()
    del definition["source"], definition["frequency"]
    file = tmp_path / "lent.yaml"
    file.write_text(json.dumps(definition))
    wherry.drop("a.csv", ORDERS)
    arguments = ("--once", "--file", file, "--dir", wherry.incoming, "--json")
    assert json.loads(wherry.run_daemon(*arguments).stdout)["rows_committed"] == 3
    assert json.loads(wherry.run_daemon(*arguments).stdout)["rows_committed"] == 0


def test_ctrl_c_cancels_once_cleanly(wherry, programs):
    programs.replace("source-files", UNTIL_CANCEL)
    wherry.pipeline("orders")
    daemon = wherry.start(programs.option, "--once", "orders", wait=False)
    wait_for(lambda: [pid for pid in children(daemon.pid) if "source-files" in command_line(pid)], "the worker")
    daemon.signal(signal.SIGINT)
    assert daemon.wait(20) == 1
    assert "orders: cancelled after" in daemon.log()
    daemon.end()


def test_ctrl_c_again_does_not_wait_for_the_bound(wherry, programs):
    deaf = f"open({str(wherry.root / 'deaf')!r}, 'w')\nwhile True:\n    time.sleep(0.05)\n"
    programs.replace("source-files", deaf)
    wherry.pipeline("orders")
    daemon = wherry.start(programs.option, "--once", "orders", wait=False)
    wait_for((wherry.root / "deaf").exists, "the worker")
    daemon.signal(signal.SIGINT)
    time.sleep(0.5)
    assert daemon.process.poll() is None  # it is given time to end well: up to 10 s
    asked = time.monotonic()
    daemon.signal(signal.SIGINT)
    assert daemon.wait(20) == 1
    assert time.monotonic() - asked < 5
    assert "orders: cancelled after" in daemon.log()
    daemon.end()


def test_notifications_that_nobody_reads_do_not_hold_up_the_daemon(wherry):
    """The harness reads them as a service manager does: the kernel would queue only a few."""
    daemon = wherry.start(env={"WATCHDOG_USEC": "20000"})
    queued = int(Path("/proc/sys/net/unix/max_dgram_qlen").read_text())
    wait_for(lambda: len(daemon.notify.messages) > queued + 20, "more than the kernel would have queued")
    assert wherry.ctl("reload").returncode == 0


def test_a_service_manager_that_hangs_misses_nothing_and_holds_up_nothing(wherry):
    wherry.pipeline("orders")
    daemon = wherry.start(env={"WATCHDOG_USEC": "200000"})
    daemon.wait_notify("^STATUS=1 connection, 0 syncing$")
    daemon.notify.pause()
    daemon.notify.fill()
    assert wherry.ctl("reload").returncode == 0
    assert wherry.ctl("reload").returncode == 0
    fed = len(daemon.notify.seen("^WATCHDOG=1$"))
    daemon.notify.resume()
    wait_for(lambda: len(daemon.notify.seen("^READY=1$")) == 3, "both reloads")
    wait_for(lambda: len(daemon.notify.seen("^WATCHDOG=1$")) > fed + 3, "the watchdog again")
    told = [message.split("=")[0] for message in daemon.notify.seen("^(READY|RELOADING)=1$")]
    assert told == ["READY", "RELOADING", "READY", "RELOADING", "READY"]
    daemon.notify.pause()
    daemon.notify.fill()
    assert daemon.stop() == 0


# --- the command line ---


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--libexec-dri=/x"], 'unknown option "--libexec-dri=/x"; did you mean "--libexec-dir"?'),
        (["--state-dir"], 'option "--state-dir" needs a value'),
        (["orders"], '"orders" is not an option; to run a connection once: wherryd --once orders'),
        (["--file", "x.yaml"], '"--file" needs "--once"'),
        (["--json"], '"--json" needs "--once"'),
        (["--once", "--dir", "x"], '"--dir" needs "--once --file FILE"'),
    ],
)
def test_wrong_use_says_what_is_right(wherry, arguments, message):
    done = wherry.run_daemon(*arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_version_help_and_schema(wherry):
    assert re.fullmatch(r"wherryd \d+\.\d+\.\d+\n", wherry.run_daemon("--version").stdout)
    help_text = wherry.run_daemon("--help")
    assert help_text.returncode == 0
    for option in ("--config-dir", "--once", "--file", "--check", "--schema"):
        assert option in help_text.stdout
    assert json.loads(wherry.run_daemon("--schema").stdout)["type"] == "object"


def test_an_ordinary_user_has_the_xdg_folders(wherry):
    if os.geteuid() != 0 or Path("/etc/wherry").exists() or Path("/run/wherry").exists():
        pytest.skip("needs root, to become another user, and no system install")
    home = wherry.root / "home"
    folder = home / ".config/wherry/pipelines.d"
    folder.mkdir(parents=True)
    shutil.chown(home, 65534, 65534)
    definition = {**wherry.orders(), "connector": {"type": "sqlite", "url": f"sqlite:///{home}/out.db"}}
    (folder / "orders.yaml").write_text(json.dumps(definition))
    wherry.drop("a.csv", ORDERS)
    environment = {"PATH": os.environ["PATH"], "HOME": str(home)}
    done = subprocess.run(
        [str(wherry.build.wherryd), "--once", "--json"],
        env=environment,
        capture_output=True,
        text=True,
        user=65534,
        group=65534,
        extra_groups=[],
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows_committed"] == 3
    assert (home / ".local/state/wherry/daemon/state.db").exists()
