"""source-files by itself: what it tells daemon and writer, and when it gives up. What becomes of its rows is in
test_bad_input.py and test_end_to_end.py."""

import fcntl
import gzip
import json
import os
import select
import signal
import socket
import struct
import subprocess
import time

import frames
import pytest

PIPE_SIZE = 4096  # so that a worker soon waits for the writer


class Worker:
    """A source program as the daemon starts it: socket on 3, pipe on 4."""

    def __init__(self, command, configuration):
        self.socket, theirs = socket.socketpair()
        self.pipe, write_end = os.pipe()
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, PIPE_SIZE)

        self.process = subprocess.Popen(command, preexec_fn=frames.placing(theirs.fileno(), write_end), close_fds=False)
        theirs.close()
        os.close(write_end)
        self.reader, self.said, self.piped, self.data = frames.Reader(), [], [], b""
        self.say("BEGIN", configuration=json.dumps(configuration), state="{}")

    def say(self, kind, **fields):
        self.socket.sendall(frames.encode(kind, **fields))

    def take_pipe(self):
        data = os.read(self.pipe, 1 << 16)
        self.data += data
        while len(self.data) >= 8:
            length, number = struct.unpack_from("<IB", self.data)
            if len(self.data) < 8 + length:
                break
            kind, payload = frames.TYPES[number - 1], self.data[8 : 8 + length]
            self.data = self.data[8 + length :]
            self.piped.append(frames.decode(kind, payload) if kind in frames.LAYOUTS else frames.Frame(kind, payload))
        return bool(data)

    def run(self, seen=lambda worker, frame: frames.LOAD, read_pipe=True, timeout=60):
        """To the end; SEEN answers FILE_SEEN (None: not at all). The exit status."""
        deadline = time.monotonic() + timeout
        watched = [self.socket] + ([self.pipe] if read_pipe else [])
        while self.socket in watched:
            ready = select.select(watched, [], [], max(0, deadline - time.monotonic()))[0]
            assert ready, f"no end; so far {self.said} {self.piped}"
            if self.pipe in ready and not self.take_pipe():
                watched.remove(self.pipe)
            if self.socket in ready:
                data = self.socket.recv(1 << 16)
                if not data:
                    watched.remove(self.socket)
                for frame in self.reader.feed(data):
                    self.said.append(frame)
                    answer = seen(self, frame) if frame.type == "FILE_SEEN" else None
                    if answer:
                        self.say("FILE_VERDICT", hash=frame.fields["hash"], verdict=answer)
        while self.pipe in watched and self.take_pipe():
            pass
        return self.process.wait(max(1, deadline - time.monotonic()))

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.socket.close()
        if self.pipe is not None:
            os.close(self.pipe)

    def fields(self, kind):
        return [frame.fields for frame in self.said + self.piped if frame.type == kind]

    def ends(self):
        return [(end["outcome"], end["rows"], end["error"]) for end in self.fields("FILE_END")]

    def error(self):
        (error,) = self.fields("ERROR")
        return frames.KINDS[error["kind"]], error["message"]


@pytest.fixture
def start(build, tmp_path):
    """Starts a worker on tmp_path/in."""
    workers = []
    (tmp_path / "in").mkdir()

    def start(command=None, **changes):
        source = {"type": "files", "dir": str(tmp_path / "in"), "file_pattern": "*", "watch": False}
        configuration = {
            "connection": "orders",
            "run_id": "run-1",
            "full": False,
            "max_value_size": 1 << 20,
            "sandbox": {"mode": "default"},
            "source": {**source, **changes.pop("source", {})},
            "format": "csv",
            "csv": {"delimiter": ",", "quote": '"', "header": True, "empty": "null"},
            "encoding": "utf-8",
            "dest_table": "orders",
            "columns": [
                {"source": "id", "dest": "id", "type": "integer", "required": True},
                {"source": "note", "dest": "note", "type": "string", "required": False},
            ],
            **changes,
        }
        workers.append(Worker(command or [str(build.source("files"))], configuration))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


@pytest.fixture
def folder(tmp_path, start):
    return tmp_path / "in"


def kinds(listed):
    return [frame.type for frame in listed]


def test_a_sync_in_frames(start, folder):
    (folder / "b.csv").write_text("id,note\n1,a\n2,\n")
    (folder / "a.csv").write_text("id,note\n")
    worker = start()
    assert worker.run() == 0
    assert kinds(worker.piped) == [
        *["HELLO", "FILE_BEGIN", "TABLE", "FILE_END", "FILE_BEGIN", "TABLE", "ROWS", "FILE_END", "END"]
    ]
    assert worker.ends() == [(frames.LOADED, 0, ""), (frames.LOADED, 2, "")]
    assert worker.piped[6].fields[8:] == b"".join(map(frames.value, [1, "a", 2, None]))
    assert worker.fields("DONE") == [{"rows": 2, "bytes": 8 + 15}]
    assert worker.fields("FILE_SEEN")[1]["hash"] == frames.digest(b"id,note\n1,a\n2,\n")
    assert any("landlock" in log["message"] or "sandbox" in log["message"] for log in worker.fields("LOG"))


def test_a_known_file_is_not_read_again(start, folder):
    (folder / "a.csv").write_text("id,note\n1,a\n")
    worker = start()
    assert worker.run(lambda worker, frame: frames.SKIP) == 0
    assert kinds(worker.piped) == ["HELLO", "END"]
    assert worker.fields("DONE") == [{"rows": 0, "bytes": 0}]


def test_a_missing_folder_is_a_note(start, folder):
    worker = start(source={"dir": str(folder / "nowhere")})
    assert worker.run() == 0
    assert kinds(worker.piped) == ["HELLO", "END"]
    messages = [log["message"] for log in worker.fields("LOG")]
    assert f'the folder "{folder}/nowhere" does not exist: nothing to load' in messages


def test_a_folder_that_is_none(start, folder):
    (folder / "file").write_text("x")
    worker = start(source={"dir": str(folder / "file")})
    assert worker.run() == 1
    assert worker.error() == ("configuration", f'"{folder}/file" is not a folder: set "source.dir" to one')


def change_size(path):
    path.write_text(path.read_text() + "3,c\n")


def change_content(path):
    """The same size, and even the same time: only the hash of the second pass can tell."""
    before = path.stat()
    path.write_text(path.read_text().replace("a", "b"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cut(path):
    os.truncate(path, 10)


@pytest.mark.parametrize("change", [change_size, change_content, cut])
def test_a_file_that_changes_between_the_passes_waits(start, folder, change):
    path = folder / "a.csv"
    path.write_text('id,note\n1,"a"\n')
    os.utime(path, (1e9, 1e9))
    (folder / "b.csv").write_text("id,note\n1,x\n")

    def seen(worker, frame):
        if frame.fields["name"] == "a.csv":
            change(path)
        return frames.LOAD

    worker = start()
    assert worker.run(seen) == 0
    (first, rows, why), second = worker.ends()
    assert (first, rows) == (frames.CHANGED, 0)
    assert why.startswith("a.csv: ") and "still being written: " in why and why.endswith("waits for the next run")
    assert second == (frames.LOADED, 1, "")


def test_a_file_deleted_after_it_was_hashed_is_loaded_whole(start, folder):
    (folder / "a.csv").write_text("id,note\n1,a\n")

    def seen(worker, frame):
        (folder / "a.csv").unlink()
        return frames.LOAD

    worker = start()
    assert worker.run(seen) == 0
    assert worker.ends() == [(frames.LOADED, 1, "")]


def test_a_file_deleted_before_it_was_opened_is_a_note(start, folder):
    (folder / "a.csv").write_text("id,note\n1,a\n")
    (folder / "b.csv").write_text("id,note\n2,b\n")

    def seen(worker, frame):
        (folder / "b.csv").unlink(missing_ok=True)
        return frames.LOAD

    worker = start()
    assert worker.run(seen) == 0
    assert worker.fields("FILE_NOTE") == [
        {"what": 2, "name": "b.csv", "message": "was removed before it could be read"}
    ]


def test_a_link_out_of_the_folder_is_not_followed(start, folder, tmp_path):
    (tmp_path / "secret.csv").write_text("id,note\n1,secret\n")
    (folder / "a.csv").symlink_to(tmp_path / "secret.csv")
    worker = start()
    assert worker.run() == 0
    (note,) = worker.fields("FILE_NOTE")
    assert note["what"] == 1 and note["message"].startswith("a symbolic link out of the folder")
    assert worker.ends() == []


def test_the_first_bad_row_fails_only_its_file(start, folder):
    (folder / "a.csv").write_text("id,note\n" + "1,a\n" * 20000 + "x,b\n")
    (folder / "b.csv").write_text("id,note\n1,x\n")
    worker = start()
    assert worker.run() == 0
    assert worker.ends() == [
        (frames.FAILED, 0, 'a.csv: line 20002, row 20001, column "id": not an integer: "x"'),
        (frames.LOADED, 1, ""),
    ]


def test_packed_and_encoded_files(start, folder):
    text = "id,note\n1,Café\n"
    (folder / "a.csv").write_bytes(text.encode("cp1252"))
    (folder / "b.csv.gz").write_bytes(gzip.compress(text.encode("cp1252")))
    (folder / "c.csv.gz").write_bytes(gzip.compress(text.encode("cp1252"))[:-9])
    worker = start(encoding="cp1252")
    assert worker.run() == 0
    assert worker.ends()[:2] == [(frames.LOADED, 1, "")] * 2
    assert worker.ends()[2][0] == frames.FAILED
    assert worker.ends()[2][2].endswith("cannot be unpacked: the gzip data is cut short")
    rows = [frame.fields[8:] for frame in worker.piped if frame.type == "ROWS"]
    assert rows[:2] == [b"".join(map(frames.value, [1, "Café"]))] * 2


def test_an_unknown_encoding_is_an_error_of_configuration(start):
    worker = start(encoding="klingon")
    assert worker.run() == 1
    kind, message = worker.error()
    assert kind == "configuration" and message.startswith('the encoding "klingon" is not known on this system')


def test_cancel_while_it_waits_for_a_verdict(start, folder):
    (folder / "a.csv").write_text("id,note\n1,a\n")
    worker = start()
    assert worker.run(lambda worker, frame: worker.say("CANCEL")) == 1
    assert worker.error() == ("cancelled", "cancelled")
    assert "END" not in kinds(worker.piped)


def test_cancel_while_the_writer_takes_nothing(start, folder):
    (folder / "a.csv").write_text("id,note\n" + "1,aaaaaaaaaaaaaaaaaaaaaaaaaaa\n" * 200000)

    def seen(worker, frame):
        worker.say("FILE_VERDICT", hash=frame.fields["hash"], verdict=frames.LOAD)
        time.sleep(0.5)  # the pipe is full by now
        worker.say("CANCEL")

    worker = start()
    assert worker.run(seen, read_pipe=False, timeout=20) == 1
    assert worker.error() == ("cancelled", "cancelled")


def test_a_writer_that_is_gone(start, folder):
    (folder / "a.csv").write_text("id,note\n1,a\n")

    def seen(worker, frame):
        os.close(worker.pipe)
        worker.pipe = None

    worker = start()
    assert worker.run(seen, read_pipe=False) == 1
    assert worker.error() == ("cancelled", "the writer is gone")


def test_a_daemon_that_is_gone(start, folder):
    (folder / "a.csv").write_text("id,note\n1,a\n")
    worker = start()
    worker.socket.shutdown(socket.SHUT_WR)
    while worker.take_pipe():
        pass
    assert worker.process.wait(20) == 1


def test_by_hand_it_says_what_to_do(build):
    program = build.source("files")
    done = subprocess.run([program], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stderr == (
        "source-files is started by wherryd; to run a pipeline file by hand: wherryctl run FILE.yaml\n"
    )
