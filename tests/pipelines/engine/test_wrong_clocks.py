"""Machines whose clocks are hours off: waits take their time, nothing is late, and nobody takes work from the living."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from safelight.testing.adapter_contract import new_key
from tests.conftest import Backend, StartBackend
from tests.contracts.test_adapters import on_replicate
from tests.support.credit_orders import SHOP_SECRET, order, signature
from tests.support.machines import free_port
from tests.support.scope import LONG

ROOT = Path(__file__).parents[3]
WAIT_SECONDS = 2.0
BEHIND, LITTLE_BEHIND, LITTLE_AHEAD, AHEAD, JUMPS = "-180", "-40", "40", "120", "120,-180,40"
ANY = (BEHIND, JUMPS, *(pytest.param(minutes, marks=LONG) for minutes in (LITTLE_BEHIND, LITTLE_AHEAD, AHEAD)))


def command(backend: Backend, minutes: str, *arguments: str, **environment: str) -> tuple[list[str], dict[str, str]]:
    settings = {
        "SAFELIGHT_DATABASE_URL": backend.dsn,
        "SAFELIGHT_HOME": str(backend.app.home),
        "SAFELIGHT_PUBLIC_URL": backend.app.settings.base_url,
        "SAFELIGHT_WORKER_POLL_SECONDS": "0.1",
        "SAFELIGHT_WORKER_HEARTBEAT_SECONDS": "1",
    }
    return [sys.executable, "-m", "tests.support.wrong_clock", minutes, *arguments], os.environ | settings | environment


@contextmanager
def worker(backend: Backend, minutes: str, log: Path, name: str = "worker", **environment: str) -> Iterator[None]:
    """A worker, or another part of safelight, whose machine's clock is off by so many minutes."""
    arguments, environment = command(backend, minutes, name, **environment)
    with log.open("wb") as output:
        process = subprocess.Popen(arguments, env=environment, cwd=ROOT, stdout=output, stderr=output)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def timing(step: dict) -> tuple[datetime, datetime]:
    started_at, ended_at = (step["mg_payload"]["timing"][name] for name in ("started_at", "ended_at"))
    return datetime.fromisoformat(started_at), datetime.fromisoformat(ended_at)


@pytest.mark.parametrize("minutes", ANY)
async def test_an_order_takes_its_time_whatever_the_clock_says(start: StartBackend, tmp_path: Path, minutes: str):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    with worker(backend, minutes, tmp_path / "log", SAFELIGHT_LOCAL_LATENCY_SECONDS=str(WAIT_SECONDS)):
        made = await backend.finished(accepted)
    assert made["status"] == "done"
    began, ended = (
        backend.value(query) for query in ("select min(mg_created_at) from mega_generations", "select now()")
    )
    steps = backend.steps(made["generation_id"])
    times = [moment for step in steps for moment in timing(step)]
    assert times == sorted(times)
    assert began - timedelta(milliseconds=1) <= times[0] <= times[-1] <= ended
    [waited] = [step for step in steps if step["mg_step_type"] == "seedream_generate"]
    assert waited["mg_latency_ms"] >= WAIT_SECONDS * 1000
    assert backend.ops_rows() == []


async def test_workers_whose_clocks_are_apart_take_nothing_from_each_other(start: StartBackend, tmp_path: Path):
    backend = await start(worker=False)
    await backend.grant(4)
    photo = await backend.upload()
    logs = {minutes: tmp_path / f"{minutes}.log" for minutes in (BEHIND, AHEAD)}
    with ExitStack() as stack:
        for minutes, log in logs.items():
            more = {"SAFELIGHT_LOCAL_LATENCY_SECONDS": str(WAIT_SECONDS), "SAFELIGHT_WORKER_CONCURRENCY": "1"}
            stack.enter_context(worker(backend, minutes, log, **more))
        made = await asyncio.gather(*[backend.finished(await backend.create(product=photo)) for _ in range(4)])
    assert {one["status"] for one in made} == {"done"}
    assert not [minutes for minutes, log in logs.items() if "over: its worker" in log.read_text()]
    assert backend.ops_rows() == []
    assert backend.balance() == backend.ledger_sum() == 0


@pytest.mark.parametrize("minutes", [LITTLE_AHEAD, pytest.param(JUMPS, marks=LONG)])
async def test_a_new_attempt_comes_after_its_pause(start: StartBackend, tmp_path: Path, minutes: str):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    fault = {"SAFELIGHT_LOCAL_FAULT": "seedream_generate:rate_limited", "SAFELIGHT_RETRY_BASE_SECONDS": "0.4"}
    with worker(backend, minutes, tmp_path / "log", **fault):
        made = await backend.finished(accepted)
    assert (made["status"], made["error"]["code"]) == ("error", "SEEDREAM_RATE_LIMITED")
    attempts = backend.steps(made["generation_id"])[-1]["mg_payload"]["attempts"]
    moments = [datetime.fromisoformat(one[name]) for one in attempts for name in ("started_at", "ended_at")]
    assert len(attempts) == 3
    assert moments == sorted(moments)
    assert moments[2] - moments[1] >= timedelta(seconds=0.3)  # 0.4 s, less the jitter
    assert backend.balance() == 1


@pytest.mark.parametrize("minutes", [BEHIND, AHEAD, pytest.param(JUMPS, marks=LONG)])
async def test_credits_are_good_for_as_long_as_they_should_be(start: StartBackend, minutes: str):
    backend = await start(worker=False)
    grant, environment = command(
        backend, minutes, "credits", "grant", backend.pass_id, "5", SAFELIGHT_CREDITS_EXPIRE_DAYS="1"
    )
    subprocess.run(grant, env=environment, cwd=ROOT, check=True, capture_output=True)
    left = "select extract(epoch from mg_expires_at - now()) from mega_customers where mg_pass_id = %s"
    assert 86_400 - 600 < backend.value(left, backend.pass_id) <= 86_400


@pytest.mark.parametrize("minutes", [BEHIND, pytest.param(AHEAD, marks=LONG)])
async def test_credits_of_a_shops_order_without_a_date_are_good_for_as_long_as_they_should_be(
    start: StartBackend, tmp_path: Path, minutes: str
):
    backend, port = await start(worker=False), free_port()
    stated = order(created_at=None, processed_at=None)
    settings = {"SAFELIGHT_SHOPIFY_WEBHOOK_SECRET": SHOP_SECRET, "SAFELIGHT_CREDITS_EXPIRE_DAYS": "1"}
    with worker(backend, minutes, tmp_path / "log", "api", SAFELIGHT_PORT=str(port), **settings):
        answer = await answered(f"http://127.0.0.1:{port}", stated)
    assert (answer.status_code, answer.json()["credited"]) == (200, 50)
    left = "select extract(epoch from mg_expires_at - now()) from mega_customers where mg_pass_id = %s"
    assert 86_400 - 600 < backend.value(left, answer.json()["passId"]) <= 86_400


async def answered(url: str, stated: dict) -> httpx2.Response:
    """The answer to an order of the shop, from an API that is about to listen."""
    content = json.dumps(stated).encode()
    headers = {"X-Shopify-Hmac-Sha256": signature(content)}
    async with asyncio.timeout(60), httpx2.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        while True:
            try:
                return await client.post("/api/credits/shopify-order", content=content, headers=headers)
            except httpx2.ConnectError:
                await asyncio.sleep(0.1)


async def test_a_lost_start_is_found_whatever_clock_its_generation_was_named_by():
    """An id tells the time of the machine that took the order."""
    ahead = int((datetime.now(UTC) + timedelta(hours=2)).timestamp() * 1000)
    key = f"{ahead >> 16:08x}-{ahead & 0xFFFF:04x}-7000-8000-000000000001:3:1"
    async with on_replicate("image", "bytedance/seedream-4") as bench:
        request, noted_at = bench.request(key), datetime.now(UTC)
        operation = await bench.provider.start(request)
        assert (await bench.provider.look_up(key, noted_at)).handle == operation.handle
        assert await bench.provider.look_up(new_key(), noted_at) is None
