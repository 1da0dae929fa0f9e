"""One log line for each request, when its answer has ended; and the ids that all log lines of a request name."""

import time
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from safelight import telemetry
from safelight.api.http.middleware import HttpMiddleware
from safelight.redaction import DEFAULT_REDACTOR

PATH_CHARS_MAX = 200
LEFT = "-"  # the status of a request whose client left before there was an answer


class RequestIds(telemetry.LogIds):
    """The ids of one request: those that were noted, else those that the route has found out, else those in the path.
    They are read when a line is written, so that a line names what is known by then."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._scope = scope

    def get(self, name: str) -> Any:
        state, path = self._scope.get("state", {}), self._scope.get("path_params", {})
        return super().get(name) or state.get(name) or path.get(name)


class AccessLog(HttpMiddleware):
    """Outside of all other middleware, so that it sees every answer. Neither query, headers nor body are written."""

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})
        started, status = time.monotonic(), 0

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with telemetry.about(RequestIds(scope)):
            try:
                await self._app(scope, receive, send_seen)
            finally:
                _write(scope, status, time.monotonic() - started)


def _write(scope: Scope, status: int, seconds: float) -> None:
    method, route, ms = scope["method"], _route(scope), round(seconds * 1000, 1)
    text = f"{method} {route} {status or LEFT} {ms} ms"
    fields = {"method": method, "route": route, "status": status or None, "ms": ms}
    if status >= 500:
        telemetry.warning(telemetry.Tag.API, text, **fields)
    else:
        telemetry.info("🌐", telemetry.Tag.API, text, **fields)


def _route(scope: Scope) -> str:
    """The route's pattern, which holds no id and no secret; of a path without a route its beginning."""
    pattern = getattr(scope.get("route"), "path", None)
    return str(pattern) if pattern else DEFAULT_REDACTOR.text(scope["path"][:PATH_CHARS_MAX])
