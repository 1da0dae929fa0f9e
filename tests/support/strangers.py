"""Servers of other people: they answer slowly, wrongly, or never."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from tests.conftest import COFFEE

Write = asyncio.StreamWriter
Behave = Callable[["Strangers", Write], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
PHOTO = COFFEE.read_bytes()


async def good(_: "Strangers", out: Write) -> None:
    out.write(HEAD % len(PHOTO) + PHOTO)


async def late(strangers: "Strangers", out: Write) -> None:
    """Answers once it is told to."""
    await strangers.may_answer.wait()
    await good(strangers, out)


async def silent(_: "Strangers", out: Write) -> None:
    await asyncio.sleep(3600)


async def dripping(_: "Strangers", out: Write) -> None:
    out.write(HEAD % 1_000_000 + b"\x89PNG\r\n\x1a\n")
    while True:
        out.write(b"x")
        await out.drain()
        await asyncio.sleep(0.05)


async def dripping_head(_: "Strangers", out: Write) -> None:
    out.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        out.write(b"X-More: and more\r\n")
        await out.drain()
        await asyncio.sleep(0.05)


async def redirecting(strangers: "Strangers", out: Write) -> None:
    out.write(b"HTTP/1.1 302 Found\r\nLocation: /redirecting/on\r\nContent-Length: 0\r\n\r\n")


async def redirecting_to_slow(strangers: "Strangers", out: Write) -> None:
    out.write(b"HTTP/1.1 302 Found\r\nLocation: /dripping/on\r\nContent-Length: 0\r\n\r\n")


async def redirecting_inside(strangers: "Strangers", out: Write) -> None:
    out.write(b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/secret\r\nContent-Length: 0\r\n\r\n")


async def page(_: "Strangers", out: Write) -> None:
    out.write(HEAD % 30 + b"<!doctype html><p>log in</p>  ")


async def too_large(_: "Strangers", out: Write) -> None:
    out.write(HEAD % 10**9 + PHOTO)


async def cut_off(_: "Strangers", out: Write) -> None:
    out.write(HEAD % len(PHOTO) + PHOTO[:1000])


async def gone(_: "Strangers", out: Write) -> None:
    out.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


async def broken(_: "Strangers", out: Write) -> None:
    out.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n")


BEHAVIOURS: dict[str, Behave] = {
    behave.__name__: behave
    for behave in (
        good, late, silent, dripping, dripping_head, redirecting, redirecting_to_slow, redirecting_inside, page,
        too_large, cut_off, gone, broken,
    )
}  # fmt: skip


class Strangers:
    """The first word of a path says how it is answered. `asked` counts the paths, `most` how many were open at once."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.open = self.most = 0
        self.may_answer = asyncio.Event()
        self.address = ""

    def url(self, path: str) -> str:
        return f"http://{self.address}/{path}"

    async def answer(self, reader: asyncio.StreamReader, out: Write) -> None:
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode().lstrip("/")
            self.asked[path] += 1
            self.open += 1
            self.most = max(self.most, self.open)
            try:
                await BEHAVIOURS[path.partition("/")[0].partition("?")[0]](self, out)
                await out.drain()
            finally:
                self.open -= 1
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            out.close()


@asynccontextmanager
async def strangers() -> AsyncIterator[Strangers]:
    one = Strangers()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, out: Write) -> None:
        task = asyncio.ensure_future(one.answer(reader, out))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    one.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield one
    finally:
        server.close()
        for task in tasks:
            task.cancel()
