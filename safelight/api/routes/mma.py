"""The MMA routes: create, tweak, animate, fetch, events (docs/contract/mma.md)."""

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Path, Request
from pydantic import Field, field_validator

from safelight.api.auth.principals import ByIdViewer, CustomerOrAnonymous, CustomerOrOperator
from safelight.api.auth.stream_urls import stream_url
from safelight.api.http import idempotency
from safelight.api.http.error_responses import Responses, error_responses
from safelight.api.http.idempotency import KEY_CHARS_MAX, OnceForKey
from safelight.api.http.rate_limits import RateLimitGroup, check_pass, limited_route
from safelight.api.http.request_ids import request_id
from safelight.api.http.services import FromApp
from safelight.api.schemas import examples
from safelight.api.schemas.aliases import Alias, Short
from safelight.api.schemas.generation_responses import (
    Accepted,
    BalanceOrNone,
    Bill,
    Cancelling,
    CreditsOfGeneration,
    ErrorContext,
    EventStored,
    Generation,
    Outputs,
    Preferences,
)
from safelight.api.schemas.order_builder import OrderBuilder, OrderRequest
from safelight.api.schemas.requests import CreateBody, IdentityBody
from safelight.api.schemas.responses import CreditsCharged
from safelight.api.schemas.unknown_fields import warnings_of
from safelight.db.connection.database import Connection
from safelight.db.generations import generations
from safelight.db.money import customers
from safelight.domain import preferences
from safelight.domain.errors.base import NotFound
from safelight.domain.identities import ActingCustomer
from safelight.domain.orders import Flow
from safelight.domain.statuses import Status
from safelight.pipelines import cancel as cancellation
from safelight.redaction import DEFAULT_REDACTOR
from safelight.reports import generation as generation_reports
from safelight.reports.generation import GenerationReport
from safelight.storage.web_urls import ALLOWED, unsafe_urls

Json = dict[str, Any]

EVENT_PAYLOAD_BYTES_MAX = 16 * 1024
CREATE_ERRORS: Responses = {
    **error_responses(400, 401, 402, 413, 422, 429, 503),
    404: {"description": "There is no such parent generation."},
}
ROUTES_OF_FLOWS = {
    Flow.STILL_CREATE: ["/mma/still/create"],
    Flow.STILL_TWEAK: ["/mma/still/tweak", "/mma/still/{generation_id}/tweak"],
    Flow.VIDEO_ANIMATE: ["/mma/video/animate", "/mma/video/create"],
    Flow.VIDEO_TWEAK: ["/mma/video/tweak", "/mma/video/{generation_id}/tweak"],
}

router = APIRouter(route_class=limited_route(RateLimitGroup.WRITES), tags=["generations"])
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=KEY_CHARS_MAX,
        description="The same key with the same request gives the generation that was accepted first, once charged.",
    ),
]


def _add_routes(flow: Flow) -> None:
    """One handler serves every path a flow is known by; tweaks name their parent in the path or in the body."""

    async def accept(
        request: Request,
        services: FromApp,
        body: Annotated[CreateBody, Body(openapi_examples=examples.OF_FLOWS[flow])],
        customer: CustomerOrAnonymous,
        key: IdempotencyKey = None,
    ) -> Accepted:
        check_pass(request, RateLimitGroup.WRITES, customer.pass_id)
        async with services.db.connection() as conn:
            asked = OrderRequest(flow, body, customer.pass_id, request.path_params.get("generation_id"))
            order = await OrderBuilder(conn, services.assets).order(asked)
        accepted = await services.acceptance.accept(
            order,
            customer,
            idempotency_key=key or body.stated_idempotency_key,
            request={
                "request_id": request_id(request),
                "route": request.scope["route"].path,
                "method": request.method,
            },
        )
        return Accepted(
            generation_id=accepted.generation_id,
            sse_url=stream_url(services, accepted.generation_id, customer),
            generationId=accepted.generation_id,
            passId=customer.pass_id,
            requestId=request_id(request),
            parent_generation_id=order.parent.generation_id if order.parent else None,
            credits_cost=accepted.credits_cost,
            credits=CreditsCharged(balance=accepted.balance, cost=accepted.credits_cost),
            billing=Bill(cost=accepted.credits_cost, mode=order.flow.mode),
            warnings=[*order.warnings, *warnings_of(CreateBody, await request.json(), order.warnings)],
        )

    for path in ROUTES_OF_FLOWS[flow]:
        router.add_api_route(
            path,
            accept,
            methods=["POST"],
            name=f"{flow.value} at {path}",
            summary=examples.SUMMARIES[flow],
            response_description="Accepted and charged; the stream and the generation tell how it goes.",
            responses=CREATE_ERRORS,
            operation_id=f"{flow.value}{path.replace('/', '_').replace('{', '').replace('}', '')}",
            openapi_extra=_path_parameter() if "{generation_id}" in path else None,
        )


def _path_parameter() -> Json:
    schema = {"type": "string", "maxLength": 200}
    return {"parameters": [{"name": "generation_id", "in": "path", "required": True, "schema": schema}]}


for each_flow in (flow for flow in Flow if not flow.is_set):
    _add_routes(each_flow)


@router.get(
    "/mma/generations/{generation_id}",
    summary="A generation: status, variables, outputs",
    response_description="The generation as it is now.",
    responses=error_responses(400, 401, 404, 503),
)
async def fetch(
    services: FromApp, generation_id: Annotated[str, Path(max_length=200)], viewer: ByIdViewer
) -> Generation:
    """A caller who only knows its id sees its status and result. The order, the prompts and the credits are shown to
    its owner and to operators. A caller who says that they are somebody else gets a 404."""
    async with services.db.connection() as conn:
        report = await generation_reports.find(conn, generation_id)
    is_gone = report is not None and report.generation.deleted_at is not None and viewer.operator is None
    if report is None or report.status is None or is_gone:
        raise NotFound(f"There is no generation {generation_id!r}.")
    sees_all = viewer.sees_all_of(report.generation.pass_id, f"generation {generation_id!r}")
    return _generation(report, report.status, sees_all=sees_all)


def _generation(report: GenerationReport, status: Status, *, sees_all: bool) -> Generation:
    """An output URL is shown only when the status is final: clients stop asking as soon as they see one. The keys of
    what only the owner sees are there, and empty."""
    row, error = report.generation, report.error
    return Generation(
        generation_id=row.generation_id,
        status=status,
        state=status,
        status_text=status.friendly,
        mode=row.mode,
        mma_vars=row.variables if sees_all else {},
        outputs=_outputs(report.outputs),
        prompt=row.prompt if sees_all else None,
        error=ErrorContext(**error) if error else None,
        credits=CreditsOfGeneration(balance=row.balance, cost=report.price_credits) if sees_all else None,
        parent_generation_id=row.parent_generation_id if sees_all else None,
        warnings=report.warnings if sees_all else [],
        stand_in=report.is_stand_in,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _outputs(stored: Json) -> Outputs:
    return Outputs(
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
    responses=error_responses(400, 401, 404, 413, 422, 429, 503),
)
async def cancel(
    request: Request,
    services: FromApp,
    generation_id: Annotated[str, Path(max_length=200)],
    once: OnceForKey,
    body: Annotated[IdentityBody, Body(openapi_examples=examples.CANCEL)],
    by: CustomerOrOperator,
) -> Cancelling:
    async def work() -> Cancelling:
        cancelling = await cancellation.cancel(services.db, generation_id, by)
        return Cancelling(
            generation_id=generation_id,
            status=cancelling.status,
            cancelled=cancelling.status is Status.CANCELLED,
            too_late=cancelling.too_late,
            refunded_credits=cancelling.refunded_credits,
            credits=BalanceOrNone(balance=cancelling.balance),
            requestId=request_id(request),
            warnings=warnings_of(IdentityBody, await request.json()),
        )

    actor = idempotency.actor(by)
    return await once.outside(actor, Cancelling, work, is_final=lambda answer: answer.too_late is not None)


class EventBody(IdentityBody):
    """Something the customer did: like, dislike, download, preference_set, …"""

    event_type: Annotated[Short, Alias("eventType", "What happened.", example="like")] = Field(min_length=1)
    generation_id: Annotated[
        Short | None, Alias("generationId|payload.generation_id|payload.generationId", "What it happened to.")
    ] = None
    event_id: Annotated[Short | None, Alias("eventId", "The event's own id: stated twice, stored once.")] = None
    payload: Annotated[
        dict[str, Any],
        Alias(
            "",
            f"More about it, e.g. tags; at most {EVENT_PAYLOAD_BYTES_MAX} bytes as JSON.",
            example={"tags": ["soft light"]},
        ),
    ] = Field(default={}, validate_default=False)

    @field_validator("payload")
    @classmethod
    def is_small(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(value, ensure_ascii=False).encode()) > EVENT_PAYLOAD_BYTES_MAX:
            raise ValueError(f"may have at most {EVENT_PAYLOAD_BYTES_MAX} bytes as JSON")
        return value

    @field_validator("payload")
    @classmethod
    def holds_web_urls(cls, payload: dict[str, Any]) -> dict[str, Any]:
        if found := next(unsafe_urls(payload, "payload"), None):
            raise ValueError(f"{found}: {ALLOWED}")
        return payload


@router.post(
    "/mma/events",
    summary="Store an event; likes and blocks shape what comes next",
    response_description="Stored.",
    responses=error_responses(400, 401, 404, 413, 422, 429, 503),
)
async def store_event(
    request: Request, services: FromApp, once: OnceForKey, body: EventBody, customer: CustomerOrAnonymous
) -> EventStored:
    async with services.db.connection() as conn:
        await _require_own_generation(conn, body.generation_id, customer)
    actor = idempotency.actor(customer)
    body = body.model_copy(update={"payload": DEFAULT_REDACTOR.value(body.payload)})
    event_id = DEFAULT_REDACTOR.safe_id(body.event_id or once.id_for(actor))  # one for all tries

    async def work(conn: Connection) -> EventStored:
        after = await _store(conn, body, customer, event_id, request_id(request))
        return EventStored(
            event_id=event_id,
            eventId=event_id,
            requestId=request_id(request),
            passId=customer.pass_id,
            preferences=Preferences(**after) if after else None,
            warnings=warnings_of(EventBody, await request.json()),
        )

    return await once.in_transaction(actor, EventStored, work, insist=True)


async def _store(conn: Connection, body: EventBody, customer: ActingCustomer, event_id: str, asked_by: str) -> Json:
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
            request_id=asked_by,
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
