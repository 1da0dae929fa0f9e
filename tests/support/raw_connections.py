"""Connections of clients that speak HTTP by hand, or hardly, to a server with low limits."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from tests.conftest import WAIT_SECONDS

PER_ADDRESS, IN_TOTAL, STREAMS = 20, 45, 4
HOME, ELSEWHERE, PROXY = "127.0.0.1", "127.0.0.2", "127.0.0.9"
MEGABYTE = 1024 * 1024
TCP_ESTABLISHED = 1
GET = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /sessions/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
UPLOAD = (
    b"POST /api/r2/upload-signed HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b'Content-Length: 20000000\r\n\r\n{"dataUrl": "data:image/png;base64,'
)
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
QUICK = {
    "connections_max": IN_TOTAL,
    "connections_per_address": PER_ADDRESS,
    "streams_per_address": STREAMS,
    "streams_max": STREAMS + 2,
    "header_timeout_seconds": 1.5,
    "body_timeout_seconds": 1.5,
    "write_timeout_seconds": 1.5,
    "keep_alive_seconds": 3.0,
    "body_buffer_mb": 32,
    "trusted_proxies": PROXY,
}


class Client:
    """One connection, and what a test does with it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, content: bytes) -> bool:
        """False where the server has closed it."""
        try:
            self._writer.write(content)
            await self._writer.drain()
        except OSError:
            return False
        return True

    async def rest(self) -> bytes:
        """All that comes until the server closes the connection."""
        found = b""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while part := await self._reader.read(MEGABYTE):
                    found += part
        except OSError:
            pass
        return found

    async def head(self) -> bytes:
        async with asyncio.timeout(WAIT_SECONDS):
            return await self._reader.readuntil(b"\r\n\r\n")

    async def body(self) -> bytes:
        """The object that an answer holds."""
        found = b""
        async with asyncio.timeout(WAIT_SECONDS):
            while not found or found.count(b"{") > found.count(b"}"):
                found += await self._reader.readuntil(b"}")
        return found

    async def is_cut_off(self) -> None:
        """Returns when the server has closed the connection, though nothing of it is read."""
        connection = self._writer.get_extra_info("socket")
        async with asyncio.timeout(WAIT_SECONDS):
            while connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == TCP_ESTABLISHED:
                await asyncio.sleep(0.1)

    def end_sending(self) -> None:
        self._writer.write_eof()

    def close(self) -> None:
        self._writer.close()


Connect = Callable[..., Any]


async def is_served(connect: Connect, address: str = HOME) -> bool:
    client = await connect(address, GET)
    return (await client.head()).startswith(b"HTTP/1.1 200")


async def answers_of(clients: list[Client]) -> list[bytes]:
    """The bytes that each got until it was closed."""
    return await asyncio.gather(*(client.rest() for client in clients))
