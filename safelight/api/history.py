"""`/history`: what a customer made, said and paid, for clients that name them by query or header (contract 1.4 #14)."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from safelight.api import accounts, examples
from safelight.api.json_body import StrictRoute
from safelight.api.principals import ActingByQuery
from safelight.api.rates import Kind, per_address
from safelight.api.refusals import may_be
from safelight.api.request_ids import request_id
from safelight.api.services import FromApp
from safelight.db import generations

Json = dict[str, Any]

_LIMITED = [per_address(Kind.VISITS)]

router = APIRouter(route_class=StrictRoute, tags=["legacy"])

_ANSWERS = {
    200: examples.HISTORY,
    **may_be(400, 401, 429),
    500: {"description": "HISTORY_FAILED"},
    503: {"description": "NO_SUPABASE"},
}


@router.get(
    "/history", summary="What the stated customer made, said and paid", responses=_ANSWERS, dependencies=_LIMITED
)
@router.get("/history/trimmed", summary="The same as `/history`", responses=_ANSWERS, dependencies=_LIMITED)
async def own_history(
    request: Request,
    services: FromApp,
    customer: ActingByQuery,
    limit: Annotated[int, Query(ge=1, le=generations.HISTORY_ROWS_MAX)] = generations.HISTORY_ROWS_MAX,
    cursor: Annotated[datetime | None, Query(description="`page.nextCursor` of the page before.")] = None,
) -> Json:
    """A visitor whom nobody names has no history."""
    if customer is None:
        return _empty(request, limit, cursor)
    return await accounts.history_of(request, services, customer, limit, cursor)


def _empty(request: Request, limit: int, cursor: datetime | None) -> Json:
    return {
        "ok": True,
        "requestId": request_id(request),
        "passId": None,
        "customerId": accounts.ANONYMOUS,
        "passIdsChecked": [],
        "credits": {"balance": 0, "expiresAt": None, "history": []},
        "page": {"limit": limit, "cursor": cursor, "nextCursor": None, "hasMore": False, "returned": 0},
        "sessions": [],
        "generations": [],
        "feedbacks": [],
    }
