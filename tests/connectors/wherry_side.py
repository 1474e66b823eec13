"""Runs a connector under Wherry's own module, in the place of source-fivetran, and tells what it did.

`run(project, …)` starts the interpreter with the module, the socket and the pipe as source-fivetran does, but without a
sandbox, takes every frame, answers checkpoints, and gives a `Result`.
"""

import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "integration"))
import frames
from operations_pipe import Pipe

START = "import sys; sys.path.insert(0, sys.argv[1]); from fivetran_connector_sdk._runner import main; main()"
ERRORS = {number: name for number, name in enumerate(frames.KINDS)}


@dataclass
class Result:
    tables: dict = field(default_factory=dict)  # name: [(column, type, flags, precision, scale)]
    operations: list = field(default_factory=list)  # ("upsert", table, {column: value}), ("checkpoint", state), …
    logs: list = field(default_factory=list)  # (priority, message)
    error: str = None
    rows: int = None  # that DONE counts; None: there was no DONE
    status: int = None
    output: str = ""
    errors: str = ""


def module(build):
    return Path(build) / "connectors/python"


def sanitizer(build):
    """The interpreter itself is not sanitized: what the extension then needs is loaded before it."""
    libraries = re.search(r'WHERRY_SANITIZER_LIBRARIES "(.+)"', (Path(build) / "wherry-build.h").read_text())
    if not libraries:
        return {}
    return {"LD_PRELOAD": libraries[1], "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


class Run:
    def __init__(self, project, build, configuration=None, state="{}", python=None, environment=None, **begin):
        self.result = Result()
        self.pipe_frames = Pipe(self.result)
        self.control = frames.Reader()
        ours, theirs = socket.socketpair()
        read_end, write_end = os.pipe()
        self.socket, self.pipe = ours, read_end
        begin = {
            "connection": "parity",
            "run_id": "run",
            "max_value_size": 16 << 20,
            "project": str(project),
            "configuration": configuration or {},
            **begin,
        }

        self.process = subprocess.Popen(
            [str(python or sys.executable), "-I", "-B", "-c", START, str(module(build))],
            preexec_fn=frames.placing(theirs.fileno(), write_end),
            close_fds=False,
            cwd=project,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TZ": "UTC", **sanitizer(build), **(environment or {})},
        )
        theirs.close()
        os.close(write_end)
        ours.sendall(frames.encode("BEGIN", configuration=json.dumps(begin), state=state))

    def take_control(self, frame):
        result = self.result
        if frame.type == "LOG":
            result.logs.append((frame.fields["priority"], frame.fields["message"]))
        elif frame.type == "CHECKPOINT":
            self.drain()
            result.operations.append(("checkpoint", frame.fields["state"]))
            self.socket.sendall(frames.encode("TAKEN", number=frame.fields["number"]))
        elif frame.type == "ERROR":
            result.error = frame.fields["message"]
        elif frame.type == "DONE":
            result.rows = frame.fields["rows"]
        else:
            assert frame.type == "PROGRESS", frame

    def drain(self):
        """What is on the pipe by now."""
        while select.select([self.pipe], [], [], 0)[0]:
            data = os.read(self.pipe, 1 << 20)
            if not data:
                return
            self.pipe_frames.feed(data)

    def finish(self, timeout=60):
        deadline = time.monotonic() + timeout
        named = {
            self.process.stdout.fileno(): "output",
            self.process.stderr.fileno(): "errors",
            self.socket.fileno(): None,
            self.pipe: None,
        }
        texts = {"output": b"", "errors": b""}
        try:
            while named:
                ready = select.select(list(named), [], [], max(0, deadline - time.monotonic()))[0]
                if not ready:
                    raise TimeoutError(f"the connector still runs; so far: {self.result}")
                for fd in ready:
                    data = os.read(fd, 1 << 20)
                    if not data:
                        del named[fd]
                    elif named[fd]:
                        texts[named[fd]] += data
                    elif fd == self.pipe:
                        self.pipe_frames.feed(data)
                    else:
                        for frame in self.control.feed(data):
                            self.take_control(frame)
            self.result.status = self.process.wait(max(1, deadline - time.monotonic()))
        finally:
            self.close()
        self.result.output, self.result.errors = (texts[name].decode() for name in ("output", "errors"))
        self.pipe_frames.end()
        return self.result

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()
        self.socket.close()
        os.close(self.pipe)


def run(project, build, timeout=60, **options):
    return Run(project, build, **options).finish(timeout)
