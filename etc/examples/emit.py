#!/usr/bin/env python3
"""A source in Python: three readings a sync, going on where the last one ended."""

import json
import sys

begin = json.loads(sys.stdin.readline())  # {"configuration": {…}, …, "state": {…}}
city = begin["configuration"].get("city", "nowhere")
last = begin["state"].get("last", 0)


def say(**line):
    print(json.dumps(line))


say(op="schema", tables=[{"table": "readings", "primary_key": ["id"], "columns": {"id": "LONG", "value": "DOUBLE"}}])
for value in (1.5, 2.5, 3.5):
    last += 1
    say(op="upsert", table="readings", data={"id": last, "value": value, "city": city})
say(op="checkpoint", state={"last": last})  # what was printed so far and this state become durable together
print(f"printed readings up to {last}", file=sys.stderr)  # goes to the log
