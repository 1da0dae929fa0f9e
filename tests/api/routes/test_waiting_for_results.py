"""Clients that wait for their result inside one request: whatever happens to the process that holds it, the generation
goes on, and asking again gives it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest

from safelight import serve
from safelight.domain.ids import new_id
from tests.conftest import WAIT_SECONDS, Backend, running
from tests.db.test_database_outage import read_only
from tests.pipelines.engine.test_resume import wait_for

Json = dict[str, Any]

BRIEF = {"brief": "a cup on pale stone, soft light", "platform": "square"}
SLOWLY = 3.0
BEGUN = (
    "select count(*) > 0 from mega_generations where mg_record_type = 'mma_step' and mg_step_type = 'seedream_generate'"
)


@pytest.fixture
async def worker(dsn: str, tmp_path: Path) -> AsyncIterator[Backend]:
    """A worker that takes its time over a still, with an API of its own that nobody stops."""
    async with running(dsn, tmp_path, local_latency_seconds=SLOWLY) as backend:
        await backend.grant(5)
        yield backend


@asynccontextmanager
async def other_api(worker: Backend) -> AsyncIterator[tuple[subprocess.Popen[bytes], str]]:
    """A process that serves the same database and home: it, and its address."""
    with serve.listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    settings = worker.app.settings.model_copy(update={"port": port, "database_url": worker.dsn})
    command = [sys.executable, "-m", "safelight", "api"]
    process = subprocess.Popen(command, env=settings.as_environment(), stdout=subprocess.DEVNULL)
    try:
        await answers(settings.base_url)
        yield process, settings.base_url
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)


async def answers(address: str) -> None:
    async with asyncio.timeout(WAIT_SECONDS), httpx2.AsyncClient(base_url=address, trust_env=False) as client:
        while True:
            with suppress(httpx2.TransportError):
                await client.get("/health")
                return
            await asyncio.sleep(0.1)


async def ask(address: str, worker: Backend, key: str) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=address, timeout=WAIT_SECONDS, trust_env=False) as client:
        body = {"passId": worker.pass_id, **BRIEF}
        return await client.post("/editorial/generate", json=body, headers={"Idempotency-Key": key})


async def test_a_process_that_is_told_to_end_says_so_and_another_gives_the_result(worker: Backend):
    key = new_id()
    async with other_api(worker) as (process, address):
        asking = asyncio.create_task(ask(address, worker, key))
        await wait_for(worker, BEGUN)
        process.send_signal(signal.SIGTERM)
        told = await asking
        assert await asyncio.to_thread(process.wait, WAIT_SECONDS) == 0
    assert (told.status_code, told.json()["error"]) == (503, "STILL_MAKING")
    assert int(told.headers["Retry-After"]) > 0
    given = (await ask(worker.app.settings.base_url, worker, key)).json()
    assert given["generationId"] == told.json()["generationId"]
    await must_be_one_picture(worker, given)


async def test_a_process_that_is_killed_leaves_the_generation_going(worker: Backend):
    key = new_id()
    async with other_api(worker) as (process, address):
        asking = asyncio.create_task(ask(address, worker, key))
        await wait_for(worker, BEGUN)
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(httpx2.TransportError):
            await asking
    await must_be_one_picture(worker, (await ask(worker.app.settings.base_url, worker, key)).json())


async def must_be_one_picture(worker: Backend, given: Json) -> None:
    assert (given["ok"], given["credits"]) == (True, {"balance": 4, "cost": 1})
    assert (await worker.client.get(given["imageUrl"])).headers["content-type"] == "image/png"
    made = "select count(*) from mega_generations where mg_record_type = 'generation'"
    assert (worker.value(made), worker.balance(), worker.ledger_sum()) == (1, 4, 4)


async def test_trouble_with_the_database_is_waited_out(worker: Backend):
    asking = asyncio.create_task(ask(worker.app.settings.base_url, worker, new_id()))
    await wait_for(worker, BEGUN)
    name = worker.value("select current_database()")
    read_only(worker, name, on=True)
    await asyncio.sleep(SLOWLY)
    read_only(worker, name, on=False)
    await must_be_one_picture(worker, (await asking).json())


async def test_somebody_who_leaves_is_not_waited_for(dsn: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """The still takes longer than the test, so that leaving alone can end the wait."""
    caplog.set_level("WARNING", logger="safelight")  # whatever a test before has configured
    async with running(dsn, tmp_path, local_latency_seconds=WAIT_SECONDS * 2.0) as worker:
        await worker.grant(5)
        asking = asyncio.create_task(ask(worker.app.settings.base_url, worker, new_id()))
        await wait_for(worker, BEGUN)
        asking.cancel()
        async with asyncio.timeout(WAIT_SECONDS):
            while "is not final yet" not in caplog.text:
                await asyncio.sleep(0.05)
        status = "select mg_mma_status from mega_generations where mg_record_type = 'generation'"
        assert (worker.value(status), worker.ops_rows()) == ("generating", [])


async def test_a_hundred_may_wait_at_one_small_process(dsn: str, tmp_path: Path):
    """Waiting holds no database connection."""
    async with running(dsn, tmp_path, api_pool_size=2, local_latency_seconds=0.5, worker_concurrency=4) as backend:
        await backend.grant(3)
        key = new_id()
        answers = await asyncio.gather(*(ask(backend.app.settings.base_url, backend, key) for _ in range(100)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["imageUrl"] for answer in answers}) == 1
