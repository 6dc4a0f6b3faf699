"""Running a plugin in its author's own tests, behind the real protocol on loopback."""

import contextlib
import json
import os
from dataclasses import dataclass
from unittest import mock

import grpc
from kite.plugin.v1 import plugin_pb2 as kite
from kite.plugin.v1 import plugin_pb2_grpc

from .service import MAX_CHUNK, Service


class Refused(Exception):
    """The plugin refused the settings; the text is its reason."""


@dataclass
class Answer:
    """What a route answered."""

    status: int
    headers: dict
    body: bytes

    def json(self):
        return json.loads(self.body)


@contextlib.asynccontextmanager
async def start(plugin, name="test"):
    """Serves the plugin under this name and gives a client; the settings are afterwards what they were."""
    settings = plugin.settings
    server = grpc.aio.server()
    plugin_pb2_grpc.add_PluginServicer_to_server(Service(plugin), server)
    port = server.add_insecure_port("127.0.0.1:0")
    with mock.patch.dict(os.environ, KITE_PLUGIN_NAME=name):
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield Client(plugin_pb2_grpc.PluginStub(channel))
        finally:
            plugin.settings = settings
            await server.stop(None)


class Client:
    """Somebody who calls a plugin."""

    def __init__(self, stub):
        self.stub = stub

    async def get(self, path, user="tester"):
        return await self.request("GET", path, user=user)

    async def request(self, method, path, body=b"", user="tester"):
        head = kite.HttpRequestHead(context=_context(user), method=method, path_and_query=path)
        pieces = [body[at : at + MAX_CHUNK] for at in range(0, len(body), MAX_CHUNK)] or [b""]
        last = len(pieces) - 1
        messages = [
            kite.HttpRequest(head=None if number else head, data=piece, end=number == last)
            for number, piece in enumerate(pieces)
        ]
        received = [message async for message in self.stub.Http(iter(messages))]
        head = received[0].head
        headers = {header.name: header.value.decode() for header in head.headers}
        return Answer(head.status, headers, b"".join(message.data for message in received))

    async def call_tool(self, name, arguments, user="tester"):
        """The tool's result; a status that is no result is raised as grpc.aio.AioRpcError."""
        request = kite.CallToolRequest(context=_context(user), tool=name, arguments=json.dumps(arguments).encode())
        received = [message async for message in self.stub.CallTool(request)]
        return received[-1].result

    async def apply_settings(self, settings):
        request = kite.ApplySettingsRequest(context=kite.CallContext(), settings=json.dumps(settings).encode())
        answer = await self.stub.ApplySettings(request)
        if not answer.accepted:
            raise Refused(answer.reason)


def _context(user):
    return kite.CallContext(user=kite.User(name=user), request_id="test")
