"""Wrong admin tokens are limited by address, wherever they are looked at, and told to operators once a minute."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from safelight.api.http.rate_limits import RateLimiter, RateLimitGroup
from safelight.domain.errors.retries import TooManyRequests
from tests.conftest import Backend, StartBackend, running
from tests.support.sign_in import SIGNED_BY_SECRET, bearer, token

TOKEN = "the-operators-token-0123456789abcdef"
GUESSES = 5
SETTINGS = {"admin_token": TOKEN, "admin_guesses_per_minute": GUESSES, "trusted_proxies": "127.0.0.1", "worker": False}


@pytest.fixture(scope="module")
async def guarded(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with running(module_dsn, tmp_path_factory.mktemp("home"), **SETTINGS, **SIGNED_BY_SECRET) as backend:
        yield backend


def from_address(address: str, **headers: str) -> dict[str, str]:
    return {"X-Forwarded-For": address, **headers}


async def statuses(
    backend: Backend, times: int, address: str, method: str = "GET", path: str = "/admin/summary", **sent: Any
) -> list[int]:
    headers = from_address(address, **sent.pop("headers", {}))
    return [(await backend.client.request(method, path, headers=headers, **sent)).status_code for _ in range(times)]


@pytest.mark.parametrize(
    ("number", "sent"),
    list(
        enumerate(
            [
                {"headers": {"Authorization": "Bearer guess"}},
                {"headers": {"Authorization": "guess-without-the-word"}},
                {"headers": {"x-admin-secret": "guess"}},
                {"params": {"key": "guess"}},
                {"path": "/api/admin/providers", "headers": {"Authorization": "bearer guess"}},
                {"path": "/credits/add", "method": "POST", "json": {}, "headers": {"x-admin-secret": TOKEN + "x"}},
                {
                    "path": "/credits/add",
                    "method": "POST",
                    "json": {},
                    "headers": {"Authorization": f"Bearer {TOKEN[:-1]}"},
                },
                {"path": "/admin/nowhere", "params": {"key": "guess"}},
                {"path": "/health", "headers": {"x-admin-secret": "guess"}},
                {"path": "/mma/generations/x", "headers": {"x-admin-secret": "guess"}},
                {"path": "/credits/balance", "headers": {"x-admin-secret": "guess"}},
            ]
        )
    ),
)
async def test_guessing_is_slowed_down_wherever_a_token_is_looked_at(
    guarded: Backend, number: int, sent: dict[str, Any]
):
    seen = await statuses(guarded, GUESSES + 3, f"192.0.2.{number + 1}", **sent)
    assert 429 not in seen[:GUESSES]
    assert seen[GUESSES:] == [429] * 3


async def test_the_refusal_says_when_to_come_back(guarded: Backend):
    headers = from_address("198.51.100.1", Authorization="Bearer guess")
    for _ in range(GUESSES):
        await guarded.client.get("/admin/summary", headers=headers)
    refused = await guarded.client.get("/admin/summary", headers=headers)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 60 / GUESSES


async def test_guesses_at_different_places_are_counted_together(guarded: Backend):
    everywhere = {"Authorization": "Bearer one", "x-admin-secret": "two"}
    seen = await statuses(guarded, 3, "198.51.100.2", headers=everywhere, params={"key": "three"})
    assert seen[0] == 401
    assert seen[-1] == 429


async def test_one_addresss_guesses_are_not_anothers(guarded: Backend):
    await statuses(guarded, GUESSES + 1, "198.51.100.3", headers={"x-admin-secret": "guess"})
    assert await statuses(guarded, 1, "198.51.100.4", headers={"x-admin-secret": TOKEN}) == [200]
    assert await statuses(guarded, 1, "198.51.100.4", headers={"x-admin-secret": "guess"}) == [401]


@pytest.mark.parametrize(
    ("number", "header"),
    list(
        enumerate(
            [
                "Bearer null",
                "Bearer undefined",
                "Bearer",
                "",
                "Bearer [object Object]",
                "Basic dXNlcjpwYXNz",
                "Bearer TOKEN",
            ]
        )
    ),
)
async def test_what_ordinary_clients_send_is_no_guess(guarded: Backend, number: int, header: str):
    stated = header.replace("TOKEN", token())
    seen = await statuses(
        guarded, 3 * GUESSES, f"203.0.113.{number + 1}", path="/credits/balance", headers={"Authorization": stated}
    )
    assert 429 not in seen


async def test_a_signed_in_user_goes_on_beside_somebody_who_guesses(guarded: Backend):
    await statuses(guarded, GUESSES + 1, "203.0.113.99", headers={"x-admin-secret": "guess"})
    signed_in = await statuses(guarded, 2, "203.0.113.99", path="/credits/balance", headers=bearer(token()))
    assert signed_in == [200, 200]
    assert await statuses(guarded, 2, "203.0.113.99", path="/health") == [200, 200]


def test_while_an_address_is_held_off_its_right_token_is_too_and_only_for_a_moment():
    now = 1000.0
    rates = RateLimiter({RateLimitGroup.ADMIN_TOKENS: 60}, lambda: now)
    for _ in range(60):
        rates.acquire(RateLimitGroup.ADMIN_TOKENS, "address")
    with pytest.raises(TooManyRequests) as refused:
        rates.check(RateLimitGroup.ADMIN_TOKENS, "address")
    assert 0 < refused.value.retry_after_seconds <= 1
    now += refused.value.retry_after_seconds
    rates.check(RateLimitGroup.ADMIN_TOKENS, "address")
    rates.check(RateLimitGroup.ADMIN_TOKENS, "address")  # to look takes nothing


async def test_operators_learn_of_it_once_a_minute_and_never_what_was_tried(start: StartBackend):
    backend = await start(**SETTINGS | {"admin_guesses_per_minute": 20})
    for number in range(30):
        guess = f"guess-{number:04d}-of-somebody"
        await statuses(backend, 1, "192.0.2.1", headers={"Authorization": f"Bearer {guess}"})
        await statuses(backend, 1, "192.0.2.2", path="/mma/generations/x", headers={"x-admin-secret": guess})
    rows = backend.ops_rows()
    assert sorted(row["mg_ip"] for row in rows) == ["192.0.2.1", "192.0.2.2"]
    assert {(row["mg_record_type"], row["mg_detail"]["error_code"], row["mg_status"]) for row in rows} == {
        ("warn", "WRONG_ADMIN_TOKEN", 401)
    }
    assert "guess-0" not in str(rows)


async def test_guesses_from_many_addresses_become_a_bounded_number_of_rows(start: StartBackend):
    backend = await start(**SETTINGS)
    for number in range(100):
        await statuses(backend, 1, f"192.0.2.{number}", headers={"Authorization": "Bearer guess"})
    assert len(backend.ops_rows()) == 60


async def test_nobody_is_believed_about_an_address_unless_it_is_a_proxy_of_ours(start: StartBackend):
    backend = await start(**SETTINGS | {"trusted_proxies": ""})
    seen = [
        await statuses(backend, 1, f"192.0.2.{number}", headers={"x-admin-secret": "guess"})
        for number in range(GUESSES + 1)
    ]
    assert seen[-1] == [429]
