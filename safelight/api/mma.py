"""The MMA routes: create, tweak, animate, fetch, events (contract section 2)."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Body, Header, Path, Request
from pydantic import Field

from safelight.api import examples
from safelight.api.admin import asking_operator
from safelight.api.bodies import CreateBody, IdentityBody
from safelight.api.errors import request_id
from safelight.api.folding import Short, Spelt
from safelight.api.identity import PassIdHeader, caller, must_own, resolve, stated_pass_id
from safelight.api.orders import Asked, OrderDesk
from safelight.api.rates import Kind, check_pass, limited_route
from safelight.api.refusals import Responses, may_be
from safelight.api.services import FromApp, Services
from safelight.db import customers, generations
from safelight.db.database import Connection
from safelight.domain import preferences
from safelight.domain.errors import NotFound
from safelight.domain.ids import new_id
from safelight.domain.orders import Flow
from safelight.domain.statuses import Status
from safelight.pipelines import cancel as cancellation
from safelight.pipelines.accept import ANSWER_SECONDS_MAX
from safelight.redaction import KNOWN_FORMS

Json = dict[str, Any]

CREATE_ERRORS: Responses = {
    **may_be(400, 401, 402, 413, 422, 429, 503),
    404: {"description": "There is no such parent generation."},
}
ROUTES_OF_FLOWS = {
    Flow.STILL_CREATE: ["/mma/still/create"],
    Flow.STILL_TWEAK: ["/mma/still/tweak", "/mma/still/{generation_id}/tweak"],
    Flow.VIDEO_ANIMATE: ["/mma/video/animate", "/mma/video/create"],
    Flow.VIDEO_TWEAK: ["/mma/video/tweak", "/mma/video/{generation_id}/tweak"],
}

router = APIRouter(route_class=limited_route(Kind.ORDERS), tags=["generations"])
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=200,
        description="The same key with the same request gives the generation that was accepted first, once charged.",
    ),
]


def _add_routes(flow: Flow) -> None:
    """One handler serves every path a flow is known by; tweaks name their parent in the path or in the body."""

    async def accept(
        request: Request,
        services: FromApp,
        body: Annotated[CreateBody, Body(openapi_examples=examples.OF_FLOWS[flow])],
        key: IdempotencyKey = None,
        pass_id_header: PassIdHeader = None,
    ) -> Json:
        async with services.db.connection() as conn:
            pass_id = await resolve(
                request, conn, pass_id=body.pass_id, customer_key=body.customer_id, header=pass_id_header
            )
            check_pass(request, Kind.ORDERS, pass_id)
            asked = Asked(flow, body, pass_id, request.path_params.get("generation_id"))
            order = await OrderDesk(conn, services.assets).order(asked)
        accepted = await services.acceptance.accept(
            order,
            idempotency_key=key or body.stated_idempotency_key,
            request={
                "request_id": request_id(request),
                "route": request.scope["route"].path,
                "method": request.method,
            },
        )
        return {
            "generation_id": accepted.generation_id,
            "status": Status.QUEUED,
            "sse_url": f"/mma/stream/{accepted.generation_id}",
            "ok": True,
            "generationId": accepted.generation_id,
            "passId": pass_id,
            "requestId": request_id(request),
            "parent_generation_id": order.parent.generation_id if order.parent else None,
            "credits_cost": accepted.credits_cost,
            "credits": {"balance": accepted.balance, "cost": accepted.credits_cost},
            "billing": {"cost": accepted.credits_cost, "mode": order.flow.mode},
        }

    for path in ROUTES_OF_FLOWS[flow]:
        router.add_api_route(
            path,
            accept,
            methods=["POST"],
            name=f"{flow.value} at {path}",
            summary=examples.SUMMARIES[flow],
            responses={200: examples.ACCEPTED, **CREATE_ERRORS},
            operation_id=f"{flow.value}{path.replace('/', '_').replace('{', '').replace('}', '')}",
            openapi_extra=_path_parameter() if "{generation_id}" in path else None,
        )


def _path_parameter() -> Json:
    schema = {"type": "string", "maxLength": 200}
    return {"parameters": [{"name": "generation_id", "in": "path", "required": True, "schema": schema}]}


for each_flow in Flow:
    _add_routes(each_flow)


@router.get(
    "/mma/generations/{generation_id}",
    summary="A generation: status, variables, outputs",
    responses={200: examples.GENERATION, **may_be(400, 401, 404, 503)},
)
async def fetch(
    request: Request,
    services: FromApp,
    generation_id: Annotated[str, Path(max_length=200)],
    pass_id_header: PassIdHeader = None,
) -> Json:
    """Its id passes for permission, unless the caller says who they are: then it must be theirs."""
    by_operator = await asking_operator(request, services)
    async with services.db.connection() as conn:
        row = await generations.get(conn, generation_id)
        if row is None or row["mg_mma_status"] is None:
            raise NotFound(f"There is no generation {generation_id!r}.")
        if not by_operator:
            await must_own(conn, row["mg_pass_id"], header=pass_id_header, what=f"generation {generation_id!r}")
    return _as_json(row)


def _as_json(row: Json) -> Json:
    """An output URL is shown only when the status is final: clients stop asking as soon as they see one."""
    status, variables = Status(row["mg_mma_status"]), row["mg_mma_vars"]
    outputs = variables["outputs"] if status is Status.DONE else {}
    parent = row["mg_parent_id"]
    return {
        "ok": True,
        "generation_id": row["mg_generation_id"],
        "status": status,
        "state": status,
        "status_text": status.friendly,
        "mode": row["mg_mma_mode"],
        "mma_vars": variables,
        "outputs": {
            "seedream_image_url": outputs.get("seedream_image_url"),
            "kling_video_url": outputs.get("kling_video_url"),
        },
        "prompt": row["mg_prompt"],
        "error": row["mg_meta"].get("error"),
        "credits": {"balance": row["balance"], "cost": row["mg_meta"].get("cost")},
        "parent_generation_id": parent.removeprefix("generation:") if parent else None,
        "created_at": row["mg_created_at"],
        "updated_at": row["mg_updated_at"],
    }


@router.post(
    "/mma/generations/{generation_id}/cancel",
    summary="Stop a generation",
    description="Reaches the provider, refunds what was not delivered, and is final. Where it is too late, the result"
    " is delivered: once it is stored, every request is too late. `too_late` is null while that is not known yet: then"
    " follow the stream.",
    responses={200: examples.CANCELLED, **may_be(400, 401, 404, 413, 429, 503)},
)
async def cancel(
    request: Request,
    services: FromApp,
    generation_id: Annotated[str, Path(max_length=200)],
    body: Annotated[IdentityBody, Body(openapi_examples=examples.CANCEL)],
    pass_id_header: PassIdHeader = None,
) -> Json:
    operator = await asking_operator(request, services)
    async with services.db.connection() as conn:
        pass_id = await stated_pass_id(conn, pass_id=body.pass_id, customer_key=body.customer_id, header=pass_id_header)
    if pass_id is None and operator is None:
        raise NotFound(f"There is no generation {generation_id!r} of yours; say who you are with passId.")
    if pass_id and caller().has_admin_token:
        operator = None  # a server of ours, for the customer that it states
    cancelling = await cancellation.cancel(
        services.db, generation_id, pass_id=None if operator else pass_id, operator=operator
    )
    return {
        "ok": True,
        "generation_id": generation_id,
        "status": cancelling.status,
        "cancelled": cancelling.status is Status.CANCELLED,
        "too_late": cancelling.too_late,
        "refunded_credits": cancelling.refunded_credits,
        "credits": {"balance": cancelling.balance},
        "requestId": request_id(request),
    }


class EventBody(IdentityBody):
    """Something the customer did: like, dislike, download, preference_set, …"""

    event_type: Annotated[Short, Spelt("eventType", "What happened.", example="like")] = Field(min_length=1)
    generation_id: Annotated[
        Short | None, Spelt("generationId|payload.generation_id|payload.generationId", "What it happened to.")
    ] = None
    event_id: Annotated[Short | None, Spelt("eventId", "The event's own id: stated twice, stored once.")] = None
    payload: Annotated[dict[str, Any], Spelt("", "More about it, e.g. tags.", example={"tags": ["soft light"]})] = (
        Field(default={}, validate_default=False)
    )


@router.post(
    "/mma/events",
    summary="Store an event; likes and blocks shape what comes next",
    responses={200: examples.EVENT_STORED, **may_be(400, 401, 404, 413, 429, 503)},
)
async def store_event(
    request: Request, services: FromApp, body: EventBody, pass_id_header: PassIdHeader = None
) -> Json:
    async with services.db.connection() as conn:
        pass_id = await _pass_id_of_event(request, conn, body, pass_id_header)
    body = body.model_copy(update={"payload": KNOWN_FORMS.value(body.payload)})
    event_id = KNOWN_FORMS.identifier(body.event_id or new_id())  # one for all tries
    after = await services.db.insist(
        lambda conn: _store(conn, services, body, pass_id, event_id), seconds=ANSWER_SECONDS_MAX
    )
    return {
        "ok": True,
        "status": "ok",
        "event_id": event_id,
        "eventId": event_id,
        "requestId": request_id(request),
        "passId": pass_id,
        "preferences": after or None,
    }


async def _store(conn: Connection, services: Services, body: EventBody, pass_id: str, event_id: str) -> Json:
    """Store the event, once, with what it changes. Returns the preferences after it."""
    async with conn.transaction():
        await customers.ensure(conn, pass_id, free_credits=services.free_credits)
        row = await customers.lock(conn, pass_id) or {}
        is_new = await generations.insert_event(
            conn,
            event_type=body.event_type,
            pass_id=pass_id,
            generation_id=body.generation_id,
            payload=body.payload,
            event_id=event_id,
        )
        before: Json = row.get("mg_mma_preferences") or {}
        after = before
        if is_new:
            now = datetime.now(UTC).isoformat()
            after = preferences.after_event(before, body.event_type, body.payload, now=now)
        if after is not before:
            await customers.save_preferences(conn, pass_id, after)
    return after


async def _pass_id_of_event(request: Request, conn: Connection, body: EventBody, header: str | None) -> str:
    """Who is stated, else a new visitor. It shapes their taste, so what it happened to must be theirs, or unknown."""
    pass_id = await resolve(request, conn, pass_id=body.pass_id, customer_key=body.customer_id, header=header)
    row = await generations.get(conn, body.generation_id) if body.generation_id else None
    if row and row["mg_pass_id"] != pass_id:
        raise NotFound(f"There is no generation {body.generation_id!r} of yours.")
    return pass_id
