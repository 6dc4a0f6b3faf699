"""A caller in Python's websockets that asks an echo through the gateway what RFC 6455 says, and fails if it does not do it."""

import argparse
import asyncio
import ssl

import websockets
from websockets.asyncio.client import connect

MESSAGE = 1024 * 1024


class Caller:
    """Where the echo is, and how to get there."""

    def __init__(self, options):
        self.url = options.url
        self.ca = options.ca
        self.headers = {"Authorization": f"Bearer {options.token}"}
        self.tls = ssl.create_default_context(cafile=options.ca)
        # A certificate that is its own CA lacks what the strict reading wants.
        self.tls.verify_flags &= ~ssl.VERIFY_X509_STRICT

    def open(self, headers=None, **options):
        """Compression is offered, as by default, and is not taken."""
        headers = self.headers if headers is None else headers
        return connect(self.url, ssl=self.tls, additional_headers=headers, max_size=MESSAGE, proxy=None, **options)


async def messages(caller):
    async with caller.open() as socket:
        assert socket.protocol.extensions == [], socket.protocol.extensions
        for message in ["hello", "", b"", b"\x00\xff", "ä€" * 40_000, bytes(MESSAGE)]:
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send(part for part in ["in ", "three ", "fragments"])
        assert await socket.recv() == "in three fragments"
        pong = await socket.ping("data")
        assert await pong >= 0
        await socket.pong("unasked")
    assert socket.close_code == 1000, socket.close_code


async def codes(caller):
    for code, reason in [(1000, ""), (1001, "away"), (3000, "ä"), (4999, "own")]:
        async with caller.open() as socket:
            await socket.close(code, reason)
        got = socket.protocol.close_rcvd
        assert (got.code, got.reason) == (code, reason), got


async def limits(caller):
    async with caller.open() as socket:
        await socket.send(bytes(MESSAGE + 1))
        try:
            await socket.recv()
            raise AssertionError("a message of more than a mebibyte")
        except websockets.ConnectionClosed as closed:
            assert closed.rcvd.code == 1009, closed


async def refusals(caller):
    try:
        async with caller.open(headers={}):
            raise AssertionError("nobody has a WebSocket")
    except websockets.InvalidStatus as refused:
        assert refused.response.status_code == 401, refused


async def many(caller):
    async def one(number):
        async with caller.open() as socket:
            for count in range(20):
                await socket.send(f"{number} {count}")
                assert await socket.recv() == f"{number} {count}"

    await asyncio.gather(*(one(number) for number in range(20)))


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ["--url", "--ca", "--token"]:
        parser.add_argument(option, required=True)
    caller = Caller(parser.parse_args())
    for check in [messages, codes, limits, refusals, many]:
        async with asyncio.timeout(60):
            await check(caller)
        print(check.__name__)


asyncio.run(main())
