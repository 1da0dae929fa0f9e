"""Connections that are too many, too slow or too large are ended below the routes; everybody else goes on being served.

Real sockets and the server as the product runs it. Another address is another one of 127.0.0.0/8."""

import asyncio
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from safelight import serve
from safelight.api.http.connections import HEADER_BYTES_MAX, HEADERS_MAX, PIPELINED_MAX
from safelight.config import Settings
from safelight.process.open_files import ListeningSocket
from tests.conftest import WAIT_SECONDS, Backend, running

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


@pytest.fixture(scope="module")
async def guarded(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with running(module_dsn, tmp_path_factory.mktemp("home"), worker=False, **QUICK) as backend:
        yield backend


@pytest.fixture
async def connect(guarded: Backend) -> AsyncIterator[Connect]:
    made: list[Client] = []

    async def one(address: str = HOME, content: bytes = b"", **more: Any) -> Client:
        port = guarded.app.settings.port
        pair = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0), **more)
        made.append(Client(*pair))
        await made[-1].send(content)
        return made[-1]

    yield one
    for client in made:
        client.close()


async def is_served(connect: Connect, address: str = HOME) -> bool:
    client = await connect(address, GET)
    return (await client.head()).startswith(b"HTTP/1.1 200")


async def answers_of(clients: list[Client]) -> list[bytes]:
    """The bytes that each got until it was closed."""
    return await asyncio.gather(*(client.rest() for client in clients))


# --- how many --------------------------------------------------------------------------------------------------------


async def test_silent_connections_make_room_for_those_that_ask(connect: Connect):
    silent = [await connect() for _ in range(5 * PER_ADDRESS)]
    assert await is_served(connect)
    assert await is_served(connect, ELSEWHERE)
    assert set(await answers_of(silent)) == {b""}  # all are closed, the first to make room, the rest for their silence


async def test_connections_that_are_kept_alive_make_room_too(connect: Connect):
    kept = [await connect(content=GET) for _ in range(PER_ADDRESS)]
    assert {(await client.head())[:12] for client in kept} == {b"HTTP/1.1 200"}
    for _ in range(PER_ADDRESS):
        assert await is_served(connect)


async def test_silent_connections_of_many_addresses_make_room_for_another(connect: Connect):
    silent = [await connect(f"127.0.1.{number}") for number in range(2 * IN_TOTAL)]
    assert await is_served(connect, ELSEWHERE)
    assert set(await answers_of(silent)) == {b""}


async def test_an_address_whose_connections_are_all_at_work_gets_no_more_and_others_do(connect: Connect):
    stalled = [await connect(content=POST + b"Content-Length: 9\r\n\r\n{") for _ in range(PER_ADDRESS)]
    refused = await (await connect(content=GET)).rest()
    if refused:  # else the connection was closed before it was read
        assert refused.startswith(b"HTTP/1.1 503") and b"TOO_MANY_CONNECTIONS" in refused
        assert b"retry-after: 2" in refused
    assert await is_served(connect, ELSEWHERE)
    await answers_of(stalled)
    assert await is_served(connect)


async def test_a_trusted_proxy_may_have_more_connections_than_an_address(connect: Connect):
    behind = [await connect(PROXY, POST + b"Content-Length: 9\r\n\r\n{") for _ in range(PER_ADDRESS + 5)]
    assert await is_served(connect, PROXY)
    assert all(answer.startswith(b"HTTP/1.1 408") for answer in await answers_of(behind))


# --- how large -------------------------------------------------------------------------------------------------------

ENDLESS = {
    "a method": (b"", b"G"),
    "a target": (b"GET /", b"a"),
    "one header": (b"GET /health HTTP/1.1\r\nHost: x\r\nX: ", b"a"),
    "the name of a header": (b"GET /health HTTP/1.1\r\nHost: x\r\n", b"x"),
    "many headers": (b"GET /health HTTP/1.1\r\nHost: x\r\n", b"X-Y: z\r\n"),
    "many large headers": (b"GET /health HTTP/1.1\r\nHost: x\r\n", b"X-Y: " + b"z" * 60_000 + b"\r\n"),
    "cookies": (b"GET /health HTTP/1.1\r\nHost: x\r\n", b"Cookie: a=" + b"b" * 4000 + b"\r\n"),
    "headers of an upload": (UPLOAD.partition(b"\r\n")[0] + b"\r\n", b"X-Y: z\r\n"),
    "a chunk's extension": (CHUNKED + b"5;", b"a=b;"),
    "a chunk's size": (CHUNKED, b"0"),
    "trailers": (CHUNKED + b"0\r\n", b"X-Y: z\r\n"),
    "chunks of one byte": (CHUNKED, b"1\r\na\r\n"),
    "requests": (b"", GET),
    "a body": (POST + b"Content-Length: 999999999\r\n\r\n", b"a" * 1000),
    "a body in chunks": (CHUNKED, b"3e8\r\n" + b"a" * 1000 + b"\r\n"),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_what_has_no_end_is_cut_off(connect: Connect, kind: str):
    begins, goes_on = ENDLESS[kind]
    client, block, sent = await connect(content=begins), goes_on * (64 * 1024 // len(goes_on) + 1), 0
    answer = asyncio.create_task(client.rest())
    while not answer.done() and await client.send(block):
        sent += len(block)
        await asyncio.sleep(0.001 if sent < 4 * MEGABYTE else 0.1)
    assert sent < 64 * MEGABYTE
    assert await is_served(connect)
    assert (await answer)[9:10] in (b"", b"4", b"2")  # a refusal, where it could still be read; or what was asked first


async def test_headers_may_be_as_large_as_they_may_be(connect: Connect):
    fill = b"X: " + b"a" * (HEADER_BYTES_MAX - 200) + b"\r\n"
    client = await connect(content=GET[:-2] + fill + b"\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 200")
    many = b"".join(b"X-%d: a\r\n" % number for number in range(HEADERS_MAX - 1))
    client = await connect(content=GET[:-2] + many + b"\r\n")
    assert (await client.head()).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"414"),
        (GET[:-2] + b"X: y\r\n" * (HEADERS_MAX + 1) + b"\r\n", b"431"),
        (GET[:-2] + b"X: " + b"a" * HEADER_BYTES_MAX + b"\r\n\r\n", b"431"),
    ],
)
async def test_what_is_too_large_is_said(connect: Connect, content: bytes, status: bytes):
    answer = await (await connect(content=content)).rest()
    assert answer.startswith(b"HTTP/1.1 " + status)
    body = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert body["ok"] is False and "at most" in body["message"]


async def test_requests_sent_before_their_answers_are_answered_up_to_a_bound(connect: Connect):
    few = await connect(content=GET * (PIPELINED_MAX - 1))
    for _ in range(PIPELINED_MAX - 1):
        assert (await few.head()).startswith(b"HTTP/1.1 200")
        await few.body()
    many = await (await connect(content=GET * 10_000)).rest()
    assert 1 <= many.count(b"HTTP/1.1 200") <= PIPELINED_MAX + 1


# --- how slow --------------------------------------------------------------------------------------------------------


async def trickle(client: Client, content: bytes) -> None:
    for byte in content:
        if not await client.send(bytes([byte])):
            return
        await asyncio.sleep(0.2)


@pytest.mark.parametrize(
    ("begins", "goes_on"),
    [
        (b"", GET + b"a" * 1000),
        (b"", b"\r\n" * 500),
        (GET[:-2], b"X: " + b"a" * 1000),
        (POST, b"X: y\r\n" * 200),
        (POST + b"Content-Length: 900\r\n\r\n", b"a" * 900),
        (CHUNKED, b"1\r\na\r\n" * 200),
        (CHUNKED + b"5;", b"a" * 1000),
        (CHUNKED + b"0\r\n", b"X: y\r\n" * 200),
    ],
)
async def test_who_sends_byte_by_byte_is_closed_in_time(connect: Connect, begins: bytes, goes_on: bytes):
    client = await connect(content=begins)
    sending = asyncio.create_task(trickle(client, goes_on))
    answer = await client.rest()
    assert answer[:12] in (b"", b"HTTP/1.1 408")
    assert not sending.done()  # it was cut off, not heard to its end
    sending.cancel()
    assert await is_served(connect)


async def test_stalled_uploads_hinder_nobody_and_are_closed(connect: Connect):
    stalled = [await connect(content=UPLOAD + b"A" * 500_000) for _ in range(PER_ADDRESS - 2)]
    assert await is_served(connect)
    order = await connect(content=POST + b"Content-Length: 2\r\n\r\n{}")
    assert (await order.head()).startswith(b"HTTP/1.1 200")
    assert {answer[:12] for answer in await answers_of(stalled)} == {b"HTTP/1.1 408"}


async def test_a_body_that_nobody_waits_for_is_no_way_to_stay(connect: Connect):
    waits = await connect(content=GET[:-2] + b"Content-Length: 9\r\n\r\na")
    assert (await waits.rest()).startswith(b"HTTP/1.1 200")


async def test_who_keeps_a_connection_without_asking_is_closed(connect: Connect):
    kept = await connect(content=GET)
    assert (await kept.rest()).startswith(b"HTTP/1.1 200")


async def test_answers_that_are_not_read_are_given_up(guarded: Backend, connect: Connect):
    key = "product/anon/1-large-film.mp4"
    await guarded.app.resources.assets.put(key, b"\0" * (24 * MEGABYTE), "video/mp4")
    get = f"GET /assets/{key} HTTP/1.1\r\nHost: x\r\n".encode()
    for more in (b"", b"Connection: close\r\n"):
        unread = [await connect(content=get + more + b"\r\n", limit=1024) for _ in range(5)]
        assert await is_served(connect)
        for client in unread:
            await client.is_cut_off()


# --- live streams ----------------------------------------------------------------------------------------------------


async def followed(guarded: Backend, connect: Connect) -> Callable[..., Any]:
    """Follows the live stream of one generation that does not end."""
    await guarded.grant(1)
    accepted = await guarded.post("/mma/still/create", {"inputs": {"brief": "a cup"}})
    get = f"GET {accepted['sse_url']} HTTP/1.1\r\nHost: x\r\n\r\n".encode().replace(
        guarded.app.settings.base_url.encode(), b""
    )

    async def follow(address: str = HOME) -> tuple[Client, bytes]:
        client = await connect(address, get)
        return client, await client.head()

    return follow


async def test_streams_of_one_address_and_of_all_are_limited(guarded: Backend, connect: Connect):
    follow = await followed(guarded, connect)
    followers = [await follow() for _ in range(STREAMS)]
    assert {head[:12] for _, head in followers} == {b"HTTP/1.1 200"}
    _, refused = await follow()
    assert refused.startswith(b"HTTP/1.1 429") and b"retry-after" in refused.lower()
    assert [(await follow(ELSEWHERE))[1][:12] for _ in range(3)] == [b"HTTP/1.1 200"] * 2 + [b"HTTP/1.1 503"]
    assert await is_served(connect)
    followers[0][0].close()
    async with asyncio.timeout(WAIT_SECONDS):
        while not (await follow())[1].startswith(b"HTTP/1.1 200"):
            await asyncio.sleep(0.1)


async def test_a_stream_that_is_not_read_is_ended(guarded: Backend, connect: Connect):
    follow = await followed(guarded, connect)
    guarded.sql(
        "insert into image_generation_logs (job_id, seq, level, step, message)"
        " select job_id, seq + number, level, step, repeat('a line of the log ', 40)"
        " from image_generation_logs, generate_series(1, 20000) number where seq = 1"
    )
    unread = [(await follow())[0] for _ in range(STREAMS)]
    for client in unread:
        await client.is_cut_off()
    async with asyncio.timeout(WAIT_SECONDS):
        while not (await follow())[1].startswith(b"HTTP/1.1 200"):
            await asyncio.sleep(0.1)


# --- memory of bodies ------------------------------------------------------------------------------------------------


async def test_large_bodies_have_a_bound_in_sum_and_small_ones_go_on(guarded: Backend, connect: Connect):
    first = await connect(content=UPLOAD + b"A" * 19_000_000)
    second = await connect(content=UPLOAD + b"A" * 19_000_000)
    refused = await second.head()
    assert refused.startswith(b"HTTP/1.1 503") and b"retry-after" in refused.lower()
    assert await is_served(connect)
    await guarded.post("/mma/events", {"event_type": "like", "payload": {"note": "x" * 10_000}})
    await first.rest()  # it stalls, and is closed
    again = await connect(content=UPLOAD + b"A" * (20_000_000 - 34 - 2) + b'"}')
    assert (await again.head()).startswith(b"HTTP/1.1 400")  # read to its end: it is no picture


# --- what is no request ----------------------------------------------------------------------------------------------

NO_REQUESTS = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 200,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "bytes": bytes(range(256)),
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length and chunks": POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET,
    "chunks and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n" + GET,
    "chunked twice over": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked misspelt": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a negative length": POST + b"Content-Length: -2\r\n\r\n{}",
    "a length with a sign": POST + b"Content-Length: +2\r\n\r\n{}",
    "a length beyond numbers": POST + b"Content-Length: 99999999999999999999\r\n\r\n{}",
    "a space before a colon": POST + b"Content-Length : 2\r\n\r\n{}",
    "a header folded": GET[:-2] + b"X: y\r\n z\r\n\r\n",
    "a bare line feed": GET.replace(b"\r\n", b"\n"),
    "a bare carriage return": GET[:-2] + b"X: y\rZ: a\r\n\r\n",
    "NUL in a header": GET[:-2] + b"X: \0\r\n\r\n",
    "a tunnel": b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an upgrade with a body": POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
    "a chunk of a negative size": CHUNKED + b"-1\r\na\r\n",
    "a chunk of an endless size": CHUNKED + b"ffffffffffffffffff\r\na\r\n",
}


@pytest.mark.parametrize("kind", NO_REQUESTS)
async def test_what_is_no_request_is_answered_once_with_400_and_closed(connect: Connect, kind: str):
    answer = await (await connect(content=NO_REQUESTS[kind])).rest()
    assert answer.startswith(b"HTTP/1.1 400") and answer.count(b"HTTP/1.1 ") <= 2  # the message says it, too
    assert b"HTTP/1.1 200" not in answer
    assert await is_served(connect)


@pytest.mark.parametrize(
    "content",
    [
        GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n",
        GET[:-2] + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
        GET.replace(b"HTTP/1.1", b"HTTP/1.0"),
        POST + b"Expect: 100-continue\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
        GET + b"\0\0\0\0",  # what comes after a whole request takes nothing from it
    ],
)
async def test_what_else_clients_say_is_answered(connect: Connect, content: bytes):
    answer = await (await connect(content=content)).rest()
    assert b"HTTP/1.1 200" in answer


async def test_half_closed_connections_are_closed(connect: Connect):
    for content in (b"", GET[:20], POST + b"Content-Length: 20\r\n\r\n{", CHUNKED + b"5\r\n{"):
        client = await connect(content=content)
        client.end_sending()
        await client.rest()
    assert await is_served(connect)


# --- file descriptors, as a process of its own -----------------------------------------------------------------------


@contextmanager
def api_process(dsn: str, home: Path, *, files: tuple[int, int], **settings: str) -> Iterator[tuple[int, int, Path]]:
    """Gives its port, its pid and its log; it may open so many files (soft, hard)."""
    environment = os.environ | {"SAFELIGHT_DATABASE_URL": dsn, "SAFELIGHT_HOME": str(home), "COLUMNS": "200"} | settings
    log = home / "log"
    command = [str(Path(sys.executable).with_name("safelight")), "api", "--port", "0"]
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            env=environment | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            preexec_fn=partial(resource.setrlimit, resource.RLIMIT_NOFILE, files),  # noqa: PLW1509
        )
        try:
            assert process.stdout
            yield int(process.stdout.readline().rsplit(":", 1)[1]), process.pid, log
        finally:
            process.kill()
            process.wait()


@asynccontextmanager
async def many(port: int, count: int) -> AsyncIterator[None]:
    made = []
    for _ in range(count):
        with_port = socket.create_connection(("127.0.0.1", port))
        made.append(with_port)
    try:
        yield
    finally:
        for one in made:
            one.close()


async def test_more_connections_than_files_hinder_nobody(dsn: str, tmp_path: Path):
    with api_process(dsn, tmp_path, files=(64, 128), SAFELIGHT_JWT_SECRET="k" * 40) as (port, pid, log):
        assert "Max open files            128 " in Path(f"/proc/{pid}/limits").read_text()
        async with many(port, 400):
            for _ in range(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(GET)
                async with asyncio.timeout(WAIT_SECONDS):
                    answer = await reader.readuntil(b'"version"')
                assert answer.startswith(b"HTTP/1.1 200") and b'"supabase":true' in answer
                writer.close()
        assert "process.unhandledRejection" not in log.read_text()
        assert log.read_text().count("SAFELIGHT_AUTH is optional") == 1


def test_without_a_file_descriptor_a_connection_is_closed_and_not_waiting_for_ever():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    made = socket.create_server(("127.0.0.1", 0))
    with ListeningSocket(made.detach()) as listening:
        clients = [socket.create_connection(listening.getsockname()) for _ in range(3)]
        free = os.open(os.devnull, os.O_RDONLY)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            for _ in clients:
                with pytest.raises(BlockingIOError):
                    listening.accept()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert [client.recv(1) for client in clients] == [b""] * 3
        with socket.create_connection(listening.getsockname()), listening.accept()[0]:
            pass  # as soon as there is one again


# --- who may ask without a token -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "warnings"),
    [
        ({}, 0),
        ({"host": "localhost"}, 0),
        ({"host": "::1"}, 0),
        ({"host": "0.0.0.0"}, 1),
        ({"host": "::"}, 1),
        ({"host": "media.example"}, 1),
        ({"jwt_secret": "k" * 40}, 1),
        ({"jwks_url": "https://example.com/jwks.json"}, 1),
        ({"jwks_url": "https://example.com/jwks.json", "host": "10.0.0.1"}, 2),
        ({"jwks_url": "https://example.com/jwks.json", "host": "10.0.0.1", "auth": "required"}, 0),
    ],
)
def test_operators_are_warned_where_ids_count_without_a_token(settings: dict[str, Any], warnings: int):
    found = serve.open_access_warnings(Settings(**settings))
    assert len(found) == warnings
    assert all("SAFELIGHT_AUTH=required" in line and "\n" not in line for line in found)
