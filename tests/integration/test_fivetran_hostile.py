"""Connectors that mean harm: each spoils its own sync and says why, while another completes and `status` answers."""

import re
import time

import pytest
from fivetran import connector
from harness import descendants, wait_for

SMALL = {"sandbox": {"memory": "64M"}}


@pytest.fixture
def wherry(plain_wherry):
    plain_wherry.start()
    near = {"type": "sqlite", "path": str(plain_wherry.root / "near.db")}  # else one would wait for the other
    connector(plain_wherry, "op.upsert('near', {'id': 1})", name="neighbour", destination=near)
    return plain_wherry


def ended(wherry):
    return [run for run in wherry.ctl_json("runs", "weather")["runs"] if run["outcome"] not in (None, "running")]


def attack(wherry, program, outcome="failed", **options):
    """Runs PROGRAM; its run, once it has ended as OUTCOME. Until then and after it the neighbour is well."""
    connector(wherry, program, **options)
    before = len(ended(wherry))
    wherry.ctl("sync", "weather")
    assert wherry.sync("neighbour")["outcome"] == "succeeded"
    assert wherry.status("neighbour")["outcome"] == "succeeded"
    run = wait_for(lambda: len(ended(wherry)) == before + 1 and ended(wherry)[0], "the end of the sync")
    assert run["outcome"] == outcome, run
    assert wherry.sync("neighbour")["outcome"] == "succeeded"
    wait_for(lambda: not descendants(wherry.daemon.pid), "the end of all processes")
    return run


def rows(wherry):
    made = wherry.database.exists() and wherry.query("SELECT 1 FROM sqlite_master WHERE name = 't'")
    return wherry.query("SELECT count(*) FROM t")[0][0] if made else 0


# --- memory ---


GROWS = """
op.upsert("t", {"id": 1})
kept = []
while True:
    kept.append(os.urandom(1 << 20))
    time.sleep(0.02)
"""
AT_ONCE = """
op.upsert("t", {"id": 1})
kept = bytearray(1 << 40)
"""
IN_C = """
kept = os.urandom(44 << 20)
os.abort()
"""
IN_A_CHILD = "import multiprocessing\ndef grow():\n" + "".join(f"    {line}\n" for line in GROWS.splitlines()[2:])


def test_memory_without_bound_is_named_with_its_peak(wherry):
    error = attack(wherry, GROWS, **SMALL)["error"]
    found = re.fullmatch(
        r'the sync used more than its 64 MiB of memory \(peak (\d+) MiB\); allow more with "sandbox: {memory: …}"',
        error,
    )
    assert found and 64 <= int(found[1]) < 384, error
    assert rows(wherry) == 0


def test_memory_of_its_children_counts(wherry):
    program = IN_A_CHILD + "p = multiprocessing.get_context('fork').Process(target=grow)\np.start()\np.join()\n"
    assert "the sync used more than its 64 MiB of memory (peak" in attack(wherry, program, **SMALL)["error"]


@pytest.mark.parametrize("program, reason", [(AT_ONCE, "MemoryError"), (IN_C, '"connector.py" was killed by SIGABRT')])
def test_memory_that_is_refused_names_the_limit(wherry, program, reason):
    error = attack(wherry, program, **SMALL)["error"]
    assert error.startswith(reason)
    assert re.search(r'; it wanted more than its 64 MiB of memory \(peak \d+ MiB\); allow more with "sandbox: ', error)
    assert rows(wherry) == 0


def test_memory_has_a_bound_where_nothing_is_said(wherry):
    """Beside that of the writer, which is not bound by it."""
    error = attack(wherry, AT_ONCE)["error"]
    assert "MemoryError; it wanted more than its 1024 MiB of memory (peak" in error
    attack(
        wherry,
        "import resource\nop.upsert('t', {'id': resource.getrlimit(resource.RLIMIT_DATA)[0]})",
        outcome="succeeded",
    )
    assert wherry.query("SELECT id FROM t") == [((2 << 30) + (256 << 20),)]


def test_memory_that_forks_share_counts_once(wherry):
    program = """
        kept = os.urandom(40 << 20)
        children = [os.fork() for _ in range(3)]
        time.sleep(3)
        if 0 in children:
            os._exit(0)
        op.upsert("t", {"id": 1})
    """
    attack(wherry, program, outcome="succeeded", sandbox={"memory": "100M"})


# --- processes ---


def test_a_fork_bomb_is_ended(wherry):
    program = """
        for _ in range(1000):
            if os.fork() == 0:
                time.sleep(1000)
        time.sleep(1000)
    """
    error = attack(wherry, program)["error"]
    found = re.fullmatch(r"ended for running (\d+) processes; 256 are allowed", error)
    assert found and int(found[1]) > 256, error


def test_a_grandchild_that_holds_the_pipe_holds_nothing_up(wherry):
    program = """
        op.upsert("t", {"id": 1})
        if os.fork() == 0:
            if os.fork() == 0:
                try:
                    os.setsid()
                except OSError:
                    pass
                time.sleep(1000)
            os._exit(0)
    """
    begun = time.monotonic()
    attack(wherry, program, outcome="succeeded")
    assert time.monotonic() - begun < 60
    assert rows(wherry) == 1


# --- what it says, or does not ---


def test_a_flood_of_lines_is_cut_short(wherry):
    program = """
        for i in range(200_000):
            print("flood", "x" * 100)
        op.upsert("t", {"id": 1})
    """
    attack(wherry, program, outcome="succeeded")
    log = wherry.daemon.log()
    assert log.count("flood x") < 20_000
    assert rows(wherry) == 1


def test_one_that_never_returns_is_ended_by_the_stall_timeout(wherry):
    run = attack(wherry, "op.upsert('t', {'id': 1})\ntime.sleep(1000)", outcome="stalled", stall_timeout="2s")
    assert 'nothing moved for 2s ("stall_timeout")' in run["error"]
    assert rows(wherry) == 0


# --- its descriptors ---


GONE = "descriptor 4, on which rows go to the writer, was closed by the connector or a library"
DESCRIPTORS = {
    "os.closerange(0, 100)": '"connector.py" ended with status 120',
    "os.close(4); op.upsert('t', {'id': 1})": GONE,
    "os.dup2(os.open('/dev/null', os.O_WRONLY), 4); op.upsert('t', {'id': 1})": GONE,
    "os.dup2(os.open('/dev/null', os.O_WRONLY), 4); op.upsert('t', {'id': 1}); op.checkpoint({})": GONE,
    "os.close(3); time.sleep(1)": "cannot write to the other side: bad file descriptor",
    "os.dup2(os.open('/dev/null', os.O_RDWR), 3); op.upsert('t', {'id': 1})": (
        "connector.py ended before update() had (by os._exit() or the like): what it sent is not kept"
    ),
    "os.write(3, b'\\xff' * 1000); time.sleep(2)": (
        "the connector wrote to descriptor 3, which is not its: not a frame: unknown type 255"
    ),
    "op.upsert('t', {'id': 1}); os.write(4, b'\\xff' * 1000); time.sleep(2)": (
        "the worker broke the protocol: not a frame: unknown type 255"
    ),
    "os.write(4, b'\\0' * 100_000)": "the worker broke the protocol: not a frame: unknown type 0",
}


@pytest.mark.parametrize("what", DESCRIPTORS)
def test_its_descriptors_are_no_way_out(wherry, what):
    error = attack(wherry, what)["error"]
    assert DESCRIPTORS[what] in error
    assert rows(wherry) == 0


# --- the module ---


EARLY = "connector.py ended before update() had (by os._exit() or the like): what it sent is not kept"
PATCHES = {
    "_wherry.end()": "RuntimeError: update() has ended: nothing more can be sent",
    "_wherry.end = lambda: None": EARLY,
    "_runner.attempt = _runner.sync = _runner.fail = print; 1 / 0": EARLY,
    "_runner.run_update = _runner.exhaust = None; op.upsert = op.checkpoint = None; op.upsert('t', {})": "TypeError: ",
}


@pytest.mark.parametrize("what", PATCHES)
def test_a_patched_module_spoils_its_own_sync(wherry, what):
    program = f"""
        from fivetran_connector_sdk import _runner, _wherry
        op.upsert("t", {{"id": 1}})
        {what}
        op.upsert("t", {{"id": 2}})
    """
    assert attack(wherry, program)["error"].startswith(PATCHES[what])
    assert rows(wherry) == 0


def test_what_hides_the_end_of_its_rows_hides_no_rows(wherry):
    program = """
        from fivetran_connector_sdk import _wherry
        op.upsert("t", {"id": 1})
        _wherry.finish = lambda: None
    """
    attack(wherry, program, outcome="succeeded")
    assert rows(wherry) == 1


# --- what it reaches for ---


REACHES = {
    "open('/etc/passwd').read()": "PermissionError: [Errno 13] Permission denied: '/etc/passwd'",
    "import socket; socket.socket(socket.AF_UNIX).connect(configuration['control'])": "PermissionError: [Errno 1] ",
}


@pytest.mark.parametrize("what", REACHES)
def test_what_it_may_not_reach_is_refused_by_name(wherry, what):
    source = {"configuration": {"control": str(wherry.runtime_dir / "control.sock")}}
    assert attack(wherry, what, source=source)["error"].startswith(REACHES[what])


def test_it_knows_who_it_is_without_the_passwd_file(wherry):
    program = "import getpass\nop.upsert('t', {'id': 1, 'me': getpass.getuser(), 'home': os.path.expanduser('~')})"
    attack(wherry, program, outcome="succeeded")
    ((me, home),) = wherry.query("SELECT me, home FROM t")
    assert me == "wherry" and home.startswith("/")
