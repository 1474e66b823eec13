"""source_manifest: what a producer's NAME.manifest.json does to the file beside it."""

import json

ROWS = "id,note,amount\n1,a,1.5\n2,b,2.5\n"


def manifest(**facet):
    return json.dumps(
        {
            "eventType": "COMPLETE",
            "eventTime": "2026-05-25T10:30:00Z",
            "run": {"runId": "r-7", "facets": {"_filedgeManifest": facet}},
            "job": {"namespace": "api", "name": "stripe.charges"},
        }
    )


def test_a_required_manifest_is_waited_for(wherry):
    wherry.pipeline("orders", source_manifest="required", retry_cap=1)
    wherry.start()
    wherry.drop("a.csv", ROWS)
    for _ in range(2):  # no attempt is used up, though there is only one
        run = wherry.sync(status=1)
        assert (run["outcome"], run["failed"], run["committed"]) == ("failed", 1, 0)
        assert run["error"].endswith(
            'a.csv: there is no "a.csv.manifest.json" beside it, which "source_manifest: required" waits for'
        )
    wherry.drop("a.csv.manifest.json", manifest()[:-1])
    run = wherry.sync(status=1)
    assert 'a.csv: its manifest "a.csv.manifest.json" is not one: not valid JSON at byte' in run["error"]
    assert wherry.files()[0]["attempts"] == 0
    wherry.drop("a.csv.manifest.json", manifest(record_count=2))
    run = wherry.sync()
    assert (run["outcome"], run["committed"], run["rows_committed"]) == ("succeeded", 1, 2)
    wherry.daemon.wait_log(r"a\.csv comes from stripe\.charges \(api\), run r-7, 2 rows")


def test_a_file_of_fewer_rows_than_its_manifest_says(wherry):
    wherry.pipeline("orders", source_manifest="required")
    wherry.start()
    wherry.drop("a.csv.manifest.json", manifest(record_count=1500))
    wherry.drop("a.csv", ROWS)
    run = wherry.sync(status=1)
    assert run["error"].endswith("a.csv: the file has 2 rows, but its manifest says 1500: is it cut off?")
    assert wherry.files()[0]["state"] == "FAILED"
    assert wherry.files()[0]["attempts"] == 1


def test_an_optional_manifest_fails_nothing(wherry):
    wherry.pipeline("orders")  # optional is the default, as with Filedge
    wherry.start()
    wherry.drop("a.csv", ROWS)
    wherry.drop("b.csv.manifest.json", "{}")
    wherry.drop("b.csv", ROWS.replace("a", "b"))
    wherry.drop("c.csv.manifest.json", manifest(record_count=9))
    wherry.drop("c.csv", ROWS.replace("b", "c"))
    run = wherry.sync()
    assert (run["outcome"], run["committed"]) == ("succeeded", 3)
    assert run["warnings"] == [
        'the manifest "b.csv.manifest.json" is not one: it lacks "job.namespace": a manifest says in "job" by '
        '"namespace" and "name" where the rows come from',
        "c.csv: the file has 2 rows, but its manifest says 9",
    ]


def test_a_disabled_manifest_is_not_looked_at(wherry):
    wherry.pipeline("orders", source_manifest="disabled")
    wherry.start()
    wherry.drop("a.csv.manifest.json", "{}")
    wherry.drop("a.csv", ROWS)
    assert wherry.sync()["warnings"] == []
