"""The orders of a shop are credited once each, and no order that is not the shop's is."""

import asyncio
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from safelight.app import App
from safelight.config import Settings
from safelight.domain.errors.base import ConfigError
from safelight.domain.ids import new_id
from tests.conftest import Backend, StartBackend
from tests.support.credit_orders import (
    SETTINGS,
    SHOP_SECRET,
    days_left,
    deliver,
    entries,
    order,
    settled,
    signature,
)


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    return await start(**SETTINGS)


async def test_an_order_is_credited(idle: Backend):
    answer = await deliver(idle, order())
    body = answer.json()
    assert body.pop("requestId").startswith("shopify_")
    assert 29.9 < days_left(body) < 30.1
    body.pop("expiresAt")
    assert body == {
        "ok": True,
        "orderId": "1001",
        "customerId": "pass:shopify:8812345",
        "passId": "pass:shopify:8812345",
        "credited": 50,
        "balance": 50,
    }
    assert answer.headers["X-Mina-Pass-Id"] == "pass:shopify:8812345"
    assert entries(idle, "pass:shopify:8812345") == [(50, "shopify-order", "shopify", "shopify_order")]
    [row] = idle.sql("select mg_shopify_customer_id, mg_email from mega_customers")
    assert row == {"mg_shopify_customer_id": "8812345", "mg_email": "ann@example.com"}


async def test_an_order_that_is_delivered_again_and_again_is_credited_once(idle: Backend):
    answers = [answer.json() for answer in await asyncio.gather(*(deliver(idle, order()) for _ in range(30)))]
    assert sum("credited" in answer for answer in answers) == 1
    again = next(answer for answer in answers if "credited" not in answer)
    assert again | {"requestId": ""} == {"ok": True, "requestId": "", "alreadyProcessed": True, "orderId": "1001"}
    assert idle.balance("pass:shopify:8812345") == 50
    assert settled(idle)


async def test_an_order_is_credited_once_also_where_its_customer_is_another_by_now(idle: Backend):
    await deliver(idle, order())
    answer = (await deliver(idle, order(note_attributes=[{"name": "mina_pass_id", "value": "pass:user:2"}]))).json()
    assert answer["alreadyProcessed"] is True


async def test_the_database_refuses_a_second_entry_of_an_order(idle: Backend):
    await deliver(idle, order())
    with pytest.raises(Exception, match="mega_generations_shop_order_key"):
        idle.sql(
            "insert into mega_generations (mg_id, mg_record_type, mg_pass_id, mg_delta, mg_ref_type, mg_ref_id)"
            " values ('credit_transaction:x', 'credit_transaction', 'pass:shopify:8812345', 50, 'shopify_order', '1001')"
        )


@pytest.mark.parametrize(
    ("lines", "credits"),
    [
        ([{"sku": "MINA-50", "quantity": 3}], 150),
        ([{"sku": "mina-20"}], 20),
        ([{"sku": "matcha", "quantity": 2}], 40),
        ([{"sku": "mug", "variant_id": 4711, "quantity": 1}], 7),
        ([{"sku": "MINA-50", "quantity": 1}, {"sku": "Matcha", "quantity": 1}, {"sku": "mug", "quantity": 4}], 70),
        ([{"sku": "MINA-999999", "quantity": 999_999}], 1_000_000),
        ([{"sku": "mug", "quantity": 1}], 0),
        ([{"sku": "MINA-0", "quantity": 1}], 0),
        ([{"sku": "MINA-50", "quantity": -2}], 0),
        ([{"sku": "MINA-50", "quantity": "2"}], 0),
        ([{"sku": None, "quantity": 1}, "no line", 7, None], 0),
        ([], 0),
        ("no list", 0),
    ],
)
async def test_what_was_bought_tells_the_credits(idle: Backend, lines: Any, credits: int):
    answer = (await deliver(idle, order(line_items=lines))).json()
    assert (answer["credited"], answer.get("reason")) == (credits, None if credits else "NO_MATCHING_PRODUCT")
    assert idle.value("select count(*) from mega_customers") == (1 if credits else 0)


async def test_what_is_not_paid_is_not_credited_until_it_is(idle: Backend):
    unpaid = (await deliver(idle, order(financial_status="pending"))).json()
    assert (unpaid["credited"], unpaid["reason"]) == (0, "NOT_PAID")
    assert (await deliver(idle, order())).json()["credited"] == 50


async def test_the_buyer_is_whom_the_order_names_then_the_shops_customer_then_the_email(idle: Backend):
    idle.sql(
        "insert into mega_customers (mg_pass_id, mg_shopify_customer_id, mg_email, mg_user_id, mg_verified_email) values"
        " ('pass:user:1', '11', null, null, false), ('pass:user:2', null, 'ann@example.com', null, true),"
        " ('pass:user:3', null, 'ann@example.com', %s, true)",
        new_id(),
    )
    named = [{"name": "gift", "value": "yes"}, {"name": "mina_pass_id", "value": " pass:anon:gift "}]
    for number, (more, pass_id) in enumerate(
        [
            ({"note_attributes": named, "customer": {"id": 11}}, "pass:anon:gift"),
            ({"customer": {"id": 11}}, "pass:user:1"),
            ({"customer": {"id": 12}, "email": "Ann@Example.com"}, "pass:user:3"),
            ({"customer": {"id": 12}, "email": "new@example.com"}, "pass:shopify:12"),
            ({"customer": None, "email": "guest@example.com"}, "pass:email:guest@example.com"),
            ({"customer": None, "email": "guest@example.com"}, "pass:email:guest@example.com"),
        ]
    ):
        answer = (await deliver(idle, order(2000 + number, **more))).json()
        assert answer["passId"] == pass_id, more
    assert settled(idle)


async def test_an_order_of_nobody_is_not_lost_in_silence(idle: Backend):
    answer = await deliver(idle, order(customer=None, email=None))
    assert (answer.status_code, answer.json()["error"]) == (400, "MISSING_CUSTOMER")
    [row] = idle.ops_rows()
    assert row["mg_route"] == "/api/credits/shopify-order"


async def test_an_old_order_is_not_credited_as_expired(idle: Backend):
    await idle.grant(5, "pass:shopify:8812345")
    answer = (await deliver(idle, order(processed_at="2020-01-01T00:00:00-05:00"))).json()
    assert answer["balance"] == 55
    assert 29.9 < days_left(answer) < 30.1


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Shopify-Hmac-Sha256": ""},
        {"X-Shopify-Hmac-Sha256": "AAAA"},
        {"X-Shopify-Hmac-Sha256": signature(b"another body")},
        {"X-Shopify-Hmac-Sha256": signature(json.dumps(order("x"), indent=1).encode(), "another secret")},
        {"X-Shopify-Hmac-Sha256": hmac.new(SHOP_SECRET.encode(), b"x", hashlib.sha256).hexdigest()},
    ],
)
async def test_what_the_shop_did_not_sign_is_refused(idle: Backend, headers: dict[str, str]):
    answer = await deliver(idle, order("x"), **headers)
    assert (answer.status_code, answer.json()["error"]) == (401, "INVALID_HMAC")
    assert idle.value("select count(*) from mega_customers") == 0


async def test_the_signature_is_of_the_bytes_not_of_what_they_mean(idle: Backend):
    content = json.dumps(order()).encode()
    answer = await idle.client.post(
        "/api/credits/shopify-order",
        content=json.dumps(order(), indent=4).encode(),
        headers={"X-Shopify-Hmac-Sha256": signature(content)},
    )
    assert answer.status_code == 401


async def test_without_a_secret_no_shop_is_believed(start: StartBackend):
    backend = await start(worker=False)
    content = json.dumps(order()).encode()
    answer = await deliver(backend, content, **{"X-Shopify-Hmac-Sha256": signature(content, "")})
    assert (answer.status_code, answer.json()["error"]) == (401, "INVALID_HMAC")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"{", "INVALID_JSON"),
        (b"", "INVALID_JSON"),
        (b'{"id": NaN}', "INVALID_JSON"),
        (b"[]", "MISSING_ORDER_ID"),
        (b"{}", "MISSING_ORDER_ID"),
        (b'{"id": null}', "MISSING_ORDER_ID"),
        (b'{"id": true}', "MISSING_ORDER_ID"),
        (b'{"id": {"a": 1}}', "MISSING_ORDER_ID"),
        (json.dumps({"id": "x" * 101}).encode(), "MISSING_ORDER_ID"),
    ],
)
async def test_what_is_no_order_is_refused(idle: Backend, content: bytes, code: str):
    answer = await deliver(idle, content)
    assert (answer.status_code, answer.json()["error"]) == (400, code)


async def test_an_order_beyond_all_bounds_is_not_read(idle: Backend):
    assert (await deliver(idle, b" " * (1024 * 1024 + 1))).status_code == 413


@pytest.mark.parametrize("products", ["MATCHA=20", "[]", '{"a": "b"}', '{"a": -1}', '{"a": true}'])
def test_products_that_make_no_sense_are_refused(products: str, tmp_path: Path):
    with pytest.raises(ConfigError, match="SAFELIGHT_CREDIT_PRODUCTS"):
        App(Settings(home=tmp_path, credit_products=products))
