"""What code running inside our sandbox can still do: each forbidden thing by name, layer by layer, kernel by kernel.

`sandbox-probe` enters the sandbox with a policy and tries; `probe-source` does the same as the installed worker of a
running daemon. Neither can leave a layer out: that is done from outside, by strace, which lets the system call that
would put the layer on seem to succeed without being made. A test of a layer is good only if things go through then.
"""

import re
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "WHERRY_TEST_SECRET": "hunter22"}
SYSTEM = ["rx:/usr", "rx:/bin", "rx:/lib", "rx:/lib64"]
FIXED_ENVIRONMENT = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TZ=UTC"


class World:
    """Things to reach for, in temporary folders: a file, sockets of every kind, a process."""

    def __init__(self):
        self.root = Path(tempfile.mkdtemp(prefix="wherry-sandbox-", dir="/tmp"))
        self.root.chmod(0o755)
        self.inside = self.root / "inside"
        self.outside = self.root / "outside"
        for folder in (self.inside, self.outside):
            folder.mkdir()
            folder.chmod(0o777)
        (self.inside / "file").write_text("inside\n")
        (self.inside / "spare").write_text("inside\n")
        (self.outside / "secret").write_text("secret\n")
        (self.inside / "link").symlink_to("../outside/secret")
        shutil.copy("/usr/bin/id", self.root / "setuid")
        (self.root / "setuid").chmod(0o4755)
        self.stream = self.listen(socket.AF_UNIX, str(self.outside / "stream"))
        self.datagram = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.datagram.bind(str(self.outside / "datagram"))
        self.abstract_name = f"wherry-{self.root.name}"
        self.abstract = self.listen(socket.AF_UNIX, "\0" + self.abstract_name)
        self.tcp = self.listen(socket.AF_INET, ("127.0.0.1", 0))
        self.port = self.tcp.getsockname()[1]
        self.victim = subprocess.Popen(["sleep", "600"], env=ENV)

    @staticmethod
    def listen(family, address):
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.bind(address)
        listener.listen(64)
        return listener

    def close(self):
        for listener in (self.stream, self.datagram, self.abstract, self.tcp):
            listener.close()
        self.victim.kill()
        self.victim.wait()
        shutil.rmtree(self.root)


@pytest.fixture
def world():
    found = World()
    yield found
    found.close()


class Probe:
    """What sandbox-probe said: `layers`, `error`, and a word for each name; a signal's name where it was ended."""

    def __init__(self, completed):
        self.words = dict(line.split(": ", 1) for line in completed.stdout.splitlines())
        self.status = completed.returncode
        self.layers = self.words.pop("layers", None)
        self.error = self.words.pop("error", None)
        assert self.layers or self.error, completed

    def __getitem__(self, name):
        return self.words[name]


def strace(*injections):
    """A command in front that answers system calls itself: "seccomp:retval=0" pretends, "…:error=ENOSYS" refuses."""
    calls = ",".join(injection.split(":")[0] for injection in injections)
    command = [
        "strace",
        "-D",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"trace={calls}",
    ]  # -D: the program stays our child
    for injection in injections:
        command += ["-e", f"inject={injection}"]
    return command


NO_LANDLOCK = strace("landlock_restrict_self:retval=0")
NO_SECCOMP = strace("seccomp:retval=0")


def landlock_abi(version):
    """A kernel whose Landlock is that old: the first call asks for the version."""
    return strace(f"landlock_create_ruleset:retval={version}:when=1")


def probe(build, world, *options, names=(), paths=(), wrapper=(), user=None):
    command = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
    command += [*wrapper, build.path / "tests/integration/sandbox-probe"]
    command += ["--inside", world.inside, "--outside", world.outside / "secret", "--victim", world.victim.pid]
    command += ["--socket", world.outside / "stream", "--datagram", world.outside / "datagram"]
    command += ["--abstract", world.abstract_name, "--setuid", world.root / "setuid", "--connect", world.port]
    for path in paths or [f"r:{world.inside}"]:
        command += ["--path", path]
    for name in names:
        command += ["--try", name]
    completed = subprocess.run(
        [str(part) for part in [*command, *options]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env=ENV,
        timeout=60,
    )
    assert completed.returncode in (0, 1) or completed.returncode < 0, completed
    return Probe(completed)


# What a worker for local files meets: it may read one folder, and nothing else.
NATIVE = {
    # files
    "open_outside": "EACCES",
    "open_outside_for_writing": "EACCES",
    "open_through_link": "EACCES",
    "open_dotdot": "EACCES",
    "create_outside": "EACCES",
    "list_outside": "EACCES",
    "open_passwd": "EACCES",
    "open_daemon_environment": "EACCES",
    "open_daemon_memory": "EACCES",
    "open_cgroup": "EACCES",
    "chmod_outside": "EPERM",
    "chown_outside": "EPERM",
    "utime_outside": "EPERM",
    "setxattr_outside": "EPERM",
    "link_outside": "EPERM",
    "rename_outside": "EACCES",
    "truncate_outside": "EPERM",
    "mkdir_outside": "EACCES",
    "remove_outside": "EACCES",
    "symlink_inside": "EPERM",
    "mknod_inside": "EPERM",
    "mkfifo_inside": "EPERM",
    "write_inside": "EACCES",
    "create_inside": "EACCES",
    "remove_inside": "EACCES",
    "inotify": "EPERM",
    # programs and executable memory
    "execve": "EPERM",
    "execveat": "EPERM",
    "execute_memory_file": "EPERM",
    "map_writable_executable": "EPERM",
    "make_executable": "EPERM",
    # processes
    "fork": "EPERM",
    "vfork": "EPERM",
    "clone3": "ENOSYS",
    "clone_user_namespace": "EPERM",
    "clone_sibling": "EPERM",
    "outlive": "EPERM",
    "setsid": "EPERM",
    "setpgid": "EPERM",
    "setsid_of_child": "EPERM",
    "setuid_program": "EPERM",
    "clear_parent_death_signal": "EPERM",
    "become_dumpable": "EPERM",
    "become_subreaper": "EPERM",
    "signal_daemon": "EPERM",
    "signal_daemon_thread": "EPERM",
    "signal_daemon_tkill": "EPERM",
    "signal_daemon_queue": "EPERM",
    "signal_daemon_pidfd": "EPERM",
    "signal_daemon_owner": "EPERM",
    "signal_everyone": "EPERM",
    "limit_daemon": "EPERM",
    "raise_own_limit": "EPERM",
    "slow_daemon": "EPERM",
    "pin_daemon": "EPERM",
    "change_user": "EPERM",
    "change_groups": "EPERM",
    # sockets
    "socket_inet": "EPERM",
    "socket_inet6": "EPERM",
    "socket_udp": "EPERM",
    "socket_mptcp": "EPERM",
    "socket_raw": "EPERM",
    "socket_ping": "EPERM",
    "socket_netlink": "EPERM",
    "socket_packet": "EPERM",
    "socket_vsock": "EPERM",
    "socket_crypto": "EPERM",
    "socket_unix": "EPERM",
    "socket_unix_datagram": "EPERM",
    "socket_unix_flags": "EPERM",
    "connect_control_socket": "EPERM",
    "connect_abstract_socket": "EPERM",
    "datagram_to_path": "EPERM",
    "connect_port": "EPERM",
    "connect_port_fastopen": "EPERM",
    "connect_port_fastopen_message": "EPERM",
    "connect_port_fastopen_messages": "EPERM",
    "send_fastopen_on_pair": "EPERM",
    "listen": "EPERM",
    "listen_without_bind": "EPERM",
    # the kernel
    "memory_file": "EPERM",
    "personality": "EPERM",
    "type_into_terminal": "EPERM",
    "type_into_terminal_high": "EPERM",
    "install_filter": "EPERM",
    "shared_memory": "EPERM",
    "unknown_call": "ENOSYS",
    # what it is
    "no_new_privs": "1",
    "dumpable": "0",
    "leads_group": "done",
    "environment": FIXED_ENVIRONMENT,
    "descriptors": "0 1 2",
    "capabilities": "0" * 15 + "f",  # chown, dac_override, dac_read_search, fowner: of root's, what files take
    "limits": "core=0 files=256 data=-1",
    # what an honest one needs
    "works_threads": "done",
    "works_memory": "done",
    "works_stdio": "done",
    "works_sqlite": "unable to open database file",  # it may only read
    "works_hash": "done",
    "works_iconv": "done",
    "works_time": "done",
    "works_random": "done",
    "works_socketpair": "done",
    "works_abort": "done",
    "works_dev_null": "done",
    "works_fchmod": "EACCES",
    "works_lookup": "EACCES",
    "works_own_limit": "EPERM",
}

# Never right, and ended for it.
ENDED = """open_by_handle fanotify ptrace_daemon ptrace_self read_daemon_memory write_daemon_memory
take_daemon_descriptor compare_daemon io_uring bpf mount umount pivot_root chroot unshare setns keyctl add_key kexec
load_module reboot swapon perf_event userfaultfd syslog set_clock x32_call""".split()

# Where a policy allows more, and where the kernel's answer then is another.
WRITING = {
    "write_inside": "done",
    "create_inside": "done",
    "remove_inside": "done",
    "works_sqlite": "done",
    "works_fchmod": "done",
}
OUTBOUND = {
    "socket_inet": "done",
    "socket_inet6": "done",
    "socket_udp": "done",
    "connect_port": "done",
    "works_lookup": "done",
}
EXECUTING = {
    "execve": None,  # ends the probe by another program
    "execveat": None,
    "fork": "done",
    "vfork": "done",
    "outlive": "done",  # the process tree's to end
    "signal_daemon_queue": "EPERM",
    "chmod_outside": "done",  # it says; see test_modes_and_times_by_path_are_pretended
    "chown_outside": "done",
    "utime_outside": "done",
    "setxattr_outside": "done",
    "link_outside": "EACCES",
    "symlink_inside": "EACCES",
    "works_own_limit": "done",
    "map_writable_executable": "done",
    "make_executable": "done",
    "remove_inside": "EACCES",
}


def differences(found, expected):
    return {name: found.words.get(name) for name, word in expected.items() if word and found.words.get(name) != word}


def expect(found, *expectations):
    expected = {}
    for expectation in expectations:
        expected.update(expectation)
    assert found.error is None
    assert differences(found, expected) == {}


def test_a_native_program_reaches_its_folder_and_nothing_else(plain_build, world):
    found = probe(plain_build, world)
    expect(found, NATIVE)
    assert set(found.words) == set(NATIVE)  # nothing that is tried is without an expectation


@pytest.mark.parametrize("name", ENDED)
def test_ended_for(plain_build, world, name):
    found = probe(plain_build, world, names=[name])
    assert found.status == -signal.SIGSYS
    assert name not in found.words


def test_an_ordinary_user_has_the_same_sandbox(plain_build, world):
    found = probe(plain_build, world, user=65534)
    # /proc refuses the user what it lets root's sandbox refuse
    expect(found, NATIVE, {"capabilities": "0" * 16, "open_daemon_memory": "EACCES"})


def test_a_writing_program_writes_where_it_may(plain_build, world):
    found = probe(plain_build, world, paths=[f"rwc:{world.inside}"])
    expect(found, NATIVE, WRITING)


def test_writing_is_not_creating(plain_build, world):
    found = probe(plain_build, world, paths=[f"rw:{world.inside}"])
    expect(found, NATIVE, WRITING, {"create_inside": "EACCES", "remove_inside": "EACCES", "works_sqlite": None})


def test_a_file_is_granted_without_its_folder(plain_build, world):
    found = probe(plain_build, world, paths=[f"rw:{world.inside}/file"])
    expect(found, NATIVE, {"write_inside": "done", "works_fchmod": "done", "works_stdio": "EACCES"})


def test_a_path_that_is_not_there_is_left_out(plain_build, world):
    found = probe(plain_build, world, paths=[f"rwc:{world.root}/later", f"r:{world.inside}"])
    expect(found, NATIVE)


def test_outbound_connects_and_no_more(plain_build, world):
    found = probe(plain_build, world, "--network", "outbound")
    expect(found, NATIVE, OUTBOUND)


def test_ports_are_kept(plain_build, world):
    found = probe(plain_build, world, "--network", "outbound", "--port", world.port, "--strict")
    expect(found, NATIVE, OUTBOUND)
    found = probe(plain_build, world, "--network", "outbound", "--port", 443, "--strict")
    expect(found, NATIVE, OUTBOUND, {"connect_port": "EACCES"})
    assert "landlock (files, tcp" in found.layers


def test_listening_is_granted_apart(plain_build, world):
    found = probe(plain_build, world, "--network", "listen")
    expect(found, NATIVE, OUTBOUND, {"listen": "done", "listen_without_bind": "done"})


def test_unix_sockets_are_granted_apart(plain_build, world):
    found = probe(plain_build, world, "--unix")
    # the abstract one is behind Landlock's scope
    expect(found, NATIVE, {"socket_unix": "done", "connect_control_socket": "done", "connect_abstract_socket": "EPERM"})


def test_a_program_that_runs_programs_stays_in_its_group(plain_build, world):
    names = [name for name in NATIVE if name not in ("execve", "execveat", "outlive", "setuid_program")]
    found = probe(plain_build, world, "--execute", paths=[*SYSTEM, f"r:{world.inside}"], names=names[:60])
    more = probe(plain_build, world, "--execute", paths=[*SYSTEM, f"r:{world.inside}"], names=names[60:])
    found.words.update(more.words)
    expected = {name: word for name, word in {**NATIVE, **EXECUTING}.items() if name in names}
    expected.update({"signal_everyone": None, "descriptors": None})
    expect(found, expected)


def test_modes_and_times_by_path_are_pretended(plain_build, world):
    names = ["chmod_outside", "chown_outside", "utime_outside", "setxattr_outside"]
    before = (world.outside / "secret").stat()
    found = probe(plain_build, world, "--execute", paths=[*SYSTEM, f"rwc:{world.inside}"], names=names)
    assert found.words == dict.fromkeys(names, "done")
    after = (world.outside / "secret").stat()
    assert (after.st_mode, after.st_ctime_ns) == (before.st_mode, before.st_ctime_ns)


def test_a_set_user_id_program_gains_nothing(plain_build, world):
    found = probe(
        plain_build,
        world,
        "--execute",
        user=65534,
        paths=[*SYSTEM, f"rx:{world.root}/setuid"],
        names=["setuid_program"],
    )
    assert found["setuid_program"] == "65534"


def test_only_granted_programs_run(plain_build, world):
    found = probe(plain_build, world, "--execute", names=["execve"])
    assert found["execve"] == "EACCES"
    found = probe(plain_build, world, "--execute", paths=SYSTEM, names=["execve"])
    assert found.words == {}  # it became /bin/true


def test_memory_is_limited(plain_build, world):
    found = probe(plain_build, world, "--data", 16 << 20, names=["limits", "works_memory"])
    assert found["limits"] == f"core=0 files=256 data={16 << 20}"
    assert found["works_memory"] == "ENOMEM"


# --- each layer taken away in turn: what it alone keeps, goes through ---


def test_without_landlock_files_are_open(plain_build, world):
    names = ["open_outside", "open_through_link", "list_outside", "create_outside", "write_inside", "remove_inside"]
    assert probe(plain_build, world, names=names).words == dict.fromkeys(names, "EACCES")
    found = probe(plain_build, world, names=names, wrapper=NO_LANDLOCK)
    assert found.words == dict.fromkeys(names, "done")


def test_without_seccomp_sockets_and_processes_are_open(plain_build, world):
    names = """socket_inet socket_netlink socket_unix socket_unix_datagram connect_control_socket datagram_to_path fork
    setsid_of_child clear_parent_death_signal become_dumpable chmod_outside map_writable_executable memory_file""".split()
    assert probe(plain_build, world, names=names).words == dict.fromkeys(names, "EPERM")
    found = probe(plain_build, world, names=names, wrapper=NO_SECCOMP)
    assert found.words == dict.fromkeys(names, "done")


def test_without_seccomp_nothing_is_ended(plain_build, world):
    found = probe(plain_build, world, names=["ptrace_self"], wrapper=NO_SECCOMP)
    assert found.status >= 0 and "ptrace_self" in found.words


def test_without_landlock_ports_are_open(plain_build, world):
    options = ["--network", "outbound", "--port", 443]
    assert probe(plain_build, world, *options, names=["connect_port"])["connect_port"] == "EACCES"
    found = probe(plain_build, world, *options, names=["connect_port"], wrapper=NO_LANDLOCK)
    assert found["connect_port"] == "done"


def test_without_seccomp_ports_are_slipped_past(plain_build, world):
    """Why MPTCP and fast open are refused: Landlock's port rules do not see them."""
    options = ["--network", "outbound", "--port", 443]
    names = ["socket_mptcp", "connect_port_fastopen"]
    found = probe(plain_build, world, *options, names=names)
    assert set(found.words.values()) == {"EPERM"}
    found = probe(plain_build, world, *options, names=[*names, "connect_port"], wrapper=NO_SECCOMP)
    assert found["connect_port"] == "EACCES"
    assert found["socket_mptcp"] in ("done", "EPROTONOSUPPORT", "ENOPROTOOPT")  # not every kernel has it
    assert found["connect_port_fastopen"] != "EPERM"


def test_without_scopes_a_program_that_runs_programs_may_signal(plain_build, world):
    names = ["signal_daemon", "signal_daemon_thread"]
    options = dict(names=names, paths=[*SYSTEM, f"r:{world.inside}"])
    found = probe(plain_build, world, "--execute", **options)
    assert found.words == dict.fromkeys(names, "EPERM")
    found = probe(plain_build, world, "--execute", wrapper=landlock_abi(5), **options)
    assert found.words == dict.fromkeys(names, "done")
    assert "missing: landlock for signals (needs linux 6.12)" in found.layers


def test_without_scopes_abstract_sockets_are_open(plain_build, world):
    options = dict(names=["connect_abstract_socket"])
    assert probe(plain_build, world, "--unix", **options)["connect_abstract_socket"] == "EPERM"
    found = probe(plain_build, world, "--unix", wrapper=landlock_abi(5), **options)
    assert found["connect_abstract_socket"] == "done"


@pytest.mark.parametrize("user", [None, 65534])
def test_without_no_new_privs_nothing_starts(plain_build, world, user):
    """A set-user-id program would leave the sandbox, and the kernel gives an ordinary user none without."""
    refused = strace("prctl:error=EINVAL:when=4")  # 1 and 2 the parent-death signal, 3 dumpable
    found = probe(plain_build, world, user=user, names=["open_outside"], wrapper=refused)
    assert found.error == "configuration: this system refuses no_new_privs, without which there is no sandbox"
    assert found.words == {}
    pretended = strace("prctl:retval=0:when=4")
    found = probe(plain_build, world, user=user, names=["open_outside"], wrapper=pretended)
    assert found.error == "configuration: this system refuses no_new_privs, without which there is no sandbox"


# --- older kernels ---


@pytest.mark.parametrize("abi", range(1, 8))
def test_a_native_program_is_kept_on_every_kernel(plain_build, world, abi):
    """With Landlock of any age, files and signals are kept: what it does not see yet rests on seccomp."""
    found = probe(plain_build, world, wrapper=landlock_abi(abi))
    expect(found, NATIVE)
    files = "landlock (files" in found.layers
    assert files == (abi >= 2)
    assert ("scopes" in found.layers) == (abi >= 6)


def test_strict_refuses_without_landlock(plain_build, world):
    found = probe(plain_build, world, "--strict", wrapper=strace("landlock_create_ruleset:error=ENOSYS"))
    assert re.fullmatch(
        r'configuration: "sandbox: strict" cannot be kept on this system: no_new_privs, seccomp; missing: '
        r"landlock for files \(needs linux 5.19 with landlock enabled\); the kernel is .*; "
        r'use a newer kernel or leave "strict" out',
        found.error,
    )
    assert found.words == {}


def test_strict_refuses_an_old_landlock(plain_build, world):
    found = probe(plain_build, world, "--strict", wrapper=landlock_abi(1))
    assert "missing: landlock for files" in found.error


def test_strict_refuses_ports_that_are_not_kept(plain_build, world):
    options = ["--strict", "--network", "outbound", "--port", 443]
    found = probe(plain_build, world, *options, wrapper=landlock_abi(3))
    assert "missing: landlock for tcp ports (needs linux 6.7)" in found.error
    assert probe(plain_build, world, "--strict", names=["fork"], wrapper=landlock_abi(3)).error is None


def test_strict_refuses_without_seccomp(plain_build, world):
    refused = strace("seccomp:error=ENOSYS", "prctl:error=EINVAL:when=7")  # 6 clears the ambient capabilities
    found = probe(plain_build, world, "--strict", wrapper=refused)
    assert "no_new_privs, landlock (files, scopes); missing: seccomp;" in found.error


def test_the_default_says_what_is_missing(plain_build, world):
    found = probe(plain_build, world, names=["fork"], wrapper=strace("landlock_create_ruleset:error=ENOSYS"))
    assert found.layers.startswith("no_new_privs, seccomp; missing: landlock for files")
    assert found["fork"] == "EPERM"


def test_seccomp_is_installed_the_old_way_where_the_new_is_refused(plain_build, world):
    """A service filter without seccomp(2) still lets prctl(PR_SET_SECCOMP) through."""
    found = probe(plain_build, world, names=["fork"], wrapper=strace("seccomp:error=EPERM"))
    assert found["fork"] == "EPERM"
    assert "seccomp" in found.layers.split(";")[0]


# --- the installed worker, as the running daemon spawns it ---


@pytest.fixture
def hostile(plain_wherry):
    """An installation whose worker for files is the probe; its connection and a neighbour have run before."""
    libexec = plain_wherry.root / "libexec"
    libexec.mkdir()
    (libexec / "source-files").symlink_to(plain_wherry.build.path / "tests/integration/probe-source")
    (libexec / "destination-sqlite").symlink_to(plain_wherry.build.destination("sqlite"))
    (plain_wherry.incoming / "file").write_text("inside\n")
    (plain_wherry.incoming / "spare").write_text("inside\n")
    (plain_wherry.incoming / "link").symlink_to(plain_wherry.database)
    plain_wherry.pipeline("orders")
    plain_wherry.libexec = libexec
    return plain_wherry


def run_hostile(wherry, world, outside, names=(), wrapper=(), env=None):
    """One sync of the hostile connection, and what it told: a dict as Probe's words; and the run."""
    targets = {
        "outside": outside,
        "socket": wherry.runtime_dir / "org.wherry.Manager",
        "datagram": world.outside / "datagram",
        "abstract": world.abstract_name,
        "port": world.port,
    }
    lines = [f"{key}={value}\n" for key, value in targets.items()] + [f"try={name}\n" for name in names]
    (wherry.incoming / "targets").write_text("".join(lines))
    if not wherry.running():
        wherry.start(f"--libexec-dir={wherry.libexec}", wrapper=wrapper, env=env)
    before = len(wherry.daemon.log())
    run = wherry.sync("orders", status=None)
    told = re.findall(r"probe: ([a-z0-9_]+): (.*)", wherry.daemon.log()[before:])
    return dict(told), run


def processes_of(wherry):
    """Every process that runs the hostile worker."""
    program = str((wherry.libexec / "source-files").resolve())
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and str((entry / "exe").readlink()) == program:
                found.append(int(entry.name))
        except OSError:  # ended while we looked, or a thread of the kernel's
            pass
    return found


def test_the_worker_reaches_nothing_of_the_daemon_nor_of_a_neighbour(hostile, world):
    neighbour = hostile.root / "neighbour.db"
    neighbour.write_bytes(b"rows")
    told, _ = run_hostile(hostile, world, neighbour, env={"WHERRY_TEST_SECRET": "hunter22"})
    # 3 and 4 are its socket and pipe, 5 the folder that it reads
    expected = {**NATIVE, "setuid_program": "EPERM", "descriptors": "0 1 2 3 4 5"}
    del expected["limits"]
    assert {name: told.get(name) for name in expected if told.get(name) != expected[name]} == {}
    assert "hunter22" not in hostile.daemon.log()
    for path in (hostile.state_dir / "daemon/state.db", hostile.pipelines_dir / "orders.yaml"):
        assert path.exists()
        told, _ = run_hostile(hostile, world, path, names=["open_outside", "open_outside_for_writing", "list_outside"])
        assert told == dict.fromkeys(["open_outside", "open_outside_for_writing", "list_outside"], "EACCES")


def test_a_worker_that_is_ended_fails_its_run(hostile, world):
    told, run = run_hostile(hostile, world, hostile.database, names=["ptrace_daemon"])
    assert told == {}
    assert run["outcome"] == "failed"
    assert hostile.daemon.process.poll() is None


def test_the_worker_is_open_without_landlock(hostile, world):
    told, _ = run_hostile(
        hostile, world, hostile.config_dir / "pipelines.d/orders.yaml", names=["open_outside"], wrapper=NO_LANDLOCK
    )
    assert told == {"open_outside": "done"}


def test_the_worker_is_open_without_seccomp(hostile, world):
    names = ["connect_control_socket", "fork", "setsid_of_child", "socket_netlink"]
    told, _ = run_hostile(hostile, world, hostile.database, names=names, wrapper=NO_SECCOMP)
    assert told == dict.fromkeys(names, "done")


def test_what_outlives_its_parent_ends_with_the_sync(hostile, world):
    """A double fork with setsid, which without seccomp succeeds: the process tree ends it all the same."""
    hostile.start(f"--libexec-dir={hostile.libexec}", wrapper=NO_SECCOMP)
    told, _ = run_hostile(hostile, world, hostile.database, names=["outlive"])
    assert told == {"outlive": "done"}
    assert processes_of(hostile) == []  # it would stay for 30 s; a sync is not over before all of it is


def test_strict_fails_the_run_where_a_layer_is_missing(hostile, world):
    hostile.pipeline("orders", sandbox="strict")
    told, run = run_hostile(
        hostile,
        world,
        hostile.database,
        names=["fork"],
        wrapper=strace("landlock_create_ruleset:error=ENOSYS"),
    )
    assert told == {}
    assert run["outcome"] == "failed"
    assert "cannot be kept on this system" in run["error"]
