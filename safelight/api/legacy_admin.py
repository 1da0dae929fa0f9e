"""The operators' legacy routes: totals, customers, parity, credits (contract section 1.4 #22 to #25)."""

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BeforeValidator

from safelight.api import examples, idempotency, legacy_answers, legacy_examples
from safelight.api.admin import ADMIN_ONLY_BY_KEY_TOO, ByOperatorWithKey
from safelight.api.bodies import IdentityBody
from safelight.api.folding import Short, Spelt
from safelight.api.idempotency import OnceForKey
from safelight.api.identity import stated_pass_id
from safelight.api.json_body import StrictRoute, whole_number
from safelight.api.refusals import BY_OPERATORS, may_be
from safelight.api.services import FromApp
from safelight.api.top_ups import good_until
from safelight.db import audit, customers, ledger, statistics
from safelight.db.database import Connection
from safelight.domain.errors import InvalidInput

Json = dict[str, Any]

DELTA_MAX = 1_000_000

router = APIRouter(route_class=StrictRoute, tags=["legacy"], dependencies=[ADMIN_ONLY_BY_KEY_TOO])


@router.get(
    "/admin/summary",
    summary="How many customers, credits and automatic top-ups there are",
    responses={200: legacy_examples.SUMMARY, **BY_OPERATORS},
)
async def summary(services: FromApp) -> Json:
    async with services.db.connection() as conn:
        return {"ok": True, **await statistics.summary(conn), "source": "mega_customers"}


@router.get(
    "/admin/customers",
    summary="Customers by their shop's id",
    responses={200: legacy_examples.CUSTOMERS, **BY_OPERATORS},
)
async def list_customers(services: FromApp) -> Json:
    async with services.db.connection() as conn:
        return {"customers": await statistics.customers(conn), "source": "supabase"}


@router.get(
    "/admin/mega/parity",
    summary="How many rows the MEGA tables have",
    responses={
        200: examples.of(
            legacy_answers.Parity, {"ok": True, "summary": {"mega_customers": 120, "mega_generations": 4310}}
        ),
        **BY_OPERATORS,
        500: {"description": "MEGA_PARITY_FAILED"},
    },
)
async def parity(services: FromApp) -> Json:
    async with services.db.connection() as conn:
        return {"ok": True, "summary": await statistics.rows_of_tables(conn)}


def _whole_number(value: Any) -> Any:
    value = whole_number(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError("it must be a whole number")
    return int(value)


class AdjustBody(IdentityBody):
    """Credits to give, or with a minus to take."""

    delta: Annotated[
        int | None, BeforeValidator(_whole_number), Spelt("", "How many; less than 0 takes.", example=10)
    ] = None
    reason: Annotated[Short, Spelt("", "Why, for the ledger.")] = "admin-adjust"


@router.post(
    "/admin/credits/adjust",
    summary="Give a customer credits, or take some",
    responses={200: legacy_examples.ADJUSTED, **BY_OPERATORS, **may_be(413, 422)},
)
async def adjust(services: FromApp, operator: ByOperatorWithKey, once: OnceForKey, body: AdjustBody) -> Json:
    """A balance never falls below zero: no more is taken than there is."""
    delta = body.delta
    if delta is None or not 0 < abs(delta) <= DELTA_MAX:
        raise InvalidInput(f"delta: a number from -{DELTA_MAX} to {DELTA_MAX} is needed, and not 0.")

    async def work(conn: Connection) -> Json:
        pass_id = await stated_pass_id(conn, pass_id=body.pass_id, customer_key=body.customer_id, header=None)
        if pass_id is None:
            raise InvalidInput("customerId: whose credits they are is needed.")
        await customers.ensure(conn, pass_id, free_credits=services.free_credits)
        moved = await ledger.adjust(
            conn,
            pass_id=pass_id,
            delta=delta,
            reason=body.reason,
            source="admin",
            ref=("admin", operator.request_id),
            expires_at=await good_until(conn, services) if delta > 0 else None,
        )
        before, after = {"credits": moved.before}, {"credits": moved.after, "asked": delta, "reason": body.reason}
        await audit.record(conn, operator, "credits.adjust", target=pass_id, before=before, after=after)
        customer = await customers.get(conn, pass_id) or {}
        return {
            "ok": True,
            "requestId": operator.request_id,
            "customerId": pass_id,
            "passId": pass_id,
            "balance": moved.after,
            "creditsBefore": moved.before,
            "creditsAfter": moved.after,
            "expiresAt": customer["mg_expires_at"],
            "source": "mega_customers",
        }

    return await once.in_transaction(idempotency.operator(operator), work)
