"""Bad input of every kind: an error that names the place, the good files loaded, nothing lost or half-loaded."""

import gzip
import os
import signal
import socket
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import command_line, descendants, wait_for

GOOD = "id,note,amount\n1,one,1\n2,two,2\n"
HEADER = "id,note,amount\n"
NOBODY = 65534


def columns(**types):
    return [{"source": name, "dest": name, "type": kind} for name, kind in types.items()]


# what: the file's content, changes to the pipeline, what the error must say beside the file's name
BAD_FILES = {
    "a row longer than the header": (
        HEADER + "3,x,1\n4,x,1,surplus\n",
        {},
        ["line 3", "row 2", "4 fields", "header 3"],
    ),
    "an unterminated quote": (HEADER + '3,x,1\n4,"open,1\n5,x,1\n', {}, ["line 3", "quote"]),
    "a field over the bound": (
        HEADER + "3,x,1\n4," + "y" * 5000 + ",1\n",
        {"max_value_size": "4K"},
        ["row 2", '"note"', "max_value_size"],
    ),
    "a NUL byte": (HEADER + "3,x,1\n4,n\0l,1\n", {}, ["row 2", '"note"', "NUL"]),
    "invalid UTF-8": (HEADER.encode() + b"3,x,1\n4,\xff\xfe,1\n", {}, ["row 2", '"note"', "UTF-8", "\\xFF"]),
    "another encoding": (HEADER.encode() + "3,Grüße,1\n".encode("latin-1"), {}, ["row 1", "UTF-8", "encoding"]),
    "bytes that the encoding has not": (
        HEADER.encode() + b"3,\x81,1\n",
        {"encoding": "windows-1252"},
        ["windows-1252"],
    ),
    "an integer that is none": (HEADER + "3,x,1\n4x,x,1\n", {}, ["row 2", '"id"', "integer", '"4x"']),
    "an integer beyond 64 bits": (HEADER + "9223372036854775808,x,1\n", {}, ["row 1", '"id"', '"9223372036854775808"']),
    "a float beyond its range": (HEADER + "3,x,1e400\n", {}, ["row 1", '"amount"', '"1e400"']),
    "an impossible date": (
        "day\n2023-02-28\n2023-02-29\n",
        {"columns": columns(day="date")},
        ["row 2", '"day"', "date", '"2023-02-29"'],
    ),
    "an impossible time": (
        "at\n2023-02-28T25:00:00Z\n",
        {"columns": columns(at="timestamp")},
        ["row 1", '"at"', "timestamp", '"2023-02-28T25:00:00Z"'],
    ),
    "neither true nor false": (
        "ok\nmaybe\n",
        {"columns": columns(ok="boolean")},
        ["row 1", '"ok"', "boolean", '"maybe"'],
    ),
    "a decimal that is none": ("d\n1.2.3\n", {"columns": columns(d="decimal")}, ["row 1", '"d"', "decimal", '"1.2.3"']),
    "JSON that is none": ('j\n"{""a"":"\n', {"columns": columns(j="json")}, ["row 1", '"j"', "JSON"]),
    "base64 that is none": ("b\n***\n", {"columns": columns(b="binary")}, ["row 1", '"b"', "base64", '"***"']),
    "a required value that is empty": (HEADER + "3,x,1\n,x,1\n", {}, ["row 2", '"id"', "required"]),
    "a required column that is missing": ("note,amount\nx,1\n", {}, ['"id"', "header"]),
    "no header": ("3,x,1\n4,x,1\n", {}, ['"id"', "header"]),
    "a name twice in the header": ("id,note,id\n3,x,4\n", {}, ['"id"', "header", "twice"]),
    "a truncated gzip": (
        gzip.compress((HEADER + "".join(f"{n},{n * n},1\n" for n in range(9999))).encode())[:-4000],
        {},
        ["gzip|truncated"],
    ),
    "a gzip bomb": (gzip.compress(b"id,note,amount\n3," + b"y" * 200_000_000, 1), {}, ["max_value_size|bound|larger"]),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_bad_file_fails_alone_and_names_the_place(wherry, what):
    import re

    content, changes, said = BAD_FILES[what]
    name = "bad.csv.gz" if "gzip" in what else "bad.csv"
    wherry.pipeline("orders", **changes)
    wherry.drop(name, content)
    if not changes.get("columns"):
        wherry.drop("good.csv", GOOD)
    wherry.start()
    run = wherry.sync(status=1)
    assert (run["outcome"], run["failed"]) == ("failed", 1)
    for pattern in [name, *said]:
        assert re.search(pattern if "|" in pattern else re.escape(pattern), run["error"]), (pattern, run["error"])
    assert "\n" not in run["error"]
    if changes.get("columns"):
        assert run["rows_committed"] == 0
    else:
        assert (run["committed"], run["rows_committed"]) == (1, 2)
        assert wherry.ids() == [1, 2]
    (file,) = wherry.files("orders", "--failed")
    assert (file["name"], file["attempts"]) == (name, 1)
    assert file["error"] in run["error"] or run["error"] in file["error"]
    assert wherry.daemon.log().count(name) >= 1


NDJSON = {
    "no object": ("[1]\n", ["line 1", "object"]),
    "no JSON": ('{"id": 1, "note": "a"}\n{"id": 2,\n', ["line 2", "JSON"]),
    "an integer beyond 64 bits": ('{"id": 9223372036854775808}\n', ['"id"', "9223372036854775808"]),
    "a fraction for an integer": ('{"id": 1.5}\n', ['"id"', "1.5"]),
    "a required value that is null": ('{"id": null}\n', ['"id"', "required"]),
    "a NUL in a text": ('{"id": 1, "note": "a\\u0000b"}\n', ['"note"', "NUL"]),
    "half a surrogate pair": ('{"id": 1, "note": "\\ud800"}\n', ["line 1"]),
}


@pytest.mark.parametrize("what", NDJSON)
def test_bad_ndjson_names_line_and_column(wherry, what):
    content, said = NDJSON[what]
    wherry.pipeline("orders", format="ndjson")
    wherry.drop("bad.ndjson", content)
    wherry.start()
    run = wherry.sync(status=1)
    for text in ["bad.ndjson", *said]:
        assert text in run["error"]
    assert wherry.ids() == []


def test_an_unknown_encoding_is_an_error_of_configuration(wherry):
    path = wherry.pipeline("orders", encoding="klingon")
    done = wherry.ctl("check", path, status=2)
    assert '"klingon"' in done.stdout + done.stderr


# --- files that are strange as such ---


def as_nobody(wherry):
    """How to start the daemon as an ordinary user who owns the installation."""
    if os.geteuid() != 0:
        return {}
    for folder, _, names in os.walk(wherry.root):
        os.chown(folder, NOBODY, NOBODY)
        for name in names:
            os.chown(os.path.join(folder, name), NOBODY, NOBODY, follow_symlinks=False)
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def test_an_unreadable_file_fails_alone(wherry):
    wherry.pipeline("orders")
    wherry.drop("good.csv", GOOD)
    path = wherry.drop("bad.csv", HEADER + "3,x,1\n")
    options = as_nobody(wherry)
    path.chmod(0)
    wherry.start(**options)
    run = wherry.sync(status=1)
    assert "bad.csv" in run["error"]
    assert "permission" in run["error"].lower()
    assert wherry.ids() == [1, 2]
    # it has no content to be listed by, so that nobody is sent there; it is named
    told = wherry.ctl("sync", "orders", "--wait", status=1).stdout
    assert wherry.files("orders", "--failed") == [] and "--failed" not in told and "bad.csv" in told
    wherry.drop("worse.csv", HEADER + "x,x,1\n")
    told = wherry.ctl("sync", "orders", "--wait", status=1).stdout
    assert '  see "wherryctl files orders --failed"\n' in told and "bad.csv" in told
    (wherry.incoming / "worse.csv").unlink()
    path.chmod(0o644)
    assert wherry.sync()["committed"] == 1
    assert wherry.ids() == [1, 2, 3]


def test_a_directory_named_like_a_file_and_a_symlink_loop_harm_nobody(wherry):
    wherry.pipeline("orders")
    (wherry.incoming / "folder.csv").mkdir()
    (wherry.incoming / "loop.csv").symlink_to("loop.csv")
    (wherry.incoming / "dangling.csv").symlink_to("nowhere.csv")
    os.mkfifo(wherry.incoming / "pipe.csv")
    wherry.drop("good.csv", GOOD)
    wherry.start()
    wherry.sync(status=None)
    assert wherry.ids() == [1, 2]
    wherry.daemon.wait_log(r"loop\.csv")
    wherry.daemon.wait_log(r"pipe\.csv")


def test_names_that_are_no_text_are_shown_escaped_and_loaded(wherry):
    wherry.pipeline("orders")
    folder = os.fsencode(wherry.incoming)
    for number, name in enumerate([b"new\nline.csv", b"not\xffutf8.csv", b'quo"te.csv', b"-rf.csv", "é☃.csv".encode()]):
        with open(os.path.join(folder, name), "w") as file:
            file.write(f"{HEADER}{number},x,1\n")
    wherry.start()
    assert wherry.sync()["committed"] == 5
    assert wherry.ids() == [0, 1, 2, 3, 4]
    names = {file["name"] for file in wherry.files()}
    assert names >= {"not\\xFFutf8.csv", "é☃.csv", "-rf.csv", 'quo"te.csv'}
    assert not [name for name in names if "\n" in name]
    assert "new\nline" not in wherry.daemon.log()
    assert "new\nline" not in wherry.ctl("files", "orders").stdout


def loading_worker(wherry):
    """The process id of the worker once rows of its file have reached the database."""

    def grown():
        written = [wherry.database, wherry.database.with_name("out.db-wal")]
        return sum(path.stat().st_size for path in written if path.exists()) > 1_000_000

    wait_for(grown, "a transaction that spills")
    (worker,) = [pid for pid in descendants(wherry.daemon.pid) if "source-files" in command_line(pid)]
    return worker


def change_mid_read(wherry, change):
    """Syncs a file that CHANGE(path) alters while it is being read, and returns the run."""
    wherry.pipeline("orders")
    rows = HEADER + "".join(f"{n},a note that takes room {n},1.5\n" for n in range(250_000))
    path = wherry.drop("a.csv", rows)
    wherry.start()
    wherry.ctl("sync", "orders")
    worker = loading_worker(wherry)
    os.kill(worker, signal.SIGSTOP)
    change(path)
    os.kill(worker, signal.SIGCONT)
    wait_for(lambda: wherry.status()["state"] not in ("syncing", "queued"), "the end of the sync")
    return wherry.ctl_json("runs", "orders")["runs"][0]


def test_a_file_that_grows_while_it_is_read_waits_for_the_next_run(wherry):
    def grow(path):
        with open(path, "a") as file:
            file.write("250000,last,1\n")

    run = change_mid_read(wherry, grow)
    assert (run["outcome"], run["committed"], run["rows_committed"]) == ("succeeded", 0, 0)
    assert run["skipped"] == 1
    assert "a.csv" in wherry.daemon.wait_log("[^\n]*chang[^\n]*").group()
    assert wherry.ids() == []
    assert wherry.sync()["committed"] == 1
    assert len(wherry.ids()) == 250_001


def test_a_file_that_is_rewritten_while_it_is_read_is_not_half_loaded(wherry):
    def rewrite(path):
        stat = path.stat()
        with open(path, "r+b") as file:
            file.seek(stat.st_size - 20)
            file.write(b"9")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # only the hash can tell

    run = change_mid_read(wherry, rewrite)
    assert (run["committed"], run["rows_committed"]) == (0, 0)
    assert wherry.ids() == []
    assert wherry.sync()["committed"] == 1
    assert len(wherry.ids()) == 250_000


def test_a_file_that_is_cut_off_while_it_is_read_is_not_half_loaded(wherry):
    run = change_mid_read(wherry, lambda path: os.truncate(path, len(HEADER)))
    assert (run["committed"], run["rows_committed"]) == (0, 0)
    assert wherry.ids() == []
    wherry.sync()
    assert wherry.ids() == []


def test_a_file_that_is_deleted_while_it_is_read_leaves_all_or_nothing(wherry):
    run = change_mid_read(wherry, lambda path: path.unlink())
    assert run["rows_committed"] in (0, 250_000)
    assert len(wherry.ids()) == run["rows_committed"]
    assert wherry.sync()["outcome"] == "succeeded"


# --- the destination ---


def test_a_table_with_other_columns_is_refused_with_the_difference(wherry):
    with sqlite3.connect(wherry.database) as connection:
        connection.execute("CREATE TABLE orders (_id INTEGER PRIMARY KEY, order_id TEXT, extra REAL)")
        connection.execute("INSERT INTO orders VALUES (1, 'kept', 1.5)")
    connection.close()
    wherry.pipeline("orders")
    wherry.drop("a.csv", GOOD)
    wherry.start()
    run = wherry.sync(status=1)
    assert '"orders"' in run["error"]
    for column in ("order_id", "extra", "note", "amount", "INTEGER", "TEXT"):
        assert column in run["error"]
    assert wherry.query("SELECT * FROM orders") == [(1, "kept", 1.5)]


def test_a_read_only_database_is_an_error_that_names_it(wherry):
    wherry.pipeline("orders")
    wherry.drop("a.csv", GOOD)
    with sqlite3.connect(wherry.database) as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()
    options = as_nobody(wherry)
    if options:
        os.chown(wherry.database, 0, 0)
    wherry.database.chmod(0o444)
    wherry.start(**options)
    run = wherry.sync(status=1)
    assert str(wherry.database) in run["error"]
    assert wherry.query("SELECT name FROM sqlite_master") == [("other",)]
    assert wherry.files()[0]["attempts"] == 0 if wherry.files() else True


def test_a_database_that_is_none_is_left_alone(wherry):
    wherry.database.write_bytes(b"this is a text of mine\n" * 100)
    before = wherry.database.read_bytes()
    wherry.pipeline("orders")
    wherry.drop("a.csv", GOOD)
    wherry.start()
    run = wherry.sync(status=1)
    assert str(wherry.database) in run["error"]
    assert "is not an SQLite database" in run["error"]
    assert wherry.database.read_bytes() == before


def test_a_locked_database_is_waited_for_and_then_named(wherry):
    connector = {"type": "sqlite", "url": f"sqlite:///{wherry.database}", "busy_timeout": "1s"}
    wherry.pipeline("orders", connector=connector)
    wherry.drop("a.csv", GOOD)
    holder = sqlite3.connect(wherry.database, isolation_level=None)
    holder.execute("CREATE TABLE other (x)")
    holder.execute("BEGIN EXCLUSIVE")
    wherry.start()
    run = wherry.sync(status=1)
    assert str(wherry.database) in run["error"]
    assert "locked" in run["error"]
    holder.execute("ROLLBACK")
    holder.close()
    assert wherry.sync()["committed"] == 1
    assert wherry.files()[0]["attempts"] <= 1
    assert wherry.ids() == [1, 2]


@pytest.fixture
def small_disk(wherry):
    """A file system of 32 MiB below the installation."""
    place = wherry.root / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m,mode=755", "wherry-test", place], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount a small file system")
    yield place
    if wherry.running():
        wherry.stop()
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_rolls_back_says_so_and_is_no_fault_of_the_file(wherry, small_disk):
    database = small_disk / "out.db"
    wherry.pipeline("orders", connector={"type": "sqlite", "url": f"sqlite:///{database}"}, retry_cap=1)
    rows = HEADER + "".join(f"{n},a note that takes room {n},1.5\n" for n in range(20_000))
    wherry.drop("a.csv", rows)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 31_000_000)
    wherry.start()
    run = wherry.sync(status=1)
    assert "full" in run["error"] or "no space left" in run["error"].lower()
    assert str(database) in run["error"]
    ballast.unlink()
    assert wherry.sync()["committed"] == 1
    assert wherry.query("SELECT count(*) FROM orders", database=database) == [(20_000,)]


def fill(disk):
    """The file on DISK that leaves no room for anything else."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    return ballast


def test_a_full_disk_under_the_state_loses_nothing(wherry, small_disk):
    wherry.state_dir = small_disk / "state"
    wherry.state_dir.mkdir()
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", GOOD)
    wherry.sync()
    ballast = fill(small_disk)
    wherry.drop("b.csv", HEADER + "3,x,1\n")
    wherry.sync(status=None)
    said = wherry.daemon.wait_log(r"(?i)[^\n]*(disk|space|full)[^\n]*").group()
    assert str(wherry.state_dir) in said
    ballast.unlink()
    wherry.sync()
    assert wherry.ids() == [1, 2, 3]


def test_a_load_that_could_not_be_recorded_did_not_succeed(wherry, small_disk):
    """The disk under the state fills while the writer commits: both programs end well, and yet nobody knows it."""
    wherry.state_dir = small_disk / "state"
    wherry.state_dir.mkdir()
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", GOOD)
    wherry.sync()
    wherry.drop("b.csv", HEADER + "3,x,1\n")
    lock = sqlite3.connect(wherry.database, isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor() as pool:
        sync = pool.submit(wherry.sync, status=1)
        wait_for(lambda: any(file["state"] == "PROCESSING" for file in wherry.files()), "the file on its way")
        time.sleep(0.3)  # the worker says all that it has to say
        ballast = fill(small_disk)
        lock.execute("ROLLBACK")
        run = sync.result()
    lock.close()
    assert wherry.ids() == [1, 2, 3]
    assert run["outcome"] == "failed"
    assert str(wherry.state_dir) in run["error"] and "disk is full" in run["error"]
    ballast.unlink()
    assert wherry.sync()["committed"] == 0  # the destination has it
    assert wherry.ids() == [1, 2, 3]
    assert {file["state"] for file in wherry.files()} == {"COMMITTED"}


# --- the control socket ---


def control(wherry):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(60)
    peer.connect(str(wherry.runtime_dir / "org.wherry.Manager"))
    return peer


def refused(peer):
    """The daemon answered with an error, or hung up."""
    try:
        reply = peer.recv(65536)
    except ConnectionResetError:
        return True
    return not reply or b'"error"' in reply


LIST = b'{"method": "org.wherry.Manager.List"}\0'


@pytest.mark.parametrize(
    "message",
    [
        b"garbage\0",
        b"\0",
        b"[]\0",
        b'{"method": 1}\0',
        b"\xff\xfe\0",
        b"GET / HTTP/1.1\r\n\r\n\0",
        b"[" * 100_000 + b"\0",
    ],
    ids=["words", "nothing", "a list", "a number", "bytes", "http", "nesting"],
)
def test_garbage_ends_its_connection_only(wherry, message):
    wherry.pipeline("orders")
    wherry.start()
    with control(wherry) as good, control(wherry) as bad:
        bad.sendall(message)
        assert refused(bad)
        good.sendall(LIST)
        assert b'"orders"' in good.recv(65536)


def test_an_oversized_message_ends_its_connection_only(wherry):
    wherry.pipeline("orders")
    wherry.start()
    with control(wherry) as bad:
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(64):
                bad.sendall(b"x" * (1 << 20))
    assert wherry.status()["state"] == "idle"


def test_a_reader_that_does_not_read_is_dropped_and_waited_for_by_nobody(wherry):
    for number in range(50):
        wherry.pipeline(f"orders_{number}", paused=True)
    wherry.start()
    with control(wherry) as lazy:
        lazy.setblocking(False)
        deadline = time.monotonic() + 60
        try:
            while time.monotonic() < deadline:
                try:
                    lazy.send(LIST * 100)
                except BlockingIOError:
                    # the daemon no longer takes calls of a peer that does not read: that is a bound too
                    wherry.ctl("status")
                    break
        except (BrokenPipeError, ConnectionResetError):
            pass
        wherry.ctl("status")
    resident = int(
        next(line for line in open(f"/proc/{wherry.daemon.pid}/status") if line.startswith("VmRSS")).split()[1]
    )
    assert wherry.build.sanitized or resident < 100_000, f"{resident} KiB for one peer that does not read"


def test_a_user_without_the_right_is_told_of_the_group(wherry):
    if os.geteuid() != 0:
        pytest.skip("needs root to be another user")
    wherry.pipeline("orders")
    wherry.start()
    done = subprocess.run(
        [wherry.build.wherryctl, f"--runtime-dir={wherry.runtime_dir}", "status"],
        capture_output=True,
        text=True,
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
    )
    assert done.returncode == 3, done
    assert "group" in done.stderr and "wherry" in done.stderr


def test_two_daemons_on_one_state_directory(wherry):
    wherry.pipeline("orders")
    wherry.start()
    done = wherry.run_daemon()
    assert done.returncode not in (0, None)
    assert str(wherry.state_dir) in done.stderr
    assert "wherryctl sync" in done.stderr
    once = wherry.run_daemon("--once", "orders")
    assert once.returncode not in (0, None)
    assert "wherryctl sync" in once.stderr
    assert wherry.status()["state"] in ("idle", "queued", "syncing")
    assert wherry.daemon.stop() == 0
