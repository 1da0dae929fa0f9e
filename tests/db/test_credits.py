"""Charged once at acceptance, refunded once on failure, never below zero, whatever comes at the same time."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest

from safelight.db.money import ledger
from tests.conftest import Backend, StartBackend, client_of

BRIEF = {"inputs": {"brief": "a cup on stone"}, "settings": {"seedream": {"size": "1K"}}}
CLIENTS = 40


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    """An API without a worker: orders are accepted and wait."""
    return await start(worker=False)


async def post_patiently(client: httpx2.AsyncClient, body: dict, **more: Any) -> httpx2.Response:
    """As a client should: an API that is too busy says when to come again."""
    while True:
        answer = await client.post("/mma/still/create", json=body, **more)
        if answer.status_code != 503:
            return answer
        await asyncio.sleep(int(answer.headers["Retry-After"]))


async def test_a_thousand_orders_on_credit_for_ten(idle: Backend):
    await idle.grant(10)
    body = {"passId": idle.pass_id, **BRIEF}
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(idle.app.settings.base_url)) for _ in range(CLIENTS)]
        posts = (post_patiently(client, body) for client in clients for _ in range(1000 // CLIENTS))
        answers = await asyncio.gather(*posts)
    assert sorted(answer.status_code for answer in answers) == [200] * 10 + [402] * 990
    assert idle.balance() == idle.ledger_sum() == 0
    assert idle.value("select count(*) from mega_generations where mg_record_type = 'generation'") == 10
    assert idle.value("select count(*) from procrastinate.procrastinate_jobs") == 10


async def test_a_hundred_posts_with_one_key_are_one_generation(idle: Backend):
    await idle.grant(1)
    body, headers = {"passId": idle.pass_id, **BRIEF}, {"Idempotency-Key": "click-1"}
    posts = (post_patiently(idle.client, body, headers=headers) for _ in range(100))
    answers = [answer.json() for answer in await asyncio.gather(*posts)]
    assert len({answer["generation_id"] for answer in answers}) == 1
    assert idle.value("select count(*) from mega_generations where mg_ref_type = 'mma_charge'") == 1
    assert idle.balance() == idle.ledger_sum() == 0


@pytest.mark.parametrize("place", ["header", "idempotency_key", "idempotencyKey", "inputs"])
async def test_the_key_may_stand_in_header_or_body(idle: Backend, place: str):
    await idle.grant(5)
    more: dict = {"header": {}, "inputs": {"inputs": {**BRIEF["inputs"], "idempotency_key": "k"}}}.get(
        place, {place: "k"}
    )
    headers = {"Idempotency-Key": "k"} if place == "header" else {}
    first = await idle.post("/mma/still/create", BRIEF | more, headers=headers)
    second = await idle.post("/mma/still/create", BRIEF | more, headers=headers)
    assert first["generation_id"] == second["generation_id"]
    assert idle.balance() == 4


async def test_the_same_key_with_another_body_is_refused(idle: Backend):
    await idle.grant(5)
    headers = {"Idempotency-Key": "k"}
    await idle.post("/mma/still/create", BRIEF, headers=headers)
    other = {"inputs": {"brief": "something else"}}
    answer = await idle.post("/mma/still/create", other, headers=headers, status=422)
    assert answer["error"] == "IDEMPOTENCY_KEY_REUSED"
    assert idle.balance() == 4


async def test_the_key_of_one_customer_is_not_that_of_another(idle: Backend):
    await idle.grant(1)
    await idle.grant(1, "pass:user:other")
    headers = {"Idempotency-Key": "k"}
    mine = await idle.post("/mma/still/create", BRIEF, headers=headers)
    theirs = await idle.post("/mma/still/create", {**BRIEF, "passId": "pass:user:other"}, headers=headers)
    assert mine["generation_id"] != theirs["generation_id"]


async def test_a_refund_is_given_once(idle: Backend):
    await idle.grant(1)
    accepted = await idle.post("/mma/still/create", BRIEF)
    async with idle.app.database() as db:
        for credits in (1, 0):
            async with db.transaction() as conn:
                assert await ledger.refund(conn, generation_id=accepted["generation_id"]) == credits
    assert idle.balance() == idle.ledger_sum() == 1


async def test_402_is_the_union_of_both_contracts_and_writes_nothing(idle: Backend):
    await idle.grant(2)
    body = {"assets": {"start_image_url": await idle.upload()}, "inputs": {"motion_user_brief": "push in"}}
    answer = await idle.post("/mma/video/animate", body, status=402)
    assert {key: answer[key] for key in answer if key not in ("message", "requestId")} == {
        "ok": False,
        "error": "INSUFFICIENT_CREDITS",
        "requiredCredits": 5,
        "currentCredits": 2,
        "passId": idle.pass_id,
        "details": {"required": 5, "needed": 5, "balance": 2},
    }
    assert "INSUFFICIENT_CREDITS" in answer["message"]
    assert idle.value("select count(*) from mega_generations where mg_record_type <> 'credit_transaction'") == 0


async def test_a_visitor_without_an_id_has_no_credit_and_leaves_no_row(idle: Backend):
    answer = await idle.client.post("/mma/still/create", json=BRIEF)
    assert answer.status_code == 402
    assert answer.json()["currentCredits"] == 0
    assert idle.value("select count(*) from mega_customers") == 0


async def test_the_balance_names_prices_and_the_length_of_the_ledger(idle: Backend):
    await idle.grant(7)
    await idle.post("/mma/still/create", BRIEF)
    by_query = await idle.get("/credits/balance", params={"passId": idle.pass_id})
    by_header = await idle.get("/credits/balance", headers={"X-Mina-Pass-Id": idle.pass_id})
    for answer in (by_query, by_header):
        assert answer.pop("requestId").startswith("req_")
        assert answer == {
            "ok": True,
            "customerId": idle.pass_id,
            "balance": 6,
            "historyLength": 2,
            "meta": {"imageCost": 1, "motionCost": 5},
            "source": "mega",
            "passId": idle.pass_id,
            "expiresAt": None,
        }


async def test_welcome_credits_are_a_ledger_row(start: StartBackend):
    backend = await start(worker=False, signup_credits=3)
    backend.pass_id = (await backend.get("/me"))["passId"]
    for _ in range(2):
        answer = await backend.get("/credits/balance", params={"passId": backend.pass_id})
        assert answer["balance"] == 3
    assert backend.ledger_sum() == 3
