"""`/billing/settings`: automatic top-up of a customer's credits (docs/contract/legacy.md)."""

import math
from typing import Any, TypeVar

from fastapi import APIRouter

from safelight import telemetry
from safelight.api.auth.principals import ActingByBody, CustomerIfReachable, Unreachable
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.rate_limits import RateLimitGroup, limited_route
from safelight.api.http.services import FromApp
from safelight.api.schemas.aliases import Flag, aliased
from safelight.api.schemas.legacy_responses import AutoTopUps, AutoTopUpsKept, AutoTopUpsUnknown
from safelight.api.schemas.requests import IdentityBody
from safelight.db.connection.database import TRANSIENT_ERRORS, Connection
from safelight.db.money import customers
from safelight.domain.errors.base import InvalidInput
from safelight.domain.identities import ActingCustomer

PACKS_MAX = 1_000_000
Somebody = TypeVar("Somebody", ActingCustomer, str)

router = APIRouter(route_class=limited_route(RateLimitGroup.PUBLIC), tags=["account"])


@router.get("/billing/settings", summary="Automatic top-ups of a customer")
async def settings(services: FromApp, customer: CustomerIfReachable) -> AutoTopUpsKept | AutoTopUpsUnknown:
    """While the database is away, they are shown as off, with another source."""
    if isinstance(customer, Unreachable):
        return AutoTopUpsUnknown(customerId=_required(customer.stated))
    found = _required(customer).pass_id
    try:
        async with services.db.connection() as conn:
            saved = await customers.auto_top_up(conn, found)
    except TRANSIENT_ERRORS as error:
        telemetry.warning(telemetry.Tag.API, f"Automatic top-up settings could not be read: {error}")
        return AutoTopUpsUnknown(customerId=found)
    return AutoTopUpsKept(
        customerId=found,
        enabled=saved.get("enabled") is True,
        monthlyLimitPacks=_packs(saved.get("monthlyLimitPacks")),
        passId=found,
    )


class BillingBody(IdentityBody):
    """Automatic top-ups as a customer wants them."""

    enabled: Flag | Any = aliased("", "Whether credits are bought by themselves.", default=False, example=True)
    monthly_limit_packs: Any = aliased(
        "monthlyLimitPacks", "At most so many packs a month; what is no number is 0.", default=0, example=3
    )


@router.post("/billing/settings", summary="Set the automatic top-ups of a customer")
async def save_settings(once: OnceForKey, body: BillingBody, customer: ActingByBody) -> AutoTopUps:
    acting = _required(customer)
    enabled, packs = bool(body.enabled), _packs(body.monthly_limit_packs)

    async def work(conn: Connection) -> AutoTopUps:
        await customers.ensure(conn, acting.pass_id, welcome=acting.welcome)
        await customers.save_auto_top_up(conn, acting.pass_id, {"enabled": enabled, "monthlyLimitPacks": packs})
        return AutoTopUps(customerId=acting.pass_id, enabled=enabled, monthlyLimitPacks=packs, passId=acting.pass_id)

    return await once.in_transaction(acting, AutoTopUps, work, retries=True)


def _required(customer: Somebody | None) -> Somebody:
    if customer is None:
        raise InvalidInput("customerId: say whose settings these are.")
    return customer


def _packs(stated: Any) -> int:
    """A whole number from 0 on; what is no number is 0."""
    try:
        packs = float(stated) if isinstance(stated, str | int | float) else 0.0
    except ValueError:
        return 0
    return min(max(math.floor(packs), 0), PACKS_MAX) if math.isfinite(packs) else 0
