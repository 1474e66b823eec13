"""Runs a connector under Fivetran's own SDK (MIT, below 3) and prints what it did, one JSON object a line.

    mit_side.py PROJECT CONFIGURATION STATE        in the virtual environment that has the SDK

The connector is served as in production (`connector.run()`), and a small client drains its operations.
"""

import base64
import json
import os
import socket
import sys
import threading

import grpc
from fivetran_connector_sdk.protos import common_pb2, connector_sdk_pb2, connector_sdk_pb2_grpc

TYPES = {number: name for name, number in common_pb2.DataType.items()}
OPERATIONS = {number: name.lower() for name, number in common_pb2.RecordType.items()}


def say(**what):
    os.write(3, (json.dumps(what) + "\n").encode())


def value_of(value):
    kind = value.WhichOneof("inner")
    if kind == "null":
        return ["null"]
    content = getattr(value, kind)
    if kind in ("naive_date", "naive_datetime", "utc_datetime"):
        return [kind, content.ToDatetime().isoformat()]
    if kind == "binary":
        return [kind, base64.b64encode(content).decode()]
    return [kind, repr(content) if kind in ("float", "double") else content]


def table_of(table):
    columns = [
        [
            column.name,
            TYPES[column.type],
            column.primary_key,
            column.params.decimal.precision,
            column.params.decimal.scale,
        ]
        for column in table.columns
    ]
    return {"table": table.name, "columns": columns}


def take(response):
    kind = response.WhichOneof("operation")
    if kind in ("structured_records", "structured_record"):
        one = kind == "structured_record"
        records = [response.structured_record] if one else response.structured_records.structured_records
        for record in records:
            data = {name: value_of(value) for name, value in record.data.items()}
            say(operation=OPERATIONS[record.type], table=record.table_name, data=data)
    elif kind == "checkpoint":
        say(operation="checkpoint", state=response.checkpoint.state_json)
    else:
        say(operation=kind, message=getattr(response, kind).message)


def drain(port, configuration, state):
    options = [("grpc.max_receive_message_length", 128 << 20)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        grpc.channel_ready_future(channel).result(timeout=60)
        stub = connector_sdk_pb2_grpc.SourceConnectorStub(channel)
        schema = stub.Schema(connector_sdk_pb2.SchemaRequest(configuration=configuration))
        say(schema=[table_of(table) for table in schema.without_schema.tables])
        for response in stub.Update(connector_sdk_pb2.UpdateRequest(configuration=configuration, state_json=state)):
            take(response)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main(project, configuration, state):
    os.chdir(project)
    sys.path.append(project)
    try:
        from connector import connector
    except BaseException as error:
        say(error=f"{type(error).__name__}: {error}")
        return
    port = free_port()
    threading.Thread(target=connector.run, kwargs={"port": port}, daemon=True).start()
    try:
        drain(port, json.loads(configuration), state)
        say(outcome="success")
    except grpc.RpcError as error:
        say(error=error.details())


try:
    main(*sys.argv[1:])
finally:
    os._exit(0)  # the server's threads would wait for a client
