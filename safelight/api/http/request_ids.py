"""The id of a request: the one that its client or a proxy states in `X-Request-Id`, else one of ours. It is in the
answer, in every log line and in every row of the request."""

import re
import time
import uuid
from typing import Any

from fastapi import Depends, Request
from starlette.datastructures import Headers
from starlette.types import Scope

from safelight import telemetry
from safelight.redaction import DEFAULT_REDACTOR, excerpt

HEADER = "X-Request-Id"
CHARS_MAX = 128
USER_AGENT_CHARS_MAX = 300
_UNSAFE = re.compile(r"[^A-Za-z0-9._:@/+=-]+")
_OURS = "req_"


def of_scope(scope: Scope) -> dict[str, Any]:
    """Return `request_id`, and `unique_request_id`, which is always ours: no two requests share it. Of a stated id
    counts what is left without characters that no id needs, and without secrets."""
    unique = f"{_OURS}{time.time_ns() // 1_000_000}_{uuid.uuid4()}"
    stated = _UNSAFE.sub("", Headers(scope=scope).get(HEADER, ""))[:CHARS_MAX]
    return {"request_id": DEFAULT_REDACTOR.safe_id(stated) if stated else unique, "unique_request_id": unique}


def request_id() -> str:
    """The id of the request that the current context serves."""
    return str(telemetry.known("request_id") or "")


def unique_request_id(request: Request) -> str:
    """Return the id for what must be written once: a client may state the same `request_id` again, which is in it."""
    stated, unique = request_id(), str(request.state.unique_request_id)
    return unique if stated == unique else f"{stated}:{unique}"


def prefixed(prefix: str) -> Any:
    """A dependency: the ids that we give to requests of this route begin with `prefix` (docs/contract/http.md)."""

    async def begin_with_it(request: Request) -> None:
        state, ours = request.state, prefix + request.state.unique_request_id.removeprefix(_OURS)
        if state.request_id == state.unique_request_id:
            state.request_id = ours
        state.unique_request_id = ours

    return Depends(begin_with_it)


def origin(request: Request) -> dict[str, Any]:
    """The sender and the route of a request, as rows for operators state them."""
    return {
        "request_id": request_id(),
        "route": getattr(request.scope.get("route"), "path", request.url.path),
        "method": request.method,
        "ip": request.client.host if request.client else None,
        "user_agent": excerpt(request.headers.get("user-agent", ""), USER_AGENT_CHARS_MAX),
    }
