"""The API server, asked with the plugin's own rights: what plugin.yaml's permissions grant, whoever the caller is."""

import json
import os
import pathlib
import ssl
import urllib.error
import urllib.request

# Where the token of the plugin's ServiceAccount is, which the kubelet renews.
ACCOUNT = pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT = 10


class Error(Exception):
    """The API server could not be asked, or refused."""


def namespace():
    """The plugins' namespace, in which this pod runs."""
    return _read("namespace")


def get(path):
    """GET of a path of the API server's, as JSON. It waits for the answer: call it by asyncio.to_thread."""
    try:
        host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    except KeyError as error:
        raise Error(f"there is no cluster: {error} is not set") from error
    host = f"[{host}]" if ":" in host else host
    headers = {"Authorization": f"Bearer {_read('token')}", "Accept": "application/json"}
    request = urllib.request.Request(f"https://{host}:{port}{path}", headers=headers)
    try:
        trusted = ssl.create_default_context(cafile=ACCOUNT / "ca.crt")
        with urllib.request.urlopen(request, context=trusted, timeout=TIMEOUT) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:
        raise Error(f"failed to get {path}: {error}") from error


def _read(name):
    try:
        return (ACCOUNT / name).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Error(f"there is no ServiceAccount: {error}") from error
