"""What a refusal looks like in the OpenAPI document: which statuses a route may answer with beside 200, and, by the
same table that shapes the bodies (`manners.py`), what is in them."""

from typing import Annotated, Any, Literal

from pydantic import MISSING, Field

from safelight.api.http import error_formats
from safelight.api.schemas.responses import Count, ResponseModel

Json = dict[str, Any]
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


def error_responses(*statuses: int) -> Responses:
    """500 is always among them, and 403 wherever it matters who is calling."""
    more = (403, 500) if 401 in statuses else (500,)
    return {status: {"description": MEANINGS[status]} for status in (*statuses, *more)}


BY_OPERATORS = error_responses(400, 401, 503)
# A path that is no text, and an address that stated too many wrong admin tokens: refused before a route is looked for.
ANYWHERE: dict[int, Json] = {status: {"description": MEANINGS[status]} for status in (400, 429)}


RetryAfter = Annotated[int | MISSING, Field(ge=1, description="As the header `Retry-After`, where that is sent.")]


class Refusal(ResponseModel):
    """Every error answer, but for what is said of the route."""

    ok: Literal[False]
    error: str
    message: str
    requestId: str
    retry_after_seconds: RetryAfter = MISSING


class NotEnoughCredits(Refusal):
    requiredCredits: Count
    currentCredits: int
    passId: str | None


class CreditsNeeded(ResponseModel):
    required: Count
    needed: Count
    balance: int


class NotEnoughCreditsInDetail(NotEnoughCredits):
    details: CreditsNeeded


class ResultPending(Refusal):
    """It goes on by itself."""

    generationId: str


class Sentence(ResponseModel):
    """How the oldest routes refuse."""

    error: str
    retry_after_seconds: RetryAfter = MISSING


class SentenceNotOk(Sentence):
    ok: Literal[False]


class Unauthorized(ResponseModel):
    error: Literal["Unauthorized"]


_REQUEST = "req_1766131200000_7f1d2c1e-6a51-4a55-9a5e-7f6f1f0b7c55"
_REFUSED = {"ok": False, "error": "VALIDATION_ERROR", "message": "passId: what is wrong.", "requestId": _REQUEST}
_POOR = {
    "error": "INSUFFICIENT_CREDITS",
    "message": "INSUFFICIENT_CREDITS: this needs 5 credits and the balance is 2.",
    "requiredCredits": 5,
    "currentCredits": 2,
    "passId": "pass:user:42",
}
EXAMPLES: dict[type[ResponseModel], Json] = {
    Refusal: _REFUSED,
    NotEnoughCredits: _REFUSED | _POOR | {"message": "This needs 5 credits, and you have 2."},
    NotEnoughCreditsInDetail: _REFUSED | _POOR | {"details": {"required": 5, "needed": 5, "balance": 2}},
    ResultPending: _REFUSED
    | {
        "error": "STILL_MAKING",
        "message": "This takes longer than usual and goes on by itself. The result will be in your history.",
        "generationId": "019a9f1c-7d2e-7c11-a5a0-6f2b8c1d9e42",
    },
    Sentence: {"error": "customerId: say whose settings these are."},
    SentenceNotOk: {"ok": False, "error": "The database cannot be reached."},
    Unauthorized: {"error": "Unauthorized"},
}


def models_of(route: str, status: int) -> tuple[type[ResponseModel], ...]:
    """The bodies of a status; `route` is a method and the path as it is declared."""
    told = error_formats.of(route)
    sentence = SentenceNotOk if told.says_not_ok else Sentence
    if told.is_operators and status in (401, 403):
        return (Unauthorized,)
    if told.sentence:
        return (sentence,)
    if status == 402:
        return (NotEnoughCredits if route in error_formats.WAIT_FOR_RESULT else NotEnoughCreditsInDetail,)
    if status == 503 and route in error_formats.HELD:
        return (ResultPending, Refusal)
    if status == told.away[0] and told.sentence_when_away:
        return (sentence, Refusal)
    return (Refusal,)
