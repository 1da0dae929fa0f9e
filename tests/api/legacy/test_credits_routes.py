"""Credits come from operators, shops and welcomes, expire, and are in the ledger to the last one, whatever comes at once."""

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from safelight.app import App
from safelight.cli import application
from safelight.config import Settings
from safelight.db.money import ledger
from safelight.domain.errors.base import ConfigError
from safelight.domain.ids import new_id
from tests.conftest import Backend, StartBackend
from tests.support.sign_in import SIGNED_BY_SECRET, bearer, token

BRIEF = {"inputs": {"brief": "a cup on stone"}, "settings": {"seedream": {"size": "1K"}}}
ADMIN = bearer("the-operators-token-0123456789abcdef")
SHOP_SECRET = "the shop's secret"
SETTINGS = {
    "worker": False,
    "admin_token": "the-operators-token-0123456789abcdef",
    "shopify_webhook_secret": SHOP_SECRET,
    "credit_products": '{"Matcha": 20, "4711": 7}',
}


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    return await start(**SETTINGS)


def settled(backend: Backend) -> bool:
    """Every balance is the sum of its ledger, and none is below zero."""
    return bool(
        backend.value(
            "select coalesce(bool_and(mg_credits >= 0 and mg_credits = coalesce((select sum(mg_delta)"
            " from mega_generations entry where entry.mg_pass_id = customer.mg_pass_id"
            " and mg_record_type = 'credit_transaction'), 0)), true) as settled from mega_customers customer"
        )
    )


def entries(backend: Backend, pass_id: str | None = None) -> list[tuple[int, str, str, str]]:
    rows = backend.sql(
        "select * from mega_generations where mg_record_type = 'credit_transaction' and mg_pass_id = %s"
        " order by mg_created_at, mg_id",
        pass_id or backend.pass_id,
    )
    return [(row["mg_delta"], row["mg_reason"], row["mg_source"], row["mg_ref_type"]) for row in rows]


def lapse(backend: Backend, pass_id: str | None = None) -> None:
    """As if the time its credits are good for were over."""
    backend.sql(
        "update mega_customers set mg_expires_at = now() - interval '1 second' where mg_pass_id = %s",
        pass_id or backend.pass_id,
    )


def days_left(answer: dict[str, Any]) -> float:
    return (datetime.fromisoformat(answer["expiresAt"]) - datetime.now(UTC)) / timedelta(days=1)


async def balance(backend: Backend, pass_id: str | None = None) -> dict[str, Any]:
    return await backend.get("/credits/balance", params={"passId": pass_id or backend.pass_id})


# --- operators ------------------------------------------------------------------------------------------------------


async def test_an_operator_adds_and_takes_credits(idle: Backend):
    body = {"customerId": idle.pass_id, "amount": "20", "reason": "sorry", "source": "support"}
    answer = await idle.post("/credits/add", body, headers=ADMIN)
    assert answer.pop("requestId").startswith("credits_")
    assert answer == {
        "ok": True,
        "customerId": idle.pass_id,
        "newBalance": 20,
        "source": "mega",
        "passId": idle.pass_id,
    }
    taken = await idle.post("/credits/add", {"amount": -5}, headers=ADMIN)
    assert taken["newBalance"] == idle.balance() == 15
    assert entries(idle) == [(20, "sorry", "support", "manual"), (-5, "manual-topup", "api", "manual")]
    assert 29.9 < days_left(await balance(idle)) < 30.1
    assert settled(idle)


async def test_no_more_is_taken_than_is_there(idle: Backend):
    await idle.post("/credits/add", {"amount": 3}, headers=ADMIN)
    assert (await idle.post("/credits/add", {"amount": -10}, headers=ADMIN))["newBalance"] == 0
    assert (await idle.post("/credits/add", {"amount": -10}, headers=ADMIN))["newBalance"] == 0
    assert [delta for delta, *_ in entries(idle)] == [3, -3]
    assert settled(idle)


@pytest.mark.parametrize(
    "amount", [0, "0", 1.5, "1.5", "many", "", None, True, [], {}, "nan", "inf", "1e400", 1_000_001, -1e14]
)
async def test_an_amount_that_is_none_is_refused(idle: Backend, amount: Any):
    answer = await idle.post("/credits/add", {"amount": amount}, headers=ADMIN, status=400)
    assert answer["error"] == "INVALID_AMOUNT"
    assert idle.value("select count(*) from mega_customers") == 0


async def test_nobody_but_operators_adds_credits(start: StartBackend):
    backend = await start(**SETTINGS, **SIGNED_BY_SECRET)
    for headers, status in [({}, 401), (bearer("wrong"), 401), (bearer(token(backend.pass_id[10:])), 403)]:
        await backend.post("/credits/add", {"amount": 5}, headers=headers, status=status)
    assert backend.value("select count(*) from mega_generations where mg_delta > 0") == 0


async def test_whose_credits_must_be_said(idle: Backend):
    answer = await idle.client.post("/credits/add", json={"amount": 5}, headers=ADMIN)
    assert (answer.status_code, answer.json()["error"]) == (400, "MISSING_CUSTOMER_ID")


async def test_a_balance_has_an_end(idle: Backend):
    await idle.grant(ledger.BALANCE_MAX - 1)
    await idle.post("/credits/add", {"amount": 2}, headers=ADMIN, status=400)
    assert (await idle.post("/credits/add", {"amount": 1}, headers=ADMIN))["newBalance"] == ledger.BALANCE_MAX
    assert settled(idle)


@pytest.mark.parametrize("amount", ["0", "1.5", "many", "1000001", "inf", "1e400", ""])
def test_the_command_reads_amounts_as_the_routes_do(amount: str):
    done = CliRunner().invoke(application, ["credits", "grant", "pass:user:42", amount])
    assert done.exit_code == 2
    assert "a whole number from 1 to 1000000" in done.output


def test_the_command_grants_and_says_so_in_the_audit(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import psycopg  # noqa: PLC0415

    monkeypatch.setenv("SAFELIGHT_DATABASE_URL", dsn)
    monkeypatch.setenv("SAFELIGHT_HOME", str(tmp_path))
    done = CliRunner().invoke(application, ["credits", "grant", "pass:user:42", "20"])
    assert "+20, balance 20" in done.output
    with psycopg.connect(dsn) as conn:
        [(expires, action, detail)] = conn.execute(
            "select mg_expires_at > now() + interval '29 days', mg_action, mg_detail from mega_admin, mega_customers"
            " where mg_record_type = 'admin_audit'"
        ).fetchall()
    assert (expires, action, detail["actor"]) == (True, "credits.grant", "command line")
    assert (detail["target"], detail["before"], detail["after"]) == (
        "pass:user:42",
        {"credits": 0},
        {"credits": 20, "asked": 20, "reason": "manual-topup"},
    )


# --- expiry ---------------------------------------------------------------------------------------------------------


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


# --- the shop -------------------------------------------------------------------------------------------------------


def order(order_id: Any = 1001, **more: Any) -> dict[str, Any]:
    stated = {
        "id": order_id,
        "financial_status": "paid",
        "processed_at": datetime.now(UTC).isoformat(),
        "email": "ann@example.com",
        "customer": {"id": 8812345},
        "line_items": [{"sku": "MINA-50", "variant_id": 1, "quantity": 1}],
        **more,
    }
    return {name: value for name, value in stated.items() if value is not None}


def signature(content: bytes, secret: str = SHOP_SECRET) -> str:
    return base64.b64encode(hmac.new(secret.encode(), content, hashlib.sha256).digest()).decode()


async def deliver(backend: Backend, stated: Any, **headers: str) -> Any:
    content = stated if isinstance(stated, bytes) else json.dumps(stated, indent=1).encode()
    headers = {"X-Shopify-Hmac-Sha256": signature(content), **headers}
    return await backend.client.post("/api/credits/shopify-order", content=content, headers=headers)


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


# --- automatic top-ups ----------------------------------------------------------------------------------------------


async def test_automatic_top_ups_are_kept(idle: Backend):
    query = {"customerId": idle.pass_id}
    before = await idle.get("/billing/settings", params=query)
    assert before == {
        "customerId": idle.pass_id,
        "enabled": False,
        "monthlyLimitPacks": 0,
        "source": "mega_customers.meta",
        "passId": idle.pass_id,
    }
    saved = await idle.post("/billing/settings", query | {"enabled": True, "monthlyLimitPacks": 3.9})
    assert saved == {"customerId": idle.pass_id, "enabled": True, "monthlyLimitPacks": 3, "passId": idle.pass_id}
    after = await idle.get("/billing/settings", params=query)
    assert (after["enabled"], after["monthlyLimitPacks"]) == (True, 3)
    [row] = idle.sql("select mg_meta from mega_customers")
    assert row["mg_meta"] == {"autoTopup": {"enabled": True, "monthlyLimitPacks": 3}}


@pytest.mark.parametrize(
    ("stated", "packs"),
    [(-4, 0), ("7", 7), ("2.9", 2), ("many", 0), (None, 0), ([], 0), ("inf", 0), ("nan", 0), (1e15, 1_000_000)],
)
async def test_a_limit_is_a_whole_number_from_0_on(idle: Backend, stated: Any, packs: int):
    saved = await idle.post("/billing/settings", {"monthlyLimitPacks": stated, "enabled": "yes"})
    assert (saved["monthlyLimitPacks"], saved["enabled"]) == (packs, True)


async def test_other_facts_about_the_customer_stay(idle: Backend):
    idle.sql("insert into mega_customers (mg_pass_id, mg_meta) values (%s, '{\"a\": 1}')", idle.pass_id)
    await idle.post("/billing/settings", {"enabled": False})
    [row] = idle.sql("select mg_meta from mega_customers")
    assert row["mg_meta"] == {"a": 1, "autoTopup": {"enabled": False, "monthlyLimitPacks": 0}}


async def test_settings_of_nobody_are_refused_in_one_sentence(idle: Backend):
    for answer in (await idle.client.get("/billing/settings"), await idle.client.post("/billing/settings", json={})):
        assert answer.status_code == 400
        assert answer.json() == {"error": "customerId: say whose settings these are."}


# --- parts of the contract that other routes share ------------------------------------------------------------------


@pytest.mark.parametrize("welcome", [0, 3])
async def test_a_new_customer_is_welcomed_once_whichever_route_comes_first(start: StartBackend, welcome: int):
    backend = await start(**SETTINGS, signup_credits=welcome)
    backend.pass_id = (await backend.get("/me"))["passId"]
    calls = [
        backend.client.post("/sessions/start", json={"passId": backend.pass_id}),
        backend.client.get(f"/credits/balance?passId={backend.pass_id}"),
        backend.client.post("/billing/settings", json={"passId": backend.pass_id}),
        backend.client.post("/mma/events", json={"passId": backend.pass_id, "event_type": "like"}),
    ]
    await asyncio.gather(*calls)
    assert [reason for _, reason, *_ in entries(backend)] == (["welcome"] if welcome else [])
    assert backend.balance() == welcome
    assert settled(backend)
