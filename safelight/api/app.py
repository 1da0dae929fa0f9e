"""The HTTP application: routes, request ids, CORS, the error table, OpenAPI."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from safelight import __version__
from safelight.api.auth.identity import HEADER, authenticated
from safelight.api.auth.principals import is_anonymous
from safelight.api.http import errors, openapi, request_ids
from safelight.api.http.access_log import AccessLog
from safelight.api.http.middleware import CompressHistory, Cors, HeadAsGet, HttpMiddleware, check_target
from safelight.api.http.services import Services
from safelight.api.legacy import (
    admin,
    billing,
    client_errors,
    credits,
    customers,
    feedback,
    generate,
    history,
    sign_in,
    statistics,
)
from safelight.api.routes import (
    failures,
    files,
    front_page,
    metrics,
    mma,
    remote_files,
    runtime_config,
    service,
    stream,
    webhooks,
)
from safelight.api.schemas import examples, problems
from safelight.api.v1 import account as v1_account
from safelight.api.v1 import catalogue as v1_catalogue
from safelight.api.v1 import generation_changes as v1_generation_changes
from safelight.api.v1 import generations as v1_generations
from safelight.api.v1 import logs as v1_logs
from safelight.api.v1 import projects as v1_projects
from safelight.api.v1 import receipt as v1_receipt
from safelight.api.v1 import results as v1_results
from safelight.api.v1 import statistics as v1_statistics
from safelight.api.v1 import storage as v1_storage
from safelight.api.v1 import stream as v1_stream
from safelight.api.v1 import templates as v1_templates
from safelight.db.connection.database import TRANSIENT_ERRORS
from safelight.domain.errors.base import SafelightError

EXPOSED_HEADERS = (HEADER, "X-Request-Id", "Retry-After")
DESCRIPTION = (
    "The backend for generative-media products in which no generation is lost, stuck, paid twice or unexplained."
)

ROUTE_MODULES = (
    front_page, mma, stream, customers, failures, service, webhooks, metrics, sign_in, credits, billing, generate,
    feedback, history, statistics, client_errors, admin, runtime_config, files, remote_files,
    v1_statistics, v1_generations, v1_generation_changes, v1_results, v1_stream, v1_logs, v1_projects, v1_account,
    v1_templates, v1_storage, v1_catalogue, v1_receipt,
)  # fmt: skip

StartServices = Callable[[], AbstractAsyncContextManager[Services]]


def create_api(
    start: StartServices, *, cors_origins: Sequence[str], server: Callable[[], str] = lambda: examples.SERVER
) -> FastAPI:
    """`start` gives the services for as long as the server runs; `server` its address."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with start() as services:
            app.state.services = services
            await front_page.store_sample(services.assets)
            yield

    app = FastAPIOffline(title="safelight", version=__version__, description=DESCRIPTION, lifespan=lifespan)
    app.state.leaving = asyncio.Event()
    for error_type in (SafelightError, RequestValidationError, HTTPException, *TRANSIENT_ERRORS):
        app.add_exception_handler(error_type, errors.exception_handler)
    app.add_exception_handler(stream.NothingMore, stream.stay_away)
    for module in ROUTE_MODULES:
        app.include_router(module.router)
    openapi.install_openapi(app, server, is_anonymous)
    app.add_middleware(HeadAsGet)
    app.add_middleware(RequestContextMiddleware)
    app.add_middleware(CompressHistory)
    app.add_middleware(Cors, origins=cors_origins, exposed_headers=EXPOSED_HEADERS)
    app.add_middleware(AccessLog)
    return app


class RequestContextMiddleware(HttpMiddleware):
    """Gives each request its id, checks its path and query, finds out who sent it, says whose it was in the answer's
    header, keeps JSON out of caches, and answers what nobody expected."""

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        state: dict[str, Any] = scope.setdefault("state", {})
        state |= request_ids.of_scope(scope)
        started = False

        async def send_named(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _complete(MutableHeaders(scope=message), state)
            await send(message)

        try:
            check_target(scope)
            async with authenticated(scope):
                await self._app(scope, receive, send_named)
        except ClientDisconnect:
            return  # before the body was whole: nobody waits for an answer
        except Exception as error:
            if started and isinstance(error, ExceptionGroup) and error.split(anyio.BrokenResourceError)[1] is None:
                return  # the client of a stream went away while something was sent, and that is all that happened
            if started:
                raise
            response = await errors.exception_handler(Request(scope, receive), error)
            await response(scope, receive, send_named)
        finally:
            scope["app"].state.services.bodies.release(Request(scope))


def _complete(headers: MutableHeaders, state: Mapping[str, Any]) -> None:
    """Add ids, and cache rules: JSON is for who asked, and for now, if its route says nothing else. A stream is passed
    on as it comes: a proxy that compresses it holds its lines back."""
    headers["X-Request-Id"] = state["request_id"]
    if pass_id := state.get("pass_id"):
        headers[HEADER] = str(pass_id).encode("latin-1", "replace").decode("latin-1")
    media_type = headers.get("content-type", "").partition(";")[0]
    if media_type == "text/event-stream":
        headers["Cache-Control"] = "no-cache, no-transform"
    elif media_type in ("application/json", problems.MEDIA_TYPE):
        headers.setdefault("Cache-Control", "no-store")
