"""Whether and how far a customer's credits are bought anew by themselves (contract section 1.4, #12 and #13)."""

import math
from typing import Annotated, Any

from fastapi import APIRouter

from safelight import telemetry
from safelight.api import examples, idempotency, legacy_answers
from safelight.api.bodies import IdentityBody
from safelight.api.folding import Flag, Spelt
from safelight.api.idempotency import OnceForKey
from safelight.api.principals import ActingByBody, CustomerIfReachable, Unreachable
from safelight.api.rates import Kind, limited_route, per_address
from safelight.api.refusals import may_be
from safelight.api.services import FromApp
from safelight.db import customers
from safelight.db.database import TROUBLE, Connection
from safelight.domain.errors import InvalidInput
from safelight.domain.identities import ActingCustomer

Json = dict[str, Any]

PACKS_MAX = 1_000_000
SOURCE = "mega_customers.meta"

router = APIRouter(route_class=limited_route(Kind.VISITS), tags=["account"])

_SETTINGS = {"customerId": "pass:user:42", "enabled": True, "monthlyLimitPacks": 3, "passId": "pass:user:42"}


@router.get(
    "/billing/settings",
    summary="Automatic top-ups of a customer",
    dependencies=[per_address(Kind.VISITS)],
    responses={
        200: examples.of(
            legacy_answers.AutoTopUpsKept | legacy_answers.AutoTopUpsUnknown, _SETTINGS | {"source": SOURCE}
        ),
        **may_be(400, 401, 429, 503),
    },
)
async def settings(services: FromApp, customer: CustomerIfReachable) -> Json:
    """While the database is away, they are shown as off, with another source."""
    if isinstance(customer, Unreachable):
        return _unknown(customer.stated)
    found = _required(customer).pass_id
    try:
        async with services.db.connection() as conn:
            saved = await customers.auto_top_up(conn, found)
    except TROUBLE as error:
        telemetry.warning(telemetry.Tag.API, f"Automatic top-ups cannot be read: {error}")
        return _unknown(found)
    return {
        "customerId": found,
        "enabled": saved.get("enabled") is True,
        "monthlyLimitPacks": _packs(saved.get("monthlyLimitPacks")),
        "source": SOURCE,
        "passId": found,
    }


def _unknown(stated: str | None) -> Json:
    if stated is None:
        raise _nobody()
    return {"customerId": stated, "enabled": False, "monthlyLimitPacks": 0, "source": "no-db"}


class BillingBody(IdentityBody):
    """What may be bought without asking."""

    enabled: Annotated[Flag | Any, Spelt("", "Whether credits are bought by themselves.", example=True)] = False
    monthly_limit_packs: Annotated[
        Any, Spelt("monthlyLimitPacks", "At most so many packs a month; what is no number is 0.", example=3)
    ] = 0


@router.post(
    "/billing/settings",
    summary="Set the automatic top-ups of a customer",
    responses={200: examples.of(legacy_answers.AutoTopUps, _SETTINGS), **may_be(400, 401, 413, 422, 429, 503)},
)
async def save_settings(services: FromApp, once: OnceForKey, body: BillingBody, customer: ActingByBody) -> Json:
    acting = _required(customer)
    chosen = {"enabled": bool(body.enabled), "monthlyLimitPacks": _packs(body.monthly_limit_packs)}

    async def work(conn: Connection) -> Json:
        await customers.ensure(conn, acting.pass_id, welcome=acting.welcome)
        await customers.save_auto_top_up(conn, acting.pass_id, chosen)
        return {"customerId": acting.pass_id, **chosen, "passId": acting.pass_id}

    return await once.in_transaction(idempotency.actor(acting), work, insist=True)


def _required(customer: ActingCustomer | None) -> ActingCustomer:
    if customer is None:
        raise _nobody()
    return customer


def _nobody() -> InvalidInput:
    return InvalidInput("customerId: say whose settings these are.")


def _packs(stated: Any) -> int:
    """A whole number from 0 on; what is no number is 0."""
    try:
        packs = float(stated) if isinstance(stated, str | int | float) else 0.0
    except ValueError:
        return 0
    return min(max(math.floor(packs), 0), PACKS_MAX) if math.isfinite(packs) else 0
