"""Too much at once is refused by customer and by address, cheaply, and told to operators once."""

import asyncio
import re
import sys
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from safelight.api.http.rate_limits import KEYS_MAX, RateLimiter, RateLimitGroup
from safelight.domain.errors.retries import TooManyRequests
from tests.conftest import Backend, StartBackend, running
from tests.support.openapi import ROUTES, Route

BRIEF = {"inputs": {"brief": "a cup on stone"}, "settings": {"seedream": {"size": "1K"}}}


PROXY = {"trusted_proxies": "127.0.0.1"}  # the tests, which say for whom they ask


def from_address(address: str) -> dict[str, str]:
    return {"X-Forwarded-For": address}


FREE = (
    "GET /api/admin/", "POST /api/admin/", "GET /admin/", "POST /admin/", "POST /credits/add",  # operators only
    "POST /webhooks/", "POST /api/credits/shopify-order",  # signed
    "GET /health", "GET /api/health", "GET /metrics",  # monitors ask often
    "GET /mma/generations/", "GET /api/v1/generations/{", "GET /mma/stream/", "GET /mma/errors", "GET /assets/", "GET /private-assets/",
)  # fmt: skip


@pytest.fixture(scope="module")
async def strict(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    few = {
        "rate_limit_writes_per_minute": 1,
        "rate_limit_public_per_minute": 3,
        "rate_limit_error_reports_per_minute": 3,
        **PROXY,
    }
    async with running(module_dsn, tmp_path_factory.mktemp("home"), worker=False, **few) as backend:
        yield backend


@pytest.fixture
async def narrow(start: StartBackend) -> Backend:
    backend = await start(worker=False, rate_limit_writes_per_minute=2, rate_limit_public_per_minute=3, **PROXY)
    await backend.grant(100)
    return backend


async def order(backend: Backend, *, address: str = "192.0.2.1", **more: object) -> int:
    body = {"passId": backend.pass_id, **BRIEF, **more}
    return (await backend.client.post("/mma/still/create", json=body, headers=from_address(address))).status_code


async def test_the_order_that_is_too_many_is_told_when_to_come_back_and_changes_nothing(narrow: Backend):
    assert [await order(narrow) for _ in range(2)] == [200, 200]
    body = {"passId": narrow.pass_id, **BRIEF}
    refused = await narrow.client.post("/mma/still/create", json=body)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 30
    assert {key: refused.json()[key] for key in ("ok", "error", "message")} == {
        "ok": False,
        "error": "TOO_MANY_REQUESTS",
        "message": "That was a lot at once. Please try again in a moment.",
    }
    assert refused.headers["X-Mina-Pass-Id"] == narrow.pass_id
    assert narrow.balance() == narrow.ledger_sum() == 98


async def test_one_customers_hurry_is_not_anothers(narrow: Backend):
    assert [await order(narrow) for _ in range(3)] == [200, 200, 429]
    await narrow.grant(1, "pass:user:other")
    assert await order(narrow, passId="pass:user:other") == 200


async def test_another_address_does_not_help_the_same_customer(narrow: Backend):
    answers = [await order(narrow, address=f"192.0.2.{number}") for number in range(4)]
    assert answers == [200, 200, 429, 429]


async def test_who_makes_up_customers_is_known_by_the_address(narrow: Backend):
    answers = [await order(narrow, passId=f"pass:anon:{number}") for number in range(21)]
    assert answers == [402] * 20 + [429]
    assert await order(narrow, passId="pass:anon:elsewhere", address="198.51.100.9") == 402


async def test_an_ipv6_line_is_one_address(start: StartBackend):
    backend = await start(worker=False, rate_limit_public_per_minute=2, **PROXY)
    seen = [
        (await backend.client.post("/sessions/start", json={}, headers=from_address(address))).status_code
        for address in ("2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:9:8:7:6", "2001:db8:0:2::1")
    ]
    assert seen == [200, 200, 429, 200]


async def test_an_address_that_no_proxy_of_ours_states_is_not_believed(start: StartBackend):
    backend = await start(worker=False, rate_limit_public_per_minute=1, trusted_proxies="203.0.113.1")
    seen = [
        (await backend.client.post("/sessions/start", json={}, headers=from_address(f"192.0.2.{n}"))).status_code
        for n in range(2)
    ]
    assert seen == [200, 429]


@pytest.mark.parametrize("path", ["/credits/balance", "/history/pass/pass:user:1", "/api/generations/failed"])
async def test_reading_is_limited_by_address(narrow: Backend, path: str):
    headers = {"X-Mina-Pass-Id": narrow.pass_id}
    seen = [(await narrow.client.get(path, headers=headers)).status_code for _ in range(4)]
    assert seen == [200, 200, 200, 429]


async def test_uploads_count_as_orders(narrow: Backend):
    bodies = [{"contentType": "image/png", "passId": narrow.pass_id} for _ in range(3)]
    seen = [(await narrow.client.post("/api/r2/upload-signed", json=body)).status_code for body in bodies]
    assert seen == [200, 200, 429]


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_every_route_that_strangers_may_ask_has_its_limit(strict: Backend, route: Route):
    path = re.sub(r"\{\w+\}", "none", route.path)
    address = f"2001:db8:{ROUTES.index(route):x}::1"  # each route's own
    asked = [strict.client.request(route.method, path, headers=from_address(address)) for _ in range(12)]
    seen = {(await one).status_code for one in asked}
    is_free = str(route).startswith(FREE) or str(route) == "GET /"
    assert (429 in seen) != is_free, seen


async def test_the_body_of_a_refused_request_is_not_read(narrow: Backend):
    for _ in range(3):
        await narrow.client.post("/sessions/start", json={})
    refused = await narrow.client.post("/sessions/start", content=b"{ this would be no JSON")
    assert refused.status_code == 429


async def test_a_flood_is_one_row_of_the_ops_plane(narrow: Backend):
    answers = await asyncio.gather(*(narrow.client.post("/sessions/start", json={}) for _ in range(100)))
    assert sum(answer.status_code == 429 for answer in answers) == 97
    [row] = narrow.ops_rows()
    assert (row["mg_record_type"], row["mg_status"]) == ("warn", 429)
    assert row["mg_error_code"] == "⚠️ TOO_MANY_REQUESTS"
    assert row["mg_route"] == "/sessions/start"


async def test_polling_a_generation_is_not_limited(narrow: Backend):
    accepted = await narrow.post("/mma/still/create", BRIEF)
    seen = [(await narrow.client.get(f"/mma/generations/{accepted['generation_id']}")).status_code for _ in range(50)]
    assert set(seen) == {200}


async def test_no_limit_is_none(start: StartBackend):
    backend = await start(worker=False, rate_limit_public_per_minute=0)
    assert {(await backend.client.post("/sessions/start", json={})).status_code for _ in range(30)} == {200}


# --- the counting itself: its clock is handed in, so that no test waits ---------------------------------------------


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def granted(rates: RateLimiter, key: str = "a", *, times: int = 1) -> int:
    count = 0
    for _ in range(times):
        try:
            rates.acquire(RateLimitGroup.WRITES, key)
            count += 1
        except TooManyRequests:
            pass
    return count


def test_a_minutes_worth_goes_at_once_and_the_rest_evenly():
    clock = Clock()
    rates = RateLimiter({RateLimitGroup.WRITES: 6}, clock)
    assert granted(rates, times=20) == 6
    for second in range(1, 61):
        clock.now = second
        assert granted(rates, times=5) == (1 if second % 10 == 0 else 0), second


def test_waiting_as_long_as_was_said_helps():
    clock = Clock()
    rates = RateLimiter({RateLimitGroup.WRITES: 7}, clock)
    granted(rates, times=7)
    with pytest.raises(TooManyRequests) as refused:
        rates.acquire(RateLimitGroup.WRITES, "a")
    clock.now += refused.value.retry_after_seconds
    assert granted(rates) == 1


def test_who_rested_gets_a_minutes_worth_and_not_more():
    clock = Clock()
    rates = RateLimiter({RateLimitGroup.WRITES: 6}, clock)
    clock.now = 100_000.0
    assert granted(rates, times=20) == 6
    clock.now += 100_000.0
    assert granted(rates, times=20) == 6


def test_a_million_strangers_fit_into_little_memory():
    rates = RateLimiter({RateLimitGroup.WRITES: 6}, Clock())
    tracemalloc.start()
    for number in range(3 * KEYS_MAX):
        granted(rates, f"pass:anon:{number:036d}")
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 40_000_000
    assert sys.getsizeof(rates) < 1_000


def test_operators_are_told_of_a_flood_once_a_minute():
    clock, told = Clock(), []
    rates = RateLimiter({RateLimitGroup.WRITES: 1}, clock)
    for second in range(120):
        clock.now = second / 100 if second < 100 else second
        try:
            rates.acquire(RateLimitGroup.WRITES, "a")
        except TooManyRequests as refused:
            told.append(refused.is_news)
    assert told.count(True) == 2


async def test_a_copy_of_what_is_ours_does_not_count(start: StartBackend):
    """Clients ask for one of each item of a history, at once."""
    backend = await start(worker=False, rate_limit_writes_per_minute=1)
    url = await backend.upload()
    for path in ("/api/r2/store-remote-signed", "/store-remote-generation"):
        answers = [await backend.client.post(path, json={"passId": backend.pass_id, "url": url}) for _ in range(30)]
        assert {(answer.status_code, answer.json()["url"]) for answer in answers} == {(200, url)}
    foreign = {"passId": backend.pass_id, "url": "https://example.invalid/a.png"}
    statuses = [(await backend.client.post("/store-remote-generation", json=foreign)).status_code for _ in range(12)]
    assert 429 in statuses
