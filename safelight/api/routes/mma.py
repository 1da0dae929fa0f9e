"""The MMA routes: create, tweak, animate, fetch, events (docs/contract/mma.md)."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Request
from pydantic import field_validator

from safelight.api.auth.principals import ByIdViewer, CustomerOrAnonymous, CustomerOrOperator
from safelight.api.auth.stream_urls import stream_url
from safelight.api.http.error_responses import error_responses
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.rate_limits import RateLimitGroup, limited_route
from safelight.api.http.request_ids import request_id
from safelight.api.http.services import FromApp
from safelight.api.routes.ordering import Orders
from safelight.api.schemas import examples
from safelight.api.schemas import generation_responses as responses
from safelight.api.schemas.aliases import Short, aliased
from safelight.api.schemas.fields import Json
from safelight.api.schemas.requests import CreateBody, IdentityBody
from safelight.api.schemas.responses import CreditsCharged
from safelight.api.schemas.unknown_fields import warnings_of
from safelight.db.connection.database import Connection
from safelight.db.generations import generations
from safelight.db.money import customers
from safelight.domain import preferences
from safelight.domain.errors.base import NotFound
from safelight.domain.flows import Flow
from safelight.domain.identities import ActingCustomer
from safelight.domain.statuses import Status
from safelight.pipelines import cancel as cancellation
from safelight.redaction import DEFAULT_REDACTOR
from safelight.reports import generation as generation_reports
from safelight.reports.generation import GenerationReport
from safelight.storage.web_urls import ALLOWED, unsafe_urls

EVENT_PAYLOAD_BYTES_MAX = 16 * 1024
CREATE_ERRORS = error_responses(402, described={404: "There is no such parent generation."})
ROUTES_OF_FLOWS = {
    Flow.STILL_CREATE: ["/mma/still/create"],
    Flow.STILL_TWEAK: ["/mma/still/tweak", "/mma/still/{generation_id}/tweak"],
    Flow.VIDEO_ANIMATE: ["/mma/video/animate", "/mma/video/create"],
    Flow.VIDEO_TWEAK: ["/mma/video/tweak", "/mma/video/{generation_id}/tweak"],
}

_ID: Json = {"type": "string", "maxLength": 200}
PARENT_OF_PATH: Json = {"parameters": [{"name": "generation_id", "in": "path", "required": True, "schema": _ID}]}

router = APIRouter(route_class=limited_route(RateLimitGroup.WRITES), tags=["generations"])


def _add_routes(flow: Flow) -> None:
    """One handler serves every path a flow is known by; tweaks name their parent in the path or in the body."""
    shown = examples.ORDERS[flow]

    async def accept(
        request: Request,
        body: Annotated[CreateBody, Body(openapi_examples=shown["examples"])],
        orders: Orders,
    ) -> responses.Accepted:
        order, accepted = await orders.accept(flow, body)
        return responses.Accepted(
            generation_id=accepted.generation_id,
            sse_url=stream_url(orders.services, accepted.generation_id, orders.customer),
            generationId=accepted.generation_id,
            passId=orders.customer.pass_id,
            parent_generation_id=order.parent.generation_id if order.parent else None,
            credits_cost=accepted.credits_cost,
            credits=CreditsCharged(balance=accepted.balance, cost=accepted.credits_cost),
            billing=responses.Bill(cost=accepted.credits_cost, mode=order.flow.mode),
            warnings=[*order.warnings, *warnings_of(CreateBody, await request.json(), order.warnings)],
        )

    for path in ROUTES_OF_FLOWS[flow]:
        router.add_api_route(
            path,
            accept,
            methods=["POST"],
            name=f"{flow.value} at {path}",
            summary=shown["summary"],
            response_description="Accepted and charged; the stream and the generation tell how it goes.",
            responses=CREATE_ERRORS,
            operation_id=f"{flow.value}{path.replace('/', '_').replace('{', '').replace('}', '')}",
            openapi_extra=PARENT_OF_PATH if "{generation_id}" in path else None,
        )


for each_flow in (flow for flow in Flow if not flow.is_set):
    _add_routes(each_flow)


@router.get(
    "/mma/generations/{generation_id}",
    summary="A generation: status, variables, outputs",
    response_description="The generation as it is now.",
    responses=error_responses(404),
)
async def fetch(
    services: FromApp, generation_id: Annotated[str, Path(max_length=200)], viewer: ByIdViewer
) -> responses.Generation:
    """A caller who only knows its id sees its status and result. The order, the prompts and the credits are shown to
    its owner and to operators. A caller who says that they are somebody else gets a 404."""
    async with services.db.connection() as conn:
        report = await generation_reports.find(conn, generation_id)
    is_gone = report is not None and report.generation.deleted_at is not None and viewer.operator is None
    if report is None or report.status is None or is_gone:
        raise NotFound(f"There is no generation {generation_id!r}.")
    sees_all = viewer.sees_all_of(report.generation.pass_id, f"generation {generation_id!r}")
    return _generation(report, report.status, sees_all=sees_all)


def _generation(report: GenerationReport, status: Status, *, sees_all: bool) -> responses.Generation:
    """An output URL is shown only when the status is final: clients stop asking as soon as they see one. The keys of
    what only the owner sees are there, and empty."""
    row, error = report.generation, report.error
    return responses.Generation(
        generation_id=row.generation_id,
        status=status,
        state=status,
        status_text=status.friendly,
        mode=row.mode,
        mma_vars=row.variables if sees_all else {},
        outputs=_outputs(report.outputs),
        prompt=row.prompt if sees_all else None,
        error=responses.ErrorContext(**error) if error else None,
        credits=responses.CreditsOfGeneration(balance=row.balance, cost=report.price_credits) if sees_all else None,
        parent_generation_id=row.parent_generation_id if sees_all else None,
        warnings=report.warnings if sees_all else [],
        stand_in=report.is_stand_in,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _outputs(stored: Json) -> responses.Outputs:
    return responses.Outputs(
        seedream_image_url=stored.get("seedream_image_url"),
        kling_video_url=stored.get("kling_video_url"),
        **{name: stored[name] for name in ("width", "height", "seconds") if name in stored},
    )


@router.post(
    "/mma/generations/{generation_id}/cancel",
    summary="Stop a generation",
    description="Reaches the provider, refunds what was not delivered, and is final. Where it is too late, the result"
    " is delivered: once it is stored, every request is too late. `too_late` is null while that is not known yet: then"
    " follow the stream.",
    responses=error_responses(404),
)
async def cancel(
    request: Request,
    services: FromApp,
    generation_id: Annotated[str, Path(max_length=200)],
    once: OnceForKey,
    body: Annotated[IdentityBody, Body(openapi_examples=examples.CANCEL)],
    by: CustomerOrOperator,
) -> responses.Cancelling:
    async def work() -> responses.Cancelling:
        cancelling = await cancellation.cancel(services.db, generation_id, by)
        return responses.Cancelling(
            generation_id=generation_id,
            status=cancelling.status,
            cancelled=cancelling.status is Status.CANCELLED,
            too_late=cancelling.too_late,
            refunded_credits=cancelling.refunded_credits,
            credits=responses.BalanceOrNone(balance=cancelling.balance),
            warnings=warnings_of(IdentityBody, await request.json()),
        )

    return await once.outside(by, responses.Cancelling, work, is_final=lambda answer: answer.too_late is not None)


class EventBody(IdentityBody):
    """Something the customer did: like, dislike, download, preference_set, …"""

    event_type: Short = aliased("eventType", "What happened.", default=..., example="like", min_length=1)
    generation_id: Short | None = aliased(
        "generationId|payload.generation_id|payload.generationId", "What it happened to."
    )
    event_id: Short | None = aliased("eventId", "The event's own id: stated twice, stored once.")
    payload: dict[str, Any] = aliased(
        "",
        f"More about it, e.g. tags; at most {EVENT_PAYLOAD_BYTES_MAX} bytes as JSON.",
        default={},
        example={"tags": ["soft light"]},
        validate_default=False,
    )

    @field_validator("payload")
    @classmethod
    def is_small_and_holds_web_urls(cls, payload: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(payload, ensure_ascii=False).encode()) > EVENT_PAYLOAD_BYTES_MAX:
            raise ValueError(f"may have at most {EVENT_PAYLOAD_BYTES_MAX} bytes as JSON")
        if found := next(unsafe_urls(payload, "payload"), None):
            raise ValueError(f"{found}: {ALLOWED}")
        return payload


@router.post(
    "/mma/events",
    summary="Store an event; likes and blocks shape what comes next",
    response_description="Stored.",
    responses=error_responses(404),
)
async def store_event(
    request: Request, services: FromApp, once: OnceForKey, body: EventBody, customer: CustomerOrAnonymous
) -> responses.EventStored:
    async with services.db.connection() as conn:
        await _require_own_generation(conn, body.generation_id, customer)
    body = body.model_copy(update={"payload": DEFAULT_REDACTOR.value(body.payload)})
    event_id = DEFAULT_REDACTOR.safe_id(body.event_id or once.id_for(customer))  # one for all tries

    async def work(conn: Connection) -> responses.EventStored:
        after = await _store(conn, body, customer, event_id)
        return responses.EventStored(
            event_id=event_id,
            eventId=event_id,
            passId=customer.pass_id,
            preferences=responses.Preferences(**after) if after else None,
            warnings=warnings_of(EventBody, await request.json()),
        )

    return await once.in_transaction(customer, responses.EventStored, work, retries=True)


async def _store(conn: Connection, body: EventBody, customer: ActingCustomer, event_id: str) -> Json:
    """Store the event, once, with what it changes. Returns the preferences after it."""
    pass_id = customer.pass_id
    async with conn.transaction():
        await customers.ensure(conn, pass_id, welcome=customer.welcome)
        row = await customers.lock(conn, pass_id)
        is_new = await generations.insert_event(
            conn,
            event_type=body.event_type,
            pass_id=pass_id,
            generation_id=body.generation_id,
            payload=body.payload,
            event_id=event_id,
            request_id=request_id(),
        )
        before: Json = (row and row.preferences) or {}
        after = before
        if is_new:
            now = datetime.now(UTC).isoformat()
            after = preferences.after_event(before, body.event_type, body.payload, now=now)
        if after is not before:
            await customers.save_preferences(conn, pass_id, after)
    return after


async def _require_own_generation(conn: Connection, generation_id: str | None, customer: ActingCustomer) -> None:
    """An event shapes the customer's taste. Raises NotFound, if what it happened to is somebody else's."""
    row = await generations.get(conn, generation_id) if generation_id else None
    if row and row.pass_id != customer.pass_id:
        raise NotFound(f"There is no generation {generation_id!r} of yours.")
