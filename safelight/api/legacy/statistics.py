"""`/public/stats/total-users`: the number of customers, without signing in (docs/contract/legacy.md)."""

from fastapi import APIRouter

from safelight import telemetry
from safelight.api.auth.principals import no_identity
from safelight.api.http.rate_limits import RateLimitGroup, per_address
from safelight.api.http.services import FromApp
from safelight.api.schemas.legacy_responses import TotalUsers
from safelight.db.connection.database import TRANSIENT_ERRORS

router = APIRouter(tags=["legacy"])


@router.get(
    "/public/stats/total-users",
    summary="How many customers there are",
    dependencies=[per_address(RateLimitGroup.PUBLIC), no_identity("It is one count, for the page before signing in.")],
)
async def total_users(services: FromApp) -> TotalUsers:
    """0, with another source, while the database is away."""
    try:
        return TotalUsers(totalUsers=await services.customer_count.get(), source="mega_customers")
    except TRANSIENT_ERRORS as error:
        telemetry.warning(telemetry.Tag.API, f"Customers could not be counted: {error}")
        return TotalUsers(totalUsers=0, source="no-supabase")
