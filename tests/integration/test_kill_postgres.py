"""Killed at any instant, nothing is lost in PostgreSQL and nothing repeated: the sync of test_kill.py, with this destination.

Besides Wherry's three processes, the server's own is killed: the writer is stopped at its N-th message to the server, the
backend gets SIGKILL (upon which PostgreSQL throws every session out and recovers, as after a crash), the writer goes on.
"""

import collections
import concurrent.futures
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import frames
import harness
import postgres
import pytest
from operations_postgres import Postgres
from test_kill import ROWS, Scenario, points_to_kill, rows_of, wrapped_programs
from test_kill_operations import SEGMENTS, checkpoint_of, recovers, run, snapshots
from test_operations import compare

SAMPLES = {"daemon": 2, "worker": 2, "writer": 8}  # of each kind of call
SERVER_KILLS = 8
KEYED_KILLS = 4
TEMPLATE = "prepared"
SERVERS = []


class PostgresScenario(Scenario):
    def __init__(self, build, base, server, programs=None):
        super().__init__(build, base, programs)
        self.server = server
        server.databases += 1
        self.database = f"run{server.databases}"
        server.execute(f"CREATE DATABASE {self.database} TEMPLATE {TEMPLATE}", database="postgres")

    def environment(self):
        return {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "DATABASE_URL": self.server.url(self.database)}

    def once(self, tracer=()):
        return subprocess.run(
            [*tracer, *self.command()],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=harness.TIMEOUT_S,
            env=self.environment(),
        )

    def wrap(self, role, tracer):
        names = {"worker": "source-files", "writer": "destination-postgres"}
        build = self.wherry.build
        programs = {"source-files": build.source("files"), "destination-postgres": build.destination("postgres")}
        self.programs = wrapped_programs(self.wherry.root / "programs", programs, names[role], tracer)

    def table(self):
        found = collections.defaultdict(list)
        for hash, number, note, amount in self.server.query(
            "SELECT _source_file_hash, order_id, note, amount FROM orders ORDER BY order_id", self.database
        ):
            found[hash].append((int(number), note, float(amount)))
        return dict(found)

    def close(self):
        super().close()
        self.server.execute(f"DROP DATABASE {self.database} WITH (FORCE)", database="postgres")


def server_of_this_process(data):
    """Each process of the pool has a server of its own, started once, that dies with it."""
    if not SERVERS:
        SERVERS.append(postgres.Server(fsync="off"))
        prepare(SERVERS[0], data)
    return SERVERS[0]


def prepare(server, data):
    server.execute(f"CREATE DATABASE {TEMPLATE}", database="postgres")
    server.execute(data, database=TEMPLATE)


@pytest.fixture(scope="module")
def base(plain_build, tmp_path_factory):
    """Folders as test_kill.py has them, and what the database holds then, as SQL."""
    server = postgres.Server(fsync="off")
    wherry = harness.Wherry(plain_build)
    try:
        database = server.create_database()
        definition = {
            **wherry.orders(),
            "source": {"type": "files", "dir": "../../in"},
            "connector": {"type": "postgres", "lock_timeout": "10s"},
        }
        wherry.pipeline("orders", definition)
        wherry.drop("0.csv", rows_of("0"))
        done = wherry.run_daemon("--once", "orders", env={"DATABASE_URL": server.url(database)})
        assert done.returncode == 0, done.stderr
        for name in "abc":
            wherry.drop(f"{name}.csv", rows_of(name, good=name != "b"))
        dumped = subprocess.run(
            [postgres.BINARIES / "pg_dump", "--no-owner", "--inserts", "--rows-per-insert=500", server.url(database)],
            capture_output=True,
            text=True,
            check=True,
        )
        folder = tmp_path_factory.mktemp("kill-postgres") / "base"
        shutil.copytree(wherry.root, folder)
    finally:
        wherry.close()
        server.close()
    data = "\n".join(line for line in dumped.stdout.splitlines() if not line.startswith("\\"))
    return folder, data.rstrip().removesuffix(";")


def judge(scenario, what):
    """What is wrong after a kill, or ""."""
    try:
        harness.wait_for(scenario.server.is_ready, "the server")
        scenario.check_no_half()
        scenario.check_recovery()
        return ""
    except AssertionError as error:
        return f"{what}: {error}"


def kill_at(build, base, role, call, number):
    scenario = PostgresScenario(build, base[0], server_of_this_process(base[1]))
    try:
        _, killed = scenario.run_traced(role, (call, number))
        return judge(scenario, f"{role} killed at {call} number {number}") if killed else None
    finally:
        scenario.close()


@pytest.mark.long
@pytest.mark.timeout(3000)
def test_killed_at_every_call(plain_build, base, capsys):
    full = os.environ.get("WHERRY_TEST_FULL") == "1"
    seed = int(os.environ.get("WHERRY_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    rng, points, wanted = random.Random(seed), [], collections.Counter()
    server = postgres.Server(fsync="off")
    try:
        prepare(server, base[1])
        for role, samples in SAMPLES.items():
            scenario = PostgresScenario(plain_build, base[0], server)
            calls, _ = scenario.run_traced(role)
            scenario.close()
            assert calls, f"the trace of the {role} shows no call at all"
            wanted.update({(role, call): count for call, count in calls.items()})
            by_call = collections.defaultdict(list)
            for call, number in points_to_kill(calls, full, rng):
                by_call[call].append(number)
            for call, numbers in by_call.items():
                points += [
                    (role, call, n) for n in (numbers if full else rng.sample(numbers, min(samples, len(numbers))))
                ]
    finally:
        server.close()
    made, wrong = collections.Counter(), []
    with concurrent.futures.ProcessPoolExecutor(harness.processors(), initializer=in_pool) as pool:
        outcomes = pool.map(kill_at, *zip(*((plain_build, base, *point) for point in points)))
        for (role, call, _), outcome in zip(points, outcomes):
            made[role, call] += outcome is not None
            wrong += [outcome] if outcome else []
    with harness.aloud(capsys):
        print(f"\nkills made, of calls seen (seed {seed}):")
        for role, call in sorted(wanted):
            print(f"  {role:<8} {call:<16} {made[role, call]:>4} of {wanted[role, call]}")
    assert not wrong, "\n".join(wrong)
    assert sum(count for (role, _), count in made.items() if role == "writer") >= SAMPLES["writer"]


def in_pool():
    """The server of a pool's process is ended by its parent-death signal; its folder is taken away here."""
    harness.become_subreaper()
    harness.lasting.clear()
    import atexit
    import multiprocessing.util

    def close():
        for server in SERVERS:
            server.close()

    atexit.register(close)
    multiprocessing.util.Finalize(None, close, exitpriority=1)


def stillness(pid):
    """What changes as soon as a process moves; None while it is not stopped."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    return re.findall(r"ctxt_switches:\s+\d+", status) if re.search(r"State:\s+[tT]", status) else None


def stopped_writer():
    """A tracer holds its tracee for a moment at each call: one that stays where it is was stopped."""
    for child in harness.descendants("self"):
        command = harness.command_line(child)
        if command.endswith("/destination-postgres") and not command.startswith("strace"):
            before = stillness(child)
            time.sleep(0.2)
            if before and stillness(child) == before:
                return child
    return None


def goes_on(writer):
    """Again and again: on a busy machine a writer that only waited for its tracer may have been taken for stopped."""
    try:
        os.kill(writer, signal.SIGCONT)
    except ProcessLookupError:  # the daemon has ended it
        pass
    return True


def kill_backend(build, base, server, number):
    """None where the writer sent fewer messages."""
    scenario = PostgresScenario(build, base[0], server)
    try:
        tracer = ["strace", "-o", str(scenario.trace), "-e", "trace=sendto"]
        scenario.wrap("writer", [*tracer, "-e", f"inject=sendto:signal=STOP:when={number}"])
        process = subprocess.Popen(
            scenario.command(), env=scenario.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        writer = harness.wait_for(lambda: stopped_writer() or process.poll() is not None, "the writer to stop")
        if writer is True:
            return None
        for (pid,) in server.query(
            f"SELECT pid FROM pg_stat_activity WHERE datname = '{scenario.database}' AND application_name = 'wherry'",
            "postgres",
        ):
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:  # thrown out with the one before it
                pass
        harness.wait_for(lambda: goes_on(writer) and process.poll() is not None, "the end of the sync")
        harness.wait_for(harness.all_gone, "the end of every process of the sync")
        scenario.programs = None
        return judge(scenario, f"backend killed at message {number}")
    finally:
        scenario.close()


def test_the_server_is_killed(plain_build, base):
    seed = int(os.environ.get("WHERRY_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    rng = random.Random(seed)
    server = postgres.Server(fsync="off")
    try:
        prepare(server, base[1])
        scenario = PostgresScenario(plain_build, base[0], server)
        scenario.wrap("writer", ["strace", "-o", str(scenario.trace), "-e", "trace=sendto"])
        scenario.once()
        count = scenario.trace.read_text().count("sendto(")
        scenario.close()
        full = os.environ.get("WHERRY_TEST_FULL") == "1"
        numbers = range(2, count + 1) if full else sorted({count, *rng.sample(range(2, count + 1), SERVER_KILLS - 1)})
        outcomes = {number: kill_backend(plain_build, base, server, number) for number in numbers}
    finally:
        server.close()
    wrong = [outcome for outcome in outcomes.values() if outcome]
    assert not wrong, f"seed {seed}: " + "\n".join(wrong)
    assert sum(outcome == "" for outcome in outcomes.values()) >= SERVER_KILLS // 2, outcomes
    assert ROWS > 0


# --- keyed operations, with checkpoints ---


class Keyed(Postgres):
    """The operations of test_kill_operations.py, in a schema of their own, on a server that may be killed."""

    def __init__(self, build, server):
        server.databases += 1
        self.server, self.program, self.schema = server, build.destination("postgres"), f"keyed{server.databases}"

    def query(self, sql):
        return self.server.query(f"SET TimeZone = 'UTC'; {sql}", self.server.database)


def traced(trace, inject=()):
    return ["strace", "-o", str(trace), "-e", "trace=sendto", *inject]


def kill_server_of(adapter, thread):
    """Once the writer stands still, its backend goes, and with it every session. False where it never stood still."""
    writer = harness.wait_for(lambda: stopped_writer() or not thread.is_alive(), "the writer to stop")
    if writer is True:
        return False
    sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'wherry'"
    for (pid,) in adapter.server.query(sql, adapter.server.database):
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:  # thrown out with the one before it
            pass
    harness.wait_for(lambda: goes_on(writer) and not thread.is_alive(), "the end of the sync")
    return True


def judge_keyed(adapter, what):
    """All of one checkpoint and nothing of the next, the state being that checkpoint's; then the rest."""
    try:
        harness.wait_for(adapter.server.is_ready, "the server")
        models, at = snapshots(), checkpoint_of(adapter)
        compare(adapter, models[at])
        recovers(adapter, models)
        return ""
    except AssertionError as error:
        return f"{what}: {error}"


@pytest.mark.parametrize("who", ["writer", "server"])
def test_operations_killed_at_a_message(plain_build, tmp_path, who):
    """WHO is killed before the writer's N-th message to the server."""
    seed = int(os.environ.get("WHERRY_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    full, trace = os.environ.get("WHERRY_TEST_FULL") == "1", tmp_path / "trace"
    server = postgres.Server(fsync="off")
    try:
        server.database = server.create_database()
        assert run(Keyed(plain_build, server), traced(trace)).frames("DONE")
        count = trace.read_text().count("sendto(")
        assert count > 20 * SEGMENTS
        numbers = range(2, count + 1) if full else random.Random(seed).sample(range(2, count + 1), KEYED_KILLS)
        outcomes = {}
        for number in numbers:
            adapter = Keyed(plain_build, server)
            sign = "KILL" if who == "writer" else "STOP"
            prefix = traced(trace, ["-e", f"inject=sendto:signal={sign}:when={number}"])
            thread = threading.Thread(target=run, args=(adapter, prefix))
            thread.start()
            made = kill_server_of(adapter, thread) if who == "server" else True
            thread.join()
            harness.wait_for(harness.all_gone, "the end of every process of the sync")
            if made and (who == "server" or "+++ killed by SIGKILL +++" in trace.read_text(errors="replace")):
                outcomes[number] = judge_keyed(adapter, f"{who} killed at message {number} of {count}")
    finally:
        server.close()
    wrong = [outcome for outcome in outcomes.values() if outcome]
    assert not wrong, f"seed {seed}: " + "\n".join(wrong)
    assert len(outcomes) >= KEYED_KILLS // 2, outcomes


# --- files of changes ---


def sync_changes(destination, prefix, name, at):
    """Rows of keys 0 to 3999, half of them deleted; in so many pieces that there are messages to be killed at."""
    columns = [
        ("id", "integer", frames.KEY | frames.REQUIRED),
        ("at", "integer", frames.SEQUENCE | frames.REQUIRED),
        ("note", "string"),
        ("is_deleted", "boolean", frames.IS_DELETED),
    ]
    rows = [(i, at, f"{at} " + "x" * 200, at > 1 and i % 2 == 0) for i in range(4000)]
    begin = destination.configuration(write_mode="cdc")
    writer = frames.Writer([*prefix, str(destination.program)], begin)
    try:
        writer.put(frames.hello() + frames.table("orders", columns))
        writer.put(frames.file_frames(name, rows, operation="upsert") + frames.encode("END"))
        writer.status = writer.finish()
    except (frames.Gone, ConnectionResetError, BrokenPipeError):
        writer.status = None
    finally:
        writer.kill()
    return writer


def test_changes_killed_at_a_message(plain_build, tmp_path):
    """The table is as it was before the file, or as it is after it."""
    seed = int(os.environ.get("WHERRY_TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    trace, made = tmp_path / "trace", 0
    before, after = [("1", "4000")], [("2", "2000")]
    server = postgres.Server(fsync="off")
    try:
        destination = postgres.Destination(plain_build.destination("postgres"), server)
        assert sync_changes(destination, traced(trace), "0", 1).status == 0
        assert sync_changes(destination, traced(trace), "a", 2).status == 0
        count = trace.read_text().count("sendto(")
        found = "SELECT at, count(*) FROM orders GROUP BY 1"
        assert count > 20 and destination.query(found) == after
        full = os.environ.get("WHERRY_TEST_FULL") == "1"
        numbers = range(2, count + 1) if full else random.Random(seed).sample(range(2, count + 1), KEYED_KILLS)
        for number in [*numbers, count]:
            assert sync_changes(destination, (), f"back {number}", 1).status == 0
            assert destination.query(found) == before
            prefix = traced(trace, ["-e", f"inject=sendto:signal=KILL:when={number}"])
            sync_changes(destination, prefix, f"b {number}", 2)
            harness.wait_for(harness.all_gone, "the end of every process of the sync")
            killed = "+++ killed by SIGKILL +++" in trace.read_text(errors="replace")
            made += killed
            what = f"seed {seed}, killed at message {number} of {count}"
            assert destination.query(found) in ((before, after) if killed else (after,)), what
            assert sync_changes(destination, (), f"b {number}", 2).status == 0
            assert destination.query(found) == after, what
    finally:
        server.close()
    assert made >= KEYED_KILLS // 2
