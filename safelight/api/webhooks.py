"""Providers tell that something ended. It is a hint and carries no data: the job looks for itself, only earlier."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from safelight.api import answers, examples
from safelight.api.json_body import body_of
from safelight.api.refusals import Responses, may_be
from safelight.api.services import FromApp, Services
from safelight.db import jobs
from safelight.domain.errors import NotFound

router = APIRouter(tags=["webhooks"])

UNSIGNED = "simulated"  # believed in nothing: said twice, late or by a stranger, it costs one look

_REFUSALS: Responses = {
    **may_be(400, 404, 413, 503),
    401: {"description": "Not signed by the provider, or too long ago."},
    409: {"description": "The very same webhook was taken before."},
    502: {"description": "The provider's keys, by which we know its signature, cannot be had."},
}
_BODY = {"schema": {"type": "object", "description": "Whatever the provider says: it is not looked at."}}


@router.post(
    "/webhooks/{adapter}/{attempt}",
    summary="A provider says that there is news of a generation",
    responses={200: examples.of(answers.Done, {"ok": True}), **_REFUSALS},
    openapi_extra={"requestBody": {"content": {"application/json": _BODY}}},
)
async def wake(
    request: Request,
    services: FromApp,
    adapter: Annotated[str, Path(max_length=100, description="Who says it.")],
    attempt: Annotated[str, Path(max_length=300, description="An attempt key, or the id of a generation.")],
) -> dict[str, Any]:
    """Signature, age and replay are checked before anything is looked at; nothing that it says is believed."""
    await _check(request, services, adapter)
    generation_id = attempt.partition(":")[0]
    async with services.db.connection() as conn:
        if not await jobs.wake(conn, generation_id):
            raise NotFound(f"There is no generation {generation_id!r}.")
    return {"ok": True}


async def _check(request: Request, services: Services, adapter: str) -> None:
    if adapter == UNSIGNED:
        return
    if adapter not in services.webhook_checks:
        raise NotFound(f"No webhooks are taken from {adapter!r}.")
    body = await body_of(request)
    await services.webhook_checks[adapter](request.headers, body)
