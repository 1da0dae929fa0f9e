"""Credits added by an operator or bought in a shop (docs/contract/legacy.md)."""

import base64
import hashlib
import hmac
import tomllib
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request

from safelight import telemetry
from safelight.api.auth.operators import ByOperator
from safelight.api.auth.principals import Target, no_identity
from safelight.api.http.bodies import json
from safelight.api.http.bodies.json import StrictRequest, StrictRoute, whole_number
from safelight.api.http.error_responses import error_responses
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.request_ids import prefixed, request_id, unique_request_id
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas import responses
from safelight.api.schemas.aliases import Short, aliased
from safelight.api.schemas.fields import Json
from safelight.api.schemas.requests import IdentityBody
from safelight.db.connection.database import Connection
from safelight.db.money import customers, ledger, shop_refunds
from safelight.db.money.ledger import Origin
from safelight.db.money.shop_refunds import SHOP_ORDER, TakenBack
from safelight.db.operations import ops_rows
from safelight.db.operations.ops_rows import OpsError
from safelight.domain import pass_ids
from safelight.domain.errors.base import InvalidInput, WebhookRefused
from safelight.domain.errors.categories import Category
from safelight.domain.money import shop_orders
from safelight.domain.money.credit_amounts import credit_amount
from safelight.domain.money.shop_orders import ShopOrder, ShopRefund
from safelight.domain.shared_secrets import same_secret
from safelight.ops.credits import Adjustment, adjust_credits, good_until

router = APIRouter(tags=["account"])
operators = APIRouter(route_class=StrictRoute)


class AddBody(IdentityBody):
    """Credits for a customer, or off them."""

    amount: Any = aliased("", "A whole number that is not 0; negative takes.", example=20)
    reason: Short = aliased("", "Why; it is in the ledger.", default="manual-topup")
    source: Short = aliased("", "Where it comes from; it is in the ledger.", default="api")


@operators.post(
    "/credits/add",
    summary="Add credits to a customer, or take them",
    tags=["operations"],
    dependencies=[prefixed("credits_")],
)
async def add(
    request: Request, services: FromApp, operator: ByOperator, once: OnceForKey, body: AddBody, target: Target
) -> responses.CreditsAdded:
    """At most what is there is taken: no balance goes below 0."""
    request.state.pass_id = target.pass_id
    amount = credit_amount(whole_number(body.amount), "amount", takes_text=True, code="INVALID_AMOUNT")
    origin = Origin(body.reason, body.source, ("manual", unique_request_id(request)))
    adjustment = Adjustment(amount, origin, "credits.add")

    async def work(conn: Connection) -> responses.CreditsAdded:
        moved = await adjust_credits(conn, operator, target, adjustment, expire_days=services.credits_expire_days)
        return responses.CreditsAdded(
            customerId=target.pass_id,
            newBalance=moved.after,
            passId=target.pass_id,
        )

    return await once.in_transaction(operator, responses.CreditsAdded, work)


# --- the shop -------------------------------------------------------------------------------------------------------


_ORDER: Json = tomllib.loads(Path(__file__).with_name("shop_order.toml").read_text())


@router.post(
    "/api/credits/shopify-order",
    summary="A shop says what was bought, or given back",
    tags=["webhooks"],
    dependencies=[prefixed("shopify_"), no_identity("The shop's signature is checked.")],
    responses=error_responses(
        503,
        described={400: "The order has no id, or names nobody; or it is no JSON.", 401: "The shop did not sign this."},
    ),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": _ORDER}}},
)
async def shop_order(
    request: Request,
    services: FromApp,
    signature: Annotated[
        str, Header(alias="X-Shopify-Hmac-Sha256", max_length=200, description="HMAC-SHA256 of the body, as base64.")
    ] = "",
    topic: Annotated[
        str, Header(alias="X-Shopify-Topic", max_length=100, description="`orders/paid`, `refunds/create`, …")
    ] = "",
) -> responses.ShopOrderAnswer:
    """An order that is paid, no test and not cancelled is credited once, however often and wherever its webhook is
    delivered. What it is refunded for is taken back once, never below a balance of 0."""
    content = await StrictRequest(request.scope, request.receive).body()
    _must_be_signed(services.shop.secret, content, signature)
    payload, products = await services.bodies.work(json.parse, content), services.shop.products
    if shop_orders.is_refund(payload, topic):
        refund = shop_orders.read_refund(payload, products)
        return await _refunded(services, refund.order_id, (refund,))
    order = shop_orders.read(payload, products, topic)
    if order.refusal:
        if order.refunds:
            return await _refunded(services, order.id, order.refunds)
        return responses.OrderWithoutCredits(orderId=order.id, reason=order.refusal)
    if not order.credits:
        return responses.OrderWithoutCredits(orderId=order.id, reason="NO_MATCHING_PRODUCT")
    async with services.db.transaction() as conn:
        if await ledger.is_in_ledger(conn, (SHOP_ORDER, order.id)):
            await _take_back(conn, order.id, order.refunds)
            return responses.OrderKnown(orderId=order.id)
        return await _credited(request, conn, services, order)


def _must_be_signed(secret: str, content: bytes, signature: str) -> None:
    """Raises WebhookRefused, also where no secret is set."""
    expected = base64.b64encode(hmac.new(secret.encode(), content, hashlib.sha256).digest())
    if not secret or not same_secret(signature.strip().encode(), expected):
        raise WebhookRefused("The webhook's signature does not fit.", code="INVALID_HMAC")


async def _credited(
    request: Request, conn: Connection, services: Services, order: ShopOrder
) -> responses.OrderCredited:
    pass_id = await _buyer(conn, order)
    request.state.pass_id = pass_id
    await customers.ensure(conn, pass_id)
    if order.email and order.pass_id is None:
        await customers.note_email_of_buyer(conn, pass_id, order.email, shopify_customer_id=order.customer_id)
    expires_at = await good_until(conn, services.credits_expire_days, order.at)
    origin = Origin("shopify-order", "shopify", (SHOP_ORDER, order.id))
    await ledger.adjust(conn, pass_id, order.credits, origin, expires_at=expires_at)
    telemetry.info("💳", telemetry.Tag.CREDIT, f"Order {order.id} credited {order.credits}", pass_id=pass_id)
    await _take_back(conn, order.id, order.refunds)
    row = await customers.get(conn, pass_id)
    return responses.OrderCredited(
        orderId=order.id,
        customerId=pass_id,
        passId=pass_id,
        credited=order.credits,
        balance=row.credits if row else 0,
        expiresAt=row.expires_at if row else None,
    )


async def _refunded(services: Services, order_id: str, refunds: tuple[ShopRefund, ...]) -> responses.OrderRefunded:
    """A refund whose order we do not know yet is kept until we do: webhooks come in any order."""
    async with services.db.transaction() as conn:
        await ledger.is_in_ledger(conn, (SHOP_ORDER, order_id))  # nobody else settles this order meanwhile
        back = await _take_back(conn, order_id, refunds)
    taken, due = (back.taken, back.due) if back else (0, 0)
    return responses.OrderRefunded(orderId=order_id, takenBack=taken, missing=due - taken)


async def _take_back(conn: Connection, order_id: str, refunds: tuple[ShopRefund, ...]) -> TakenBack | None:
    """Take back what was refunded; what is no longer there, operators read of."""
    new = [refund for refund in refunds if await shop_refunds.record(conn, refund)]
    back = await shop_refunds.apply(conn, order_id)
    unclear = [refund.id for refund in new if refund.credits == 0]
    if (back and back.taken < back.due) or unclear:
        missing = back.due - back.taken if back else 0
        reason = f"{missing} credits of it are spent" if missing else f"no credits are named by {', '.join(unclear)}"
        row = OpsError(
            category=Category.VALIDATION_ERROR,
            code="SHOP_REFUND_NOT_COVERED",
            message=f"The shop refunded order {order_id}, and {reason}.",
            level="warn",
            request_id=request_id(),
            route="/api/credits/shopify-order",
            method="POST",
            http_status=200,
            pass_id=back.pass_id if back else None,
            extra={"order_id": order_id, "missing_credits": missing},
        )
        await ops_rows.insert(conn, row)
    return back


async def _buyer(conn: Connection, order: ShopOrder) -> str:
    """The pass id that the order names, whom it is a gift to; else the shop's customer; else the user who has signed in
    with the e-mail; else a new row, named after the customer or the e-mail.

    Raises:
        InvalidInput: the order names nobody; the shop delivers it again, and operators read of it.
    """
    if order.pass_id:
        return order.pass_id
    known = order.customer_id and await customers.pass_id_of_shopify_customer(conn, order.customer_id)
    known = known or (order.email and await customers.of_verified_email(conn, order.email))
    if known:
        return known
    if order.customer_id:
        return pass_ids.of_shopify_customer(order.customer_id)
    if order.email:
        return pass_ids.of_email(order.email)
    raise InvalidInput("customer, email: the order names nobody to credit.", code="MISSING_CUSTOMER")


router.include_router(operators)
