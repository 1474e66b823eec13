"""Files land in SQLite exactly once: the whole way, with the real programs."""

import bz2
import gzip
import hashlib
import json
import lzma
import sqlite3
import struct

import pytest
from harness import wait_for

ORDERS = "id,note,amount\n1,first,9.5\n2,,\n3,third,-1e3\n"


def zstandard(content):
    """One frame with one raw block (RFC 8878), so that no program is needed to make one."""
    assert len(content) < 256
    return b"\x28\xb5\x2f\xfd\x20" + bytes([len(content)]) + struct.pack("<I", len(content) << 3 | 1)[:3] + content


def stamps(wherry):
    return wherry.query("SELECT _id, order_id, _source_file_hash, _ingested_at FROM orders ORDER BY _id")


# --- once ---


def test_a_dropped_file_becomes_typed_rows(wherry):
    wherry.pipeline("orders")
    wherry.start()
    path = wherry.drop("a.csv", ORDERS)
    run = wherry.sync()
    assert run["outcome"] == "succeeded"
    assert run["connection"] == "orders"
    assert run["rows_committed"] == 3
    assert run["bytes_processed"] == path.stat().st_size
    assert (run["files_scanned"], run["new_files"], run["committed"], run["failed"]) == (1, 1, 1, 0)
    assert run["error"] is None
    rows = wherry.query("SELECT order_id, typeof(order_id), note, amount, typeof(amount) FROM orders ORDER BY 1")
    assert rows == [
        (1, "integer", "first", 9.5, "real"),
        (2, "integer", None, None, "null"),
        (3, "integer", "third", -1000.0, "real"),
    ]


def test_the_table_is_the_one_filedge_would_make(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    columns = wherry.query("SELECT name, type, \"notnull\", pk FROM pragma_table_info('orders')")
    assert columns == [
        ("_id", "INTEGER", 0, 1),
        ("order_id", "INTEGER", 0, 0),
        ("note", "TEXT", 0, 0),
        ("amount", "REAL", 0, 0),
        ("_source_file_hash", "TEXT", 1, 0),
        ("_ingested_at", "TEXT", 1, 0),
    ]
    assert wherry.query("SELECT name FROM sqlite_master WHERE type = 'index' AND tbl_name = 'orders'") == [
        ("orders_source_file_hash_idx",)
    ]
    (hash_, moment) = wherry.query("SELECT DISTINCT _source_file_hash, _ingested_at FROM orders")[0]
    assert hash_ == hashlib.sha256(ORDERS.encode()).hexdigest()
    assert len(moment) == len("2026-01-31T12:00:00.000000Z") or moment.endswith("+00:00")


def test_a_second_sync_loads_nothing(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    before = stamps(wherry)
    run = wherry.sync()
    assert (run["outcome"], run["files_scanned"], run["new_files"], run["committed"]) == ("succeeded", 1, 0, 0)
    assert run["rows_committed"] == 0
    assert stamps(wherry) == before


def test_the_same_content_under_another_name_is_a_skip_that_says_so(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    wherry.drop("b.csv", ORDERS)
    run = wherry.sync()
    assert (run["outcome"], run["committed"], run["rows_committed"]) == ("succeeded", 0, 0)
    assert run["skipped"] >= 1
    assert wherry.ids() == [1, 2, 3]
    said = wherry.daemon.wait_log(r".*b\.csv.*").group()
    assert "skip" in said
    assert "a.csv" in said


def test_the_same_content_twice_in_one_sync_is_loaded_once(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.drop("b.csv", ORDERS)
    run = wherry.sync()
    assert (run["outcome"], run["files_scanned"], run["committed"]) == ("succeeded", 2, 1)
    assert wherry.ids() == [1, 2, 3]


def test_without_its_state_the_daemon_loads_nothing_twice(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    before = stamps(wherry)
    wherry.stop()
    gone = list((wherry.state_dir / "daemon").glob("state.db*"))
    assert gone
    for path in gone:
        path.unlink()
    wherry.start()
    wherry.drop("b.csv", "id,note,amount\n4,fourth,4\n")
    run = wherry.sync()
    assert (run["outcome"], run["committed"], run["rows_committed"]) == ("succeeded", 1, 1)
    assert stamps(wherry)[:3] == before
    assert wherry.ids() == [1, 2, 3, 4]
    assert {file["name"]: file["state"] for file in wherry.files()} == {"a.csv": "COMMITTED", "b.csv": "COMMITTED"}


def test_requeue_loads_a_file_again_and_repeats_nothing(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.drop("b.csv", "id,note,amount\n4,fourth,4\n")
    wherry.sync()
    before = {row[1]: row[3] for row in stamps(wherry)}
    wherry.ctl("requeue", "orders", "a.csv")
    run = wherry.sync()
    assert (run["committed"], run["rows_committed"]) == (1, 3)
    after = {row[1]: row[3] for row in stamps(wherry)}
    assert sorted(after) == [1, 2, 3, 4]
    assert after[4] == before[4]
    assert after[1] > before[1]
    assert wherry.ids() == [1, 2, 3, 4]


def test_requeue_of_an_unknown_file_says_so(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    done = wherry.ctl("requeue", "orders", "nosuch.csv", status=2)
    assert '"nosuch.csv"' in done.stderr


def test_truncate_keeps_only_the_last_file(wherry):
    wherry.pipeline("orders", write_mode="truncate")
    wherry.start()
    wherry.drop("a.csv", ORDERS)
    wherry.sync()
    assert wherry.ids() == [1, 2, 3]
    wherry.drop("b.csv", "id,note,amount\n4,fourth,4\n")
    run = wherry.sync()
    assert (run["committed"], run["rows_committed"]) == (1, 1)
    assert wherry.ids() == [4]
    assert wherry.sync()["committed"] == 0
    assert wherry.ids() == [4]


def test_files_are_loaded_in_the_order_of_their_names(wherry):
    wherry.pipeline("orders")
    for name in ("c.csv", "a.csv", "b.csv", "B.csv"):
        wherry.drop(name, f"id,note,amount\n{ord(name[0])},x,1\n")
    wherry.start()
    wherry.sync()
    assert [chr(row[0]) for row in wherry.query("SELECT order_id FROM orders ORDER BY _id")] == ["B", "a", "b", "c"]


def test_what_a_producer_still_writes_is_not_for_us(wherry):
    wherry.pipeline("orders", source={"type": "files", "dir": str(wherry.incoming), "file_pattern": "*.csv"})
    for name in ("a.csv.tmp", "a.csv.manifest.json", "a.txt"):
        (wherry.incoming / name).write_text(ORDERS)
    (wherry.incoming / "below").mkdir()
    (wherry.incoming / "below/a.csv").write_text(ORDERS)
    wherry.start()
    run = wherry.sync()
    assert (run["outcome"], run["files_scanned"], run["rows_committed"]) == ("succeeded", 0, 0)


def test_a_missing_folder_is_no_failure_and_is_noted(wherry):
    wherry.incoming.rmdir()
    wherry.pipeline("orders")
    wherry.start()
    run = wherry.sync()
    assert (run["outcome"], run["files_scanned"]) == ("succeeded", 0)
    wherry.daemon.wait_log(str(wherry.incoming))


def test_a_header_without_rows_is_committed(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", "id,note,amount\n")
    run = wherry.sync()
    assert (run["outcome"], run["committed"], run["rows_committed"]) == ("succeeded", 1, 0)
    assert [(file["state"], file["rows"]) for file in wherry.files()] == [("COMMITTED", 0)]
    assert wherry.sync()["committed"] == 0


def test_an_empty_file_fails_no_run(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", "")
    run = wherry.sync()
    assert (run["outcome"], run["failed"], run["rows_committed"]) == ("succeeded", 0, 0)


# --- attempts ---


def test_a_file_at_its_cap_no_longer_fails_the_run_and_stays_in_sight(wherry):
    wherry.pipeline("orders", retry_cap=2)
    wherry.start()
    wherry.drop("bad.csv", "id,note,amount\n1,x,1\nnine,x,1\n")
    wherry.drop("good.csv", ORDERS)
    first = wherry.sync(status=1)
    assert (first["outcome"], first["committed"], first["failed"], first["rows_committed"]) == ("failed", 1, 1, 3)
    assert "bad.csv" in first["error"]
    assert [file["attempts"] for file in wherry.files("orders", "--failed")] == [1]
    second = wherry.sync(status=1)
    assert (second["outcome"], second["failed"], second["retried"]) == ("failed", 1, 1)
    third = wherry.sync()
    assert (third["outcome"], third["failed"], third["committed"]) == ("succeeded", 0, 0)
    (file,) = wherry.files("orders", "--failed")
    assert (file["name"], file["state"], file["attempts"]) == ("bad.csv", "FAILED", 2)
    assert "nine" in file["error"]
    assert "bad.csv" in wherry.ctl("files", "orders", "--failed").stdout
    assert "1 file" in wherry.status()["error"]
    assert wherry.ids() == [1, 2, 3]


def test_a_requeued_file_at_its_cap_is_tried_again(wherry):
    wherry.pipeline("orders", retry_cap=1)
    wherry.start()
    wherry.drop("bad.csv", "id,note,amount\nnine,x,1\n")
    wherry.sync(status=1)
    assert wherry.sync()["outcome"] == "succeeded"
    wherry.ctl("requeue", "orders", "--all-failed")
    assert wherry.sync(status=1)["failed"] == 1


def test_a_mended_file_is_a_new_file(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", "id,note,amount\nnine,x,1\n")
    wherry.sync(status=1)
    wherry.drop("a.csv", "id,note,amount\n9,x,1\n")
    run = wherry.sync()
    assert (run["outcome"], run["committed"]) == ("succeeded", 1)
    assert wherry.ids() == [9]


# --- formats ---


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstandard)],
)
def test_compressed_files_are_unpacked(wherry, suffix, pack):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop(f"a.csv{suffix}", pack(ORDERS.encode()))
    run = wherry.sync()
    assert (run["outcome"], run["rows_committed"]) == ("succeeded", 3)
    assert wherry.ids() == [1, 2, 3]


def test_csv_as_rfc_4180_has_it(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", b'\xef\xbb\xbfid,note,amount\r\n1,"a ""quoted"", \r\nbroken note",1.5\r\n2,"",2\r\n3,last,3')
    wherry.sync()
    assert wherry.query("SELECT order_id, note, amount FROM orders ORDER BY 1") == [
        (1, 'a "quoted", \r\nbroken note', 1.5),
        (2, None, 2.0),
        (3, "last", 3.0),
    ]


def test_csv_without_header_and_with_other_characters(wherry):
    columns = [
        {"source": 2, "dest": "order_id", "type": "integer"},
        {"source": 1, "dest": "note", "type": "string", "required": False},
    ]
    csv = {"delimiter": ";", "quote": "'", "header": False, "null": "NA", "empty": "keep"}
    wherry.pipeline("orders", csv=csv, columns=columns)
    wherry.start()
    wherry.drop("a.csv", "'semi;colon';1\nNA;2\n;3\n")
    wherry.sync()
    rows = wherry.query("SELECT order_id, note FROM orders ORDER BY 1")
    assert rows == [(1, "semi;colon"), (2, None), (3, "")]


def test_a_short_row_lacks_its_last_columns(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", "id,note,amount\n1\n2,two\n")
    wherry.sync()
    assert wherry.query("SELECT order_id, note, amount FROM orders") == [(1, None, None), (2, "two", None)]


def test_ndjson(wherry):
    wherry.pipeline("orders", format="ndjson")
    wherry.start()
    lines = [
        {"id": 9223372036854775807, "note": "naïve ☃", "amount": 0.1, "undeclared": [1]},
        {"amount": None, "id": 2},
        {"id": "3", "note": "", "amount": 4},
    ]
    wherry.drop("a.ndjson", "".join(json.dumps(line) + "\n" for line in lines))
    assert wherry.sync()["rows_committed"] == 3
    assert wherry.query("SELECT order_id, note, amount FROM orders ORDER BY _id") == [
        (9223372036854775807, "naïve ☃", 0.1),
        (2, None, None),
        (3, None, 4.0),
    ]


def test_fixed_width(wherry):
    columns = [
        {"source": "id", "dest": "order_id", "type": "integer", "start": 1, "width": 5},
        {"source": "note", "dest": "note", "type": "string", "required": False, "start": 6, "width": 10},
        {"source": "amount", "dest": "amount", "type": "float", "required": False, "start": 16, "width": 6},
    ]
    wherry.pipeline("orders", format="fixed_width", columns=columns)
    wherry.start()
    wherry.drop("a.txt", "    1first       9.50\n00002                \n    3third      -1.25\n")
    wherry.sync()
    assert wherry.query("SELECT order_id, note, amount FROM orders ORDER BY 1") == [
        (1, "first", 9.5),
        (2, None, None),
        (3, "third", -1.25),
    ]


@pytest.mark.parametrize("encoding", ["latin-1", "windows-1252", "utf-16le", "shift_jis"])
def test_other_encodings_arrive_as_utf8(wherry, encoding):
    note = "日本" if encoding == "shift_jis" else "Grüße"
    wherry.pipeline("orders", encoding=encoding)
    wherry.start()
    wherry.drop("a.csv", f"id,note,amount\n1,{note},1\n".encode(encoding))
    wherry.sync()
    assert wherry.query("SELECT note FROM orders") == [(note,)]


def test_all_types_keep_their_meaning(wherry):
    values = {
        "string": ("Grüße", "Grüße"),
        "integer": ("-9223372036854775808", -9223372036854775808),
        "float": ("1.7976931348623157e308", 1.7976931348623157e308),
        "date": ("2024-02-29", "2024-02-29"),
        "boolean": ("yes", 1),
        "decimal": ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
        "json": ('{"a": [1, 18446744073709551615, 0.10]}', '{"a": [1, 18446744073709551615, 0.10]}'),
        "binary": ("AAH/", b"\x00\x01\xff"),
    }
    columns = [{"source": kind, "dest": f"a_{kind}", "type": kind} for kind in values]
    wherry.pipeline("orders", columns=columns)
    wherry.start()
    row = ",".join('"' + text.replace('"', '""') + '"' for text, _ in values.values())
    wherry.drop("a.csv", ",".join(values) + "\n" + row + "\n")
    wherry.sync()
    selected = ", ".join(f"a_{kind}" for kind in values)
    with sqlite3.connect(wherry.database) as connection:
        assert connection.execute(f"SELECT {selected} FROM orders").fetchall() == [tuple(v for _, v in values.values())]
    connection.close()


def test_timestamps_keep_what_was_written(wherry):
    columns = [
        {"source": "id", "dest": "order_id", "type": "integer"},
        {"source": "at", "dest": "at", "type": "timestamp"},
    ]
    wherry.pipeline("orders", columns=columns)
    wherry.start()
    wherry.drop(
        "a.csv", "id,at\n1,2024-02-29T23:59:59.123456789Z\n2,2024-02-29 12:00:00\n3,2024-02-29T12:00:00+02:00\n"
    )
    wherry.sync()
    first, second, third = (row[0] for row in wherry.query("SELECT at FROM orders ORDER BY order_id"))
    assert first.startswith("2024-02-29T23:59:59.123456789")
    assert second[:10] == "2024-02-29" and second[11:19] == "12:00:00"
    assert third in ("2024-02-29T12:00:00+02:00", "2024-02-29T10:00:00Z", "2024-02-29T10:00:00+00:00")


# --- by itself ---


def test_a_new_connection_syncs_at_once_and_then_on_its_frequency(wherry):
    wherry.pipeline("orders", frequency="1s")
    wherry.drop("a.csv", ORDERS)
    wherry.start()
    wait_for(lambda: wherry.ids() == [1, 2, 3], "the first scheduled sync")
    wherry.drop("b.csv", "id,note,amount\n4,fourth,4\n")
    wait_for(lambda: wherry.ids() == [1, 2, 3, 4], "a later scheduled sync")


def test_a_watched_folder_needs_no_frequency(wherry):
    watched = {"type": "files", "dir": str(wherry.incoming), "watch": True}
    wherry.pipeline("orders", frequency="24h", source=watched)
    wherry.start()
    wait_for(lambda: wherry.ctl_json("runs", "orders")["runs"], "the first sync")
    wait_for(lambda: wherry.status()["state"] == "idle", "its end")
    wherry.drop("renamed.csv", ORDERS)
    wait_for(lambda: wherry.ids() == [1, 2, 3], "the load of a file that was renamed in")
    with open(wherry.incoming / "closed.csv", "w") as file:
        file.write("id,note,amount\n4,fou")
        file.flush()
        file.write("rth,4\n")
    wait_for(lambda: wherry.ids() == [1, 2, 3, 4], "the load of a file that was closed")
    wait_for(lambda: wherry.status()["state"] == "idle", "its end")
    runs = wherry.ctl_json("runs", "orders")["runs"]
    assert {run["outcome"] for run in runs} == {"succeeded"}
    # the first was due by its frequency, and took what a watch would have
    assert [run["trigger"] for run in runs] == ["watch"] * (len(runs) - 1) + ["schedule"] and len(runs) > 1


def test_a_paused_connection_is_due_at_its_resume(wherry):
    wherry.pipeline("orders", frequency="1h", paused=True)
    wherry.drop("a.csv", ORDERS)
    wherry.start()
    assert (wherry.status()["state"], wherry.status()["next_run_at"]) == ("paused", None)
    assert wherry.ctl_json("runs", "orders")["runs"] == []
    wherry.ctl("resume", "orders")
    wait_for(lambda: wherry.ids() == [1, 2, 3], "the sync at resume")
    wait_for(lambda: wherry.status()["state"] == "idle", "its end")
    assert wherry.status()["next_run_at"]


def test_a_paused_connection_can_be_run_once_and_stays_paused(wherry):
    wherry.pipeline("orders", frequency="1h", paused=True)
    wherry.drop("a.csv", ORDERS)
    wherry.start()
    assert wherry.sync()["rows_committed"] == 3
    assert wherry.status()["state"] == "paused"
    wherry.stop()
    wherry.start()
    assert wherry.status()["state"] == "paused"
    wherry.ctl("resume", "orders")
    wherry.stop()
    wherry.start()
    assert wherry.status()["state"] != "paused"


# --- stopping and starting ---


def test_stopping_amid_a_load_loses_and_repeats_nothing(wherry):
    wherry.pipeline("orders")
    wherry.drop("a.csv", "id,note,amount\n" + "".join(f"{n},note number {n},1.5\n" for n in range(150_000)))
    wherry.start()
    wherry.ctl("sync", "orders")
    wait_for(lambda: wherry.status()["state"] == "syncing", "the start of the sync")
    assert wherry.stop() == 0
    count = len(wherry.ids())
    assert count in (0, 150_000)
    wherry.start()
    assert wherry.sync()["outcome"] == "succeeded"
    assert wherry.ids() == list(range(150_000))


def test_a_killed_daemon_takes_its_sync_along_and_the_next_one_completes_it(wherry):
    wherry.pipeline("orders")
    wherry.drop("a.csv", "id,note,amount\n" + "".join(f"{n},note number {n},1.5\n" for n in range(150_000)))
    wherry.start()
    wherry.ctl("sync", "orders")
    wait_for(lambda: wherry.status()["state"] == "syncing", "the start of the sync")
    wherry.daemon.kill()
    wherry.start()
    assert wherry.sync()["outcome"] == "succeeded"
    assert wherry.ids() == list(range(150_000))
    assert [file["state"] for file in wherry.files()] == ["COMMITTED"]


def test_history_and_ledger_survive_a_restart(wherry):
    wherry.pipeline("orders")
    wherry.drop("a.csv", ORDERS)
    wherry.start()
    run = wherry.sync()
    files = wherry.files()
    assert wherry.stop() == 0
    wherry.start()
    assert [found["run_id"] for found in wherry.ctl_json("runs", "orders")["runs"]] == [run["run_id"]]
    assert wherry.files() == files


def test_once_needs_no_control_socket(wherry):
    wherry.pipeline("orders")
    wherry.drop("a.csv", ORDERS)
    done = wherry.run_daemon("--once", "orders")
    assert done.returncode == 0, done.stderr
    assert wherry.ids() == [1, 2, 3]
    wherry.drop("bad.csv", "id,note,amount\nnine,x,1\n")
    assert wherry.run_daemon("--once").returncode == 1
    assert wherry.run_daemon("--once", "nosuch").returncode == 2


def test_two_connections_into_one_database_take_turns(wherry):
    wherry.pipeline("orders")
    other = wherry.root / "in2"
    other.mkdir()
    wherry.pipeline("more", source={"type": "files", "dir": str(other)}, dest_table="more")
    rows = "id,note,amount\n" + "".join(f"{n},x,1\n" for n in range(20_000))
    wherry.drop("a.csv", rows)
    wherry.drop("a.csv", rows, folder=other)
    wherry.start()
    wherry.ctl("sync", "more")
    assert wherry.sync("orders")["outcome"] == "succeeded"
    assert wherry.sync("more")["outcome"] == "succeeded"
    assert wherry.query("SELECT count(*) FROM orders") == wherry.query("SELECT count(*) FROM more") == [(20_000,)]


def test_a_table_has_one_owner(wherry):
    wherry.pipeline("orders")
    wherry.drop("a.csv", ORDERS)
    other = wherry.root / "in2"
    other.mkdir()
    wherry.drop("b.csv", "id,note,amount\n4,fourth,4\n", folder=other)
    wherry.pipeline("thief", source={"type": "files", "dir": str(other)})
    wherry.start()
    wherry.sync("orders")
    run = wherry.sync("thief", status=None)
    assert run["outcome"] == "failed"
    assert '"orders"' in run["error"]
    assert wherry.ids() == [1, 2, 3]


def test_several_files_that_take_their_time(wherry):
    """The worker asks about the next file while the writer is deep in the one before: the question must not be lost."""
    wherry.pipeline("orders")
    wherry.start()
    for number in range(4):
        lines = "".join(f"{number * 60000 + i},some note of a row,{i}.25\n" for i in range(60000))
        wherry.drop(f"{number}.csv", "id,note,amount\n" + lines)
    run = wherry.sync()
    assert run["committed"] == 4 and run["rows_committed"] == 240000


def test_several_new_files_under_truncate_say_which_one_stays(wherry):
    wherry.pipeline("orders", write_mode="truncate")
    wherry.start()
    wherry.drop("a.csv", "id,note,amount\n1,x,1\n")
    wherry.drop("b.csv", "id,note,amount\nbad,x,1\n")
    wherry.drop("c.csv", "id,note,amount\n3,x,1\n")
    wherry.sync(status=1)
    assert wherry.ids() == [3]
    warnings = [line for line in wherry.daemon.log().splitlines() if "replaces the rows" in line]
    assert len(warnings) == 1
    assert warnings[0].endswith(
        '"c.csv" replaces the rows of "a.csv", which came with the same sync: with "write_mode: truncate" the last file'
        " in order of names is what stays"
    )


def said(wherry, *words):
    return [line for line in wherry.daemon.log().splitlines() if all(word in line for word in words)]


def test_a_file_without_rows_that_empties_a_table_is_spoken_of(wherry):
    wherry.pipeline("orders", write_mode="truncate")
    wherry.start()
    wherry.drop("a.csv", "id,note,amount\n1,x,1\n")
    wherry.sync()
    assert not said(wherry, "has no rows")
    wherry.drop("b.csv", "")
    run = wherry.sync()
    warning = 'file "b.csv" has no rows: with "write_mode: truncate" its table is empty now'
    assert run["warnings"] == [warning]
    assert wherry.ids() == []


def test_a_snapshot_as_it_was_before_says_how_to_have_it(wherry):
    """The same name each time: content that was loaded once is not loaded again unasked."""
    wherry.pipeline("orders", write_mode="truncate")
    wherry.start()
    for number in (1, 2):
        wherry.drop("all.csv", f"id,note,amount\n{number},x,1\n")
        wherry.sync()
    wherry.drop("all.csv", "id,note,amount\n1,x,1\n")
    assert wherry.sync()["committed"] == 0
    assert wherry.ids() == [2]
    assert said(
        wherry,
        'file "all.csv" has again the content that was loaded at ',
        ', and other content since: skipped; "wherryctl requeue orders all.csv" applies it again',
    )
    wherry.ctl("requeue", "orders", "all.csv")
    wherry.sync()
    assert wherry.ids() == [1]


def test_a_file_before_the_last_that_failed_is_spoken_of(wherry):
    """It would replace what is newer, once it is repaired."""
    wherry.pipeline("orders", write_mode="truncate")
    wherry.start()
    wherry.drop("a.csv", "id,note,amount\nbad,x,1\n")
    wherry.drop("b.csv", "id,note,amount\n2,x,1\n")
    run = wherry.sync(status=1)
    warning = (
        'file "b.csv" was loaded, and "a.csv" before it was not: loaded later, that one replaces newer rows, until the '
        "files after it are requeued"
    )
    assert run["warnings"] == [warning]
    wherry.drop("a.csv", "id,note,amount\n1,x,1\n")
    wherry.sync()
    assert wherry.ids() == [1]
    wherry.ctl("requeue", "orders", "b.csv")
    wherry.sync()
    assert wherry.ids() == [2]


def test_files_that_stay_beside_each_other_need_no_order(wherry):
    wherry.pipeline("orders")
    wherry.start()
    wherry.drop("a.csv", "id,note,amount\nbad,x,1\n")
    wherry.drop("b.csv", "id,note,amount\n")
    wherry.sync(status=1)
    assert not said(wherry, "newer rows") and not said(wherry, "has no rows")
