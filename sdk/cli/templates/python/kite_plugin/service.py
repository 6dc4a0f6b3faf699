"""The protocol's service, over what an author has registered."""

import asyncio
import json
import os
import urllib.parse

import grpc
from kite.plugin.v1 import plugin_pb2 as kite
from kite.plugin.v1 import plugin_pb2_grpc

from .plugin import InvalidArguments, RefusedSettings, Request, Response, ToolCall, ToolError

# The protocol's limits, in bytes.
MAX_CHUNK = 64 * 1024
MAX_STATUS_MESSAGE = 1024
MAX_RESULT = 4 * 1024 * 1024
# Most bytes of a request's body, which is held in memory.
MAX_BODY = 8 * 1024 * 1024


class Service(plugin_pb2_grpc.PluginServicer):
    """What the gateway and the operator call."""

    def __init__(self, plugin):
        self.plugin = plugin
        # Serialized once, since its exact bytes are what pins the revision.
        self.definitions = definitions(plugin).SerializeToString(deterministic=True)

    async def Describe(self, request, context):
        name = os.environ["KITE_PLUGIN_NAME"]
        return kite.DescribeResponse(
            name=name, version=self.plugin.version, protocol=1, definitions=self.definitions
        )

    async def ApplySettings(self, request, context):
        try:
            self.plugin.apply_settings(json.loads(request.settings))
        except RefusedSettings as refused:
            return kite.ApplySettingsResponse(accepted=False, reason=cut(str(refused)))
        return kite.ApplySettingsResponse(accepted=True)

    async def Http(self, messages, context):
        request, timeout = None, None
        async for message in messages:
            if request is None:
                request, timeout = begun(message.head), seconds(message.head.context)
            if len(request.body) + len(message.data) > MAX_BODY:
                response = Response({"error": f"the body has more than {MAX_BODY} bytes"}, 413)
                break
            request.body += message.data
            if message.end:
                response = await self._respond(request, timeout, context)
                break
        else:
            # One that broke off is not answered.
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request ended before it was complete")
        for part in parts(response, is_head=request.method == "HEAD"):
            yield part

    async def _respond(self, request, timeout, context):
        try:
            async with asyncio.timeout(timeout):
                return await self.plugin.respond(request)
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the time was up")
        except Exception:
            self.plugin.log.exception("%s %s failed, request %s", request.method, request.path, request.request_id)
            return Response({"error": "the plugin failed"}, 500)

    async def CallTool(self, request, context):
        tool = self.plugin.tools.get(request.tool)
        if tool is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such tool")
        about = request.context
        try:
            call = ToolCall(about.user, about.cluster, about.request_id, json.loads(request.arguments))
            if not isinstance(call.arguments, dict):
                raise InvalidArguments("the arguments are an object")
            async with asyncio.timeout(seconds(about)):
                result = resulting(await tool.function(call))
        except (InvalidArguments, json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, cut(str(error)))
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the time was up")
        except ToolError as error:
            result = kite.ToolResult(text=str(error), is_error=True)
        except Exception:
            self.plugin.log.exception("the tool %s failed, request %s", tool.name, about.request_id)
            result = kite.ToolResult(text="the plugin failed", is_error=True)
        response = kite.CallToolResponse(result=result)
        if response.ByteSize() > MAX_RESULT:
            text = f"the result has more than {MAX_RESULT} bytes"
            response = kite.CallToolResponse(result=kite.ToolResult(text=text, is_error=True))
        yield response


def definitions(plugin):
    """What the plugin offers, and what it needs."""
    tools = [
        kite.Tool(
            name=tool.name,
            description=tool.description,
            input_schema=json.dumps(tool.input_schema).encode(),
            title=tool.title,
            read_only=tool.read_only,
            destructive=tool.destructive,
            idempotent=tool.idempotent,
        )
        for _, tool in sorted(plugin.tools.items())
    ]
    permissions = [
        kite.Permission(
            api_groups=rule["apiGroups"],
            resources=rule["resources"],
            verbs=rule["verbs"],
            resource_names=rule.get("resourceNames", []),
            namespaces=rule.get("namespaces", []),
        )
        for rule in plugin.permissions
    ]
    return kite.Definitions(tools=tools, permissions=permissions, supports=kite.Supports(settings=True))


def begun(head):
    """The request that begins so, without its body."""
    path, _, query = head.path_and_query.partition("?")
    headers = {}
    for header in head.headers:
        headers.setdefault(header.name, []).append(header.value)
    about = head.context
    return Request(
        user=about.user,
        cluster=about.cluster,
        request_id=about.request_id,
        method=head.method,
        path=path,
        query=urllib.parse.parse_qs(query, keep_blank_values=True),
        headers=headers,
        body=b"",
    )


def parts(response, is_head):
    """The messages of a response."""
    body, kind = response.encoded()
    headers = {"content-type": kind, **response.headers}
    named = [kite.Header(name=name.lower(), value=str(value).encode()) for name, value in headers.items()]
    head = kite.HttpResponseHead(status=response.status, headers=named)
    body = b"" if is_head else body
    pieces = [body[at : at + MAX_CHUNK] for at in range(0, len(body), MAX_CHUNK)] or [b""]
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        yield kite.HttpResponse(head=None if number else head, data=piece, end=last)


def resulting(answer):
    """A tool's answer as the protocol has it."""
    if isinstance(answer, str):
        return kite.ToolResult(text=answer)
    text = json.dumps(answer)
    return kite.ToolResult(text=text, structured_content=text.encode())


def seconds(about):
    """The time that is left for a call; None where it has no limit."""
    if not about.HasField("timeout"):
        return None
    return about.timeout.seconds + about.timeout.nanos / 1e9


def cut(text):
    """A text that is no longer than a status' may be."""
    return text.encode()[:MAX_STATUS_MESSAGE].decode(errors="ignore")
