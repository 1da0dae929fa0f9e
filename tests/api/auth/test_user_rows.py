"""The row that an access token leads to: made once, adopted by its owner alone, merged by e-mail."""

import asyncio
from typing import Any

import pytest

from safelight.domain.ids import new_id
from tests.conftest import Backend, StartBackend
from tests.support.callers import customer, me
from tests.support.sign_in import (
    SIGNED_BY_SECRET,
    bearer,
    token,
)


async def test_a_visitor_keeps_their_id_and_leaves_no_row(idle: Backend):
    answer = await idle.client.get("/me", headers={"X-Mina-Pass-Id": "pass:anon:0d0f5a3e"})
    body = answer.json()
    assert body.pop("requestId").startswith("me_")
    assert body == {"ok": True, "user": None, "isAdmin": False, "passId": "pass:anon:0d0f5a3e"}
    assert answer.headers["X-Mina-Pass-Id"] == "pass:anon:0d0f5a3e"
    fresh = (await idle.client.get("/me")).json()["passId"]
    assert fresh.startswith("pass:anon:")
    assert (await idle.client.get("/me", headers={"X-Mina-Pass-Id": "x" * 300})).status_code == 200
    assert idle.value("select count(*) from mega_customers") == 0


async def test_a_first_visit_makes_the_users_row_once_with_their_welcome(start: StartBackend):
    backend = await start(worker=False, signup_credits=3, **SIGNED_BY_SECRET)
    user_id = new_id()
    seen = await asyncio.gather(*(me(backend, user_id, "Ann@Example.com") for _ in range(10)))
    assert {one["passId"] for one in seen} == {f"pass:user:{user_id}"}
    assert seen[0]["user"] == {"id": user_id, "email": "ann@example.com"}
    [row] = backend.sql("select * from mega_customers")
    assert (str(row["mg_user_id"]), row["mg_email"], row["mg_verified_any"]) == (user_id, "ann@example.com", True)
    assert row["mg_credits"] == backend.ledger_sum(row["mg_pass_id"]) == 3


async def test_the_row_of_the_user_goes_before_all_others(idle: Backend):
    user_id = new_id()
    customer(idle, "pass:shopify:1", mg_email="ann@example.com")
    customer(idle, "pass_legacy", mg_user_id=user_id)
    customer(idle, "pass:anon:mine")
    assert (await me(idle, user_id, "ann@example.com", **{"X-Mina-Pass-Id": "pass:anon:mine"}))[
        "passId"
    ] == "pass_legacy"


async def test_the_oldest_row_of_the_email_becomes_the_users(idle: Backend):
    user_id = new_id()
    customer(idle, "pass:shopify:2", mg_email="ANN@example.com", mg_created_at="2025-02-01")
    customer(idle, "pass:shopify:1", mg_email="ann@example.com", mg_created_at="2025-01-01")
    customer(idle, "pass:shopify:0", mg_email="ann@example.com", mg_created_at="2024-01-01", mg_deleted_at="2025-01-01")
    assert (await me(idle, user_id, "ann@example.com"))["passId"] == "pass:shopify:1"
    assert (await me(idle, user_id))["passId"] == "pass:shopify:1"


async def test_an_email_that_is_anothers_or_unconfirmed_leads_to_a_new_row(idle: Backend):
    customer(idle, "pass:user:first", mg_email="ann@example.com", mg_user_id=new_id())
    second, third = new_id(), new_id()
    assert (await me(idle, second, "ann@example.com"))["passId"] == f"pass:user:{second}"
    customer(idle, "pass:shopify:9", mg_email="bob@example.com")
    unconfirmed = bearer(token(third, "bob@example.com", email_verified=False))
    answer = (await idle.client.get("/me", headers=unconfirmed)).json()
    assert (answer["passId"], answer["user"]["email"]) == (f"pass:user:{third}", None)


async def test_a_stated_visitor_becomes_the_user_with_all_that_is_theirs(idle: Backend):
    await idle.grant(4, "pass:anon:visitor")
    user_id = new_id()
    headers = bearer(token(user_id, "ann@example.com"))
    stated = {"passId": "pass:anon:visitor"}
    before = (await idle.client.get("/credits/balance", params=stated, headers=headers)).json()
    assert (before["passId"], before["balance"]) == (f"pass:user:{user_id}", 0)
    started = (await idle.client.post("/sessions/start", json=stated, headers=headers)).json()
    assert started["passId"] == "pass:anon:visitor"
    after = (await idle.client.get("/credits/balance", params=stated, headers=headers)).json()
    assert (after["passId"], after["balance"]) == ("pass:anon:visitor", 4)
    assert (await me(idle, user_id))["passId"] == "pass:anon:visitor"


@pytest.mark.parametrize(
    ("pass_id", "columns"),
    [
        ("pass:anon:taken", {"mg_user_id": new_id()}),
        ("pass:anon:mailed", {"mg_email": "bob@example.com"}),
        ("pass:anon:deleted", {"mg_deleted_at": "2025-01-01"}),
        ("pass:shopify:8812345", {}),
        ("pass:user:01a1fede-58ba-7384-8f8a-8ece3089eeb5", {}),
        ("pass:email:bob@example.com", {}),
    ],
)
async def test_what_is_anothers_is_not_had_by_stating_it(idle: Backend, pass_id: str, columns: dict[str, Any]):
    customer(idle, pass_id, **columns)
    await idle.grant(9, pass_id)
    user_id = new_id()
    answer = await idle.client.get(f"/credits/balance?passId={pass_id}", headers=bearer(token(user_id, "ann@x.org")))
    assert (answer.json()["passId"], answer.json()["balance"]) == (f"pass:user:{user_id}", 0)
    assert idle.balance(pass_id) == 9


async def test_two_users_who_state_the_same_visitor_are_two(idle: Backend):
    customer(idle, "pass:anon:visitor")
    users = [new_id() for _ in range(6)]
    seen = await asyncio.gather(*(me(idle, user, **{"X-Mina-Pass-Id": "pass:anon:visitor"}) for user in users))
    ids = [one["passId"] for one in seen]
    assert len(set(ids)) == 6
    assert ids.count("pass:anon:visitor") == 1


async def test_a_name_that_another_user_has_is_refused(idle: Backend):
    user_id = new_id()
    customer(idle, f"pass:user:{user_id}", mg_user_id=new_id())
    for path in ("/me", "/credits/balance", "/history", f"/history/pass/pass:user:{user_id}"):
        answer = await idle.client.get(path, headers=bearer(token(user_id)))
        assert (answer.status_code, answer.json()["error"]) == (403, "FORBIDDEN"), path


async def test_signing_in_gathers_the_credits_of_the_email_once(idle: Backend):
    user_id = new_id()
    await me(idle, user_id, "ann@example.com")
    for pass_id, credits, columns in [
        ("pass:shopify:1", 50, {"mg_email": "Ann@example.com"}),
        ("pass:shopify:2", 7, {"mg_email": "ann@example.com"}),
        ("pass:shopify:3", 9, {"mg_email": "bob@example.com"}),
        ("pass:user:other", 11, {"mg_email": "ann@example.com", "mg_user_id": new_id()}),
    ]:
        customer(idle, pass_id, **columns)
        await idle.grant(credits, pass_id)
    headers = bearer(token(user_id, "ann@example.com"))
    answers = await asyncio.gather(
        *(idle.client.post("/auth/shopify-sync", json={"email": "bob@example.com"}, headers=headers) for _ in range(8))
    )
    pass_id = f"pass:user:{user_id}"
    for answer in answers:
        assert answer.headers["X-Mina-Pass-Id"] == pass_id
        assert answer.json() | {"requestId": ""} == {
            "ok": True,
            "loggedIn": True,
            "passId": pass_id,
            "email": "ann@example.com",
            "isNewUser": False,
            "requestId": "",
        }
    assert idle.balance(pass_id) == idle.ledger_sum(pass_id) == 57
    for other, left in [("pass:shopify:1", 0), ("pass:shopify:2", 0), ("pass:shopify:3", 9), ("pass:user:other", 11)]:
        assert idle.balance(other) == idle.ledger_sum(other) == left


async def test_syncing_tolerates_the_older_body_and_any_other(idle: Backend):
    for content in (b'{"email": "a@b.c", "userId": "u", "passId": "p"}', b"", b"{{{"):
        answer = await idle.client.post("/auth/shopify-sync", content=content)
        assert (answer.status_code, answer.json()["ok"], answer.json()["loggedIn"]) == (200, True, False)
    new = await idle.client.post("/auth/shopify-sync", json={}, headers=bearer(token(email="new@example.com")))
    assert new.json()["isNewUser"] is True
