"""Protected columns, read back by an implementation that is not ours, and plain values looked for wherever they must not
be: pipe, log, errors, command lines, environments and state."""

import base64
import gzip
import hashlib
import hmac
import json
import random
import struct

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from harness import command_line, descendants
from test_source_files import folder, start  # noqa: F401: fixtures

KEY = bytes(range(32))
JOIN = b"a join key of some forty bytes, all told"
KEY_TEXT = base64.b64encode(KEY).decode()
SECRET = "457-55-5462"
ENVIRONMENT = {"DATA_KEY": KEY_TEXT, "JOIN_KEY": base64.b64encode(JOIN).decode()}


def encrypt(key="env:DATA_KEY"):
    return {"algorithm": "aes-256-gcm", "key": key}


def keyed(key="env:JOIN_KEY"):
    return {"algorithm": "hmac-sha256", "key": key}


def column(source, kind="string", **more):
    return {"source": source, "dest": more.pop("dest", source), "type": kind, "required": False, **more}


def decrypt(text, key=KEY):
    """As Filedge's documentation has it: 0x01, nonce, tag, ciphertext."""
    frame = base64.b64decode(text, validate=True)
    assert frame[0] == 1
    nonce, tag, body = frame[1:13], frame[13:29], frame[29:]
    return AESGCM(key).decrypt(nonce, body + tag, None).decode()


def digest(text, key=JOIN):
    return base64.b64encode(hmac.new(key, text.encode(), hashlib.sha256).digest()).decode()


def people(wherry, columns, **changes):
    wherry.pipeline("people", dest_table="people", columns=columns, **changes)


def test_values_are_read_back(wherry):
    path = wherry.root / "data.key"
    path.write_bytes(KEY + b"\n")
    people(
        wherry,
        [
            column("id", "integer"),
            column("ssn", dest="ssn_ct", encrypt=encrypt()),
            column("ssn", dest="ssn_join", hash=keyed()),
            column("born", "date", encrypt=encrypt(f"secrets:{path}")),
            column("seen", "timestamp", encrypt=encrypt()),
            column("score", "float", encrypt=encrypt()),
            column("member", "boolean", hash=keyed()),
            column("count", "integer", hash=keyed()),
        ],
    )
    wherry.start(env=ENVIRONMENT)
    wherry.drop(
        "a.csv",
        "id,ssn,born,seen,score,member,count\n"
        f"1,{SECRET},19700131,2024-01-31 10:20:30.5Z,1e16,yes,0042\n"
        f"2,{SECRET},,,0.1,,\n"
        "3,Zoë 🙂,0001-01-01,2024-01-31T10:20,-0,no,-7\n",
    )
    assert wherry.sync("people")["outcome"] == "succeeded"
    rows = wherry.query("SELECT * FROM people ORDER BY id")
    names = [name for (name,) in wherry.query("SELECT name FROM pragma_table_info('people')")]
    rows = [dict(zip(names, row)) for row in rows]
    types = dict(wherry.query("SELECT name, type FROM pragma_table_info('people')"))
    assert {types[name] for name in names[2:8]} == {"TEXT"}
    assert [decrypt(row["ssn_ct"]) for row in rows] == [SECRET, SECRET, "Zoë 🙂"]
    assert [row["ssn_join"] for row in rows] == [digest(SECRET), digest(SECRET), digest("Zoë 🙂")]
    assert rows[0]["ssn_ct"] != rows[1]["ssn_ct"]
    assert [decrypt(row["born"]) for row in rows] == ["1970-01-31", "", "0001-01-01"]
    assert [decrypt(row["seen"]) for row in rows] == [*["2024-01-31T10:20:30.500000+00:00", "", "2024-01-31T10:20:00"]]
    assert [decrypt(row["score"]) for row in rows] == ["1e+16", "0.1", "-0.0"]
    assert [row["member"] for row in rows] == [digest("True"), digest(""), digest("False")]
    assert [row["count"] for row in rows] == [digest("42"), digest(""), digest("-7")]


def test_floats_are_printed_as_python_does(wherry):
    """Each with the digits and the form of repr(): a hash would tell any other."""
    seed = random.randrange(1 << 32)
    print("seed", seed)
    generator = random.Random(seed)
    numbers = [2.0**i for i in range(-1074, 1024)]
    while len(numbers) < 20000:
        number = struct.unpack("<d", generator.randbytes(8))[0]
        if number == number and abs(number) != float("inf"):
            numbers.append(number)
    numbers += [round(generator.uniform(-1e6, 1e6), generator.randrange(8)) for _ in range(5000)]
    people(wherry, [column("id", "integer"), column("x", "float", hash=keyed())])
    wherry.start(env=ENVIRONMENT)
    wherry.drop("a.csv", "id,x\n" + "".join(f"{i},{number:.17e}\n" for i, number in enumerate(numbers)))
    wherry.sync("people")
    rows = wherry.query("SELECT id, x FROM people ORDER BY id")
    wrong = [numbers[i] for i, hashed in rows if hashed != digest(str(numbers[i]))]
    assert len(rows) == len(numbers)
    assert not wrong, f"{len(wrong)}, such as {wrong[:5]}"


def everything_said(wherry):
    said = [wherry.daemon.log(), wherry.ctl("runs", "people", "--json").stdout]
    said += [wherry.ctl("files", "people", "--json").stdout, wherry.ctl("status", "--json").stdout]
    said += [path.read_bytes().decode("latin-1") for path in wherry.state_dir.rglob("*") if path.is_file()]
    return "\n".join(said)


@pytest.mark.parametrize(
    "content",
    [
        f"id,ssn,note\n1,{SECRET},x\n".replace("1,", "1,x,", 1),
        f"id,ssn,note\n{SECRET},1,x\n",
        f'id,ssn,note\n1,"{SECRET}"x,x\n',
        f'id,ssn,note\n1,a,"open\n2,{SECRET},x\n',
        f"{SECRET},1,x\n2,a,b\n",
        f"id,ssn,note\n1,{SECRET}\xff,x\n",
    ],
    ids=["long", "shifted", "quote", "unclosed", "headless", "encoding"],
)
def test_no_error_quotes_a_value(wherry, content):
    people(
        wherry,
        [column("id", "integer", required=True), column("ssn", encrypt=encrypt()), column("note")],
        log_level="debug",
    )
    wherry.start(env=ENVIRONMENT)
    wherry.drop("a.csv", content.encode("latin-1"))
    run = wherry.sync("people", status=1)
    assert run["error"].startswith("a.csv: ") or "a.csv" in run["error"]
    said = everything_said(wherry)
    assert SECRET not in said
    assert SECRET[:7] not in said


def test_a_bad_value_of_a_protected_column(wherry):
    people(wherry, [column("born", "date", encrypt=encrypt())])
    wherry.start(env=ENVIRONMENT)
    wherry.drop("a.csv", f"born\n1970-01-31\n{SECRET}\n")
    run = wherry.sync("people", status=1)
    assert run["error"].endswith('a.csv: line 3, row 2, column "born": not a date such as 2024-02-29')
    assert SECRET not in everything_said(wherry)


def test_keys_are_in_no_command_line_environment_log_or_state(wherry):
    people(wherry, [column("ssn", encrypt=encrypt())], log_level="debug")
    wherry.start(env=ENVIRONMENT)
    seen = []
    wherry.drop("a.csv.gz", gzip.compress(("ssn\n" + f"{SECRET}\n" * 400000).encode()))
    wherry.ctl("sync", "people")
    for _ in range(2000):
        for pid in descendants(wherry.daemon.pid):
            try:
                with open(f"/proc/{pid}/environ", "rb") as environment:
                    seen.append(command_line(pid) + environment.read().decode("latin-1"))
            except OSError:
                pass
        if wherry.status("people")["outcome"]:
            break
    assert wherry.status("people")["outcome"] == "succeeded"
    assert any("source-files" in text for text in seen)
    for text in [*seen, everything_said(wherry)]:
        assert KEY_TEXT not in text
        assert KEY.hex() not in text
        assert SECRET not in text


def test_nothing_plain_is_on_the_pipe(start, folder):  # noqa: F811
    (folder / "a.csv").write_text(f"id,note\n1,{SECRET}\n")
    protection = {"algorithm": "aes-256-gcm", "key": KEY_TEXT}
    worker = start(columns=[column("id", "integer"), column("note", encrypt=protection)])
    assert worker.run() == 0
    (rows,) = [frame.fields for frame in worker.piped if frame.type == "ROWS"]
    assert SECRET.encode() not in rows
    assert decrypt(rows[-56:].decode()) == SECRET


@pytest.mark.parametrize(
    ["environment", "message"],
    [
        ({}, "is not set in wherryd's environment"),
        ({"DATA_KEY": "c2hvcnQ="}, "has 5 bytes; it must have exactly 32"),
        ({"DATA_KEY": "no base64!"}, 'is not base64 text; "openssl rand -base64 32" makes one'),
    ],
    ids=["missing", "short", "garbled"],
)
def test_a_wrong_key_is_an_error_of_configuration(wherry, environment, message):
    people(wherry, [column("ssn", encrypt=encrypt())])
    checked = wherry.run_daemon("--check", env=ENVIRONMENT)
    assert checked.stdout == "1 connection, all good\n"
    text = (wherry.pipelines_dir / "people.yaml").read_text()
    wherry.start(env=environment)
    run = wherry.sync("people", status=1)
    place, said = run["error"].split(": ", 1)
    assert said == f'the key "env:DATA_KEY" {message}'
    name, line, position = place.split(":")
    assert name == "people.yaml"
    assert text.splitlines()[int(line) - 1][int(position) - 1 :].lstrip('"').startswith("env:DATA_KEY")
    assert environment.get("DATA_KEY", "x y z") not in json.dumps(run)
