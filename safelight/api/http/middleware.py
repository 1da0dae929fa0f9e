"""Middleware for all routes: CORS, HEAD, the compression of long lists, and the check of path and query."""

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safelight.domain.errors.base import InvalidInput

PREFLIGHT_SECONDS = 600
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
HISTORY = "/history"
GZIP_LEVEL = 3  # a history of 8 MB would hold up the event loop for longer than the network saves
GZIP_BYTES_MIN = 1024
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Cors(CORSMiddleware):
    """An allowed origin may send any header: browsers' libraries add headers of their own. A preflight request is
    answered with 204, without `Access-Control-Allow-Origin` if the origin is not allowed."""

    def __init__(self, app: ASGIApp, *, origins: Sequence[str], exposed_headers: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=list(origins),
            allow_methods=METHODS,
            allow_headers=["*"],
            expose_headers=exposed_headers,
            max_age=PREFLIGHT_SECONDS,
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        answer = super().preflight_response(request_headers)
        kept = {name: value for name, value in answer.headers.items() if not name.startswith("content-")}
        if "access-control-allow-origin" not in kept:
            kept.pop("access-control-allow-headers", None)
        return Response(status_code=204, headers=kept)


class CompressHistory(GZipMiddleware):
    """Compresses the histories, the only answers that are long and are text."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app, minimum_size=GZIP_BYTES_MIN, compresslevel=GZIP_LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(HISTORY):
            await super().__call__(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class HttpMiddleware(ABC):
    """The base of middleware that looks at HTTP requests alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self.serve if scope["type"] == "http" else self._app)(scope, receive, send)

    @abstractmethod
    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""


class HeadAsGet(HttpMiddleware):
    """Answers HEAD as GET is answered, without the body (RFC 9110, section 9.3.2). A stream ends after its headers."""

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["is_head"] = True
        head = _Head(send)
        await self._app({**scope, "method": "GET"}, head.receive, head.send)


class _Head:
    """Sends the headers alone; once they are sent, the client counts as gone, so that nothing more is made for it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_asked = False
        self._answered = asyncio.Event()

    async def receive(self) -> Message:
        if not self._is_asked:
            self._is_asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._answered.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(message)
        elif not self._answered.is_set():
            self._answered.set()
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def is_head(request: Request) -> bool:
    """Return true if the client sent HEAD; the routes see GET."""
    return bool(getattr(request.state, "is_head", False))


def check_target(scope: Scope) -> None:
    """Raises InvalidInput for control characters and for what is not UTF-8, written out or percent-encoded."""
    _check_text("path", scope.get("raw_path") or scope["path"].encode())
    for pair in scope.get("query_string", b"").split(b"&"):
        name, _, value = pair.partition(b"=")
        _check_text(f"query.{_check_text('query', name)}", value)


def _check_text(field: str, encoded: bytes) -> str:
    """The text."""
    try:
        text = unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{field}: it must be UTF-8 text, percent-encoded.") from error
    if found := _CONTROL.search(text):
        raise InvalidInput(f"{field}: control characters (here U+{ord(found[0]):04X}) are not allowed.")
    return text
