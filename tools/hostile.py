"""Clients that mean harm, each kind a coroutine that keeps a connection busy: what `tools.faults` sends to a server."""

import asyncio
import itertools
import json
import os
import random
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

Client = Callable[[str, int, str, int], Awaitable[None]]
PARTS = ("curves", "bounds", "difference", "gap", "spread", "weights", "digits", "reading")
ADDRESS_IN_USE = 16_384  # bytes a slow reader's system keeps for it


async def looks(host: str, port: int, run: str, number: int) -> None:
    """Watches sixteen looks that no other socket has, and reads what it gets."""
    wanted = []
    for index, part in itertools.islice(enumerate(itertools.cycle(PARTS)), 16):
        at, digit = (number * 16 + index) % 40, (number + index) % 10
        look = {"part": part, "experiment": run, "k": 1 + number * 16 + index, "at": at, "x": "steps", "digit": digit}
        wanted.append(json.dumps(look))
    reader, writer = await upgraded(host, port, "/live")
    writer.write(frame(1, json.dumps(wanted).encode()))
    while await reader.read(65536):
        pass


async def loop(host: str, port: int, run: str, number: int) -> None:
    """Sends an empty list as fast as it can."""
    _, writer = await upgraded(host, port, "/live")
    while True:
        writer.write(frame(1, b"[]"))
        await writer.drain()
        await asyncio.sleep(0)


async def binary(host: str, port: int, run: str, number: int) -> None:
    """Asks for a drawing, then sends a binary frame."""
    reader, writer = await upgraded(host, port, "/live")
    writer.write(frame(1, json.dumps([json.dumps({"part": "curves", "experiment": run})]).encode()))
    writer.write(frame(2, b"\0" * 8))
    while await reader.read(65536):
        pass
    await asyncio.sleep(0.2)


async def slow(host: str, port: int, run: str, number: int) -> None:
    """Watches, and reads nothing."""
    _, writer = await upgraded(host, port, "/live")
    keys = [json.dumps({"part": part, "experiment": run}) for part in PARTS]
    writer.write(frame(1, json.dumps(keys).encode()))
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(3600)


async def huge(host: str, port: int, run: str, number: int) -> None:
    """Begins a message of 50 MB and does not end it; one in two to the page's own socket."""
    _, writer = await upgraded(host, port, ("/live", "/_stcore/stream")[number % 2])
    writer.write(bytes([0x82, 0xFF]) + (50_000_000).to_bytes(8, "big") + bytes(4))
    for _ in range(49):
        writer.write(bytes(1_000_000))
        await writer.drain()
    await asyncio.sleep(3600)


async def fitting(host: str, port: int, run: str, number: int) -> None:
    """Begins a message as large as may be and does not end it; one in two to the page's own socket."""
    _, writer = await upgraded(host, port, ("/live", "/_stcore/stream")[number % 2])
    writer.write(bytes([0x02, 0xFF]) + (250_000).to_bytes(8, "big") + bytes(4) + bytes(250_000))
    await writer.drain()
    await asyncio.sleep(3600)


async def half(host: str, port: int, run: str, number: int) -> None:
    """Sends a request a byte at a time, and never its end."""
    _, writer = await opened(host, port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
    while True:
        writer.write(b"y")
        await writer.drain()
        await asyncio.sleep(1)


async def download(host: str, port: int, run: str, number: int) -> None:
    """Asks for the largest file, and reads nothing of it."""
    _, writer = await opened(host, port)
    writer.write(b"GET /assets/plotly-cartesian-4.1.1.min.js HTTP/1.1\r\nHost: %s:%d\r\n\r\n" % (host.encode(), port))
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(3600)


KINDS: dict[str, Client] = {
    client.__name__: client for client in (looks, loop, binary, slow, huge, fitting, half, download)
}


async def opened(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection whose system keeps little for it."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ADDRESS_IN_USE)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, (host, port))
    return await asyncio.open_connection(sock=raw, limit=ADDRESS_IN_USE)


async def upgraded(host: str, port: int, path: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A web socket, by hand: a client library would not send what is sent here."""
    reader, writer = await opened(host, port)
    key = "dGhlIHNhbXBsZSBub25jZQ=="
    head = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    writer.write(f"{head}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    if b" 101 " not in await reader.readuntil(b"\r\n\r\n"):
        writer.close()
        raise ConnectionError("refused")
    return reader, writer


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole message, masked with zeros."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
    return bytes([0x80 | opcode]) + length + bytes(4) + payload


async def _again(client: Client, host: str, port: int, run: str, number: int) -> None:
    """Comes back whenever it is sent away."""
    await asyncio.sleep(random.random())
    while True:
        with suppress(OSError, asyncio.IncompleteReadError):
            await client(host, port, run, number)
        await asyncio.sleep(0.5)


async def attack(kinds: list[str], host: str, port: int, run: str, each: int) -> None:
    """So many clients of each kind, until killed."""
    os.nice(19)  # what is measured is the server, not what is left of two cores
    jobs = [_again(KINDS[kind], host, port, run, number) for kind in kinds for number in range(each)]
    await asyncio.gather(*jobs)


if __name__ == "__main__":
    kinds, host, port, run, each = sys.argv[1:]
    asyncio.run(attack(kinds.split(","), host, int(port), run, int(each)))
