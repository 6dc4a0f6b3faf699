"""The plugin: what it offers, and what each call does."""

import asyncio
import pathlib

from kite_plugin import InvalidArguments, Plugin, RefusedSettings, Response, kubernetes

plugin = Plugin(pathlib.Path(__file__).with_name("plugin.yaml"))


def greet(name):
    """Greets as the settings say, and by the defaults in plugin.yaml until there are any."""
    return f"{plugin.settings['greeting']}, {name}!"


@plugin.check_settings
def check(settings):
    if not isinstance(settings.get("greeting"), str):
        raise RefusedSettings("greeting is a text")


@plugin.route("GET", "/hello")
async def hello(request):
    """Greets whoever asks."""
    return {"message": greet(request.user.name)}


# People and models read what stands here.
HELLO = {
    "type": "object",
    "properties": {"name": {"type": "string", "description": "The name to greet."}},
    "required": ["name"],
}


@plugin.tool("hello", "Greets somebody by name.", HELLO, read_only=True)
async def hello_tool(call):
    """Greets whoever is named."""
    name = call.arguments.get("name")
    if not isinstance(name, str):
        raise InvalidArguments("name is a text")
    return greet(name)


@plugin.route("GET", "/pods")
async def pods(request):
    """Lists the pods that plugin.yaml's permissions let the plugin see: those of its own namespace."""
    try:
        path = f"/api/v1/namespaces/{kubernetes.namespace()}/pods?limit=500"
        found = await asyncio.to_thread(kubernetes.get, path)
    except kubernetes.Error as error:
        plugin.log.warning("failed to list pods: %s", error)
        return Response({"error": "failed to list pods"}, status=502)
    return {"pods": [pod["metadata"]["name"] for pod in found["items"]]}


if __name__ == "__main__":
    plugin.serve()
