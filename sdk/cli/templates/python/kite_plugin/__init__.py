"""What a plugin in Python is made of, over the modules that protoc makes of plugin.proto."""

from . import kubernetes
from .plugin import InvalidArguments, Plugin, RefusedSettings, Request, Response, ToolCall, ToolError

__all__ = [
    "InvalidArguments",
    "Plugin",
    "RefusedSettings",
    "Request",
    "Response",
    "ToolCall",
    "ToolError",
    "kubernetes",
]
