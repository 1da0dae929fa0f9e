"""Stands between safelight and PostgreSQL, and cuts connections at the worst moment: the server has committed, and the
answer that says so is thrown away."""

import asyncio
import random
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from psycopg.conninfo import conninfo_to_dict, make_conninfo

WRITES = re.compile(rb"\b(insert\s+into|update\s+\w|delete\s+from|procrastinate_\w+_v\d)", re.IGNORECASE)
ROLLBACK = b"ROLLBACK"
QUERY, PARSE, BIND, SYNC = b"Q", b"P", b"B", b"S"
READY, ERROR, IDLE = b"Z", b"E", b"I"


@dataclass
class Cutter:
    """`share` of the answers to a commit that changed something are lost while `is_cutting`, `most` of them."""

    share: float
    rng: random.Random
    is_cutting: bool = False
    cuts: int = 0
    most: int = sys.maxsize

    def strikes(self) -> bool:
        if not self.is_cutting or self.cuts >= self.most or self.rng.random() >= self.share:
            return False
        self.cuts += 1
        return True


@dataclass
class Conversation:
    """The state of one connection."""

    prepared: dict[bytes, bool] = field(default_factory=dict)  # by name: whether the statement writes
    asked: int = 0
    has_written: bool = False

    def ask(self, kind: bytes, body: bytes) -> None:
        """The client sent this message."""
        if kind == QUERY:
            self.has_written |= WRITES.search(body) is not None
            self.has_written &= not body.startswith(ROLLBACK)
        elif kind == PARSE:
            name, text = body.split(b"\0")[:2]
            self.prepared[name] = WRITES.search(text) is not None
        elif kind == BIND:
            self.has_written |= self.prepared[body.split(b"\0")[1]]
        self.asked += kind in (QUERY, SYNC)

    def answer(self, kind: bytes, body: bytes) -> bool:
        """The server sent this message. Returns whether it says that something written is final now."""
        if kind == ERROR:
            self.has_written = False
        if kind != READY or not self.asked:
            return False
        self.asked -= 1
        is_final = self.has_written and body == IDLE
        self.has_written &= body != IDLE
        return is_final


async def message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """The next message: its kind and its body."""
    head = await reader.readexactly(5)
    return head[:1], await reader.readexactly(int.from_bytes(head[1:], "big") - 4)


def packed(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


async def to_server(client: asyncio.StreamReader, server: asyncio.StreamWriter, talk: Conversation) -> None:
    size = await client.readexactly(4)
    server.write(size + await client.readexactly(int.from_bytes(size, "big") - 4))  # the start has no kind
    while True:
        kind, body = await message(client)
        talk.ask(kind, body)
        server.write(packed(kind, body))
        await server.drain()


async def to_client(
    server: asyncio.StreamReader, client: asyncio.StreamWriter, talk: Conversation, cutter: Cutter
) -> None:
    """An answer is held back until it is whole."""
    held = b""
    while True:
        kind, body = await message(server)
        held += packed(kind, body)
        if talk.answer(kind, body) and cutter.strikes():
            return
        if kind == READY or not talk.asked:
            client.write(held)
            held = b""
            await client.drain()


@asynccontextmanager
async def cutting(dsn: str, cutter: Cutter) -> AsyncIterator[str]:
    """The DSN by which the database is reached through the cutter."""
    path = str(conninfo_to_dict(dsn)["host"])

    async def serve(client: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        server, writer = await asyncio.open_unix_connection(f"{path}/.s.PGSQL.5432")
        talk = Conversation()
        pumps = {
            asyncio.create_task(to_server(client, writer, talk)),
            asyncio.create_task(to_client(server, to, talk, cutter)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in (to, writer):
                end.transport.abort()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    host, port = listening.sockets[0].getsockname()[:2]
    other: dict[str, Any] = {"host": host, "port": port, "sslmode": "disable", "gssencmode": "disable"}
    try:
        yield make_conninfo(dsn, **other)
    finally:
        listening.close()
