"""Memory is bounded in sum: however many large files are read at once, a process stays below 600 MB."""

import asyncio
import base64
import os
import re
import resource
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from safelight.media.decode import DECODE_BYTES_MAX
from safelight.media.decoding_pool import MediaPool, MemoryBudget
from tests.conftest import Backend, Json, StartBackend, client_of
from tests.support.bombs import LARGE, REFUSED, film
from tests.support.scope import LONG

MEGABYTE = 1024 * 1024
PROCESS_MEGABYTES_MAX = 600
MARGIN_MEGABYTES = 40  # what Python itself takes to look at a file


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all of them."""
    folder = tmp_path_factory.mktemp("large")
    for group in (LARGE, REFUSED):
        for name, make in group.items():
            (folder / name).write_bytes(make())
    return folder


def test_no_file_takes_more_memory_than_there_is_for_one(large: Path):
    program = """
    import re, sys, warnings
    from pathlib import Path
    from safelight.media import decode as media
    from safelight.domain.errors.base import InvalidInput
    from safelight.media.formats import sniff
    from safelight.storage.assets import checked
    from tests.support.bombs import LARGE, REFUSED
    warnings.simplefilter("ignore")
    peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024
    folder = Path(sys.argv[1])
    for name in (*LARGE, *REFUSED):
        content = (folder / name).read_bytes()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = peak()
        try:
            content = checked(content).content
            assert name in LARGE, name
            media.thumbnail(content, 512, 80)
            media.reduced(content)
        except InvalidInput:
            assert name in REFUSED, name
        print(f"{name}\\t{peak() - before}\\t{media.bytes_to_decode(content) // 2**20 + 4 * len(content) // 2**20}")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(large)],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (3 * 1024 * MEGABYTE,) * 2),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    told = [line.split("\t") for line in done.stdout.splitlines()]
    assert len(told) == len(LARGE) + len(REFUSED)
    for name, taken, expected in told:
        assert int(taken) <= min(int(expected), DECODE_BYTES_MAX // MEGABYTE) + MARGIN_MEGABYTES, (
            name,
            taken,
            expected,
        )


class Server:
    """`safelight up` in a process of its own, on the test's database."""

    def __init__(self, process: subprocess.Popen, client: httpx2.AsyncClient) -> None:
        self.process, self.client = process, client

    def peak_megabytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) // 1024  # type: ignore[index]


@pytest.fixture
async def server(dsn: str, tmp_path: Path) -> AsyncIterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "DATABASE_URL": dsn, "HOME": str(tmp_path), "PORT": str(port), "RATE_LIMIT_WRITES_PER_MINUTE": "0",
        "RATE_LIMIT_PUBLIC_PER_MINUTE": "0", "SIGNUP_CREDITS": "100", "RETRY_BASE_SECONDS": "0.1",
    }  # fmt: skip
    environment = os.environ | {f"SAFELIGHT_{name}": value for name, value in settings.items()}
    command = [str(Path(sys.executable).with_name("safelight")), "up"]
    log = (tmp_path / "up.log").open("wb")
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        async with client_of(f"http://127.0.0.1:{port}") as client:
            await answering(client)
            yield Server(process, client)
    finally:
        process.terminate()
        process.wait(30)


async def answering(client: httpx2.AsyncClient) -> None:
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up:
        try:
            if (await client.get("/health")).status_code == 200:
                return
        except httpx2.TransportError:
            await asyncio.sleep(0.2)
    raise AssertionError("it does not answer")


async def uploaded(client: httpx2.AsyncClient, content: bytes, *, status: int = 200) -> Json:
    body = {"passId": "pass:user:large", "dataUrl": f"data:;base64,{base64.b64encode(content).decode()}"}
    answer = await client.post("/api/r2/upload-signed", json=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=LONG)], ids=["every third one", "all"])
async def test_large_pictures_side_by_side_stay_within_the_bound(server: Server, large: Path, every: int):
    """Uploads, thumbnails and orders, each of all of them, at the same time."""
    client = server.client
    stored = await asyncio.gather(*(uploaded(client, (large / name).read_bytes()) for name in list(LARGE)[::every]))
    pictures = [one["url"] for one in stored][:10]
    stored.append(await uploaded(client, film()))
    small = [client.get(f"/thumbnails/{256 if n % 2 else 1024}/{one['key']}") for n, one in enumerate(stored)]
    orders = [
        client.post(
            "/mma/still/create",
            json={
                "assets": {
                    "product_image_url": pictures[n],
                    "logo_image_url": pictures[n + 1],
                    "inspiration_image_urls": pictures[n + 2 :] + pictures[:n],
                },
                "inputs": {"brief": "on stone"},
            },
        )
        for n in (0, 2)  # the pool is full long before a third
    ]
    accepted = await asyncio.gather(*orders)
    assert [answer.status_code for answer in accepted] == [200, 200], accepted[0].text
    assert {answer.status_code for answer in await asyncio.gather(*small)} == {307}
    for answer in accepted:
        await ended(client, answer.json()["generation_id"])
    assert server.peak_megabytes() < PROCESS_MEGABYTES_MAX


async def ended(client: httpx2.AsyncClient, generation_id: str) -> None:
    async with asyncio.timeout(120):
        while (await client.get(f"/mma/generations/{generation_id}")).json()["status"] != "done":
            await asyncio.sleep(0.3)


async def test_uploads_side_by_side_stay_within_the_bound(server: Server, large: Path):
    noise = (large / "20 MB of noise").read_bytes()
    await asyncio.gather(*(uploaded(server.client, noise + bytes([number])) for number in range(8)))
    assert server.peak_megabytes() < PROCESS_MEGABYTES_MAX


# --- the pool --------------------------------------------------------------------------------------------------------


async def test_room_is_given_in_the_order_in_which_it_is_asked_for():
    budget, told = MemoryBudget(10), []

    async def asks(name: str, wanted: int) -> None:
        async with budget.room(wanted):
            told.append(name)
            await asyncio.sleep(0.01)

    async with asyncio.timeout(10):
        await asyncio.gather(asks("six", 6), asks("all, and more", 100), asks("one", 1))
    assert told == ["six", "all, and more", "one"]


async def test_who_gives_up_waiting_leaves_the_room_to_others():
    budget = MemoryBudget(10)
    async with budget.room(10):
        waiting = asyncio.create_task(budget.take(10))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    async with asyncio.timeout(10), budget.room(10):
        assert True


async def test_work_that_nobody_waits_for_holds_its_room_until_it_ends():
    pool, begun, may_end = MediaPool(10), asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result()

    working = asyncio.create_task(pool.run(10, work))
    await begun.wait()
    working.cancel()
    next_one = asyncio.create_task(pool.run(1, lambda: "done"))
    await asyncio.sleep(0.05)
    assert not next_one.done()
    may_end.set()
    async with asyncio.timeout(10):
        assert await next_one == "done"


async def test_a_page_of_history_ends_before_it_takes_too_many_bytes(start: StartBackend):
    backend: Backend = await start(worker=False, rate_limit_public_per_minute=0)
    backend.sql("insert into mega_customers (mg_pass_id) values (%s)", backend.pass_id)
    backend.sql(
        "insert into mega_generations (mg_id, mg_record_type, mg_pass_id, mg_session_id, mg_title, mg_meta, mg_created_at)"
        " select 'session:' || n, 'session', %s, n::text, 'x', jsonb_build_object('text', repeat('x', 1000000)),"
        " now() - n * interval '1 second' from generate_series(1, 30) n",
        backend.pass_id,
    )
    seen, cursor = [], {}
    while True:
        page = await backend.get(f"/history/pass/{backend.pass_id}", params={"limit": 500, **cursor})
        assert 0 < page["page"]["returned"] < 10
        seen += [row["id"] for row in page["sessions"]]
        if not page["page"]["hasMore"]:
            break
        cursor = {"cursor": page["page"]["nextCursor"]}
    assert seen == [f"session:{n}" for n in range(1, 31)]
