"""How the providers are, for operators."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from safelight.api.auth.operators import ADMIN_ONLY
from safelight.api.http.error_responses import BY_OPERATORS
from safelight.api.http.services import FromApp
from safelight.api.schemas import examples, service_responses
from safelight.reports import provider_health

router = APIRouter(tags=["operations"])

_EXAMPLE = {
    "providers": [
        {
            "adapter": "replicate",
            "circuit": "open",
            "shut_until": "2026-11-21T11:00:30Z",
            "failures": 5,
            "last_failure": "ProviderUnavailable: replicate: 503",
            "last_failure_at": "2026-11-21T11:00:00Z",
            "under_way": 12,
            "spent_today_usd": "4.230000",
        }
    ]
}


@router.get(
    "/api/admin/providers",
    summary="Circuit, load and today's cost of each provider",
    dependencies=[ADMIN_ONLY],
    responses={200: examples.of(service_responses.Providers, _EXAMPLE), **BY_OPERATORS},
)
async def health(services: FromApp) -> dict[str, Any]:
    """Adapters that have limits in the registry and were asked for something. `circuit`: `closed` is well, `failing`
    has failures in a row, `open` is not asked for the moment."""
    async with services.db.connection() as conn:
        return {"providers": [asdict(provider) for provider in await provider_health.health(conn)]}
