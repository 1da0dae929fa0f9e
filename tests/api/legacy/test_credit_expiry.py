"""Credits expire once, and no refund or top-up brings them back."""

import asyncio
from typing import Any

import pytest

from safelight.db.money import ledger
from tests.conftest import Backend, StartBackend
from tests.support.credit_orders import (
    ADMIN,
    BRIEF,
    SETTINGS,
    balance,
    days_left,
    deliver,
    entries,
    lapse,
    order,
    settled,
)


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    return await start(**SETTINGS)


async def test_what_has_expired_is_gone_at_the_next_look_and_in_the_ledger_once(idle: Backend):
    await idle.post("/credits/add", {"amount": 9}, headers=ADMIN)
    lapse(idle)
    seen = await asyncio.gather(*(balance(idle) for _ in range(10)))
    assert {(one["balance"], one["expiresAt"]) for one in seen} == {(0, None)}
    assert entries(idle)[1:] == [(-9, "expired", "system", "expiration")]
    assert settled(idle)


async def test_what_has_expired_is_not_spent(idle: Backend):
    await idle.grant(9)
    lapse(idle)
    answer = await idle.post("/mma/still/create", BRIEF, status=402)
    assert answer["currentCredits"] == 0
    await balance(idle)
    assert settled(idle)


async def test_a_top_up_does_not_bring_back_what_expired_before(idle: Backend):
    await idle.grant(9)
    lapse(idle)
    assert (await idle.post("/credits/add", {"amount": 2}, headers=ADMIN))["newBalance"] == 2
    assert [delta for delta, *_ in entries(idle)] == [9, -9, 2]
    assert 29.9 < days_left(await balance(idle)) < 30.1


async def refund(backend: Backend, generation_id: str) -> int:
    async with backend.app.database() as db, db.transaction() as conn:
        return await ledger.refund(conn, generation_id=generation_id)


async def test_a_refund_of_what_has_expired_meanwhile_expires_at_once(idle: Backend):
    await idle.post("/credits/add", {"amount": 9}, headers=ADMIN)
    idle.sql("update mega_customers set mg_expires_at = now() + interval '1 second'")
    made = await idle.post("/mma/still/create", BRIEF)
    idle.sql("select pg_sleep(1.1)")
    assert await refund(idle, made["generation_id"]) == 1
    assert await refund(idle, made["generation_id"]) == 0
    assert (await balance(idle))["balance"] == 0
    assert [delta for delta, *_ in entries(idle)] == [9, -1, -8, 1, -1]
    assert settled(idle)


async def test_a_refund_takes_nothing_of_what_was_added_after_the_expiry(idle: Backend):
    await idle.post("/credits/add", {"amount": 1}, headers=ADMIN)
    idle.sql("update mega_customers set mg_expires_at = now() + interval '1 second'")
    made = await idle.post("/mma/still/create", BRIEF)
    idle.sql("select pg_sleep(1.1)")
    await idle.post("/credits/add", {"amount": 5}, headers=ADMIN)
    await refund(idle, made["generation_id"])
    seen = await balance(idle)
    assert (seen["balance"], 29.9 < days_left(seen) < 30.1) == (5, True)
    assert settled(idle)


async def test_a_refund_comes_back_with_the_expiry_that_the_credits_had(idle: Backend):
    await idle.post("/credits/add", {"amount": 1}, headers=ADMIN)
    made = await idle.post("/mma/still/create", BRIEF)
    idle.sql("update mega_customers set mg_expires_at = null")
    await refund(idle, made["generation_id"])
    seen = await balance(idle)
    assert (seen["balance"], 29.9 < days_left(seen) < 30.1) == (1, True)


async def test_a_time_that_is_past_takes_nothing_that_was_added_for_ever(start: StartBackend):
    backend = await start(**SETTINGS, credits_expire_days=0)
    await backend.grant(1)
    backend.sql("update mega_customers set mg_expires_at = now() + interval '1 hour'")
    await backend.post("/mma/still/create", BRIEF)
    lapse(backend)
    await backend.post("/credits/add", {"amount": 3}, headers=ADMIN)
    assert ((await balance(backend))["balance"], settled(backend)) == (3, True)


async def test_a_refund_of_what_was_good_for_ever_outlives_what_expired_meanwhile(idle: Backend):
    await idle.grant(9)
    made = await idle.post("/mma/still/create", BRIEF)
    lapse(idle)
    async with idle.app.database() as db, db.transaction() as conn:
        assert await ledger.refund(conn, generation_id=made["generation_id"]) == 1
    assert (await balance(idle))["balance"] == 1
    assert [delta for delta, *_ in entries(idle)] == [9, -1, -8, 1]
    assert settled(idle)


async def test_a_later_end_is_not_shortened_by_a_top_up(idle: Backend):
    await idle.grant(1)
    idle.sql("update mega_customers set mg_expires_at = now() + interval '90 days'")
    await idle.post("/credits/add", {"amount": 2}, headers=ADMIN)
    assert 89.9 < days_left(await balance(idle)) < 90.1


async def test_credits_may_last_for_ever(start: StartBackend):
    backend = await start(**SETTINGS, credits_expire_days=0, signup_credits=2)
    backend.pass_id = (await backend.get("/me"))["passId"]
    assert (await balance(backend))["balance"] == 2
    await backend.post("/credits/add", {"amount": 2}, headers=ADMIN)
    assert (await balance(backend))["expiresAt"] is None
    assert backend.balance() == 4


async def test_whatever_comes_at_once_the_balance_is_the_sum(idle: Backend):
    """Top-ups, takings, orders, expiries and the shop, for the same customers."""
    await idle.post("/credits/add", {"amount": 40}, headers=ADMIN)
    idle.sql(
        "insert into mega_customers (mg_pass_id, mg_email, mg_expires_at) values ('pass:shopify:5', 'ann@x.org', now())"
    )

    async def post(path: str, body: dict[str, Any]) -> int:
        answer = await idle.client.post(path, json={"passId": idle.pass_id, **body}, headers=ADMIN)
        return answer.status_code

    async def mixed(number: int) -> Any:
        match number % 6:
            case 0:
                return await post("/credits/add", {"amount": 3})
            case 1:
                return await post("/credits/add", {"amount": -7})
            case 2:
                return await post("/mma/still/create", BRIEF)
            case 3:
                return (await idle.client.get(f"/credits/balance?passId={idle.pass_id}")).status_code
            case 4:
                return (await deliver(idle, order(number % 9, customer={"id": 5}))).status_code
            case _:
                return await asyncio.to_thread(lapse, idle)

    seen = await asyncio.gather(*(mixed(number) for number in range(120)))
    assert set(seen) <= {200, 402, 503, None}
    assert settled(idle)
