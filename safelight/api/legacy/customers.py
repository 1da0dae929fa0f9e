"""Sessions, credits and history of a customer (docs/contract/legacy.md)."""

from datetime import UTC, datetime
from typing import Annotated, TypeVar

from fastapi import APIRouter, Query
from pydantic.alias_generators import to_snake

from safelight.api.auth.principals import ActingByBody, ActingByQuery, CustomerOfPath
from safelight.api.http.error_responses import error_responses
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.rate_limits import RateLimitGroup, limited_route
from safelight.api.http.request_ids import request_id
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas import legacy_responses
from safelight.api.schemas.aliases import Short, aliased
from safelight.api.schemas.order_builder import own_session_id
from safelight.api.schemas.requests import IdentityBody
from safelight.api.schemas.responses import Balance, CostsOfModes, Session, SessionBegun
from safelight.db.connection.database import Connection
from safelight.db.generations import generations
from safelight.db.generations.generations import HistoryItem
from safelight.db.money import customers
from safelight.domain.identities import ActingCustomer
from safelight.reports import customer as report
from safelight.reports.customer import CustomerBalance, CustomerHistory

PAGE_DEFAULT = 200
ANONYMOUS = "anonymous"
ItemModel = TypeVar("ItemModel", bound=legacy_responses.Item)
HISTORY_DESCRIPTION = "Newest first; every item under its camelCase and its raw names."

router = APIRouter(route_class=limited_route(RateLimitGroup.PUBLIC), tags=["account"])


class SessionBody(IdentityBody):
    """A sitting of one customer: what is made in it belongs together."""

    session_id: Short | None = aliased("sessionId", "A uuid to use; else a new one.")
    platform: Short = aliased("", "Where results will be shown.", default="tiktok", example="tiktok")
    title: Short = aliased("", "What it is about.", default="Mina session")


@router.post("/sessions/start", summary="Begin a session")
async def start_session(once: OnceForKey, body: SessionBody, customer: ActingByBody) -> SessionBegun:
    return await once.in_transaction(customer, SessionBegun, lambda conn: _begun(conn, body, customer))


async def _begun(conn: Connection, body: SessionBody, customer: ActingCustomer | None) -> SessionBegun:
    platform, pass_id = body.platform.lower(), customer.pass_id if customer else None
    session_id = await own_session_id(conn, body.session_id, pass_id)
    if customer and pass_id:  # a visitor without any id has no row, so no session row either
        await customers.ensure(conn, pass_id, welcome=customer.welcome)
        await generations.insert_session(
            conn,
            session_id=session_id,
            pass_id=pass_id,
            platform=platform,
            title=body.title,
            meta={"request_id": request_id()},
        )
    session = Session(
        id=session_id,
        customerId=pass_id or ANONYMOUS,
        platform=platform,
        title=body.title,
        createdAt=datetime.now(UTC),
    )
    return SessionBegun(session=session, sessionId=session_id, passId=pass_id)


@router.get("/credits/balance", summary="A customer's credits")
async def balance(services: FromApp, customer: ActingByQuery) -> Balance:
    found = customer.pass_id if customer else None
    async with services.db.transaction() as conn:
        credits = CustomerBalance()
        if customer and found and not customer.is_first_visit:
            await customers.ensure(conn, found, welcome=customer.welcome)
            credits = await report.balance(conn, found)
    prices = services.runtime.prices
    return Balance(
        customerId=found or ANONYMOUS,
        balance=credits.credits,
        historyLength=credits.entry_count,
        meta=CostsOfModes(imageCost=prices.still_credits, motionCost=prices.video_credits),
        passId=found,
        expiresAt=credits.expires_at,
    )


@router.get(
    "/history/pass/{pass_id}",
    summary="What a customer made, said and paid",
    response_description=HISTORY_DESCRIPTION,
    responses=error_responses(404),
)
async def history(
    services: FromApp,
    customer: CustomerOfPath,
    limit: Annotated[
        int | None,
        Query(
            ge=1,
            le=generations.HISTORY_ROWS_MAX,
            description=f"Default: {PAGE_DEFAULT}, without failed, cancelled and suggestion-only generations.",
        ),
    ] = None,
    cursor: Annotated[datetime | None, Query(description="`page.nextCursor` of the page before.")] = None,
) -> legacy_responses.History:
    """The older clients state no limit, and show an empty card for each generation without a result."""
    return await history_of(services, customer, limit or PAGE_DEFAULT, cursor, results_only=limit is None)


async def history_of(
    services: Services, customer: ActingCustomer | None, limit: int, cursor: datetime | None, *, results_only: bool
) -> legacy_responses.History:
    """One page, the newest first, with the ledger; empty for nobody."""
    found, shown = customer.pass_id if customer else None, CustomerHistory()
    if found:
        async with services.db.connection() as conn:
            shown = await report.history(conn, found, before=cursor, limit=limit, results_only=results_only)
    return legacy_responses.History(
        passId=found,
        customerId=found or ANONYMOUS,
        passIdsChecked=[found] if found else [],
        credits=legacy_responses.CreditHistory(
            balance=shown.balance,
            expiresAt=shown.expires_at,
            history=[legacy_responses.Row.model_validate(entry.columns) for entry in shown.entries],
        ),
        page=legacy_responses.Page(
            limit=limit,
            cursor=cursor,
            nextCursor=shown.next_before,
            hasMore=shown.next_before is not None,
            returned=len(shown.page),
        ),
        sessions=[_item(legacy_responses.SessionItem, row) for row in shown.items("session")],
        generations=[_item(legacy_responses.GenerationItem, row) for row in shown.items("generation")],
        feedbacks=[_item(legacy_responses.FeedbackItem, row) for row in shown.items("feedback")],
    )


def _item(model: type[ItemModel], row: HistoryItem) -> ItemModel:
    """Both namings: the raw `mg_*` keys, and camelCase."""
    named = model.model_fields.keys() - legacy_responses.Row.model_fields.keys()
    return model(**row.columns, **{name: getattr(row, to_snake(name)) for name in named})
