"""One table from errors to answers, and to the ops plane.

Every error body is `{ok:false, error, message, requestId}`, but for what `error_formats.py` says of the legacy routes,
and for `/api/v1`, whose errors are problem details (`schemas/problems.py`). 402 adds the keys of docs/contract/http.md.
A row is written to the ops plane for every answer of 5xx, for refused access, and for requests that change something
and were wrong.
"""

import math
import traceback
from dataclasses import dataclass, field
from typing import Any

import psycopg
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from safelight import telemetry
from safelight.api.http import error_formats
from safelight.api.http.request_ids import origin, request_id
from safelight.api.http.services import Services, services_of
from safelight.api.schemas import problems
from safelight.db.connection.database import TRANSIENT_ERRORS
from safelight.db.operations import ops_rows
from safelight.db.operations.ops_rows import OpsError
from safelight.domain.errors import base
from safelight.domain.errors.categories import Category, category_of_status
from safelight.domain.errors.retries import RetryLater, TooManyRequests
from safelight.redaction import DEFAULT_REDACTOR

RETRY_AFTER_SECONDS = 2
_LATER = {"Retry-After": str(RETRY_AFTER_SECONDS)}
VALIDATION_PROBLEMS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """The answer to an error. `already_reported`: operators know of it."""

    status: int
    code: str
    message: str
    stated_category: Category | None = None
    more: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    database_unavailable: bool = False
    already_reported: bool = False

    @property
    def category(self) -> Category:
        return self.stated_category or category_of_status(self.status)


def error_response(request: Request, error: Exception) -> ErrorResponse:
    """The table."""
    match error:
        case base.InsufficientCredits():
            return _insufficient(request, error)
        case RetryLater():
            headers = {"Retry-After": str(max(1, math.ceil(error.retry_after_seconds)))}
            return ErrorResponse(error.http_status, error.code, error.safe_message, error.category, headers=headers)
        case base.ResultPending():
            more = {"generationId": error.generation_id}
            return ErrorResponse(
                503, error.code, error.safe_message, error.category, more, _LATER, already_reported=True
            )
        case base.SafelightError():
            failed = _format(request).failed if error.http_status >= 500 else None
            status, code = (500, failed) if failed else (error.http_status, error.code)
            is_known = isinstance(error, base.GenerationFailed)
            return ErrorResponse(status, code, error.safe_message, error.category, already_reported=is_known)
        case RequestValidationError():
            return ErrorResponse(400, "VALIDATION_ERROR", _problems(error))
        case HTTPException():
            return _unroutable(request, error)
        case _ if isinstance(error, TRANSIENT_ERRORS):
            away = _format(request)
            message = "We are very busy, or the database cannot be reached. Please try again in a moment."
            return ErrorResponse(away.away_status, away.away_code, message, headers=_LATER, database_unavailable=True)
    code = _format(request).failed or error_formats.ROUTE_CODES.get(_route(request), "INTERNAL_ERROR")
    return ErrorResponse(500, code, "Something went wrong on our side.")


def _unroutable(request: Request, error: HTTPException) -> ErrorResponse:
    match error.status_code:
        case 404:
            return ErrorResponse(404, "NOT_FOUND", f"There is nothing at {request.url.path}.")
        case 405:
            message = f"{request.method} is not possible at {request.url.path}."
            return ErrorResponse(405, "METHOD_NOT_ALLOWED", message, headers=dict(error.headers or {}))
        case status:
            return ErrorResponse(status, "HTTP_ERROR", str(error.detail))


async def exception_handler(request: Request, error: Exception) -> JSONResponse:
    response = await report(request, error)
    if problems.is_of_v1(request.url.path):
        return _problem(request, response, error)
    body = {
        "ok": False,
        "error": response.code,
        "message": DEFAULT_REDACTOR.text(response.message),
        "requestId": request_id(),
        **response.more,
    }
    if "Retry-After" in response.headers:
        body[error_formats.RETRY] = int(response.headers["Retry-After"])
    shaped = _format(request).body(body, response.status, database_unavailable=response.database_unavailable)
    return JSONResponse(shaped, response.status, response.headers)


def _problem(request: Request, response: ErrorResponse, error: Exception) -> JSONResponse:
    """The answer of `/api/v1`."""
    retryable = response.database_unavailable or bool(getattr(error, "retryable", False))
    content = problems.problem(
        response.status,
        response.code,
        response.message,
        request.url.path,
        request_id(),
        retryable=retryable or "Retry-After" in response.headers,
        error=error,
    ).model_dump(mode="json")
    if "Retry-After" in response.headers:
        content[error_formats.RETRY] = int(response.headers["Retry-After"])
    if isinstance(error, base.InsufficientCredits):
        content |= {"required_credits": error.required, "balance": error.balance}
    return JSONResponse(content, response.status, response.headers, media_type=problems.MEDIA_TYPE)


async def report(request: Request, error: Exception) -> ErrorResponse:
    """Log the error, and write a row for operators if it matters to them. Returns the answer of the client."""
    response = error_response(request, error)
    if response.status >= 500:
        _log(request, response, error)
    if _should_report(request, response, error):
        await _report_to_operators(request, response, error)
    return response


def _log(request: Request, response: ErrorResponse, error: Exception) -> None:
    text = f"{request.method} {request.url.path}: {error!r}"
    if response.database_unavailable or response.already_reported or isinstance(error, RetryLater):
        telemetry.warning(telemetry.Tag.API, text)
    else:
        telemetry.error(response.category.emoji, telemetry.Tag.API, text, error)


def _insufficient(request: Request, error: base.InsufficientCredits) -> ErrorResponse:
    """Return the 402. Its message is a sentence on routes whose clients show it, and begins with the code on others."""
    more = {
        "requiredCredits": error.required,
        "currentCredits": error.balance,
        "passId": getattr(request.state, "pass_id", None),
    }
    if _named_route(request) in error_formats.WAIT_FOR_RESULT or problems.is_of_v1(request.url.path):
        needed = "1 credit" if error.required == 1 else f"{error.required} credits"
        return ErrorResponse(402, error.code, f"This needs {needed}, and you have {error.balance}.", more=more)
    details = {"required": error.required, "needed": error.required, "balance": error.balance}
    return ErrorResponse(402, error.code, error.safe_message, more=more | {"details": details})


def _problems(error: RequestValidationError) -> str:
    """`inputs.brief: String should have at most 8000 characters`: the field, and what is allowed."""
    found = (
        f"{'.'.join(str(part) for part in problem['loc'] if part != 'body') or 'body'}: {problem['msg']}"
        for problem in error.errors()[: 2 * VALIDATION_PROBLEMS_SHOWN]  # an id is checked for its route, too
    )
    return "; ".join(list(dict.fromkeys(found))[:VALIDATION_PROBLEMS_SHOWN])


def _route(request: Request) -> str:
    return getattr(request.scope.get("route"), "path", request.url.path)


def _named_route(request: Request) -> str:
    return f"{request.method} {_route(request)}"


def _format(request: Request) -> error_formats.ErrorFormat:
    return error_formats.of(_named_route(request))


def _should_report(request: Request, response: ErrorResponse, error: Exception) -> bool:
    allowances = services_of(request).allowances
    if response.already_reported or (response.status == 401 and getattr(request.state, "wrong_admin_token", False)):
        return False
    alike = f"{response.status} {response.code} {_route(request)}"
    if isinstance(error, TooManyRequests):
        return error.is_news and allowances.refusals.take(alike)
    if response.database_unavailable or isinstance(error, RetryLater):
        return allowances.unavailable.take(alike)
    if response.status >= 500:
        return allowances.failures.take(alike)
    if response.status in (401, 403):
        return allowances.refusals.take(alike)
    wrong = request.method == "POST" and response.status in (400, 413, 415, 422)
    return (wrong or response.status == 408) and allowances.invalid.take(alike)


async def _report_to_operators(request: Request, response: ErrorResponse, error: Exception) -> None:
    row = OpsError(
        category=response.category,
        code=response.code,
        message=_message(response, error),
        level="error" if response.status >= 500 else "warn",
        http_status=response.status,
        pass_id=getattr(request.state, "pass_id", None),
        generation_id=request.path_params.get("generation_id"),
        stack="".join(traceback.format_exception(error)) if response.status >= 500 else None,
        **origin(request),
    )
    services = services_of(request)
    if response.database_unavailable:
        services.spool.append(row)
        return
    await write_ops_row(services, row)


def _message(response: ErrorResponse, error: Exception) -> str:
    """Return the whole message, for operators: users may learn less."""
    if response.status >= 500:
        return f"{type(error).__name__}: {error}"
    if isinstance(error, base.InvalidToken):
        return f"{error} Reason: {error.details.get('reason', 'not known')}."
    return str(error) if isinstance(error, base.RemoteFileRefused) else response.message


async def report_wrong_admin_token(request: Request) -> None:
    """Tell operators, who learn the address and not what was tried."""
    row = OpsError(
        category=Category.AUTH_ERROR,
        code="WRONG_ADMIN_TOKEN",
        message="A wrong admin token came from this address. More of it are counted, and told once a minute.",
        level="warn",
        http_status=401,
        **origin(request),
    )
    services = services_of(request)
    if services.allowances.wrong_admin_tokens.take():
        await write_ops_row(services, row)


async def write_ops_row(services: Services, row: OpsError) -> None:
    """Write the row, or keep it for later: whatever is answered goes out all the same."""
    try:
        async with services.db.connection() as conn:
            await ops_rows.insert(conn, row)
    except psycopg.Error:
        services.spool.append(row)
