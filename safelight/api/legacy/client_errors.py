"""`/api/log-error`: crashes that browsers report (docs/contract/errors.md).

Anybody may send these, and broken pages send many: the body is small, what is too long is cut, and no more than so
many rows a minute are written.
"""

import json
import re
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import AfterValidator, BeforeValidator

from safelight.api.auth.principals import no_identity
from safelight.api.http.bodies.json import SmallRequest
from safelight.api.http.errors import write_ops_row
from safelight.api.http.rate_limits import RateLimitGroup, limited_route
from safelight.api.http.request_ids import request_id
from safelight.api.http.services import FromApp
from safelight.api.schemas.aliases import AliasedModel, aliased
from safelight.api.schemas.responses import Ok
from safelight.db.operations.ops_rows import MESSAGE_CHARS_MAX, STACK_CHARS_MAX, OpsError
from safelight.domain.errors.base import InsufficientCredits
from safelight.domain.errors.categories import Category
from safelight.domain.ids import is_uuid
from safelight.redaction import DEFAULT_REDACTOR
from safelight.storage.web_urls import is_web_reference, without_unsafe_urls

EXTRA_CHARS_MAX = 4000
WORD_CHARS_MAX = 300
ROUTE_OF_NOWHERE = "/(frontend)"
SOURCE = "mina-frontend"
STATUS = 500
ACTION = "frontend.error"
_UNSAFE = re.compile(r"[^A-Za-z0-9._:@-]+")
_SAID_BY_EXTRA = ("status", "statusCode", "httpStatus", "http_status", "code", "error")
_SAYS_402 = re.compile(
    rf"{InsufficientCredits.code}|\b(?:status(?: code)?|http|error)[ :=/]*402\b|\b402 payment required"
    r"|\bthis needs \d+ credits?, and you have \d+",
    re.IGNORECASE,
)


router = APIRouter(route_class=limited_route(RateLimitGroup.ERROR_REPORTS, SmallRequest), tags=["legacy"])


def _cut(most: int) -> BeforeValidator:
    """Whatever it is, as text of at most so many characters."""
    return BeforeValidator(lambda value: (value.strip() if isinstance(value, str) else json.dumps(value))[:most])


Word = Annotated[str, _cut(WORD_CHARS_MAX)]


def _small_object(value: Any) -> dict[str, Any]:
    value = without_unsafe_urls(value)
    text = json.dumps(value)
    is_small = isinstance(value, dict) and len(text) <= EXTRA_CHARS_MAX
    return value if is_small else {"cut": text[:EXTRA_CHARS_MAX]}


# A crash is told whatever its page is called; only an http or https URL, or a path, is kept of that.
Page = Annotated[Word, AfterValidator(lambda url: url if is_web_reference(url) else ROUTE_OF_NOWHERE)]
Route = Annotated[Word, AfterValidator(lambda stated: stated if is_web_reference(stated) else "")]
Id = Annotated[Word, AfterValidator(lambda stated: DEFAULT_REDACTOR.safe_id(_UNSAFE.sub("", stated)))]


class ClientErrorBody(AliasedModel):
    """A crash as a browser reports it (docs/contract/errors.md). Every field is optional, and none is proven."""

    message: Annotated[str, _cut(MESSAGE_CHARS_MAX)] = aliased("", "What went wrong.", default="")
    stack: Annotated[str, _cut(STACK_CHARS_MAX)] = aliased("", "Where in the code.", default="")
    url: Page = aliased("", "The page.", default=ROUTE_OF_NOWHERE)
    user_agent: Word | None = aliased("userAgent", "The browser.")
    route: Route = aliased("", "The route of the client's own router, before `url`.", default="")
    pass_id: Id | None = aliased("passId", "The customer.")
    generation_id: Id | None = aliased("generationId", "What the page showed or waited for.")
    client_version: Word | None = aliased("clientVersion", "The client's version.")
    component: Word | None = aliased("componentName", "The component that crashed.")
    device: Word | None = aliased("", "The device.")
    status: Word = aliased(
        "statusCode|status_code|httpStatus|http_status", "The status of an answer of ours.", default="", example=402
    )
    code: Word = aliased("errorCode|error_code", "The code of an answer of ours.", default="")
    user_id: Word | None = aliased("userId", "The signed-in user, a uuid.")
    email: Word | None = aliased("", "Their address.")
    extra: Annotated[dict[str, Any], BeforeValidator(_small_object)] = aliased("", "Anything else.", default={})

    @property
    def is_about_credits(self) -> bool:
        """Return true if the client only passes on that there were not enough credits: our own 402. Where it is an
        error of the client's, the code of it stands in the message (docs/contract/http.md)."""
        stated = (self.status, self.code, *(str(self.extra.get(name, "")) for name in _SAID_BY_EXTRA))
        return bool({"402", InsufficientCredits.code} & set(stated)) or _SAYS_402.search(self.message) is not None


@router.post(
    "/api/log-error",
    summary="Report a crash of the client",
    dependencies=[no_identity("Pages on which nobody has signed in crash too, and nothing is told.")],
)
async def log_error(request: Request, services: FromApp, body: ClientErrorBody) -> Ok:
    """The answer is the same whether a row was written or not."""
    if services.allowances.client_errors.take():
        await write_ops_row(services, _row(request, body))
    return Ok()


def _row(request: Request, body: ClientErrorBody) -> OpsError:
    is_crash = not body.is_about_credits
    category = Category.FRONTEND_CRASH if is_crash else InsufficientCredits.category
    user_agent = body.user_agent or request.headers.get("user-agent", "")[:WORD_CHARS_MAX]
    return OpsError(
        category=category,
        code=category.value if is_crash else InsufficientCredits.code,
        level="error" if is_crash else "warn",
        message=body.message or "(no message)",
        request_id=request_id(),
        route=body.route or body.url,
        method="FRONTEND",
        http_status=STATUS if is_crash else InsufficientCredits.http_status,
        action=ACTION,
        pass_id=body.pass_id,
        generation_id=body.generation_id,
        stack=body.stack or None,
        ip=request.client.host if request.client else None,
        user_agent=user_agent,
        user_id=body.user_id if body.user_id and is_uuid(body.user_id) else None,
        email=body.email,
        source=SOURCE,
        # Whole too: our own fields go before a browser's of the same name.
        extra=body.extra
        | {
            "extra": body.extra,
            "url": body.url,
            "user_agent": user_agent,
            **{name: getattr(body, name) or body.extra.get(name) for name in ("client_version", "component", "device")},
        },
    )
