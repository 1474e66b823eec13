#!/bin/sh
# A source in the shell: three readings a sync, going on where the last one ended.
# BEGIN comes on stdin as one line: {"configuration": {…}, …, "state": {…}}
read -r begin
last=$(printf '%s' "$begin" | sed -n 's/.*"last": *\([0-9]*\).*/\1/p')
last=${last:-0}

echo '{"op": "schema", "tables": [{"table": "readings", "primary_key": ["id"],
       "columns": {"id": "LONG", "value": "DOUBLE"}}]}' | tr -d '\n'
echo

for i in 1 2 3; do
    last=$((last + 1))
    echo '{"op": "upsert", "table": "readings", "data": {"id": '$last', "value": '$i'.5}}'
done

# What was printed so far and this state become durable together.
echo '{"op": "checkpoint", "state": {"last": '$last'}}'
echo "printed readings up to $last" >&2 # goes to the log
