"""The ports that a plugin serves, its certificates, and its end."""

import argparse
import asyncio
import os
import pathlib
import signal
import time

import grpc
from kite.plugin.v1 import plugin_pb2_grpc

from .service import Service

LIMITS = [("grpc.max_receive_message_length", 1280 * 1024), ("grpc.max_metadata_size", 16 * 1024)]
# How long renewed certificates wait for connections that begin with those of before.
SETTLE_SECONDS = 0.1


async def serve(plugin):
    """Serves until SIGTERM, and then finishes what is under way."""
    parser = argparse.ArgumentParser(description="A plugin for a Kubernetes dashboard.")
    parser.add_argument("--address", default="[::]", help="where to listen")
    parser.add_argument("--folder", type=pathlib.Path, default="/run/kite", help="certificate, key and the clients' CA")
    arguments = parser.parse_args()
    state = {"serving": True}
    server, probes = grpc.aio.server(options=LIMITS), grpc.aio.server(options=LIMITS)
    plugin_pb2_grpc.add_PluginServicer_to_server(Service(plugin), server)
    probes.add_generic_rpc_handlers([health(state)])
    server.add_secure_port(f"{arguments.address}:9443", credentials(arguments.folder))
    probes.add_insecure_port(f"{arguments.address}:9440")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await server.start()
    await probes.start()
    plugin.log.info("serving version %s", plugin.version)
    await stop.wait()
    state["serving"] = False
    # No new calls, and those under way are finished.
    await server.stop(int(os.environ.get("KITE_GRACE_SECONDS", "30")) - 5)
    await probes.stop(None)


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
