"""`wherryctl run` and what can be asked about it afterwards: a pipeline file of one's own, without a daemon."""

import json
import re
import shlex
import sqlite3
import subprocess

import pytest

GOOD = "id,note,amount\n1,first,9.5\n2,,\n"
BAD = "id,note,amount\nx,first,9.5\n"


@pytest.fixture
def lone(wherry, tmp_path):
    """A pipeline file outside pipelines.d, a folder of state that nobody named, and wherryctl in that file's folder."""

    class Lone:
        home = tmp_path / "home"
        file = tmp_path / "My Orders.yaml"

        def write(self, **changes):
            self.file.write_text(json.dumps({**wherry.orders(), **changes}))

        def ctl(self, *arguments, status=0):
            done = subprocess.run(
                [wherry.build.wherryctl, *map(str, arguments)],
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
                env={"PATH": "/usr/bin:/bin", "HOME": str(self.home), "XDG_RUNTIME_DIR": str(tmp_path / "none")},
            )
            assert done.returncode == status, done
            return done

        def json(self, *arguments, **options):
            return json.loads(self.ctl(*arguments, "--json", **options).stdout)

    found = Lone()
    found.write()
    return found


def test_a_secret_that_is_not_set_is_a_wrong_configuration(wherry, lone):
    destination = {"type": "postgres", "url": "host=/nowhere dbname=x", "password": "!env NOT_SET_HERE"}
    lone.write(destination=destination, **{"connector": None} if "connector" in wherry.orders() else {})
    text = lone.file.read_text().replace('"!env NOT_SET_HERE"', "!env NOT_SET_HERE").replace('"connector": null, ', "")
    lone.file.write_text(text)
    done = lone.ctl("run", lone.file, status=2)
    assert re.search(r"the secret .*NOT_SET_HERE.* is not set in wherryd's environment", done.stdout + done.stderr)
    assert lone.ctl("plan", lone.file, status=2)


def advised(text):
    """The command between quotes in an advice, as a shell would take it."""
    (command,) = re.findall(r'try it again with "(wherryctl .*)"$', text, re.M)
    return shlex.split(command)[1:]


def test_failed_files_of_a_run_are_listed_and_requeued_without_a_daemon(wherry, lone):
    wherry.drop("good.csv", GOOD)
    wherry.drop("bad one.csv", BAD)
    lone.ctl("run", lone.file, status=1)
    files = {file["name"]: file for file in lone.json("files", lone.file)["files"]}
    assert (files["good.csv"]["state"], files["bad one.csv"]["state"]) == ("COMMITTED", "FAILED")
    (failed,) = lone.json("files", "My Orders.yaml", "--failed")["files"]  # by its name, from its folder
    assert (failed["name"], failed["attempts"]) == ("bad one.csv", 1)
    assert re.search(r"^bad one\.csv +FAILED +1 ", lone.ctl("files", lone.file, "--failed").stdout, re.M)
    assert [run["trigger"] for run in lone.json("runs", lone.file)["runs"]] == ["once"]

    done = lone.ctl("requeue", lone.file, "bad one.csv")
    assert done.stdout == f'{lone.file}: 1 file queued again; the next "wherryctl run" of it loads it\n'
    assert lone.json("files", lone.file, "--failed") == {"files": []}
    assert lone.ctl("files", lone.file, "--failed").stdout == "no file has failed\n"
    lone.ctl("run", lone.file, status=1)
    assert lone.ctl("requeue", lone.file, "--all-failed").stdout.startswith(f"{lone.file}: 1 file queued again")
    assert lone.ctl("requeue", lone.file, "--all-failed").stdout == "no file has failed\n"
    lone.ctl("requeue", lone.file, "good.csv")
    wherry.drop("bad one.csv", GOOD.replace("1,", "7,"))
    assert lone.json("run", lone.file)["committed"] == 2
    assert wherry.ids() == [1, 2, 2, 7]
    assert lone.ctl("state", lone.file, "get").stdout == "{}\n"


@pytest.mark.parametrize("named", [False, True], ids=["the user's folder", "--state-dir"])
def test_a_file_left_out_is_told_at_each_run_with_a_command_that_works(wherry, lone, tmp_path, named):
    lone.write(retry_cap=1)
    state = ["--state-dir", tmp_path / "my state"] if named else []
    wherry.drop("it's bad.csv", BAD)
    first = lone.ctl("run", lone.file, *state, status=1)
    for told in (first, lone.ctl("run", lone.file, *state), lone.ctl("run", lone.file, *state)):
        command = advised(told.stderr)
        assert "it's bad.csv" in told.stderr
        assert command[:2] == ["requeue", str(lone.file)] and command[-1] == "it's bad.csv"
    assert lone.ctl(*command).stdout.startswith(f"{lone.file}: 1 file queued again")
    lone.ctl("run", lone.file, *state, status=1)


def test_a_name_like_an_option_is_requeued_as_advised(wherry, lone):
    lone.write(retry_cap=1)
    wherry.drop("-x.csv", BAD)
    command = advised(lone.ctl("run", lone.file, status=1).stderr)
    assert lone.ctl(*command).stdout.startswith(f"{lone.file}: 1 file queued again")


def drop_table(wherry, name):
    with sqlite3.connect(wherry.database) as database:
        database.execute(f"DROP TABLE {name}")
    database.close()


def test_a_lost_table_is_told_with_a_command_that_works(wherry, lone):
    for name in ("a.csv", "b.csv"):
        wherry.drop(name, GOOD.replace("first", name))
    lone.ctl("run", lone.file)
    drop_table(wherry, "orders")
    (warning,) = lone.json("run", lone.file)["warnings"]
    found = re.fullmatch(
        r'table "orders" is not there: the 2 files loaded before are not in it; "(wherryctl requeue .* NAME)" has the '
        "next run load one of them again",
        warning,
    )
    command = shlex.split(found[1])[1:]
    for name in ("a.csv", "b.csv"):
        lone.ctl(*command[:-1], name)
    assert lone.json("run", lone.file)["rows_committed"] == 4


def test_a_key_that_changed_is_told_with_commands_that_work(wherry, lone, tmp_path):
    program = tmp_path / "emit.sh"

    def emits(key):
        schema = {"op": "schema", "tables": [{"table": "t", "primary_key": [key]}]}
        row = {"op": "upsert", "table": "t", "data": {"a": 1, "b": 2}}
        program.write_text("#!/bin/sh\ncat <<'END'\n" + json.dumps(schema) + "\n" + json.dumps(row) + "\nEND\n")
        program.chmod(0o755)

    destination = {"type": "sqlite", "path": str(wherry.database)}
    source = {"type": "exec", "command": [str(program)]}
    lone.file.write_text(json.dumps({"source": source, "destination": destination}))
    emits("a")
    lone.ctl("run", lone.file)
    emits("b")
    error = lone.json("run", lone.file, status=1)["error"]
    found = re.search("; drop it, and `(wherryctl state .* reset)`: the next run makes the table anew$", error)
    drop_table(wherry, "t")
    lone.ctl(*shlex.split(found[1])[1:])
    assert lone.json("run", lone.file)["rows_committed"] == 1


def test_asking_about_what_was_never_run_says_so_and_makes_nothing(lone, tmp_path):
    done = lone.ctl("files", lone.file, status=2)
    assert (
        f'"{lone.file}" has not been run yet: there is nothing in "{lone.home}/.local/state/wherry/once/' in done.stderr
    )
    assert f"run it with \"wherryctl run '{lone.file}'\"" in done.stderr
    assert done.stderr.count("\n") == 1 and not re.match(r"\d{4}-", done.stderr)
    assert not lone.home.exists()
    done = lone.ctl("requeue", tmp_path / "no.yaml", "x.csv", status=2)
    assert done.stderr == f'wherryctl: "{tmp_path}/no.yaml" cannot be read: no such file or directory\n'


def test_an_unknown_name_is_told_with_the_file_that_was_asked_about(wherry, lone):
    wherry.drop("good.csv", GOOD)
    lone.ctl("run", lone.file)
    done = lone.ctl("requeue", lone.file, "god.csv", status=2)
    assert f'no file "god.csv" was ever seen; "wherryctl files \'{lone.file}\'" lists' in done.stderr


def test_what_a_broken_file_did_before_can_still_be_asked(wherry, lone):
    wherry.drop("good.csv", GOOD)
    lone.ctl("run", lone.file)
    lone.file.write_text("frequency: often\n")
    done = lone.ctl("files", lone.file)
    assert re.search(r"^good\.csv +COMMITTED", done.stdout, re.M) and done.stderr == ""


def test_a_daemons_state_is_the_daemons(wherry, lone):
    wherry.pipeline("orders")
    daemon = wherry.start()
    wherry.drop("good.csv", GOOD)
    wherry.sync()
    done = lone.ctl("files", lone.file, "--state-dir", wherry.state_dir, status=2)
    assert f'state directory "{wherry.state_dir}" is in use by another wherryd (pid {daemon.pid})' in done.stderr


def test_a_file_is_no_connection_of_the_daemons(wherry):
    wherry.start()
    done = wherry.ctl("sync", "orders.yaml", status=2)
    assert 'no connection "orders.yaml"; a file outside pipelines.d is run with "wherryctl run"' in done.stderr


def test_answering_is_for_wherryctl(wherry):
    done = wherry.run_daemon("--answer")
    assert done.returncode == 2 and '"--answer" needs "--file FILE"' in done.stderr
    wherry.pipeline("orders")
    wherry.run_daemon("--once")
    done = wherry.run_daemon("--answer", "--file", wherry.pipelines_dir / "orders.yaml")
    assert done.returncode == 2 and "descriptor 0, handed over for control calls, is not" in done.stderr


# --- what it says ---


def test_a_file_without_source_is_told_of_dir_and_shows_lines_to_paste(wherry, lone):
    definition = wherry.orders()
    del definition["source"]
    lone.file.write_text("\n".join(f"{key}: {json.dumps(value)}" for key, value in definition.items()) + "\n")
    done = lone.ctl("run", lone.file, status=2)
    first, *lines = done.stderr.splitlines()
    assert re.search(
        r'yaml:1:1: missing key "source"; name the folder with "wherryctl run FILE --dir DIR", or add', first
    )
    assert lines == ["source:", "  {type: files, dir: /srv/incoming}"]
    lone.file.write_text(lone.file.read_text() + "\n".join(lines).replace("/srv/incoming", str(wherry.incoming)) + "\n")
    wherry.drop("good.csv", GOOD)
    assert lone.json("run", lone.file)["committed"] == 1


def test_in_pipelines_d_no_folder_can_be_lent(wherry):
    definition = wherry.orders()
    del definition["source"]
    wherry.pipeline("orders", definition)
    done = wherry.run_daemon("--once")
    assert 'missing key "source"; add these two lines' in done.stderr and "--dir" not in done.stderr


def test_help_shows_what_run_takes(wherry):
    usage = wherry.ctl("help", "run").stdout.splitlines()[0]
    assert usage == "wherryctl run FILE.yaml [--dir DIR] [--state-dir DIR]"
