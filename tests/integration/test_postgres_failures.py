"""destination-postgres and a server that fails, waits or loses an answer, by itself and behind a pooler: a batch is there once or not at all."""

import os
import signal
import socket
import subprocess
import threading
import time

import frames
import harness
import postgres
import pytest
from postgres import COLUMNS, KEYED, Destination, begin_load, failure, holding, items, keyed, shown

destination, server = postgres.destination, postgres.server  # fixtures


def test_a_killed_backend_leaves_no_trace(destination):
    writer, pid = begin_load(destination)
    destination.query(f"SELECT pg_terminate_backend({pid})")
    writer.put(writer.rest)
    writer.status = writer.finish()
    kind, message = failure(writer)
    assert kind == "temporary" and "(all of this batch is rolled back)" in message
    assert not destination.has_table()
    assert destination.load(frames.file_frames("a.csv", items(3))).status == 0
    assert destination.rows() == shown(3)


def test_a_killed_writer_leaves_no_trace(destination):
    writer, _ = begin_load(destination)
    writer.kill()
    assert destination.load(frames.file_frames("a.csv", items(3))).status == 0
    assert destination.rows() == shown(3)
    assert destination.state() == [("1", "1", "run-2")]


def test_a_restart_of_the_server_in_the_middle(build):
    server = postgres.Server()
    destination = Destination(build.destination("postgres"), server)
    try:
        writer, _ = begin_load(destination)
        server.restart(signal.SIGQUIT)
        writer.put(writer.rest)
        writer.status = writer.finish()
        assert failure(writer)[0] == "temporary"
        assert not destination.has_table()
        assert destination.load(frames.file_frames("a.csv", items(3))).status == 0
        assert destination.rows() == shown(3)

        server.restart(default_transaction_read_only="on")
        kind, message = failure(destination.load(frames.file_frames("b.csv", items(1, 3))))
        assert kind == "temporary"
        assert "the server is read-only (a standby, or default_transaction_read_only)" in message
        server.restart(default_transaction_read_only="off")
        assert destination.load(frames.file_frames("b.csv", items(1, 3))).status == 0

        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        kind, message = failure(destination.load(frames.file_frames("c.csv", items(1, 4))))
        assert kind == "temporary"
        assert "the server is read-only (a standby, or default_transaction_read_only)" in message
        server.stop()
        (server.data / "standby.signal").unlink()
        server.start()
        assert destination.load(frames.file_frames("c.csv", items(1, 4))).status == 0

        server.stop()
        kind, message = failure(destination.load(frames.file_frames("d.csv", items(1))))
        assert kind == "temporary"
        assert message.startswith(
            f'cannot connect to database "{destination.database}" on "{server.root}": connection to server'
        )
        # libpq's lines as one sentence
        assert message.endswith(
            "failed: No such file or directory; Is the server running locally and accepting connections on that socket?"
        )
    finally:
        destination.close()
        server.close()


def test_a_lock_is_waited_for_in_vain(destination):
    assert destination.load(frames.file_frames("a", items(1))).status == 0
    with holding(destination, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE"):
        kind, message = failure(destination.load(frames.file_frames("b", items(1)), own={"lock_timeout": 1}))
        assert kind == "temporary"
        assert (
            "cannot lock a table: canceling statement due to lock timeout; somebody else holds a lock (`lock_timeout`)"
            in message
        )


def test_cancel_ends_a_wait(destination):
    assert destination.load(frames.file_frames("a", items(1))).status == 0
    with holding(destination, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE"):
        writer = destination.start(own={"lock_timeout": 60})
        writer.opened()
        writer.put(frames.hello() + frames.table("orders", COLUMNS) + frames.file_frames("b", items(1)))
        phase = None
        while phase != "waiting for a lock":
            said = writer.next()
            assert said.type in ("PROGRESS", "LOG"), said
            phase = said.fields.get("phase")
        began = time.monotonic()
        writer.say(frames.encode("CANCEL"))
        writer.status = writer.finish()
        assert failure(writer)[0] == "cancelled"
        assert time.monotonic() - began < 5


# --- answers that get lost ---


class Proxy:
    """Between writer and server, a socket that can forget an answer. ON_COMMIT(proxy, forward) is called at the first COMMIT,
    instead of sending it on; from then on that connection's answers are kept back, and its writer is cut off."""

    def __init__(self, server, folder, on_commit):
        self.server, self.on_commit = server, on_commit
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / ".s.PGSQL.5432"))
        self.listener.listen()
        self.ends, self.muted = [], set()
        self.thread = threading.Thread(target=self.accept)
        self.thread.start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            upstream = socket.socket(socket.AF_UNIX)
            upstream.connect(str(self.server.root / ".s.PGSQL.5432"))
            self.ends += [client, upstream]
            threading.Thread(target=self.upward, args=(client, upstream), daemon=True).start()
            threading.Thread(target=self.downward, args=(client, upstream), daemon=True).start()

    def upward(self, client, upstream):
        try:
            while data := client.recv(1 << 16):
                if data.endswith(b"COMMIT\0") and self.on_commit:
                    self.muted.add(upstream)
                    action, self.on_commit = self.on_commit, None
                    action(self, lambda: upstream.sendall(data))
                    client.shutdown(socket.SHUT_RDWR)
                    return  # the server's side stays open: it has not noticed anything
                upstream.sendall(data)
            upstream.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def downward(self, client, upstream):
        try:
            while data := upstream.recv(1 << 16):
                if upstream not in self.muted:
                    client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for end in self.ends:
            end.close()
        self.thread.join()


@pytest.fixture
def proxied(destination, tmp_path):
    """A destination that holds a row, from now on behind a proxy."""
    assert destination.load(frames.file_frames("0", items(1))).status == 0
    proxies = []

    def behind(on_commit):
        proxies.append(Proxy(destination.server, tmp_path, on_commit))
        destination.url = destination.url.replace(str(destination.server.root), str(tmp_path))
        return destination

    yield behind
    for proxy in proxies:
        proxy.close()


def sequence(destination):
    return int(destination.state()[0][0])


def test_committed_but_the_answer_was_lost(proxied):
    def forward(proxy, send):
        send()
        harness.wait_for(lambda: sequence(destination) == 2, "the commit")

    destination = proxied(forward)
    writer = destination.load(frames.file_frames("a", items(1, 1)), frames.file_frames("b", items(1, 2)))
    assert writer.status == 0, writer.seen
    assert any(
        "the connection was lost while committing; it was committed" in log["message"] for log in writer.frames("LOG")
    )
    assert [done["sequence"] for done in writer.frames("FILE_DONE")] == [2, 3]
    assert destination.rows() == shown(3)
    assert sequence(destination) == 3


def test_never_committed(proxied):
    def swallow(proxy, send):
        for pid in destination.backends():
            destination.query(f"SELECT pg_terminate_backend({pid})")

    destination = proxied(swallow)
    kind, message = failure(destination.load(frames.file_frames("a", items(1, 1))))
    assert kind == "temporary" and message.endswith("; it was not committed")
    assert destination.rows() == shown(1)
    assert sequence(destination) == 1
    assert destination.load(frames.file_frames("a", items(1, 1))).status == 0
    assert destination.rows() == shown(2)


def check_unknown_then_known(destination, writer, release):
    """What is said while nobody can know, and that the next run finds out."""
    kind, message = failure(writer)
    assert kind == "temporary"
    assert "whether it was committed is not known yet" in message and "the next run reads what is there" in message
    assert sequence(destination) == 1
    release()
    harness.wait_for(lambda: sequence(destination) == 2, "the old commit")
    writer = destination.start()
    assert writer.opened().fields["sequence"] == 2
    writer.say(frames.encode("FILE_SEEN", hash=frames.digest(b"a"), size=1, name="a"))
    assert writer.expect("FILE_VERDICT").fields["verdict"] == frames.SKIP
    assert destination.rows() == shown(2)


def test_a_backend_paused_at_commit(proxied):
    stopped = []

    def pause(proxy, send):
        stopped.extend(destination.backends())
        os.kill(stopped[0], signal.SIGSTOP)
        send()

    destination = proxied(pause)
    writer = destination.load(frames.file_frames("a", items(1, 1)), own={"lock_timeout": 1})
    check_unknown_then_known(destination, writer, lambda: os.kill(stopped[0], signal.SIGCONT))


def test_a_backend_waiting_inside_commit(proxied):
    """The commit is on disk, and not visible yet: its backend waits for a standby that does not exist."""
    server_settings = "ALTER SYSTEM SET synchronous_standby_names = '{}'"

    def wait_for_nobody(proxy, send):
        destination.execute(server_settings.format("ghost"), "SELECT pg_reload_conf()")
        harness.wait_for(lambda: destination.query("SHOW synchronous_standby_names") == [("ghost",)], "the setting")
        send()

    destination = proxied(wait_for_nobody)
    writer = destination.load(frames.file_frames("a", items(1, 1)), own={"lock_timeout": 1})
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    assert destination.query(waiting) == [("1",)]
    check_unknown_then_known(
        destination,
        writer,
        lambda: destination.execute(server_settings.format(""), "SELECT pg_reload_conf()"),
    )


# --- behind a pooler ---


@pytest.fixture
def pooled(destination):
    """A destination whose sessions are PgBouncer's, per transaction."""
    bouncer = postgres.Bouncer(destination.server)
    destination.bouncer = bouncer
    destination.url = destination.url.replace(str(destination.server.root), str(bouncer.root))
    yield destination
    destination.close()
    bouncer.close()


def test_sessions_are_somebody_elses_after_each_transaction(pooled):
    """Two writers take turns on the same few server connections, and neither leaves anything behind there."""
    writers = [pooled.start(connection=f"c{i}", dest_table=f"t{i}") for i in range(4)]
    for i, writer in enumerate(writers):
        writer.opened()
        writer.put(frames.hello() + frames.table(f"t{i}", COLUMNS))
    for turn in range(5):
        for writer in writers:
            writer.put(frames.file_frames(f"{turn}", items(20, turn * 20)))
            assert writer.expect("FILE_DONE").fields["error"] == ""
    for i, writer in enumerate(writers):
        writer.put(frames.encode("END"))
        assert writer.finish() == 0, writer.seen
        assert pooled.rows(f"t{i}") == shown(100)
    settings = "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name NOT IN ('application_name', 'client_encoding')"
    done = subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", "-c", settings, pooled.url],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [
        line for line in done.stdout.split() if "timeout" in line or "synchronous" in line or "seqscan" in line
    ] == []


def test_operations_behind_a_pooler(pooled):
    parts = [
        keyed([(i, f"x{i}") for i in range(30)], checkpoint=1),
        keyed([(i, "new") for i in range(10)], checkpoint=2),
    ]
    parts.append(keyed([(5, frames.ABSENT)], operation="delete", checkpoint=3))
    writer = pooled.load(*parts, columns=KEYED, files=False)
    assert writer.status == 0, writer.seen
    assert pooled.query(
        "SELECT count(*), count(*) FILTER (WHERE note = 'new'), count(*) FILTER (WHERE _fivetran_deleted) FROM orders"
    ) == [("30", "10", "1")]
    assert pooled.query("SELECT state FROM _wherry_state") == [('{"at":3}',)]


def test_a_backend_paused_at_commit_behind_a_pooler(pooled, tmp_path):
    assert pooled.load(frames.file_frames("0", items(1))).status == 0
    stopped = []

    def pause(proxy, send):
        stopped.extend(pooled.busy())
        os.kill(stopped[0], signal.SIGSTOP)
        send()
        time.sleep(0.2)  # for PgBouncer to pass it on; the pause itself needs no time

    proxy = Proxy(pooled.bouncer, tmp_path, pause)
    pooled.url = pooled.url.replace(str(pooled.bouncer.root), str(tmp_path))
    try:
        writer = pooled.load(frames.file_frames("a", items(1, 1)), own={"lock_timeout": 1})
        check_unknown_then_known(pooled, writer, lambda: os.kill(stopped[0], signal.SIGCONT))
    finally:
        proxy.close()
