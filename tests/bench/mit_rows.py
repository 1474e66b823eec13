"""A connector under Fivetran's own SDK (MIT, below 3), its rows drained by a client that only counts them.

    mit_rows.py PROJECT CONFIGURATION        in the virtual environment that has the SDK; prints rows and seconds

The client is a process of its own, as the official one is.
"""

import json
import os
import socket
import subprocess
import sys
import time

import grpc
from fivetran_connector_sdk.protos import connector_sdk_pb2, connector_sdk_pb2_grpc


def serve(project, port):
    os.chdir(project)
    sys.path[0] = project  # which is this folder, with a connector.py of its own
    from connector import connector

    connector.run(port=int(port))


def drain(port, configuration):
    options = [("grpc.max_receive_message_length", 128 << 20)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        grpc.channel_ready_future(channel).result(timeout=60)
        stub = connector_sdk_pb2_grpc.SourceConnectorStub(channel)
        stub.Schema(connector_sdk_pb2.SchemaRequest(configuration=configuration))
        start, rows = time.monotonic(), 0
        for response in stub.Update(connector_sdk_pb2.UpdateRequest(configuration=configuration, state_json="{}")):
            kind = response.WhichOneof("operation")
            if kind == "structured_records":
                rows += len(response.structured_records.structured_records)
            elif kind == "structured_record":
                rows += 1
        print(rows, time.monotonic() - start)


def main(project, configuration):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, __file__, "serve", project, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        drain(port, json.loads(configuration))
    finally:
        server.kill()
        server.wait()


if sys.argv[1] == "serve":
    serve(*sys.argv[2:])
else:
    main(*sys.argv[1:])
