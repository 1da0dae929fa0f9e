"""Connections that are too many, too slow or too large are ended below the routes; everybody else goes on being served.

Real sockets and the server as the product runs it. Another address is another one of 127.0.0.0/8."""

import asyncio
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
from safelight.config import Settings
from safelight.process.open_files import ListeningSocket
from tests.conftest import WAIT_SECONDS, Backend
from tests.support.raw_connections import (
    ELSEWHERE,
    GET,
    HOME,
    IN_TOTAL,
    PER_ADDRESS,
    POST,
    PROXY,
    STREAMS,
    Client,
    Connect,
    answers_of,
    is_served,
)

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
