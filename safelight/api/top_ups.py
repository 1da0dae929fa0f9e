"""Credits that are added: by an operator, and by a shop that says what was bought (contract 1.4, #11 and #21)."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request

from safelight import telemetry
from safelight.api import answers, examples, identity, json_body
from safelight.api.admin import ByOperator
from safelight.api.bodies import IdentityBody
from safelight.api.errors import request_id, request_ids
from safelight.api.folding import Short, Spelt
from safelight.api.identity import PassIdHeader
from safelight.api.json_body import StrictRoute
from safelight.api.refusals import BY_OPERATORS, may_be
from safelight.api.services import FromApp, Services
from safelight.db import audit, customers, ledger
from safelight.db.database import Connection
from safelight.domain import passes, shop_orders
from safelight.domain.errors import InvalidInput, WebhookRefused
from safelight.domain.shop_orders import ShopOrder

Json = dict[str, Any]

AMOUNT_MAX = 1_000_000
SHOP_ORDER = "shopify_order"

router = APIRouter(tags=["account"])
operators = APIRouter(route_class=StrictRoute)


class AddBody(IdentityBody):
    """Credits for a customer, or off them."""

    amount: Annotated[Any, Spelt("", "A whole number that is not 0; negative takes.", example=20)] = None
    reason: Annotated[Short, Spelt("", "Why; it is in the ledger.")] = "manual-topup"
    source: Annotated[Short, Spelt("", "Where it comes from; it is in the ledger.")] = "api"


@operators.post(
    "/credits/add",
    summary="Add credits to a customer, or take them",
    tags=["operations"],
    dependencies=[request_ids("credits_")],
    responses={
        200: examples.of(
            answers.CreditsAdded,
            {
                "ok": True,
                "requestId": "credits_…",
                "customerId": "pass:user:42",
                "newBalance": 33,
                "source": "mega",
                "passId": "pass:user:42",
            },
        ),
        **BY_OPERATORS,
        **may_be(413),
    },
)
async def add(
    request: Request, services: FromApp, operator: ByOperator, body: AddBody, pass_id_header: PassIdHeader = None
) -> Json:
    """At most what is there is taken: no balance goes below 0."""
    amount = _amount(body.amount)
    async with services.db.transaction() as conn:
        target = await identity.named_pass_id(
            conn, pass_id=body.pass_id, customer_key=body.customer_id, header=pass_id_header
        )
        if target is None:
            raise InvalidInput("customerId: whose credits?", code="MISSING_CUSTOMER_ID")
        request.state.pass_id = target
        await customers.ensure(conn, target, free_credits=services.free_credits)
        moved = await ledger.adjust(
            conn,
            pass_id=target,
            delta=amount,
            reason=body.reason,
            source=body.source,
            ref=("manual", request_id(request)),
            expires_at=good_until(services, datetime.now(UTC)) if amount > 0 else None,
        )
        await audit.record(
            conn,
            operator,
            "credits.add",
            target=target,
            before={"credits": moved.before},
            after={"credits": moved.after, "asked": amount, "reason": body.reason},
        )
    return {
        "ok": True,
        "requestId": request_id(request),
        "customerId": target,
        "newBalance": moved.after,
        "source": "mega",
        "passId": target,
    }


def _amount(stated: Any) -> int:
    """A whole number, or one as text."""
    try:
        amount = float(stated) if isinstance(stated, str | int | float) and not isinstance(stated, bool) else 0.0
    except ValueError:
        amount = 0.0
    if not amount.is_integer() or not 0 < abs(amount) <= AMOUNT_MAX:
        raise InvalidInput(
            f"amount: a whole number from -{AMOUNT_MAX} to {AMOUNT_MAX} that is not 0.", code="INVALID_AMOUNT"
        )
    return int(amount)


def good_until(services: Services, granted_at: datetime) -> datetime | None:
    """None is for ever. What is credited late is good for as long as what is credited in time."""
    if not services.credits_expire_days:
        return None
    days, now = timedelta(days=services.credits_expire_days), datetime.now(UTC)
    return granted_at + days if now < granted_at + days else now + days


# --- the shop -------------------------------------------------------------------------------------------------------


_ORDER: Json = {
    "schema": {
        "type": "object",
        "description": "The order as Shopify sends it; other keys are passed over. The very bytes count.",
        "required": ["id"],
        "properties": {
            "id": {"type": ["integer", "string"]},
            "email": {"type": ["string", "null"]},
            "financial_status": {"type": ["string", "null"]},
            "created_at": {"type": ["string", "null"], "format": "date-time"},
            "processed_at": {"type": ["string", "null"], "format": "date-time"},
            "customer": {"type": ["object", "null"], "properties": {"id": {"type": ["integer", "string"]}}},
            "line_items": {"type": "array", "items": {"type": "object"}},
            "note_attributes": {"type": "array", "items": {"type": "object"}},
        },
    },
    "example": {
        "id": 5678901234567,
        "email": "ada@example.com",
        "financial_status": "paid",
        "created_at": "2025-12-19T08:00:00Z",
        "customer": {"id": 8812345},
        "line_items": [{"sku": "MINA-50", "variant_id": 4711, "quantity": 1}],
        "note_attributes": [{"name": "mina_pass_id", "value": "pass:user:42"}],
    },
}


@router.post(
    "/api/credits/shopify-order",
    summary="A shop says what was bought",
    tags=["webhooks"],
    dependencies=[request_ids("shopify_")],
    responses={
        200: examples.of(
            answers.ShopOrder,
            {
                "ok": True,
                "requestId": "shopify_…",
                "orderId": "5678901234567",
                "customerId": "pass:shopify:8812345",
                "passId": "pass:shopify:8812345",
                "credited": 50,
                "balance": 50,
                "expiresAt": "2026-01-18T08:00:00Z",
            },
        ),
        **may_be(413, 503),
        400: {"description": "The order has no id, or names nobody; or it is no JSON."},
        401: {"description": "The shop did not sign this."},
    },
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": _ORDER}}},
)
async def shop_order(
    request: Request,
    services: FromApp,
    signature: Annotated[
        str, Header(alias="X-Shopify-Hmac-Sha256", max_length=200, description="HMAC-SHA256 of the body, as base64.")
    ] = "",
) -> Json:
    """An order is credited once, however often and wherever its webhook is delivered."""
    content = await json_body.body_of(request)
    _must_be_signed(services.shop.secret, content, signature)
    order = shop_orders.read(json_body.parse(content), services.shop.products)
    answer = {"ok": True, "requestId": request_id(request), "orderId": order.id}
    if not order.is_paid:
        return answer | {"credited": 0, "reason": "NOT_PAID"}
    if not order.credits:
        return answer | {"credited": 0, "reason": "NO_MATCHING_PRODUCT"}
    async with services.db.transaction() as conn:
        if await ledger.is_in_ledger(conn, (SHOP_ORDER, order.id)):
            return answer | {"alreadyProcessed": True}
        return answer | await _credited(request, conn, services, order)


def _must_be_signed(secret: str, content: bytes, signature: str) -> None:
    """Raises WebhookRefused, also where no secret is set."""
    expected = base64.b64encode(hmac.new(secret.encode(), content, hashlib.sha256).digest())
    if not secret or not hmac.compare_digest(expected, signature.strip().encode()):
        raise WebhookRefused("The webhook's signature does not fit.", code="INVALID_HMAC")


async def _credited(request: Request, conn: Connection, services: Services, order: ShopOrder) -> Json:
    pass_id = await _buyer(conn, order)
    request.state.pass_id = pass_id
    await customers.ensure(conn, pass_id, free_credits=services.free_credits)
    if order.email:
        await customers.note_email(conn, pass_id, order.email)
    expires_at = good_until(services, order.at)
    balance = await ledger.grant(
        conn,
        pass_id=pass_id,
        credits=order.credits,
        reason="shopify-order",
        source="shopify",
        ref=(SHOP_ORDER, order.id),
        expires_at=expires_at,
    )
    telemetry.info("💳", telemetry.Tag.CREDIT, f"Order {order.id} credited {order.credits}", pass_id=pass_id)
    row = await customers.get(conn, pass_id) or {}
    return {
        "customerId": pass_id,
        "passId": pass_id,
        "credited": order.credits,
        "balance": balance,
        "expiresAt": row.get("mg_expires_at"),
    }


async def _buyer(conn: Connection, order: ShopOrder) -> str:
    """The pass id that the order names, else the shop's customer, else whoever has the e-mail, else a new row.

    Raises:
        InvalidInput: the order names nobody; the shop delivers it again, and operators read of it.
    """
    if order.pass_id:
        return order.pass_id
    known = order.customer_id and await customers.pass_id_of_shopify_customer(conn, order.customer_id)
    known = known or (order.email and await customers.of_email(conn, order.email))
    if known:
        return known
    if order.customer_id:
        return passes.of_shopify_customer(order.customer_id)
    if order.email:
        return passes.of_email(order.email)
    raise InvalidInput("customer, email: the order names nobody to credit.", code="MISSING_CUSTOMER")


router.include_router(operators)
