"""Requests that are too large, too slow or none at all are ended below the routes; everybody else goes on being served."""

import asyncio
import json

import pytest

from safelight.api.http.connections import HEADER_BYTES_MAX, HEADERS_MAX, PIPELINED_MAX
from tests.conftest import Backend
from tests.support.raw_connections import (
    CHUNKED,
    GET,
    MEGABYTE,
    PER_ADDRESS,
    POST,
    UPLOAD,
    Client,
    Connect,
    answers_of,
    is_served,
)

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
