"""`/public/stats/total-users`: how many customers there are, for the page before signing in (contract 1.4 #4)."""

from typing import Any

from fastapi import APIRouter

from safelight import telemetry
from safelight.api import examples, legacy_answers
from safelight.api.principals import no_identity
from safelight.api.rates import Kind, per_address
from safelight.api.refusals import may_be
from safelight.api.services import FromApp
from safelight.db.database import TROUBLE

router = APIRouter(tags=["legacy"])


@router.get(
    "/public/stats/total-users",
    summary="How many customers there are",
    dependencies=[per_address(Kind.VISITS), no_identity("It is one count, for the page before signing in.")],
    responses={
        200: examples.of(legacy_answers.TotalUsers, {"ok": True, "totalUsers": 1234, "source": "mega_customers"}),
        **may_be(429),
        500: {"description": "STATS_FAILED"},
    },
)
async def total_users(services: FromApp) -> dict[str, Any]:
    """0, with another source, while the database is away."""
    try:
        return {"ok": True, "totalUsers": await services.customer_count.get(), "source": "mega_customers"}
    except TROUBLE as error:
        telemetry.warning(telemetry.Tag.API, f"Customers cannot be counted: {error}")
        return {"ok": True, "totalUsers": 0, "source": "no-supabase"}
