"""The operators' legacy routes: totals, customers, parity, credits (docs/contract/legacy.md)."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request

from safelight.api.auth.operators import ADMIN_ONLY_BY_KEY_TOO, ByOperatorWithKey
from safelight.api.auth.principals import Target
from safelight.api.http.bodies.json import StrictRoute, whole_number
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.request_ids import unique_request_id
from safelight.api.http.services import FromApp
from safelight.api.schemas.aliases import Short, aliased
from safelight.api.schemas.legacy_responses import Adjusted, Customer, Customers, Parity, RowsOfTables, Summary
from safelight.api.schemas.requests import IdentityBody
from safelight.db.connection.database import Connection
from safelight.db.money import customers
from safelight.db.money.ledger import Origin
from safelight.db.operations import statistics
from safelight.domain.money.credit_amounts import credit_amount
from safelight.ops.credits import Adjustment, adjust_credits

router = APIRouter(route_class=StrictRoute, tags=["legacy"], dependencies=[ADMIN_ONLY_BY_KEY_TOO])


@router.get("/admin/summary", summary="How many customers, credits and automatic top-ups there are")
async def summary(services: FromApp) -> Summary:
    async with services.db.connection() as conn:
        found = await statistics.summary(conn)
    return Summary(totalCustomers=found.customers, totalCredits=found.credits, autoTopupOn=found.auto_top_ups)


@router.get("/admin/customers", summary="Customers by their shop's id")
async def list_customers(services: FromApp) -> Customers:
    async with services.db.connection() as conn:
        return Customers(customers=[Customer(**asdict(one)) for one in await statistics.customers(conn)])


@router.get("/admin/mega/parity", summary="How many rows the MEGA tables have")
async def parity(services: FromApp) -> Parity:
    async with services.db.connection() as conn:
        return Parity(summary=RowsOfTables(**asdict(await statistics.rows_of_tables(conn))))


class AdjustBody(IdentityBody):
    """Credits to give, or with a minus to take."""

    delta: Any = aliased("", "A whole number that is not 0; less than 0 takes.", example=10)
    reason: Short = aliased("", "Why, for the ledger.", default="admin-adjust")


@router.post("/admin/credits/adjust", summary="Give a customer credits, or take some")
async def adjust(
    request: Request,
    services: FromApp,
    operator: ByOperatorWithKey,
    once: OnceForKey,
    body: AdjustBody,
    target: Target,
) -> Adjusted:
    """A balance never falls below zero: no more is taken than there is."""
    delta = credit_amount(whole_number(body.delta), "delta")
    origin = Origin(body.reason, "admin", ("admin", unique_request_id(request)))
    adjustment = Adjustment(delta, origin, "credits.adjust")

    async def work(conn: Connection) -> Adjusted:
        moved = await adjust_credits(conn, operator, target, adjustment, expire_days=services.credits_expire_days)
        customer = await customers.get(conn, target.pass_id)
        return Adjusted(
            customerId=target.pass_id,
            passId=target.pass_id,
            balance=moved.after,
            creditsBefore=moved.before,
            creditsAfter=moved.after,
            expiresAt=customer.expires_at if customer else None,
        )

    return await once.in_transaction(operator, Adjusted, work)
