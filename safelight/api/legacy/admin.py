"""The operators' legacy routes: totals, customers, parity, credits (docs/contract/legacy.md)."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request

from safelight.api.auth.operators import ADMIN_ONLY_BY_KEY_TOO, ByOperatorWithKey
from safelight.api.auth.principals import Target
from safelight.api.http import idempotency
from safelight.api.http.bodies.json import StrictRoute
from safelight.api.http.error_responses import BY_OPERATORS, error_responses
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.request_ids import unique_request_id
from safelight.api.http.services import FromApp
from safelight.api.legacy.credits import credits_of
from safelight.api.schemas import examples, legacy_examples, legacy_responses
from safelight.api.schemas.aliases import Alias, Short
from safelight.api.schemas.requests import IdentityBody
from safelight.db.connection.database import Connection
from safelight.db.money import customers
from safelight.ops.credits import Adjustment, adjust_credits
from safelight.reports import totals

Json = dict[str, Any]

router = APIRouter(route_class=StrictRoute, tags=["legacy"], dependencies=[ADMIN_ONLY_BY_KEY_TOO])


@router.get(
    "/admin/summary",
    summary="How many customers, credits and automatic top-ups there are",
    responses={200: legacy_examples.SUMMARY, **BY_OPERATORS},
)
async def summary(services: FromApp) -> Json:
    async with services.db.connection() as conn:
        found = await totals.of_customers(conn)
    return {
        "ok": True,
        "totalCustomers": found.customers,
        "totalCredits": found.credits,
        "autoTopupOn": found.auto_top_ups,
        "source": "mega_customers",
    }


@router.get(
    "/admin/customers",
    summary="Customers by their shop's id",
    responses={200: legacy_examples.CUSTOMERS, **BY_OPERATORS},
)
async def list_customers(services: FromApp) -> Json:
    async with services.db.connection() as conn:
        return {"customers": [asdict(one) for one in await totals.customers(conn)], "source": "supabase"}


@router.get(
    "/admin/mega/parity",
    summary="How many rows the MEGA tables have",
    responses={
        200: examples.of(
            legacy_responses.Parity, {"ok": True, "summary": {"mega_customers": 120, "mega_generations": 4310}}
        ),
        **BY_OPERATORS,
        500: {"description": "MEGA_PARITY_FAILED"},
    },
)
async def parity(services: FromApp) -> Json:
    async with services.db.connection() as conn:
        return {"ok": True, "summary": asdict(await totals.table_sizes(conn))}


class AdjustBody(IdentityBody):
    """Credits to give, or with a minus to take."""

    delta: Annotated[Any, Alias("", "A whole number that is not 0; less than 0 takes.", example=10)] = None
    reason: Annotated[Short, Alias("", "Why, for the ledger.")] = "admin-adjust"


@router.post(
    "/admin/credits/adjust",
    summary="Give a customer credits, or take some",
    responses={200: legacy_examples.ADJUSTED, **BY_OPERATORS, **error_responses(413, 422)},
)
async def adjust(
    request: Request,
    services: FromApp,
    operator: ByOperatorWithKey,
    once: OnceForKey,
    body: AdjustBody,
    target: Target,
) -> Json:
    """A balance never falls below zero: no more is taken than there is."""
    delta = credits_of(body.delta, "delta", takes_text=False)
    adjustment = Adjustment(delta, body.reason, "admin", ("admin", unique_request_id(request)), "credits.adjust")

    async def work(conn: Connection) -> Json:
        moved = await adjust_credits(conn, operator, target, adjustment, expire_days=services.credits_expire_days)
        customer = await customers.get(conn, target.pass_id)
        return {
            "ok": True,
            "requestId": operator.request_id,
            "customerId": target.pass_id,
            "passId": target.pass_id,
            "balance": moved.after,
            "creditsBefore": moved.before,
            "creditsAfter": moved.after,
            "expiresAt": customer.expires_at if customer else None,
            "source": "mega_customers",
        }

    return await once.in_transaction(idempotency.actor(operator), work)
