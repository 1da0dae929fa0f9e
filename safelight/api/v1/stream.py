"""`/api/v1/generations/{id}/stream`: the live log of a generation, and tokens for browsers' EventSource."""

from collections.abc import AsyncIterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import Field

from safelight.api.auth import stream_urls
from safelight.api.auth.principals import OwnerOrOperator, V1Follower
from safelight.api.http.client_schemas import PLACE
from safelight.api.http.error_responses import error_responses
from safelight.api.http.services import FromApp
from safelight.api.routes import stream
from safelight.api.routes.stream import LastEventId, LogEnded, LogReset, NothingMore
from safelight.api.schemas import fields
from safelight.api.schemas.problems import PREFIX, ClosedModel
from safelight.api.schemas.responses import ResponseModel
from safelight.api.schemas.stream_events import V1_EVENTS
from safelight.api.v1.routing import GenerationPath, path_of, v1_route, visible_generation
from safelight.db.connection.database import Database
from safelight.db.generations import job_log
from safelight.db.generations.job_log import StoredLine
from safelight.domain.statuses import Status, public_status

router = APIRouter(route_class=v1_route(), tags=["v1"])


class StreamTokenBody(ClosedModel):
    expires_in: int = Field(
        stream_urls.V1_SECONDS, ge=1, le=stream_urls.V1_SECONDS, description="Seconds.", examples=[300]
    )


class StreamAccess(ResponseModel):
    """A token for one stream. It is looked at when a client connects."""

    token: str = Field(examples=["1766134800.0d0f5a3e"])
    url: str = Field(
        json_schema_extra={"format": "uri-reference"},
        examples=["/api/v1/generations/019a9f1c-7d2e-7c11-a5a0-6f2b8c1d9e42/stream?token=1766134800.0d0f5a3e"],
    )
    expires_in: fields.Seconds
    expires_at: fields.Time


@router.post(
    f"{PREFIX}/generations/{{generation_id}}/stream-token",
    summary="A token to follow one generation with, where no header can be sent",
    responses=error_responses(404),
)
async def stream_token(
    services: FromApp, generation_id: GenerationPath, by: OwnerOrOperator, body: StreamTokenBody
) -> StreamAccess:
    """Nothing is written, and the token is kept nowhere."""
    await visible_generation(services, generation_id, by, made_max=0)
    token = services.signer.token(stream_urls.V1_PURPOSE, generation_id, seconds=body.expires_in)
    return StreamAccess(
        token=token,
        url=f"{path_of(generation_id, 'stream')}?token={token}",
        expires_in=body.expires_in,
        expires_at=datetime.now(UTC) + timedelta(seconds=body.expires_in),
    )


async def _may_follow(
    services: FromApp, generation_id: GenerationPath, by: V1Follower, last_event_id: LastEventId = None
) -> None:
    """Raises NotFound, AuthError, or NothingMore where the client has all of it, by the id that it reconnects with."""
    await visible_generation(services, generation_id, by, made_max=0)
    seen = stream.seq_of(last_event_id)
    if seen is not None and await _has_all(services.db, generation_id, seen):
        raise NothingMore


async def _has_all(db: Database, generation_id: str, seen: int) -> bool:
    async with db.connection() as conn:
        now = await job_log.tail(conn, generation_id, stream.SEQ_MAX)
    return now is not None and seen >= now.last_seq and Status(now.status).is_terminal


def _event(name: str, data: type[ResponseModel]) -> dict[str, Any]:
    content = {"contentMediaType": "application/json", "contentSchema": {"$ref": PLACE + data.__name__}}
    described: dict[str, Any] = {"event": {"const": name}, "data": {"type": "string", **content}}
    return {"type": "object", "required": list(described), "properties": described}


_EVENT_STREAM: dict[str, Any] = {
    "description": "Server-sent events, their data as JSON. The id of a `log` event is its `seq`, and `Last-Event-ID`"
    " goes on after it. Comments keep an idle stream open.\n\n"
    + "\n".join(f"* `{name}`: {data.__doc__}" for name, data in V1_EVENTS.items()),
    "content": {
        "text/event-stream": {
            "schema": {"oneOf": [_event(name, data) for name, data in V1_EVENTS.items()]},
            "example": 'id: 1\nevent: log\ndata: {"seq":1,"created_at":"2025-12-19T08:00:00Z","level":"info",'
            '"step":"initialization","message":"We have your order.","details":null}\n\n'
            'event: status\ndata: {"status":"queued"}\n\nevent: done\ndata: {"status":"completed","error":null}\n\n',
        }
    },
}


@router.get(
    f"{PREFIX}/generations/{{generation_id}}/stream",
    summary="Follow a generation live",
    response_class=EventSourceResponse,
    dependencies=[Depends(stream.in_bounds), Depends(_may_follow)],
    responses={
        200: _EVENT_STREAM,
        204: {"description": "It is final, and `Last-Event-ID` names its last line: nothing more is to come."},
        **error_responses(404),
    },
)
async def follow(
    request: Request, services: FromApp, generation_id: GenerationPath, after: Annotated[int, Depends(stream.cursor)]
) -> AsyncIterable[ServerSentEvent]:
    """Ends before its time when this process ends, or after an hour: the client goes on with a new one."""
    async for event in stream.follow(services, request.app.state.leaving, generation_id, after):
        match event:
            case StoredLine() as line:
                data = {name: getattr(line, name) for name in ("seq", "level", "step", "message", "details")}
                data["created_at"] = line.created_at.isoformat()
                yield ServerSentEvent(id=str(line.seq), event="log", data=data)
            case Status() as status:
                yield ServerSentEvent(event="status", data={"status": public_status(status)})
            case LogReset(last_seq):
                yield ServerSentEvent(event="reset", data={"last_seq": last_seq})
            case LogEnded(status, error):
                yield ServerSentEvent(event="done", data={"status": public_status(status), "error": _error(error)})


def _error(stored: dict[str, Any] | None) -> dict[str, Any] | None:
    if not stored:
        return None
    return {
        "code": stored.get("code") or "UNKNOWN",
        "message": stored.get("message") or Status.ERROR.friendly,
        "retryable": stored.get("isRetryable") is True,
    }
