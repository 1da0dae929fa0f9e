"""The legacy contract as facts: each route of its index, what it answers, and each error it names.

A shape is what an answer must be once ids and times are masked: a literal, a type, a pattern, an `Or` of shapes, a
list of one shape, or exactly these keys. `tests/api/legacy/test_legacy_routes.py` holds the answers against these shapes, and
`python -m tests.support.route_matrix` tells from them what is tested.
"""

import re
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Or:
    shapes: tuple[Any, ...]


def named(prefix: str) -> re.Pattern[str]:
    """A request id that begins with it."""
    return re.compile(prefix + r"\d{13}_[0-9a-f-]{36}")


def maybe(shape: Any) -> Or:
    return Or((None, shape))


class Anything(dict):  # type: ignore[type-arg]
    """An object whose keys are somebody else's."""


REQUEST = named("req_")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*")
URL = re.compile(r"https?://[^?]+")
PASS = re.compile(r"pass:.+")
SENTENCE = re.compile(r"[A-Za-z].{8,}", re.DOTALL)

GPT = {"usedFallback": False, "error": None}
PRESET_META = {"source": Or(("none", "preset_only")), "likesCount": int, "presetKey": maybe(str)}
WITH_VISION = PRESET_META | {"mergeSource": str}
META = Or(
    (
        PRESET_META,
        WITH_VISION | {"reason": "not_enough_likes", "minLikesForFirstProfile": int},
        WITH_VISION | {"source": "recomputed", "likesCountAtProfile": int, "updatedAt": TIME, "refreshStep": int},
    )
)
PROFILE = {"styleProfile": maybe({"keywords": [str], "description": str}), "styleProfileMeta": META}
MADE = {
    "ok": True,
    "message": SENTENCE,
    "requestId": REQUEST,
    "prompt": str,
    "generationId": UUID,
    "sessionId": UUID,
    "passId": PASS,
    "credits": {"balance": int, "cost": int},
}
STORED = {"ok": True, "key": str, "url": URL, "publicUrl": URL}
ROW = Anything()
HISTORY = {
    "ok": True,
    "requestId": REQUEST,
    "passId": maybe(PASS),
    "customerId": str,
    "passIdsChecked": [str],
    "credits": {"balance": int, "expiresAt": maybe(TIME), "history": [ROW]},
    "page": {"limit": int, "cursor": maybe(TIME), "nextCursor": maybe(TIME), "hasMore": bool, "returned": int},
    "sessions": [ROW],
    "generations": [ROW],
    "feedbacks": [ROW],
}
ATTACHMENT = "a file"
TREE = {"models": Anything(), "credits": Anything(), "replicate": Anything(), "gpt": Anything()}
TICKET = {"ok": True, "key": str, "uploadUrl": str, "publicUrl": URL, "url": URL, "expiresIn": 600}
HEALTH = {
    "ok": True, "service": str, "time": TIME, "supabase": bool, "version": str, "engines": list,
    "live": True, "ready": bool, "not_ready": maybe(str),
}  # fmt: skip


def coded(code: str, prefix: str = "req_") -> Json:
    return {"ok": False, "error": code, "message": SENTENCE, "requestId": named(prefix)}


def short_of(required: int) -> Json:
    return coded("INSUFFICIENT_CREDITS") | {
        "requiredCredits": required,
        "currentCredits": int,
        "passId": maybe(PASS),
    }


LATER = {"retry_after_seconds": int}  # wherever `Retry-After` is sent
UNAUTHORIZED = {"error": "Unauthorized"}
SAID = {"error": SENTENCE}


@dataclass(frozen=True)
class Failure:
    """An error of the contract, or another answer than the one that is hoped for. `cannot` says why it does not happen
    here."""

    name: str
    status: int
    shape: Any
    cannot: str = ""


def no_db(prefix: str = "req_") -> Failure:
    return Failure("NO_DB", 500, coded("NO_DB", prefix) | LATER)


def no_supabase(prefix: str = "req_") -> Failure:
    return Failure("NO_SUPABASE", 503, coded("NO_SUPABASE", prefix) | LATER)


def refused(code: str, prefix: str = "req_", status: int = 400) -> Failure:
    return Failure(code, status, coded(code, prefix))


def broken(code: str, prefix: str = "req_") -> Failure:
    return Failure(code, 500, coded(code, prefix))


def said(name: str, status: int) -> Failure:
    return Failure(name, status, SAID | LATER if name == "away" else SAID)


@dataclass(frozen=True)
class Route:
    """One line of the contract's index."""

    number: int
    method: str
    path: str
    shape: Any
    failures: tuple[Failure, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


DENIED = (Failure("Unauthorized", 401, UNAUTHORIZED),)
VISITOR = {"ok": True, "user": None, "isAdmin": False, "passId": PASS, "requestId": named("me_")}
NOT_LOGGED_IN = {"ok": True, "loggedIn": False, "requestId": REQUEST}
TOP_UPS = {"customerId": PASS, "enabled": bool, "monthlyLimitPacks": int, "passId": PASS}
ORDERED = {"ok": True, "requestId": named("shopify_"), "orderId": str}
ALWAYS = "the storage is always set: a folder where nothing else is"

ROUTES = (
    Route(1, "GET", "/health", HEALTH),
    Route(
        2,
        "GET",
        "/me",
        VISITOR | {"user": {"id": UUID, "email": maybe(str)}, "isAdmin": bool},
        (
            no_supabase("me_"),
            refused("INVALID_TOKEN", "me_", 401),
            refused("MISSING_USER_ID", "me_", 401),
            Failure("nobody", 200, VISITOR),
            Failure("degraded", 200, VISITOR | {"degraded": True, "degradedReason": SENTENCE}),
        ),
    ),
    Route(
        3,
        "POST",
        "/auth/shopify-sync",
        NOT_LOGGED_IN | {"loggedIn": True, "passId": PASS, "email": maybe(str), "isNewUser": bool},
        (Failure("nobody", 200, NOT_LOGGED_IN), Failure("degraded", 200, NOT_LOGGED_IN | {"degraded": True})),
    ),
    Route(
        4,
        "GET",
        "/public/stats/total-users",
        {"ok": True, "totalUsers": int, "source": Or(("mega_customers", "no-supabase"))},
        (
            Failure("no-supabase", 200, {"ok": True, "totalUsers": 0, "source": "no-supabase"}),
            broken("STATS_FAILED"),
        ),
    ),
    Route(
        5,
        "POST",
        "/sessions/start",
        {
            "ok": True,
            "requestId": REQUEST,
            "session": {"id": UUID, "customerId": str, "platform": str, "title": str, "createdAt": TIME},
            "sessionId": UUID,
            "passId": maybe(PASS),
        },
        (no_db(), broken("SESSION_ERROR")),
    ),
    Route(
        6,
        "POST",
        "/editorial/generate",
        MADE
        | {
            "imageUrl": URL,
            "imageUrls": [URL],
            "gpt": GPT | PROFILE | {"imageTexts": [str], "userMessage": str},
        },
        (
            no_db(),
            refused("MISSING_INPUT"),
            Failure("INSUFFICIENT_CREDITS", 402, short_of(1)),
            broken("EDITORIAL_GENERATION_ERROR"),
            Failure("STILL_MAKING", 503, coded("STILL_MAKING") | LATER | {"generationId": UUID}),
        ),
    ),
    Route(
        7,
        "POST",
        "/motion/suggest",
        {
            "ok": True,
            "requestId": REQUEST,
            "suggestion": str,
            "passId": PASS,
            "gpt": {"usedFallback": bool, "error": maybe({"status": maybe(int), "message": SENTENCE})},
        },
        (no_db(), refused("MISSING_REFERENCE_IMAGE"), broken("MOTION_SUGGESTION_ERROR")),
    ),
    Route(
        8,
        "POST",
        "/motion/generate",
        MADE | {"videoUrl": URL, "gpt": GPT | PROFILE | {"userMessage": str}},
        (
            no_db(),
            refused("MISSING_LAST_IMAGE"),
            refused("MISSING_MOTION_DESCRIPTION"),
            Failure("INSUFFICIENT_CREDITS", 402, short_of(5)),
            broken("MOTION_GENERATION_ERROR"),
        ),
    ),
    Route(
        9,
        "POST",
        "/feedback/like",
        {
            "ok": True,
            "message": SENTENCE,
            "requestId": REQUEST,
            "payload": {
                "customerId": str,
                "resultType": str,
                "platform": str,
                "sessionId": maybe(str),
                "generationId": maybe(str),
            },
            "totals": {"likesForCustomer": maybe(int)},
            "passId": maybe(PASS),
            "feedbackId": UUID,
        },
        (no_db(), refused("MISSING_PROMPT"), broken("FEEDBACK_ERROR")),
    ),
    Route(
        10,
        "GET",
        "/credits/balance",
        {
            "ok": True,
            "requestId": REQUEST,
            "customerId": str,
            "balance": int,
            "historyLength": int,
            "meta": {"imageCost": int, "motionCost": int},
            "source": "mega",
            "passId": maybe(PASS),
            "expiresAt": maybe(TIME),
        },
        (no_supabase(), broken("CREDITS_ERROR")),
    ),
    Route(
        11,
        "POST",
        "/credits/add",
        {
            "ok": True,
            "requestId": named("credits_"),
            "customerId": PASS,
            "newBalance": int,
            "source": "mega",
            "passId": PASS,
        },
        (
            refused("INVALID_AMOUNT", "credits_"),
            no_db("credits_"),
            broken("CREDITS_ERROR", "credits_"),
            Failure("UNAUTHORIZED", 401, coded("", "credits_") | {"error": Or(("UNAUTHORIZED", "INVALID_TOKEN"))}),
        ),
    ),
    Route(
        12,
        "GET",
        "/billing/settings",
        TOP_UPS | {"source": "mega_customers.meta"},
        (
            Failure("no-db", 200, {"customerId": PASS, "enabled": False, "monthlyLimitPacks": 0, "source": "no-db"}),
            said("wrong input", 400),
            said("broken", 500),
        ),
    ),
    Route(
        13,
        "POST",
        "/billing/settings",
        TOP_UPS,
        (said("wrong input", 400), said("away", 500), said("broken", 500)),
    ),
    Route(14, "GET", "/history", HISTORY, (no_supabase(), broken("HISTORY_FAILED"))),
    Route(
        15,
        "GET",
        "/history/pass/{pass_id}",
        HISTORY,
        (refused("MISSING_PASS_ID"), no_supabase(), broken("HISTORY_FAILED")),
    ),
    Route(16, "GET", "/history/trimmed", HISTORY, (no_supabase(), broken("HISTORY_FAILED"))),
    Route(
        17,
        "POST",
        "/api/r2/upload-signed",
        Or((STORED | {"contentType": str, "bytes": int}, TICKET)),
        (
            refused("MISSING_DATAURL"),
            broken("UPLOAD_PUBLIC_FAILED"),
            Failure("R2_NOT_CONFIGURED", 503, None, cannot=ALWAYS),
            Failure("UPLOAD_SIGN_FAILED", 500, None, cannot="signing asks nobody"),
        ),
    ),
    Route(
        18,
        "POST",
        "/api/r2/store-remote-signed",
        STORED,
        (refused("MISSING_URL"), broken("STORE_REMOTE_PUBLIC_FAILED")),
    ),
    Route(19, "POST", "/store-remote-generation", STORED, (refused("NO_URL"), broken("STORE_REMOTE_FAILED"))),
    Route(20, "POST", "/api/log-error", {"ok": True}),
    Route(
        21,
        "POST",
        "/api/credits/shopify-order",
        ORDERED | {"customerId": PASS, "passId": PASS, "credited": int, "balance": int, "expiresAt": maybe(TIME)},
        (
            Failure("again", 200, ORDERED | {"alreadyProcessed": True}),
            Failure("NO_MATCHING_PRODUCT", 200, ORDERED | {"credited": 0, "reason": "NO_MATCHING_PRODUCT"}),
            refused("INVALID_HMAC", "shopify_", 401),
            refused("MISSING_ORDER_ID", "shopify_"),
            no_supabase("shopify_"),
            broken("WEBHOOK_FAILED", "shopify_"),
        ),
    ),
    Route(
        22,
        "GET",
        "/admin/summary",
        {"ok": True, "totalCustomers": int, "totalCredits": int, "autoTopupOn": int, "source": "mega_customers"},
        (*DENIED, said("away", 503), said("broken", 500)),
    ),
    Route(
        23,
        "GET",
        "/admin/customers",
        {
            "customers": [
                {
                    "shopify_customer_id": maybe(str),
                    "email": maybe(str),
                    "credits": int,
                    "last_active": maybe(TIME),
                    "created_at": TIME,
                    "updated_at": TIME,
                    "disabled": bool,
                }
            ],
            "source": "supabase",
        },
        (*DENIED, said("away", 503), said("broken", 500)),
    ),
    Route(
        24,
        "GET",
        "/admin/mega/parity",
        {"ok": True, "summary": {"mega_customers": int, "mega_generations": int}},
        (*DENIED, Failure("away", 503, {"ok": False} | SAID | LATER), broken("MEGA_PARITY_FAILED")),
    ),
    Route(
        25,
        "POST",
        "/admin/credits/adjust",
        {
            "ok": True,
            "requestId": REQUEST,
            "customerId": str,
            "passId": PASS,
            "balance": int,
            "creditsBefore": int,
            "creditsAfter": int,
            "expiresAt": maybe(TIME),
            "source": "mega_customers",
        },
        (*DENIED, said("wrong input", 400), said("away", 503), said("broken", 500)),
    ),
    Route(
        26,
        "GET",
        "/admin/config/runtime",
        {
            "ok": True,
            "defaults": TREE,
            "override": Anything(),
            "effective": TREE,
            "meta": {"updatedAt": maybe(TIME), "updatedBy": maybe(str), "ttlMs": 5000},
            "schema": [{"path": str, "type": str, "description": str}],
        },
        (*DENIED, said("away", 503), broken("CONFIG_READ_FAILED")),
    ),
    Route(
        27,
        "POST",
        "/admin/config/runtime",
        {"ok": True, "effective": TREE},
        (*DENIED, refused("INVALID_OVERRIDE"), broken("CONFIG_SAVE_FAILED")),
    ),
    Route(
        28,
        "POST",
        "/admin/config/runtime/unset",
        {"ok": True, "override": Anything(), "effective": TREE},
        (*DENIED, refused("MISSING_PATH"), broken("CONFIG_UNSET_FAILED")),
    ),
    Route(29, "POST", "/admin/config/runtime/reload", {"ok": True, "effective": TREE}, DENIED),
    Route(30, "GET", "/api/health", HEALTH),
    Route(30, "POST", "/api/r2/presign", TICKET, (refused("MISSING_DATAURL"),)),
    Route(
        31,
        "DELETE",
        "/history/{record_id}",
        {"ok": True, "requestId": REQUEST, "deleted": True, "deletedCount": 1},
        (refused("MISSING_ID"), refused("NOT_FOUND", status=404), no_supabase(), broken("DELETE_FAILED")),
    ),
    Route(32, "GET", "/public/download", ATTACHMENT, (said("wrong input", 400), said("not there", 404))),
)


def differences(found: Any, shape: Any, at: str = "") -> list[str]:
    """The places at which an answer is not of the shape; empty if it is."""
    match shape:
        case Or():
            tried = [differences(found, each, at) for each in shape.shapes]
            return min(tried, key=len)
        case Anything():
            return [] if isinstance(found, dict) else [f"{at}: {found!r} is no object"]
        case dict():
            return _differences_of_keys(found, shape, at)
        case list():
            if not isinstance(found, list):
                return [f"{at}: {found!r} is no list"]
            return [text for number, each in enumerate(found) for text in differences(each, shape[0], f"{at}.{number}")]
        case re.Pattern():
            is_right = isinstance(found, str) and shape.fullmatch(found)
        case type():
            is_right = type(found) is shape
        case _:
            is_right = type(found) is type(shape) and found == shape
    return [] if is_right else [f"{at}: {found!r} is not {shape!r}"]


def _differences_of_keys(found: Any, shape: Json, at: str) -> list[str]:
    if not isinstance(found, dict):
        return [f"{at}: {found!r} is no object"]
    wrong = [f"{at}.{name}: missing" for name in shape.keys() - found.keys()]
    wrong += [f"{at}.{name}: not in the contract" for name in found.keys() - shape.keys()]
    return wrong + [
        text for name in shape.keys() & found.keys() for text in differences(found[name], shape[name], f"{at}.{name}")
    ]
