"""The state of the service: its health, and that of its providers."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import psycopg
from fastapi import APIRouter

from safelight import __version__
from safelight.api.auth.operators import ADMIN_ONLY
from safelight.api.auth.principals import no_identity
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas.service_responses import EngineServed, Health, Provider, Providers
from safelight.db.configuration import providers
from safelight.ops.queue_watch import why_not_ready

HEALTH_SECONDS = 2.0

router = APIRouter(tags=["operations"])

_HEALTH: dict[str, Any] = {
    "summary": "Is it up?",
    "dependencies": [no_identity("It says only whether database and workers answer, and which services make what.")],
}


@router.get(
    "/api/admin/providers",
    summary="Circuit, load and today's cost of each provider",
    name="health",  # of the operation, in clients
    dependencies=[ADMIN_ONLY],
)
async def provider_health(services: FromApp) -> Providers:
    """Adapters that have limits in the registry and were asked for something. `circuit`: `closed` is well, `failing`
    has failures in a row, `open` is not asked for the moment."""
    async with services.db.connection() as conn:
        return Providers(providers=[Provider(**asdict(one)) for one in await providers.health(conn)])


@router.get("/health", **_HEALTH)
@router.get("/api/health", **_HEALTH)
async def health(services: FromApp) -> Health:
    """`supabase` says whether the database answers; existing clients know it by that name. Without it, `engines` is
    empty. `live` is true as long as the process answers. `ready` is false, for the reason in `not_ready`, if the
    database does not answer, or if generations wait for a worker and none is alive. The status is 200 in any case."""
    database_answers = await _database_answers(services)
    not_ready = why_not_ready(services.queues, database_answers=database_answers)
    return Health(
        time=datetime.now(UTC),
        supabase=database_answers,
        version=__version__,
        engines=await _engines(services) if database_answers else [],
        ready=not_ready is None,
        not_ready=not_ready,
    )


async def _engines(services: Services) -> list[EngineServed]:
    try:
        return [EngineServed.model_validate(engine) for engine in await services.serving.engines()]
    except psycopg.Error:  # it was there a moment ago
        return []


async def _database_answers(services: Services) -> bool:
    try:
        async with services.db.pool.connection(timeout=HEALTH_SECONDS) as conn:
            await conn.execute("select 1")
    except psycopg.Error:
        return False
    return True
