"""Every key that a Filedge pipeline may have is honoured, or told by its name: never taken for a typing error."""

import json

import pytest

FULL = """\
format: csv
dest_table: orders
write_mode: append
retry_cap: 3
stale_timeout_minutes: 30
batch_size: 1000
encoding: utf-8
source_manifest: optional
file_pattern: "*.csv"
connector:
  type: sqlite
  url: sqlite:///orders.db
quarantine:
  enabled: false
columns:
  - {source: id, dest: order_id, type: integer, required: true}
  - source: ssn
    dest: ssn_ct
    type: string
    required: false
    encrypt: {algorithm: aes-256-gcm, key: env:DATA_KEY}
  - source: ssn
    dest: ssn_join
    type: string
    required: false
    hash: {algorithm: hmac-sha256, key: env:DATA_KEY}
"""


def test_a_full_pipeline_runs_unchanged(wherry):
    (wherry.root / "orders.yaml").write_text(FULL)
    wherry.drop("a.csv", "id,ssn\n1,457-55-5462\n")
    done = wherry.run_daemon(
        *["--once", "--file", wherry.root / "orders.yaml", "--dir", wherry.incoming, "--json"],
        env={"DATA_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["rows_committed"] == 1
    rows = wherry.query(
        "SELECT order_id, length(ssn_ct), length(ssn_join) FROM orders", database=wherry.root / "orders.db"
    )
    assert rows == [(1, 56, 44)]
    warned = [line.split("warning", 1)[1] for line in done.stderr.splitlines() if "has no effect" in line]
    assert [line for line in warned if '"batch_size" has no effect: each file is one transaction' in line]
    assert [line for line in warned if '"stale_timeout_minutes" has no effect' in line]


@pytest.mark.parametrize(
    ["change", "said"],
    [
        (("format: csv", "format: excel"), 'format "excel" is not supported yet; save the sheet as CSV'),
        (("format: csv", "format: csv\nexcel: {sheet: 0}"), '"excel" is not supported yet; save the sheet as CSV'),
        (("type: sqlite", "type: bigquery"), 'destination type "bigquery" is not supported yet'),
        (("type: sqlite", "type: databricks"), 'destination type "databricks" is not supported yet'),
    ],
    ids=["excel", "sheet", "bigquery", "databricks"],
)
def test_what_is_not_there_is_refused_by_its_name(wherry, change, said):
    (wherry.root / "orders.yaml").write_text("source: {type: files, dir: in}\n" + FULL.replace(*change))
    done = wherry.run_daemon("--check", wherry.root / "orders.yaml")
    assert done.returncode == 2
    assert said in done.stdout
    assert "unknown" not in done.stdout
