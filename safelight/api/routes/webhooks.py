"""Providers tell that something ended. It is a hint and carries no data: the job looks for itself, only earlier."""

from typing import Annotated

from fastapi import APIRouter, Path, Request

from safelight.api.auth.principals import no_identity
from safelight.api.http.bodies.json import StrictRequest
from safelight.api.http.error_responses import error_responses
from safelight.api.http.services import FromApp
from safelight.api.schemas.responses import Ok
from safelight.db.generations import jobs
from safelight.domain.errors.base import NotFound

router = APIRouter(tags=["webhooks"])

_REFUSALS = error_responses(
    404,
    503,
    described={
        401: "Not signed by the provider, or too long ago.",
        409: "The very same webhook was taken before.",
        502: "The provider's keys, by which we know its signature, cannot be had.",
    },
)
_BODY = {"schema": {"type": "object", "description": "Whatever the provider says: it is not looked at."}}


@router.post(
    "/webhooks/{adapter}/{attempt}",
    summary="A provider says that there is news of a generation",
    dependencies=[no_identity("The provider's signature is checked, and nothing of the body is believed.")],
    responses=_REFUSALS,
    openapi_extra={"requestBody": {"content": {"application/json": _BODY}}},
)
async def wake(
    request: Request,
    services: FromApp,
    adapter: Annotated[str, Path(max_length=100, description="Who says it.")],
    attempt: Annotated[str, Path(max_length=300, description="An attempt key, or the id of a generation.")],
) -> Ok:
    """Signature, age and replay are checked before anything is looked at; nothing that it says is believed. Only
    adapters that are configured have webhooks; `simulated`, which signs none, is for tests alone."""
    if adapter not in services.webhook_checks:
        raise NotFound(f"No webhooks are taken from {adapter!r}.")
    body = await StrictRequest(request.scope, request.receive).body()
    await services.webhook_checks[adapter](request.headers, body)
    generation_id = attempt.partition(":")[0]
    async with services.db.connection() as conn:
        if not await jobs.wake(conn, generation_id):
            raise NotFound(f"There is no generation {generation_id!r}.")
    return Ok()
