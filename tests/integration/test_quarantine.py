"""Bad rows beside the good: what the sidecar holds, when it is there, when the file fails after all, and how corrected
rows come in, exactly once."""

import base64
import fcntl
import hashlib
import json
import re
import resource
import sqlite3

import frames
import pytest
from test_source_files import folder, start  # noqa: F401: fixtures

ORDERS = "id,note,amount\n1,a,1.5\nx,b,2\n3,c,oops\n4,d,4\n"


@pytest.fixture
def aside(wherry):
    return wherry.root / "aside"


@pytest.fixture
def pipeline(wherry, aside):
    """Writes the connection orders with bad rows set aside."""

    def write(name="orders", limits=None, **changes):
        limits = limits or {"max_invalid_rows": 10}
        return wherry.pipeline(name, quarantine={"enabled": True, "dir": str(aside), **limits}, **changes)

    return write


def sidecar_of(name, content):
    data = content if isinstance(content, bytes) else content.encode()
    return f"{name}.{hashlib.sha256(data).hexdigest()[:12]}.quarantine.ndjson"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def listed(aside):
    return sorted(path.name for path in aside.iterdir() if path.name != ".wherry-quarantine")


def test_good_rows_commit_and_bad_ones_are_set_aside(wherry, pipeline, aside):
    pipeline()
    wherry.drop("orders.csv", ORDERS)
    wherry.start()
    run = wherry.sync()
    assert (run["outcome"], run["committed"], run["rows_committed"], run["quarantined_rows"]) == ("succeeded", 1, 2, 2)
    assert wherry.ids() == [1, 4]
    name = sidecar_of("orders", ORDERS)
    assert listed(aside) == [name]
    assert lines(aside / name) == [
        {
            "row_number": 2,
            "column": "id",
            "error": 'not an integer: "x"',
            "row": {"id": "x", "note": "b", "amount": "2"},
        },
        {
            "row_number": 3,
            "column": "amount",
            "error": 'not a number: "oops"',
            "row": {"id": "3", "note": "c", "amount": "oops"},
        },
    ]
    (file,) = wherry.files()
    assert (file["state"], file["rows"], file["quarantined_rows"]) == ("COMMITTED", 2, 2)
    assert file["quarantine_path"] == str(aside / name)
    assert run["warnings"] == [
        f'orders.csv: 2 of 4 rows are bad and were set aside in "{aside / name}"; correct them there, then '
        '"wherryctl requeue orders --quarantined"'
    ]
    assert f"2 bad rows in {aside / name}" in wherry.ctl("files", "orders").stdout
    assert (aside / name).stat().st_mode & 0o777 == 0o600
    # known by its content: neither loaded again nor set aside again
    assert wherry.sync()["skipped"] == 1
    assert wherry.sync("orders", "--full")["quarantined_rows"] == 2
    assert wherry.ids() == [1, 4] and listed(aside) == [name]


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"max_invalid_rows": 2}, None),
        ({"max_invalid_fraction": 0.5}, None),
        ({"max_invalid_fraction": 1, "max_invalid_rows": 2}, None),
        ({"max_invalid_rows": 1}, 'more than 1 bad rows, which is what "quarantine.max_invalid_rows" allows'),
        ({"max_invalid_rows": 0}, 'more than 0 bad rows, which is what "quarantine.max_invalid_rows" allows'),
        (
            {"max_invalid_fraction": 0.49},
            '2 of 4 rows are bad, more than "quarantine.max_invalid_fraction" (0.49) allows',
        ),
        ({"max_invalid_fraction": 0.1, "max_invalid_rows": 5}, "2 of 4 rows are bad"),
    ],
)
def test_more_than_a_limit_fails_the_whole_file(wherry, pipeline, aside, limits, error):
    pipeline(limits=limits)
    wherry.drop("orders.csv", ORDERS)
    wherry.start()
    run = wherry.sync(status=1 if error else 0)
    if not error:
        assert run["quarantined_rows"] == 2 and wherry.ids() == [1, 4]
        return
    assert run["error"].startswith(f"orders.csv: {error}")
    assert run["error"].endswith('; the first: line 3, row 2, column "id": not an integer: "x"')
    assert (run["quarantined_rows"], wherry.ids(), listed(aside)) == (0, [], [])
    assert [(file["state"], file["attempts"], file["quarantined_rows"]) for file in wherry.files()] == [
        ("FAILED", 1, 0)
    ]


@pytest.mark.parametrize(
    "content",
    [b'id,note,amount\nx,b,2\n1,"never closed,3\n', b"id,note,amount\nx,b,2\n1,\xff,3\n", b"note,amount\na,1\n"],
)
def test_what_is_wrong_with_the_file_fails_it(wherry, pipeline, aside, content):
    pipeline()
    wherry.drop("orders.csv", content)
    wherry.start()
    run = wherry.sync(status=1)
    assert (run["failed"], run["quarantined_rows"], listed(aside)) == (1, 0, [])


def test_rows_that_cannot_be_taken_apart(wherry, pipeline, aside):
    pipeline(csv={"null": "NA"})
    content = 'id,note,amount\n1,a,1,more\nid,note,amount\n2\nx,NA,"NA"\n'
    wherry.drop("o.csv", content)
    wherry.start()
    assert wherry.sync()["quarantined_rows"] == 3
    assert wherry.ids() == [2]
    rows = lines(aside / sidecar_of("o", content))
    assert [row["row"] for row in rows] == [
        ["1", "a", "1", "more"],
        ["id", "note", "amount"],
        {"id": "x", "note": None, "amount": "NA"},
    ]
    assert [row["column"] for row in rows] == ["", "", "id"]
    assert rows[0]["error"].startswith("the row has 4 fields, the header 3")


def test_ndjson_and_fixed_width(wherry, pipeline, aside):
    pipeline(format="ndjson")
    content = (
        '{"id": 1, "amount": 12345678901234567890.5, "more": [1]}\n{"id": 1.5, "note": "\\u00e9\\n"}\n{broken\n[1]\n'
    )
    wherry.drop("o.ndjson", content)
    wherry.start()
    assert wherry.sync()["quarantined_rows"] == 3
    text = (aside / sidecar_of("o", content)).read_text()
    assert [json.loads(line)["row"] for line in text.splitlines()] == [
        {"id": 1.5, "note": "é\n"},
        "{broken",
        "[1]",
    ]
    assert '"row": {"id": 1.5, "note": "\\u00e9\\n"}}' in text  # as it was written
    columns = [
        {"source": "id", "dest": "order_id", "type": "integer", "start": 1, "width": 4},
        {"source": "note", "dest": "note", "type": "string", "start": 5, "width": 3, "required": False},
    ]
    wherry.pipeline(
        "fixed",
        quarantine={"enabled": True, "dir": "aside2", "max_invalid_rows": 9},
        format="fixed_width",
        columns=columns,
        dest_table="fixed",
        source={"type": "files", "dir": str(wherry.incoming), "file_pattern": "*.txt"},
    )
    content = "   1ab \n  x1 é \n   2\n"
    wherry.drop("f.txt", content)
    assert wherry.sync("fixed")["quarantined_rows"] == 2
    found = lines(wherry.pipelines_dir / "aside2" / sidecar_of("f", content))
    assert [row["row"] for row in found] == [{"id": "x1", "note": "é"}, "   2"]


def test_corrected_rows_are_loaded_once(wherry, pipeline, aside):
    pipeline()
    wherry.drop("orders.csv", ORDERS)
    wherry.start()
    wherry.sync()
    (name,) = listed(aside)
    sidecar = aside / name
    # as it is, nothing of it can be loaded: it fails by itself and stays
    assert wherry.ctl("requeue", "orders", "--quarantined").stdout == (
        'orders: the rows set aside from 1 file are queued; "wherryctl sync orders" loads them now\n'
    )
    run = wherry.sync(status=1)
    assert run["error"] == (
        f'{name}: none of its rows can be loaded yet; the first: line 1, row 1, column "id": not an integer: "x"'
    )
    assert listed(aside) == [name]
    # one is corrected: it is loaded without a second order, and the other gets a sidecar of its own
    sidecar.write_text(sidecar.read_text().replace('"id": "x"', '"id": 2'))
    run = wherry.sync()
    assert (run["committed"], run["rows_committed"], run["quarantined_rows"]) == (1, 1, 1)
    assert wherry.ids() == [1, 2, 4]
    second = next(entry for entry in listed(aside) if not entry.endswith(".loaded"))
    assert listed(aside) == sorted([name + ".loaded", second])
    assert second.startswith("orders.") and second != name
    assert [(row["row_number"], row["row"]["id"]) for row in lines(aside / second)] == [(3, "3")]
    # hash of the parent, then the bytes
    parent = hashlib.sha256(ORDERS.encode()).digest()
    digest = hashlib.sha256(parent + (aside / f"{name}.loaded").read_bytes()).hexdigest()
    assert wherry.query("SELECT _source_file_hash FROM orders WHERE order_id = 2") == [(digest,)]
    # what failed under the sidecar's name is not listed any more
    found = [(file["name"], file["state"], file["quarantined_rows"]) for file in wherry.files()]
    assert sorted(found) == [("orders.csv", "COMMITTED", 0), (name, "COMMITTED", 1)]
    # nothing is queued now
    assert wherry.sync()["committed"] == 0
    (aside / second).write_text((aside / second).read_text().replace("oops", "3.5"))
    assert wherry.sync()["committed"] == 0
    wherry.ctl("requeue", "orders", "--quarantined")
    assert wherry.sync()["rows_committed"] == 1
    assert wherry.ids() == [1, 2, 3, 4]
    wherry.daemon.notify.seen("")  # takes them in: a daemon whose words nobody reads waits with its end
    assert wherry.ctl("requeue", "orders", "--quarantined").stdout == "no rows were set aside\n"
    assert {file["quarantined_rows"] for file in wherry.files()} == {0}


def test_a_sidecar_that_was_loaded_is_not_loaded_again(wherry, pipeline, aside):
    """The daemon dies between the commit and the renaming: what it finds is known by its hash."""
    pipeline()
    wherry.drop("orders.csv", ORDERS)
    wherry.start()
    wherry.sync()
    (name,) = listed(aside)
    (aside / name).write_text((aside / name).read_text().replace('"id": "x"', '"id": 2').replace("oops", "3.5"))
    wherry.ctl("requeue", "orders", "--quarantined")
    assert wherry.sync()["rows_committed"] == 2
    (aside / f"{name}.loaded").rename(aside / name)
    wherry.stop()
    with sqlite3.connect(wherry.state_dir / "daemon/state.db") as store:
        store.execute("UPDATE files SET requeued = 1, quarantined = 2 WHERE name = 'orders.csv'")
    store.close()
    wherry.start()
    run = wherry.sync()
    assert (run["rows_committed"], run["outcome"]) == (0, "succeeded")
    assert wherry.ids() == [1, 2, 3, 4]
    assert listed(aside) == [f"{name}.loaded"]
    assert {file["quarantined_rows"] for file in wherry.files()} == {0}


def test_json_text_stays_json_text(wherry, pipeline, aside):
    columns = [{"source": "id", "dest": "order_id", "type": "integer"}, {"source": "more", "type": "json"}]
    pipeline(columns=columns)
    wherry.drop("a.csv", 'id,more\nx,"{""a"": 1}"\n2,{bad\n')
    wherry.start()
    assert wherry.sync()["quarantined_rows"] == 2
    (name,) = listed(aside)
    (aside / name).write_text((aside / name).read_text().replace('"id": "x"', '"id": 1'))
    wherry.ctl("requeue", "orders", "--quarantined")
    assert wherry.sync()["quarantined_rows"] == 1
    assert wherry.query("SELECT order_id, more FROM orders") == [(1, '{"a": 1}')]


def test_protected_values_are_not_written_down(wherry, pipeline, aside):
    key = base64.b64encode(bytes(range(32))).decode()
    columns = [
        {"source": "id", "dest": "order_id", "type": "integer"},
        {
            "source": "ssn",
            "type": "string",
            "required": False,
            "hash": {"algorithm": "hmac-sha256", "key": "env:TEST_KEY"},
        },
    ]
    pipeline(columns=columns)
    wherry.pipeline(
        "lines",
        columns=columns,
        dest_table="lines",
        format="ndjson",
        source={"type": "files", "dir": str(wherry.root / "in2")},
        quarantine={"enabled": True, "dir": str(wherry.root / "aside2"), "max_invalid_rows": 9},
    )
    (wherry.root / "in2").mkdir()
    wherry.drop("a.csv", "id,ssn,note\nx,078-05-1120,n\n1,078-05-1120,n,more\n078-05-1120,n\n2,078-05-1120,n\n")
    wherry.drop("b.ndjson", '{"id": "x", "ssn": "078-05-1120"}\n{"ssn": "078-05-1120", \n', wherry.root / "in2")
    wherry.start(env={"TEST_KEY": key})
    assert [wherry.sync(name)["quarantined_rows"] for name in ("orders", "lines")] == [3, 2]
    for kept in (aside, wherry.root / "aside2"):
        assert not [path for path in kept.iterdir() if "078-05" in path.read_text()]
    assert "078-05" not in wherry.daemon.log()
    (name,) = listed(aside)
    assert [line["row"] for line in lines(aside / name)] == [{"id": "x", "note": "n"}, None, None]
    # what was left out is asked for, and not taken for NULL
    (aside / name).write_text('{"row": {"id": 1}}\n{"row": {"id": 3, "ssn": "078-05-1120"}}\n')
    wherry.ctl("requeue", "orders", "--quarantined")
    assert wherry.sync()["rows_committed"] == 1
    assert len(set(wherry.query("SELECT ssn FROM orders"))) == 1
    assert [line["error"] for path in listed(aside) for line in lines(aside / path)] == [
        'protected, so that its value was not kept: add it to "row", or null'
    ]  # and the sidecar with the value is gone


def test_the_same_rows_of_two_files_are_loaded_for_both(wherry, pipeline, aside):
    pipeline()
    wherry.drop("a.csv", "id,note\n1,a\nx,same\n")
    wherry.drop("b.csv", "id,note\n2,b\nx,same\n")
    wherry.start()
    assert wherry.sync()["quarantined_rows"] == 2
    for name in listed(aside):
        (aside / name).write_text((aside / name).read_text().replace('"id": "x"', '"id": "7"'))
    wherry.ctl("requeue", "orders", "--quarantined")
    assert wherry.sync()["rows_committed"] == 2
    assert wherry.ids() == [1, 2, 7, 7]


def test_what_requeue_refuses(wherry, pipeline):
    pipeline()
    wherry.pipeline("plain", dest_table="plain")
    pipeline("whole", dest_table="whole", write_mode="truncate")
    wherry.start()
    refused = {
        "plain": 'connection "plain" sets no rows aside: it has no "quarantine"',
        "whole": 'connection "whole" has not "write_mode: append": its corrected rows would take the place of all others; '
        "correct the file itself and drop it again",
    }
    for name, message in refused.items():
        assert message in wherry.ctl("requeue", name, "--quarantined", status=2).stderr
    assert "name one file, or say --all-failed or --quarantined" in wherry.ctl("requeue", "orders", status=2).stderr


def test_a_folder_has_one_owner(wherry, pipeline, aside):
    pipeline()
    pipeline("other", dest_table="other")
    wherry.start()
    wherry.sync()
    run = wherry.sync("other", status=1)
    assert run["error"] == (
        f'"{aside}" ("quarantine.dir") holds the bad rows of connection "orders": give each connection a folder of its '
        'own, or delete ".wherry-quarantine" in it if that one is no more'
    )


def test_the_folder_that_is_read_is_refused(wherry, pipeline):
    path = wherry.pipeline(
        "orders", quarantine={"enabled": True, "dir": f"{wherry.incoming}/../in", "max_invalid_rows": 1}
    )
    checked = wherry.run_daemon("--check", str(path))
    assert (
        '"dir" is the folder that is read; name another one, such as a folder in it' in checked.stderr + checked.stdout
    )


# --- the worker by itself ---


def limits(tmp_path, **more):
    return {"dir": str(tmp_path / "aside"), "max_invalid_rows": 100000, **more}


@pytest.mark.parametrize("outcome", [frames.LOADED, frames.FAILED])
def test_the_sidecar_is_there_before_the_commit_and_goes_without_it(start, folder, tmp_path, outcome):  # noqa: F811
    content = "id,note\n1,a\nx,b\n"
    (folder / "a.csv").write_text(content)
    worker = start(quarantine=limits(tmp_path))
    sidecar = tmp_path / "aside" / sidecar_of("a", content)
    seen = []

    def take_pipe(take=worker.take_pipe):
        more = take()
        for end in worker.fields("FILE_END"):
            if not seen:
                seen.append(sidecar.exists())
                worker.say("FILE_DONE", outcome=outcome, hash=end["hash"])
        return more

    worker.take_pipe = take_pipe
    assert worker.run() == 0
    assert [(end["outcome"], end["rows"], end["quarantined"]) for end in worker.fields("FILE_END")] == [
        (frames.LOADED, 1, 1)
    ]
    assert seen == [True]
    assert sidecar.exists() == (outcome == frames.LOADED)
    assert listed(tmp_path / "aside") == ([sidecar.name] if outcome == frames.LOADED else [])


def answer_ends(worker):
    """Says of each file, as the writer would, that it was committed."""
    answered = []

    def take_pipe(take=worker.take_pipe):
        more = take()
        for end in worker.fields("FILE_END")[len(answered) :]:
            answered.append(end)
            if not end["quarantined"]:
                continue  # nobody waits for an answer
            worker.say("FILE_DONE", outcome=frames.LOADED, hash=end["hash"])
        return more

    worker.take_pipe = take_pipe


def test_the_sidecar_is_durable_before_the_file_ends(start, folder, tmp_path, plain_build):  # noqa: F811
    """Its bytes, its name, and the folders that were made for it: only then may the commit count it."""
    content, trace = b"id,note\n1,a\nx,b\n", tmp_path / "trace"
    (folder / "a.csv").write_bytes(content)
    deep = tmp_path / "new" / "aside"
    tracer = ["strace", "-y", "-x", "-s", "4096", "-o", str(trace), "-e", "trace=mkdir,fsync,renameat,write"]
    worker = start([*tracer, str(plain_build.source("files"))], quarantine=limits(tmp_path, dir=str(deep)))
    answer_ends(worker)
    assert worker.run() == 0
    assert [end["quarantined"] for end in worker.fields("FILE_END")] == [1]
    digest = "".join(f"\\x{byte:02x}" for byte in hashlib.sha256(content).digest())
    events = []
    for line in trace.read_text().splitlines():
        if match := re.match(r'(?:mkdir\("([^"]*)"|fsync\(\d+<([^>]*)>|(renameat)\()', line):
            events.append(tuple(filter(None, (line.partition("(")[0], match[1] or match[2]))))
        elif line.startswith("write(") and "<pipe:" in line and digest in line:
            events.append(("frame",))  # FILE_BEGIN, then FILE_END
    name = sidecar_of("a", content)
    begun = events.index(("frame",))
    made, kept = events[:begun], events[begun + 1 :]
    assert made.index(("mkdir", str(tmp_path / "new"))) < made.index(("fsync", str(tmp_path)))
    assert made.index(("mkdir", str(deep))) < made.index(("fsync", str(tmp_path / "new")))
    assert kept == [("fsync", str(deep / f".{name}.tmp")), ("renameat",), ("fsync", str(deep)), ("frame",)]


def test_a_full_disk_is_nobodys_fault_and_leaves_nothing(start, folder, tmp_path, monkeypatch):  # noqa: F811
    (folder / "a.csv").write_text("id,note\n" + "x,bad\n" * 5000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        worker = start(quarantine=limits(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert worker.run() == 0
    (end,) = worker.fields("FILE_END")
    assert end["outcome"] == frames.ABORTED
    assert end["error"] == (f'a.csv: cannot write bad rows in "{tmp_path}/aside" ("quarantine.dir"): file too large')
    assert listed(tmp_path / "aside") == []


@pytest.mark.parametrize("bad", [True, False])
def test_what_an_earlier_try_left_of_the_same_content_goes(start, folder, tmp_path, bad):  # noqa: F811
    """A sidecar under another name, from before the file was renamed; or one of rows that are not bad any more."""
    content, aside = "id,note\n1,a\n" + "x,b\n" * bad, tmp_path / "aside"
    (folder / "a.csv").write_text(content)
    aside.mkdir()
    (aside / sidecar_of("b" if bad else "a", content)).write_text("old\n")
    (aside / sidecar_of("other", "other content")).write_text("stays\n")
    worker = start(quarantine=limits(tmp_path))
    answer_ends(worker)
    assert worker.run() == 0
    assert listed(aside) == sorted([sidecar_of("a", content)] * bad + [sidecar_of("other", "other content")])


def test_two_syncs_do_not_share_a_folder(start, folder, tmp_path):  # noqa: F811
    """Of one connection, by another daemon or by hand: their sidecars would be called the same."""
    aside = tmp_path / "aside"
    aside.mkdir()
    with (aside / ".wherry-quarantine").open("w") as owner:
        fcntl.flock(owner, fcntl.LOCK_EX)
        worker = start(quarantine=limits(tmp_path))
        assert worker.run() == 1
    assert worker.error() == ("temporary", f'another sync writes to "{aside}" ("quarantine.dir")')


def test_what_a_killed_sync_left_is_removed(start, folder, tmp_path):  # noqa: F811
    aside = tmp_path / "aside"
    aside.mkdir()
    (aside / ".a.0123456789ab.quarantine.ndjson.tmp").write_text("half")
    (aside / "mine.tmp").write_text("not ours")
    (folder / "a.csv").write_text("id,note\n1,a\n")
    assert start(quarantine=limits(tmp_path)).run() == 0
    assert listed(aside) == ["mine.tmp"]
