"""A plugin in Python, from the protocol's file and grpcio alone: a route, an echo and a tool.

The modules are generated: python -m grpc_tools.protoc -I sdk/proto --python_out=OUT --grpc_python_out=OUT \
    kite/plugin/v1/plugin.proto
"""

import argparse
import asyncio
import json
import os
import pathlib
import signal
import time

import grpc
from kite.plugin.v1 import plugin_pb2 as kite
from kite.plugin.v1 import plugin_pb2_grpc

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "description": "Whom to greet"}},
    "required": ["name"],
}
TOOL = kite.Tool(name="greet", description="Greets somebody", input_schema=json.dumps(SCHEMA).encode(), read_only=True)
# Serialized once, since its exact bytes are what pins the revision.
DEFINITIONS = kite.Definitions(tools=[TOOL]).SerializeToString(deterministic=True)
# How long renewed certificates wait for connections that begin with those of before.
SETTLE_SECONDS = 0.1


def answer(status, body=b"", kind=b"application/json"):
    head = kite.HttpResponseHead(status=status, headers=[kite.Header(name="content-type", value=kind)])
    return kite.HttpResponse(head=head, data=body, end=True)


class Plugin(plugin_pb2_grpc.PluginServicer):
    async def Describe(self, request, context):
        name = os.environ["KITE_PLUGIN_NAME"]
        return kite.DescribeResponse(name=name, version="0.1.0", protocol=1, definitions=DEFINITIONS)

    async def Http(self, requests, context):
        first = await anext(requests)
        given = first.head.context
        limit = given.timeout.ToTimedelta().total_seconds() if given.HasField("timeout") else None
        try:
            async with asyncio.timeout(limit):
                async for message in self.answers(first, requests, context):
                    yield message
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the time is up")

    async def answers(self, first, requests, context):
        method, path = first.head.method, first.head.path_and_query.partition("?")[0]
        if first.head.protocol:
            # A WebSocket that is refused says no more.
            yield answer(404, b'{"error": "there is no WebSocket"}')
            return
        ended = first.end
        if path == "/echo" and method == "POST":
            head = kite.HttpResponseHead(status=200)
            yield kite.HttpResponse(head=head, data=first.data, trailers=first.trailers, end=ended)
            async for message in requests:
                ended = message.end
                yield kite.HttpResponse(data=message.data, trailers=message.trailers, end=ended)
            return
        # A request is read to its end, and one that broke off is not answered.
        async for message in requests:
            ended = message.end
        if not ended:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request ended before it was complete")
        if path != "/hello":
            yield answer(404, b'{"error": "there is no such route"}')
        elif method not in ("GET", "HEAD"):
            yield answer(405, b'{"error": "this route is read by GET"}')
        else:
            body = json.dumps({"message": f"Hello, {first.head.context.user.name}!"}).encode()
            yield answer(200, b"" if method == "HEAD" else body)

    async def CallTool(self, request, context):
        if request.tool != TOOL.name:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such tool")
        try:
            name = json.loads(request.arguments)["name"]
        except (ValueError, KeyError, TypeError, RecursionError):
            name = None
        if not isinstance(name, str):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the arguments are an object with a text called name")
        yield kite.CallToolResponse(progress=kite.Progress(fraction=0.5, message="thinking"))
        yield kite.CallToolResponse(result=kite.ToolResult(text=f"Hello, {name}!"))


def credentials(folder):
    """Mutual TLS with what is in the folder, which each new connection has read anew."""

    def read():
        # All of one time: they are renewed by a switch of this link, where the kubelet mounts them.
        data = folder / "..data"
        now = data.resolve() if data.exists() else folder
        return [(now / name).read_bytes() for name in ("tls.key", "tls.crt", "clients-ca.crt")]

    def configuration(files):
        key, certificate, clients = files
        return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=clients)

    used = read()

    def renewed():
        nonlocal used
        files = read()
        if files == used:
            # For a configuration gRPC frees the one before, also under a connection that begins at the same time, which
            # is refused by that or ends the process (https://github.com/grpc/grpc/issues/36693).
            return None
        # No connection gets further than to here while this runs, and those before it are soon past the danger.
        time.sleep(SETTLE_SECONDS)
        used = files
        return configuration(files)

    return grpc.dynamic_ssl_server_credentials(configuration(used), renewed, require_client_authentication=True)


def health(state):
    """grpc.health.v1.Health/Check, whose whole answer is one number."""

    async def check(_, context):
        return b"\x08\x01" if state["serving"] else b"\x08\x02"

    handler = grpc.unary_unary_rpc_method_handler(check)
    return grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    given = os.environ.get
    parser.add_argument("--address", default=given("KITE_PLUGIN_ADDRESS", "[::]"), help="where to listen")
    parser.add_argument("--folder", type=pathlib.Path, default=given("KITE_PLUGIN_FOLDER", "/run/kite"), help="certificates")
    arguments = parser.parse_args()
    state = {"serving": True}
    limits = [("grpc.max_receive_message_length", 1280 * 1024), ("grpc.max_metadata_size", 16 * 1024)]
    plugin, probes = grpc.aio.server(options=limits), grpc.aio.server(options=limits)
    plugin_pb2_grpc.add_PluginServicer_to_server(Plugin(), plugin)
    probes.add_generic_rpc_handlers([health(state)])
    plugin.add_secure_port(f"{arguments.address}:9443", credentials(arguments.folder))
    probes.add_insecure_port(f"{arguments.address}:9440")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await plugin.start()
    await probes.start()
    await stop.wait()
    state["serving"] = False
    # No new calls, and those under way are finished.
    await plugin.stop(int(given("KITE_GRACE_SECONDS", "30")) - 5)
    await probes.stop(None)


if __name__ == "__main__":
    asyncio.run(main())
