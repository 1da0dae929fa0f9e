"""Large bodies are read quickly, apart from the event loop, and are bounded by what is in them too."""

import asyncio
import base64
import json
import os
import struct
import time
import zlib
from typing import Any
from urllib.parse import quote_plus

import pytest

from tests.api.http.test_ugly_json import FORM
from tests.conftest import Backend, Json, StartBackend

JSON = "application/json"
UPLOADS = "/api/r2/upload-signed"
MEGABYTE = 1024 * 1024
EVENT_BYTES_MAX = 16 * 1024
LOOP_SECONDS_MAX = 0.1


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    backend: Backend = await start(worker=False)
    return backend


def picture(side: int) -> bytes:
    """A PNG of noise, of about 3 bytes a pixel."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + os.urandom(side * 3) for _ in range(side))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")


def data_url(content: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(content).decode()


async def posted(backend: Backend, path: str, content: bytes | str, media_type: str = JSON) -> Any:
    return await backend.client.post(path, content=content, headers={"Content-Type": media_type})


async def longest_turn(work: asyncio.Future[Any]) -> float:
    """The longest time that the event loop's thread spent without a turn for others, until `work` ended."""
    longest, before = 0.0, time.thread_time()
    while not work.done():
        await asyncio.sleep(0)
        now = time.thread_time()
        longest, before = max(longest, now - before), now
        await asyncio.sleep(0.002)
        before = time.thread_time()
    return longest


LARGE = {
    "an upload": lambda: (UPLOADS, json.dumps({"passId": "pass:user:1", "dataUrl": data_url(picture(2500))})),
    "a file that is none": lambda: (UPLOADS, json.dumps({"dataUrl": data_url(b"\0" * 19_000_000)})),
    "no base64": lambda: (UPLOADS, '{"dataUrl": "data:image/png;base64,' + "*" * 25_000_000 + '"}'),
    "escapes": lambda: (UPLOADS, '{"dataUrl": "' + "\\u0041" * 4_000_000 + '"}'),
    "numbers": lambda: ("/mma/events", '{"event_type": "like", "payload": {"a": [' + "1," * 500_000 + "1]}}"),
    "objects": lambda: ("/mma/events", '{"event_type": "like", "payload": {"a": [' + "{}," * 300_000 + "1]}}"),
    "one word": lambda: ("/mma/still/create", json.dumps({"inputs": {"brief": "a" * 1_000_000}})),
    "words": lambda: ("/mma/still/create", json.dumps({"inputs": {"brief": "token secret " * 75_000}})),
    "unknown keys": lambda: ("/mma/still/create", json.dumps({"inputs": {f"token key {n}": n for n in range(40_000)}})),
}  # fmt: skip


@pytest.mark.parametrize("kind", LARGE)
async def test_nobody_waits_while_a_large_body_is_read(idle: Backend, kind: str):
    path, content = LARGE[kind]()
    sending = asyncio.ensure_future(posted(idle, path, content.encode()))
    await asyncio.sleep(0.05)  # the client of this test shares the loop: what it prepares is not the server's
    longest = await longest_turn(sending)
    assert (await sending).status_code in (200, 400, 402, 413)
    assert longest < LOOP_SECONDS_MAX


# --- what a large body may consist of --------------------------------------------------------------------------------


async def test_a_large_file_may_come_in_each_spelling_of_a_body(idle: Backend):
    content = picture(1000)
    url = data_url(content)
    bodies = {
        JSON: (
            json.dumps({"dataUrl": url, "filename": "cup.png"}),
            json.dumps({"filename": "data:cup", "data_url": url}),
            json.dumps({"dataUrl": url}).replace("/", "\\/"),  # as PHP writes it
            json.dumps({"dataUrl": url}, indent=4),
        ),
        FORM: (f"dataUrl={quote_plus(url)}&filename=cup.png",),
    }
    for media_type, texts in bodies.items():
        for text in texts:
            answer = await posted(idle, UPLOADS, text, media_type)
            assert answer.status_code == 200, answer.text
            assert (await idle.client.get(answer.json()["url"])).content == content


LONG = "data:image/png;base64," + "A" * 2 * MEGABYTE
TOO_MUCH = {
    "a text that is no data URL": json.dumps({"filename": "a" * 2 * MEGABYTE}),
    "base64 alone": json.dumps({"dataUrl": "A" * 2 * MEGABYTE}),
    "two data URLs": json.dumps({"dataUrl": LONG, "filename": LONG}),
    "a data URL deeper": json.dumps({"file": {"dataUrl": LONG}}),
    "a data URL in a list": json.dumps([LONG]),
    "a data URL as a key": json.dumps({LONG: 1}),
    "a data URL within a text": json.dumps({"dataUrl": f'"{LONG}'}),
    "a data URL of escapes": json.dumps({"dataUrl": LONG}).replace("AAAA", "\\u0041"),
    "spaces": " " * 2 * MEGABYTE + "{}",
}
WRONG = {
    "a text behind a text": '{"dataUrl": "a"' + LONG + '"}',
    "two values": json.dumps({"dataUrl": LONG}) + "{}",
    "a data URL without an end": '{"dataUrl": "' + LONG,
    "NUL in the data URL": '{"dataUrl": "' + LONG + '\0"}',
    "the same key twice": '{"dataUrl": "a", "dataUrl": "' + LONG + '"}',
    "padding in the middle": json.dumps({"dataUrl": LONG[: MEGABYTE + 21] + "=" + LONG}),
    "padding at the end of a part": json.dumps({"dataUrl": LONG[: MEGABYTE + 21] + "=" + "A" * MEGABYTE}),
    "a million keys": json.dumps({"payload": {str(number): 1 for number in range(80_000)}}),
    "a number of a million digits": '{"a": ' + "1" * 1_000_000 + "}",
    "a fraction of a million digits": '{"a": 1e9' + "1" * 1_000_000 + "}",
    "a million escaped NULs": '{"a": "' + "\\u0000" * 150_000 + '"}',
    "depth": '{"a": ' + "[" * 500_000,
}


@pytest.mark.parametrize("kind", TOO_MUCH)
async def test_only_the_file_itself_may_be_large(idle: Backend, kind: str):
    answer = await posted(idle, UPLOADS, TOO_MUCH[kind])
    assert (answer.status_code, answer.json()["error"]) == (413, "PAYLOAD_TOO_LARGE"), answer.text


@pytest.mark.parametrize("kind", WRONG)
async def test_a_large_body_that_is_wrong_is_refused_as_a_small_one_is(idle: Backend, kind: str):
    answer = await posted(idle, UPLOADS, WRONG[kind])
    assert answer.status_code in (400, 413), answer.text[:300]
    assert len(answer.content) < 1000


async def test_a_body_that_says_it_is_too_large_is_not_waited_for(idle: Backend):
    reader, writer = await asyncio.open_connection("127.0.0.1", idle.app.settings.port)
    head = f"POST /mma/events HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\nContent-Length: {2 * MEGABYTE}\r\n\r\n"
    writer.write(head.encode())
    async with asyncio.timeout(30):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413")
    writer.close()


# --- what is stored --------------------------------------------------------------------------------------------------

TOO_LARGE: dict[str, Json] = {
    "a text": {"a": "y " * 250_000},
    "a text just too long": {"a": "y" * (EVENT_BYTES_MAX - 8)},
    "a list": {"tags": ["soft light"] * 2000},
    "many keys": {f"key {number}": number for number in range(2000)},
    "letters of four bytes": {"a": "\U0001f4a1" * (EVENT_BYTES_MAX // 4)},
    "objects in objects": {"a": [{"b": [{"c": "d" * 30}] * 20}] * 30},
}


@pytest.mark.parametrize("kind", TOO_LARGE)
async def test_an_event_says_no_more_than_16_kb(idle: Backend, kind: str):
    body = {"event_type": "like", "payload": TOO_LARGE[kind]}
    answer = await idle.post("/mma/events", body, status=400)
    assert answer["error"] == "VALIDATION_ERROR"
    assert "payload" in answer["message"] and str(EVENT_BYTES_MAX) in answer["message"]
    assert not idle.sql("select from mega_generations where mg_record_type = 'mma_event'")


async def test_an_event_of_16_kb_is_stored(idle: Backend):
    payload = {"a": "y" * (EVENT_BYTES_MAX - 9)}
    await idle.post("/mma/events", {"event_type": "like", "payload": payload})
    [row] = idle.sql("select mg_meta from mega_generations where mg_record_type = 'mma_event'")
    assert "y" * 1000 in str(row["mg_meta"])
