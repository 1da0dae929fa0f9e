"""`/history`: generations, feedback and ledger of the customer in query or header (docs/contract/legacy.md)."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from safelight.api.auth.principals import ActingByQuery, IdentifiedByQuery, no_identity
from safelight.api.http.error_responses import error_responses
from safelight.api.http.rate_limits import RateLimitGroup, limited_route, per_address
from safelight.api.http.services import FromApp
from safelight.api.legacy import customers
from safelight.api.schemas.legacy_responses import History
from safelight.api.schemas.responses import Deleted
from safelight.db.generations import generations
from safelight.domain.errors.base import InvalidInput, NotFound
from safelight.pipelines import deletion

_HISTORY: dict[str, Any] = {
    "response_description": customers.HISTORY_DESCRIPTION,
    "dependencies": [per_address(RateLimitGroup.PUBLIC)],
}
RecordId = Annotated[str, Path(max_length=300, description="The id of a generation, or the `mg_id` of any item.")]

router = APIRouter(route_class=limited_route(RateLimitGroup.WRITES), tags=["legacy"])


@router.get("/history", summary="What the stated customer made, said and paid", **_HISTORY)
@router.get("/history/trimmed", summary="The same as `/history`", **_HISTORY)
async def own_history(
    services: FromApp,
    customer: ActingByQuery,
    limit: Annotated[int, Query(ge=1, le=generations.HISTORY_ROWS_MAX)] = generations.HISTORY_ROWS_MAX,
    cursor: Annotated[datetime | None, Query(description="`page.nextCursor` of the page before.")] = None,
) -> History:
    """Without generations that failed, were cancelled or were suggestions alone. A visitor whom nobody names has no
    history."""
    return await customers.history_of(services, customer, limit, cursor, results_only=True)


@router.delete("/history", include_in_schema=False, dependencies=[no_identity("It names nothing.")])
async def delete_nothing() -> Deleted:
    raise _no_id()


@router.delete(
    "/history/{record_id}",
    summary="Delete a result",
    responses=error_responses(404, described={409: "It is not final, or something unfinished is made from it."}),
)
async def delete_record(services: FromApp, customer: IdentifiedByQuery, record_id: RecordId) -> Deleted:
    """The row is marked and its file is deleted; credits, steps and lines stay on record. Only its owner may. What was
    deleted before counts 0."""
    if not (stated := record_id.strip()):
        raise _no_id()
    if customer is None:
        raise NotFound(f"There is nothing {stated!r} in your history.")
    count = await deletion.delete(services.db, services.assets, stated, customer.pass_id)
    return Deleted(deletedCount=count)


def _no_id() -> InvalidInput:
    return InvalidInput("id: the id of a generation, or its mg_id, is needed.", code="MISSING_ID")
