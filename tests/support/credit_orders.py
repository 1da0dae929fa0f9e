"""Orders of a shop and grants of operators, and what the ledger has of them."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.conftest import Backend
from tests.support.sign_in import bearer

BRIEF = {"inputs": {"brief": "a cup on stone"}, "settings": {"seedream": {"size": "1K"}}}
ADMIN = bearer("the-operators-token-0123456789abcdef")
SHOP_SECRET = "the shop's secret"
SETTINGS = {
    "worker": False,
    "admin_token": "the-operators-token-0123456789abcdef",
    "shopify_webhook_secret": SHOP_SECRET,
    "credit_products": '{"Matcha": 20, "4711": 7}',
}


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
