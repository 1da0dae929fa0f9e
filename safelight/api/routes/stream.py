"""The live log of a generation as server-sent events (docs/contract/mma.md).

Every line's `id` is its `seq` in the job log, so a client that comes back, to any process, with the last id it saw
gets every later line once. Control frames carry no id.
"""

import asyncio
import time
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent

from safelight.api.auth.identity import SIGN_IN
from safelight.api.auth.principals import Follower
from safelight.api.http.client_schemas import PLACE
from safelight.api.http.error_responses import error_responses
from safelight.api.http.rate_limits import address_of
from safelight.api.http.services import FromApp, Services
from safelight.api.schemas.generation_responses import EVENTS, ScanLine
from safelight.api.schemas.responses import ResponseModel
from safelight.db.generations import generations, job_log
from safelight.db.generations.job_log import LINES_AT_ONCE, StoredLine
from safelight.db.money import customers
from safelight.domain.errors.base import AuthError, NotFound
from safelight.domain.statuses import Status

POLL_SECONDS = 2.0  # what a lost wake-up costs at most
STREAM_SECONDS_MAX = 3600.0  # then it ends, and its client goes on where it was
SEQ_MAX = 2**31 - 1
WITHOUT_RESULT = (Status.ERROR, Status.CANCELLED)

router = APIRouter(tags=["generations"])
GenerationId = Annotated[str, Path(max_length=200)]
LastEventId = Annotated[str | None, Header(description="As `after`; browsers send it by themselves.")]


async def in_bounds(request: Request, services: FromApp) -> AsyncIterator[None]:
    """Raises TooManyRequests or Overloaded where too many streams are followed already."""
    with services.streams.hold(address_of(request)):
        yield


class NothingMore(Exception):
    """A client that reconnects has seen the whole log of a generation that is final."""


async def stay_away(request: Request, error: Exception) -> Response:
    """204 ends the reconnecting of a browser's EventSource; after any other end it asks again every three seconds."""
    return Response(status_code=204)


async def _may_follow(
    services: FromApp, generation_id: GenerationId, follower: Follower, last_event_id: LastEventId = None
) -> None:
    """Browsers cannot say who they are with a stream. The id of an anonymous visitor's generation is enough; a user's,
    and where a token is required anybody's, needs the URL that was signed for it, or its owner's token.

    Raises:
        NotFound: there is no such generation, or it is somebody else's.
        AuthError: nobody says who they are, and the URL is not signed, or no longer.
        NothingMore: the client has all of it, by the id that it reconnects with.
    """
    async with services.db.connection() as conn:
        row = await generations.get(conn, generation_id)
        now = await job_log.tail(conn, generation_id, SEQ_MAX)
        if row is None or row.deleted_at is not None or now is None:
            raise NotFound(f"There is no generation {generation_id!r}.")
        owner = row.pass_id
        if follower is not None and not follower.sees_all_of(owner, f"generation {generation_id!r}"):
            customer = await customers.get(conn, owner) if owner else None
            if customer and customer.user_id:
                raise AuthError(SIGN_IN)
    seen = seq_of(last_event_id)
    if seen is not None and seen >= now.last_seq and Status(now.status).is_terminal:
        raise NothingMore


def seq_of(last_event_id: str | None) -> int | None:
    """None for what is no id of a line."""
    return min(int(last_event_id[:20]), SEQ_MAX) if last_event_id and last_event_id.isdecimal() else None


def cursor(
    after: Annotated[int | None, Query(ge=0, le=SEQ_MAX, description="The id of the last line seen.")] = None,
    last_event_id: LastEventId = None,
) -> int:
    """The header wins: a browser that reconnects sends the newest id there and the old address again."""
    seen = seq_of(last_event_id)
    return (after or 0) if seen is None else seen


def _event(name: str, data: type[ResponseModel]) -> dict[str, Any]:
    content = {"contentMediaType": "application/json", "contentSchema": {"$ref": PLACE + data.__name__}}
    fields: dict[str, Any] = {"event": {"const": name}, "data": {"type": "string", **content}}
    if data is ScanLine:
        fields["id"] = {"type": "string"}
    return {"type": "object", "required": list(fields), "properties": fields}


_EVENT_STREAM: dict[str, Any] = {
    "description": "Server-sent events, their data as JSON. A line's id is its `seq`, and `Last-Event-ID`"
    " goes on after it. Comments keep an idle stream open.\n\n"
    + "\n".join(f"* `{name}`: {data.__doc__}" for name, data in EVENTS.items()),
    "content": {
        "text/event-stream": {
            "schema": {"oneOf": [_event(name, data) for name, data in EVENTS.items()]},
            "example": "id: 1\nevent: scan_line\n"
            'data: {"index":0,"text":"We have your order.","level":"info","step":"accepted"}\n\n'
            'event: status\ndata: {"status":"queued"}\n\nevent: done\ndata: {"status":"done"}\n\n',
        }
    },
}


@router.get(
    "/mma/stream/{generation_id}",
    summary="Follow a generation live",
    response_class=EventSourceResponse,
    dependencies=[Depends(in_bounds), Depends(_may_follow)],
    responses={
        200: _EVENT_STREAM,
        204: {"description": "It is final, and `Last-Event-ID` names its last line: nothing more is to come."},
        **error_responses(404),
    },
)
async def stream(
    request: Request, services: FromApp, generation_id: GenerationId, after: Annotated[int, Depends(cursor)]
) -> AsyncIterable[ServerSentEvent]:
    """Ends before its time when this process ends, or after STREAM_SECONDS_MAX: the client goes on with a new one.

    If there is no result, the status comes before the last line, which says why: clients type lines letter by letter,
    and begin their own notice with the status, which would cut the line off.
    """
    async for event in follow(services, request.app.state.leaving, generation_id, after):
        match event:
            case StoredLine() as line:
                data = {"index": line.seq - 1, "text": line.message, "level": line.level, "step": line.step}
                yield ServerSentEvent(id=str(line.seq), event="scan_line", data=data)
            case Status() as status:
                yield ServerSentEvent(event="status", data={"status": status})
            case LogReset(last_seq):
                yield ServerSentEvent(event="reset", data={"last_seq": last_seq})
            case LogEnded(status, error):
                yield ServerSentEvent(event="done", data={"status": status, **({"error": error} if error else {})})


@dataclass(frozen=True, slots=True)
class LogReset:
    """The client has seen more than there is: its log begins anew."""

    last_seq: int


@dataclass(frozen=True, slots=True)
class LogEnded:
    """The generation is final, and all of its lines were told. `error` is what its customer is told."""

    status: Status
    error: dict[str, Any] | None


async def follow(
    services: Services, leaving: asyncio.Event, generation_id: str, after: int
) -> AsyncIterator[StoredLine | Status | LogReset | LogEnded]:
    """The lines of the generation after `after`, its status whenever it changes, and its end."""
    shown: Status | None = None
    end_at = time.monotonic() + STREAM_SECONDS_MAX
    async with services.listener.subscribe(generation_id) as changed:
        while time.monotonic() < end_at and not leaving.is_set():
            changed.clear()
            async with services.db.connection() as conn:
                now = await job_log.tail(conn, generation_id, after)
            if now is None:
                return
            if after > now.last_seq:
                yield LogReset(now.last_seq)
                after = 0
                continue
            status = Status(now.status)
            for line in now.lines:
                if status in WITHOUT_RESULT and line.seq == now.last_seq:
                    shown = status
                    yield status
                after = line.seq
                yield line
            if len(now.lines) == LINES_AT_ONCE:
                continue
            if status is not shown:
                shown = status
                yield status
            if status.is_terminal:
                yield LogEnded(status, now.error)
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), POLL_SECONDS)
