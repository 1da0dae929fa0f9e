"""Providers tell that something ended. It is a hint and carries no data: the job looks for itself, only earlier."""

from typing import Annotated, Any

from fastapi import APIRouter, Path

from safelight.api import examples
from safelight.api.errors import ErrorBody
from safelight.api.services import FromApp
from safelight.db import jobs
from safelight.domain.errors import NotFound

router = APIRouter(tags=["webhooks"])


@router.post(
    "/webhooks/{adapter}/{generation_id}",
    summary="A provider says that there is news of a generation",
    responses={200: examples.of({"ok": True}), 404: {"model": ErrorBody}},
)
async def wake(
    services: FromApp,
    adapter: Annotated[str, Path(max_length=100, description="Who says it; for the access log only.")],
    generation_id: Annotated[str, Path(max_length=200)],
) -> dict[str, Any]:
    """Believed in nothing, so it needs no signature: said twice, late or by a stranger, it costs one look."""
    async with services.db.connection() as conn:
        if not await jobs.wake(conn, generation_id):
            raise NotFound(f"There is no generation {generation_id!r}.")
    return {"ok": True}
