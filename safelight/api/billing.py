"""Whether and how far a customer's credits are bought anew by themselves (contract section 1.4, #12 and #13)."""

import math
from typing import Annotated, Any

from fastapi import APIRouter, Query

from safelight import telemetry
from safelight.api import examples, idempotency, legacy_answers
from safelight.api.bodies import IdentityBody
from safelight.api.folding import Flag, Spelt
from safelight.api.idempotency import OnceForKey
from safelight.api.identity import PassIdHeader, stated_pass_id
from safelight.api.rates import Kind, limited_route, per_address
from safelight.api.refusals import may_be
from safelight.api.services import FromApp
from safelight.db import customers
from safelight.db.database import TROUBLE, Connection
from safelight.domain.errors import InvalidInput

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
async def settings(
    services: FromApp,
    customer_id: Annotated[str | None, Query(alias="customerId", max_length=200)] = None,
    pass_id: Annotated[str | None, Query(alias="passId", max_length=200)] = None,
    pass_id_header: PassIdHeader = None,
) -> Json:
    """While the database is away, they are shown as off, with another source."""
    try:
        async with services.db.connection() as conn:
            stated = await stated_pass_id(conn, pass_id=pass_id, customer_key=customer_id, header=pass_id_header)
            found = _somebody(stated)
            saved = await customers.auto_top_up(conn, found)
    except TROUBLE as error:
        telemetry.warning(telemetry.Tag.API, f"Automatic top-ups cannot be read: {error}")
        stated = _somebody(customer_id or pass_id or pass_id_header)
        return {"customerId": stated, "enabled": False, "monthlyLimitPacks": 0, "source": "no-db"}
    return {
        "customerId": found,
        "enabled": saved.get("enabled") is True,
        "monthlyLimitPacks": _packs(saved.get("monthlyLimitPacks")),
        "source": SOURCE,
        "passId": found,
    }


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
async def save_settings(
    services: FromApp, once: OnceForKey, body: BillingBody, pass_id_header: PassIdHeader = None
) -> Json:
    chosen = {"enabled": bool(body.enabled), "monthlyLimitPacks": _packs(body.monthly_limit_packs)}
    async with services.db.connection() as conn:
        found = _somebody(
            await stated_pass_id(conn, pass_id=body.pass_id, customer_key=body.customer_id, header=pass_id_header)
        )

    async def work(conn: Connection) -> Json:
        await customers.ensure(conn, found, free_credits=services.free_credits)
        await customers.save_auto_top_up(conn, found, chosen)
        return {"customerId": found, **chosen, "passId": found}

    return await once.in_transaction(idempotency.customer(found), work, insist=True)


def _somebody(pass_id: str | None) -> str:
    if pass_id is None:
        raise InvalidInput("customerId: say whose settings these are.")
    return pass_id


def _packs(stated: Any) -> int:
    """A whole number from 0 on; what is no number is 0."""
    try:
        packs = float(stated) if isinstance(stated, str | int | float) else 0.0
    except ValueError:
        return 0
    return min(max(math.floor(packs), 0), PACKS_MAX) if math.isfinite(packs) else 0
