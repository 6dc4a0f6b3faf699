"""What an author says of a plugin: its routes, its tools, and how it takes settings."""

import asyncio
import json
import logging
import pathlib
import urllib.parse
from dataclasses import dataclass, field
from typing import Any

import yaml


class ToolError(Exception):
    """A tool ran and failed; the text is its answer."""


class InvalidArguments(Exception):
    """A tool's arguments do not fit its schema; the text is told to the caller."""


class RefusedSettings(Exception):
    """New settings are refused; the text is told to people, so it must not hold secret values."""


@dataclass
class Request:
    """An HTTP request, read to its end."""

    user: Any  # who asks: name, uid, groups, extra; you never see their credentials
    cluster: str  # what the call is about; empty is the home cluster
    request_id: str  # names the call in every log
    method: str
    path: str  # below the plugin's own root
    query: dict  # lists of values by name
    headers: dict  # lists of values (bytes) by lower-case name
    body: bytes
    parameters: dict = field(default_factory=dict)  # what stood in a path's {places}

    def json(self):
        """The body as JSON; an error if it is none."""
        return json.loads(self.body)


@dataclass
class Response:
    """An answer to a request: bytes as they are, a text as text, anything else as JSON."""

    body: Any = b""
    status: int = 200
    headers: dict = field(default_factory=dict)

    def encoded(self):
        """The body's bytes and what kind they are."""
        if isinstance(self.body, bytes):
            return self.body, "application/octet-stream"
        if isinstance(self.body, str):
            return self.body.encode(), "text/plain; charset=utf-8"
        return json.dumps(self.body).encode(), "application/json"


@dataclass
class ToolCall:
    """A call of a tool."""

    user: Any
    cluster: str
    request_id: str
    arguments: dict


@dataclass
class Tool:
    function: Any
    name: str
    description: str
    input_schema: dict
    title: str
    read_only: bool
    destructive: bool
    idempotent: bool


class Plugin:
    """A plugin. Its routes and tools are functions, registered before it serves."""

    def __init__(self, manifest):
        """Takes what `manifest`, the path of the plugin.yaml, says: version, permissions, and the settings' defaults."""
        spec = yaml.safe_load(pathlib.Path(manifest).read_text(encoding="utf-8"))["spec"]
        properties = spec.get("settingsSchema", {}).get("properties", {})
        self.version = spec["version"]
        self.permissions = spec.get("permissions", [])
        self.settings = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
        self.log = logging.getLogger("plugin")
        self.tools = {}
        self._routes = []
        self._check = None

    def route(self, method, path):
        """Registers a function of a `Request`. A part of the path in braces stands for any, and is a parameter."""

        def register(function):
            self._routes.append((method, path.split("/"), function))
            return function

        return register

    def tool(self, name, description, input_schema, *, title="", read_only=False, destructive=False, idempotent=False):
        """Registers a function of a `ToolCall`, which answers a text, or any other value as structured content."""

        def register(function):
            self.tools[name] = Tool(
                function, name, description, input_schema, title, read_only, destructive, idempotent
            )
            return function

        return register

    def check_settings(self, function):
        """Registers a function that is shown new settings, and refuses them by RefusedSettings."""
        self._check = function
        return function

    def apply_settings(self, settings):
        """New settings take the place of the old, unless they are refused."""
        if self._check:
            self._check(settings)
        self.settings = settings

    async def respond(self, request):
        """The answer of the route that fits."""
        # To HEAD the answer is as to GET.
        method = "GET" if request.method == "HEAD" else request.method
        fitting = []
        for route_method, parts, function in self._routes:
            parameters = match(parts, request.path.split("/"))
            if parameters is not None:
                fitting.append(route_method)
                if route_method == method:
                    request.parameters = parameters
                    answer = await function(request)
                    return answer if isinstance(answer, Response) else Response(answer)
        if fitting:
            return Response({"error": "this path has other methods"}, 405, {"allow": ", ".join(fitting)})
        return Response({"error": "there is no such path"}, 404)

    def serve(self):
        """Serves until the plugin is told to stop, as the operator runs it."""
        from .server import serve

        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        asyncio.run(serve(self))


def match(parts, path):
    """The parameters of a path that fits; None if it does not."""
    if len(parts) != len(path):
        return None
    parameters = {}
    for part, piece in zip(parts, path):
        if part.startswith("{") and part.endswith("}"):
            parameters[part[1:-1]] = urllib.parse.unquote(piece)
        elif part != piece:
            return None
    return parameters
