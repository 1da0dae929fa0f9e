"""A shop's orders give credits to the customer they name, take them back once, and give nobody access to anything."""

import asyncio
from typing import Any

import pytest

from safelight.domain.ids import new_id
from tests.conftest import Backend, Json, StartBackend
from tests.support.credit_orders import SETTINGS, deliver, entries, order, settled
from tests.support.sign_in import SIGNED_BY_SECRET, bearer, token

ROW = "pass:shopify:8812345"


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    return await start(**SETTINGS, **SIGNED_BY_SECRET)


async def said(backend: Backend, stated: Any, **headers: str) -> Json:
    answer = await deliver(backend, stated, **headers)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def attribute(pass_id: str) -> list[Json]:
    return [{"name": "mina_pass_id", "value": pass_id}]


# --- access ---------------------------------------------------------------------------------------------------------

VICTIMS = {
    "a visitor": "pass:anon:0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11",
    "a user who has not come yet": "pass:user:0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a12",
    "a shop's customer": "pass:shopify:777",
    "an older form": "pass_0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a13",
}


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("victim", VICTIMS.values(), ids=list(VICTIMS))
async def test_an_order_that_names_another_pass_id_is_a_gift_and_gives_no_access(
    idle: Backend, victim: str, is_known: bool
):
    if is_known:
        await idle.grant(500, victim)
    await said(idle, order(email="mallory@example.com", customer={"id": 666}, note_attributes=attribute(victim)))
    [row] = idle.sql("select mg_email, mg_user_id from mega_customers where mg_pass_id = %s", victim)
    assert (row["mg_email"], row["mg_user_id"]) == (None, None)
    mallory = bearer(token(email="mallory@example.com"))
    me = await idle.get("/me", headers=mallory)
    synced = await idle.post("/auth/shopify-sync", {}, headers=mallory)
    assert victim not in (me["passId"], synced["passId"])
    assert idle.balance(me["passId"]) == 0
    assert idle.balance(victim) == (550 if is_known else 50)
    assert settled(idle)


async def test_an_email_of_an_order_is_noted_on_the_buyers_own_rows_alone(idle: Backend):
    await idle.grant(5, "pass:anon:somebody")
    await said(idle, order(1, note_attributes=attribute("pass:anon:somebody")))
    await said(idle, order(2))
    await said(idle, order(3, customer=None, email="guest@example.com"))
    rows = idle.sql("select mg_pass_id, mg_email from mega_customers order by mg_pass_id")
    assert {row["mg_pass_id"]: row["mg_email"] for row in rows} == {
        "pass:anon:somebody": None,
        "pass:email:guest@example.com": "guest@example.com",
        ROW: "ann@example.com",
    }


async def test_an_order_is_credited_to_a_known_row_without_its_email(idle: Backend):
    """The user who signed in with the e-mail; their row has another one noted, or none."""
    idle.sql(
        "insert into mega_customers (mg_pass_id, mg_user_id, mg_email, mg_verified_email)"
        " values ('pass:user:1', %s, 'ann@example.com', true)",
        new_id(),
    )
    idle.sql("insert into mega_customers (mg_pass_id, mg_shopify_customer_id) values ('pass:anon:old', '4')")
    await said(idle, order(1, customer={"id": 5}))
    assert idle.balance("pass:user:1") == 50
    await idle.grant(1, "pass:anon:other")
    await said(idle, order(2, customer={"id": 4}, note_attributes=attribute("pass:anon:other")))
    rows = idle.sql("select mg_pass_id, mg_email from mega_customers where mg_pass_id like 'pass:anon:%%' order by 1")
    assert [row["mg_email"] for row in rows] == [None, None]
    await said(idle, order(3, customer={"id": 4}, email="old@example.com"))
    assert idle.value("select mg_email from mega_customers where mg_pass_id = 'pass:anon:old'") == "old@example.com"


async def test_whoever_signs_in_with_the_email_has_what_they_bought(idle: Backend):
    await said(idle, order())
    me = await idle.get("/me", headers=bearer(token(email="ann@example.com")))
    assert (me["passId"], idle.balance(me["passId"])) == (ROW, 50)


NOT_VERIFIED: list[Json] = [
    {"email_verified": False},
    {"email_verified": "true"},
    {"user_metadata": {"email_verified": False}},
    {"app_metadata": {"email_verified": False}, "user_metadata": {"email_verified": True}},
    {"email_verified": True, "user_metadata": {"email_verified": False}},
    {"is_anonymous": True},
    {"is_anonymous": True, "email_verified": True},
    {"app_metadata": {"provider": "anonymous"}},
]


@pytest.mark.parametrize("claims", NOT_VERIFIED, ids=str)
async def test_an_email_that_a_token_does_not_verify_links_and_gathers_nothing(idle: Backend, claims: Json):
    await said(idle, order())
    headers = bearer(token(new_id(), "ann@example.com", **claims))
    me = await idle.get("/me", headers=headers)
    await idle.post("/auth/shopify-sync", {"email": "ann@example.com"}, headers=headers)
    assert (me["user"]["email"], me["passId"] == ROW) == (None, False)
    assert (idle.balance(ROW), idle.balance(me["passId"])) == (50, 0)


VERIFIED: list[Json] = [
    {},
    {"email_verified": True},
    {"user_metadata": {"email_verified": True}},
    {"user_metadata": {}, "app_metadata": {"provider": "email"}},
    {"is_anonymous": False},
]


@pytest.mark.parametrize("claims", VERIFIED, ids=str)
async def test_an_email_that_a_token_verifies_links(idle: Backend, claims: Json):
    await said(idle, order())
    me = await idle.get("/me", headers=bearer(token(new_id(), "ann@example.com", **claims)))
    assert (me["user"]["email"], me["passId"]) == ("ann@example.com", ROW)


# --- what is credited -----------------------------------------------------------------------------------------------

UNPAID: list[tuple[Json, str]] = [
    *(
        ({"financial_status": status}, "NOT_PAID")
        for status in ("pending", "authorized", "expired", "Paid", "", 7, True)
    ),
    ({"financial_status": "partially_paid"}, "NOT_PAID"),
    ({"test": True}, "TEST_ORDER"),
    ({"test": "true"}, "TEST_ORDER"),
    ({"cancelled_at": "2025-12-19T08:00:00Z"}, "CANCELLED"),
]


@pytest.mark.parametrize(("more", "reason"), UNPAID, ids=str)
async def test_only_what_is_paid_and_no_test_and_not_cancelled_is_credited(idle: Backend, more: Json, reason: str):
    assert (await said(idle, order(**more)))["reason"] == reason
    assert idle.value("select count(*) from mega_customers") == 0


@pytest.mark.parametrize(
    ("topic", "credited"), [("", 50), ("orders/paid", 50), ("orders/create", 0), ("orders/updated", 0)]
)
async def test_an_order_that_states_no_status_is_paid_where_the_topic_says_so(idle: Backend, topic: str, credited: int):
    headers = {"X-Shopify-Topic": topic} if topic else {}
    assert (await said(idle, order(financial_status=None), **headers))["credited"] == credited


async def test_a_status_of_null_is_not_paid(idle: Backend):
    stated = order()
    stated["financial_status"] = None
    assert (await said(idle, stated))["reason"] == "NOT_PAID"


# --- refunds --------------------------------------------------------------------------------------------------------


def refund(refund_id: Any = 9, order_id: Any = 1001, quantity: int = 1, **more: Any) -> Json:
    line = {"line_item_id": 5, "quantity": quantity, "line_item": {"id": 5, "sku": "MINA-10", "quantity": 5}}
    return {"id": refund_id, "order_id": order_id, "refund_line_items": [line], **more}


FIVE = [{"id": 5, "sku": "MINA-10", "quantity": 5}]


async def test_a_refund_takes_back_the_credits_of_its_lines_once(idle: Backend):
    await said(idle, order(line_items=FIVE))
    backs = [await said(idle, refund(quantity=2), **{"X-Shopify-Topic": "refunds/create"}) for _ in range(3)]
    assert [(one["takenBack"], one["missing"]) for one in backs] == [(20, 0), (0, 0), (0, 0)]
    stated = {"financial_status": "partially_refunded", "refunds": [refund(quantity=2)]}
    again = await said(idle, order(line_items=FIVE, **stated))
    assert (again["reason"], again["takenBack"]) == ("REFUNDED", 0)
    assert entries(idle, ROW) == [
        (50, "shopify-order", "shopify", "shopify_order"),
        (-20, "shopify-refund", "shopify", "shopify_refund"),
    ]
    assert settled(idle)


async def test_an_order_that_is_refunded_as_a_whole_leaves_nothing_of_it(idle: Backend):
    await said(idle, order(line_items=FIVE))
    await said(idle, refund(1, quantity=1))
    whole = order(line_items=FIVE, financial_status="refunded", refunds=[refund(1), refund(2, quantity=2)])
    backs = [await said(idle, whole) for _ in range(2)]
    assert [one["takenBack"] for one in backs] == [40, 0]
    assert (idle.balance(ROW), settled(idle)) == (0, True)


async def test_no_refund_takes_more_than_the_order_gave(idle: Backend):
    await idle.grant(100, ROW)
    await said(idle, order(line_items=FIVE))
    taken = [(await said(idle, refund(number, quantity=3)))["takenBack"] for number in range(4)]
    assert (taken, idle.balance(ROW)) == ([30, 20, 0, 0], 100)


async def test_what_is_spent_cannot_be_taken_and_operators_read_of_it(idle: Backend):
    await said(idle, order(line_items=FIVE))
    idle.sql("update mega_customers set mg_credits = 7")
    back = await said(idle, refund(quantity=5))
    assert (back["takenBack"], back["missing"], idle.balance(ROW)) == (7, 43, 0)
    [row] = idle.ops_rows()
    assert (row["mg_detail"]["error_code"], row["mg_detail"]["missing_credits"]) == ("SHOP_REFUND_NOT_COVERED", 43)
    await said(idle, refund(quantity=5))
    assert len(idle.ops_rows()) == 1


@pytest.mark.parametrize(
    "first", [refund(quantity=5), order(line_items=FIVE, financial_status="refunded")], ids=["a refund", "its order"]
)
async def test_a_refund_that_comes_before_its_order_is_kept_for_it(idle: Backend, first: Json):
    assert (await said(idle, first))["takenBack"] == 0
    credited = await said(idle, order(line_items=FIVE))
    assert (credited["credited"], credited["balance"]) == (50, 0)
    assert settled(idle)


async def test_a_refund_follows_the_credits_to_whoever_gathered_them(idle: Backend):
    headers = bearer(token(email="ann@example.com"))
    me = await idle.get("/me", headers=headers)
    await said(idle, order(line_items=FIVE, note_attributes=None, email="ann@example.com", customer={"id": 1}))
    idle.sql("update mega_customers set mg_email = 'ann@example.com' where mg_pass_id = 'pass:shopify:2'")
    await said(idle, order(1002, line_items=FIVE, email="other@example.com", customer={"id": 2}))
    idle.sql("update mega_customers set mg_email = 'ann@example.com' where mg_pass_id = 'pass:shopify:2'")
    await idle.post("/auth/shopify-sync", {}, headers=headers)
    assert (idle.balance(me["passId"]), idle.balance("pass:shopify:2")) == (100, 0)
    back = await said(idle, refund(order_id=1002, quantity=5))
    assert (back["takenBack"], idle.balance(me["passId"])) == (50, 50)
    assert settled(idle)


async def test_refunds_and_orders_at_once_settle_each_once(idle: Backend):
    stated = [order(line_items=FIVE), refund(1), refund(2), order(line_items=FIVE, financial_status="refunded")]
    answers = await asyncio.gather(*(deliver(idle, one) for one in stated * 6))
    assert {answer.status_code for answer in answers} == {200}
    assert (idle.balance(ROW), settled(idle)) == (0, True)


@pytest.mark.parametrize(
    "stated", [{"order_id": 1, "refund_line_items": []}, {"id": 1, "order_id": None, "refund_line_items": []}]
)
async def test_a_refund_without_ids_is_refused(idle: Backend, stated: Json):
    answer = await deliver(idle, stated)
    assert (answer.status_code, answer.json()["error"]) == (400, "MISSING_ORDER_ID")
