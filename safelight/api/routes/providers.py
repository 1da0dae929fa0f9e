"""The state of the providers, for operators."""

from dataclasses import asdict

from fastapi import APIRouter

from safelight.api.auth.operators import ADMIN_ONLY
from safelight.api.http.services import FromApp
from safelight.api.schemas.service_responses import Provider, Providers
from safelight.db.configuration import providers

router = APIRouter(tags=["operations"])


@router.get(
    "/api/admin/providers",
    summary="Circuit, load and today's cost of each provider",
    dependencies=[ADMIN_ONLY],
)
async def health(services: FromApp) -> Providers:
    """Adapters that have limits in the registry and were asked for something. `circuit`: `closed` is well, `failing`
    has failures in a row, `open` is not asked for the moment."""
    async with services.db.connection() as conn:
        return Providers(providers=[Provider(**asdict(one)) for one in await providers.health(conn)])
