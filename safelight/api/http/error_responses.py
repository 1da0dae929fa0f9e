"""Error responses in the OpenAPI document. Most of them follow from what a route declares; it states the others. The
models of their bodies are chosen by the table that shapes them (`error_formats.py`)."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import MISSING, Field

from safelight.api.http import error_formats
from safelight.api.schemas import fields, problems
from safelight.api.schemas.fields import Json
from safelight.api.schemas.responses import ResponseModel

Responses = dict[int | str, Json]

MEANINGS = {
    400: "Something in it is wrong; the message names it.",
    401: "Who is calling matters here, and it is not said, or not proven.",
    402: "Not enough credits.",
    403: "We know who is calling, and they may not.",
    404: "There is no such thing, or it is somebody else's.",
    413: "The body is too large.",
    415: "The body is of a type that is not read here.",
    429: "Too much at once; `Retry-After`, and `retry_after_seconds` in the body, say when to come back.",
    422: "The idempotency key was used for another request.",
    500: "Something went wrong on our side; operators are told.",
    503: "The database, or the keys of tokens, cannot be had just now.",
}

STILL_MAKING_MEANS = "It goes on; ask again with the same idempotency key, or look at `/mma/generations/{id}`."


# A path that is no text, and an address that stated too many wrong admin tokens: refused before a route is looked for.
ANYWHERE = (400, 429, 500)
IDENTIFIED = (401, 403, 503)
# Whoever cannot be signed in, for whatever reason, is told with 200 that nobody is.
NEVER_SENT = {"POST /auth/shopify-sync": (401, 503)}


def error_responses(*statuses: int, described: Mapping[int, str] | None = None) -> Responses:
    """The statuses by their general meaning, and those that are `described`."""
    texts = {status: MEANINGS[status] for status in statuses} | dict(described or {})
    return {status: {"description": text} for status, text in texts.items()}


def implied_responses(name: str, operation: Json, *, is_anonymous: bool, is_strict: bool) -> Responses:
    """The error responses that follow from what a route declares: its body, its idempotency key, who may call it."""
    content = operation.get("requestBody", {}).get("content", {})
    has_key = any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ()))
    found = error_responses(
        *ANYWHERE,
        *(() if is_anonymous else [status for status in IDENTIFIED if status not in NEVER_SENT.get(name, ())]),
        *((413,) if content else ()),
        *((415,) if is_strict and "application/json" in content else ()),
        *((422,) if has_key else ()),
    )
    if name in error_formats.HELD:
        found |= error_responses(described={503: STILL_MAKING_MEANS})
    if codes := error_formats.of(name).failure_codes:
        found[500]["description"] += f" Codes: {', '.join(codes)}."
    return found


RetryAfter = Annotated[int | MISSING, Field(ge=1, description="As the header `Retry-After`, where that is sent.")]


class Refusal(ResponseModel):
    """Every error answer, but for what is said of the route."""

    ok: Literal[False] = False
    error: str = Field(examples=["VALIDATION_ERROR"])
    message: str = Field(examples=["passId: what is wrong."])
    requestId: fields.RequestId
    retry_after_seconds: RetryAfter = MISSING


class NotEnoughCredits(Refusal):
    error: str = Field(examples=["INSUFFICIENT_CREDITS"])
    message: str = Field(examples=["This needs 5 credits, and you have 2."])
    requiredCredits: fields.Count = Field(examples=[5])
    currentCredits: int = Field(examples=[2])
    passId: fields.PassId | None


class CreditsNeeded(ResponseModel):
    required: fields.Count = Field(examples=[5])
    needed: fields.Count = Field(examples=[5])
    balance: int = Field(examples=[2])


class NotEnoughCreditsInDetail(NotEnoughCredits):
    message: str = Field(examples=["INSUFFICIENT_CREDITS: this needs 5 credits and the balance is 2."])
    details: CreditsNeeded


class ResultPendingBody(Refusal):
    """It goes on by itself."""

    error: str = Field(examples=["STILL_MAKING"])
    message: str = Field(
        examples=["This takes longer than usual and goes on by itself. The result will be in your history."]
    )
    generationId: fields.GenerationId


class Sentence(ResponseModel):
    """An error of the oldest routes."""

    error: str = Field(examples=["customerId: say whose settings these are."])
    retry_after_seconds: RetryAfter = MISSING


class SentenceNotOk(Sentence):
    ok: Literal[False] = False


class Unauthorized(ResponseModel):
    error: Literal["Unauthorized"] = "Unauthorized"


MODELS = (
    Refusal, NotEnoughCredits, NotEnoughCreditsInDetail, ResultPendingBody, Sentence, SentenceNotOk, Unauthorized,
    problems.ProblemDetails,
)  # fmt: skip


def models_of(route: str, status: int) -> tuple[type[ResponseModel], ...]:
    """The bodies of a status; `route` is a method and the path as it is declared."""
    if problems.is_of_v1(route.partition(" ")[2]):
        return (problems.ProblemDetails,)
    shape = error_formats.of(route)
    sentence = SentenceNotOk if shape.says_not_ok else Sentence
    if shape.is_operators and status in (401, 403):
        return (Unauthorized,)
    if shape.sentence:
        return (sentence,)
    if status == 402:
        return (NotEnoughCredits if route in error_formats.WAIT_FOR_RESULT else NotEnoughCreditsInDetail,)
    if status == 503 and route in error_formats.HELD:
        return (ResultPendingBody, Refusal)
    if status == shape.away_status and shape.sentence_when_away:
        return (sentence, Refusal)
    return (Refusal,)


def media_type_of(route: str) -> str:
    """The media type of the error answers of a route."""
    return problems.MEDIA_TYPE if problems.is_of_v1(route.partition(" ")[2]) else "application/json"
