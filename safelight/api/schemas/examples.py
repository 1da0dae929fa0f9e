"""What the OpenAPI document shows: one worked example for each body and answer."""

from typing import Any

from safelight.api.schemas import failures, legacy_responses, responses
from safelight.domain.orders import Flow

Json = dict[str, Any]

PLACE = "#/components/schemas/"
SERVER = "http://127.0.0.1:8787"  # the document has the server's own address in its place
SAMPLE_KEY = "samples/coffee.jpg"
SAMPLE_PATH = f"assets/{SAMPLE_KEY}"
SAMPLE_URL = f"{SERVER}/{SAMPLE_PATH}"


def of(model: Any, value: Json, description: str = "Done.") -> Json:
    """A worked example of an answer of this model, for a route's `responses`."""
    return {"description": description, "model": model, "content": {"application/json": {"example": value}}}


_ID = "019a9f1c-7d2e-7c11-a5a0-6f2b8c1d9e42"
_PARENT = "019a9f1b-11aa-7b02-9c3d-2e4f6a8b0c1d"
_SESSION = "0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11"
_PASS = "pass:user:42"  # noqa: S105 - an id, no secret
_REQUEST = "req_1766131200000_7f1d2c1e-6a51-4a55-9a5e-7f6f1f0b7c55"
_TIME = "2025-12-19T08:00:00Z"
_STILL = f"{SERVER}/assets/mma/still/{_ID}-5f0c2b9e8d7a41c6b3e2d1f0a9b8c7d6/1.png"

SUMMARIES = {
    Flow.STILL_CREATE: "Make a still from a product photo and a brief",
    Flow.STILL_TWEAK: "Change a still",
    Flow.VIDEO_ANIMATE: "Set a still in motion, or only suggest how",
    Flow.VIDEO_TWEAK: "Change a video",
}

OF_FLOWS: dict[Flow, Any] = {
    Flow.STILL_CREATE: {
        "product and brief": {
            "value": {
                "passId": _PASS,
                "assets": {"product_image_url": SAMPLE_URL},
                "inputs": {
                    "brief": "A calm morning on a stone table, soft light from the left",
                    "style": "editorial still life",
                    "aspect_ratio": "4:5",
                },
            }
        }
    },
    Flow.STILL_TWEAK: {
        "darker background": {
            "value": {
                "passId": _PASS,
                "parent_generation_id": _PARENT,
                "feedback": {"still_feedback": "darker background, no reflections"},
            }
        }
    },
    Flow.VIDEO_ANIMATE: {
        "type for me": {"value": {"passId": _PASS, "parent_generation_id": _PARENT, "inputs": {"type_for_me": True}}},
        "own words": {
            "value": {
                "passId": _PASS,
                "assets": {"start_image_url": SAMPLE_URL},
                "inputs": {
                    "motion_user_brief": "push in slowly",
                    "movement_style": "fix_camera",
                    "duration": 5,
                },
            }
        },
        "suggestion only": {
            "value": {"passId": _PASS, "parent_generation_id": _PARENT, "inputs": {"suggest_only": True}}
        },
    },
    Flow.VIDEO_TWEAK: {
        "slower": {
            "value": {
                "passId": _PASS,
                "parent_generation_id": _PARENT,
                "feedback": {"motion_feedback": "slower, and let it loop"},
            }
        }
    },
}

ACCEPTED = of(
    responses.Accepted,
    {
        "generation_id": _ID,
        "status": "queued",
        "sse_url": f"/mma/stream/{_ID}",
        "ok": True,
        "generationId": _ID,
        "passId": _PASS,
        "requestId": _REQUEST,
        "parent_generation_id": None,
        "credits_cost": 1,
        "credits": {"balance": 13, "cost": 1},
        "billing": {"cost": 1, "mode": "still"},
        "warnings": [],
    },
    "Accepted and charged; the stream and the generation tell how it goes.",
)

CANCEL: Json = {"by its owner": {"value": {"passId": _PASS}}}

CANCELLED = of(
    responses.Cancelling,
    {
        "ok": True,
        "generation_id": _ID,
        "status": "cancelled",
        "cancelled": True,
        "too_late": False,
        "refunded_credits": 1,
        "credits": {"balance": 14},
        "requestId": _REQUEST,
        "warnings": [],
    },
)

GENERATION = of(
    responses.Generation,
    {
        "ok": True,
        "generation_id": _ID,
        "status": "done",
        "state": "done",
        "status_text": "Ready.",
        "mode": "still",
        "mma_vars": {
            "version": "2025-12-19",
            "mode": "still",
            "prompts": {"clean_prompt": "A cup …"},
        },
        "outputs": {
            "seedream_image_url": _STILL,
            "kling_video_url": None,
            "width": 1024,
            "height": 1280,
        },
        "prompt": "A cup on a stone table …",
        "error": None,
        "credits": {"balance": 13, "cost": 1},
        "parent_generation_id": None,
        "warnings": ["9:16 was ordered; the result is 1:1 (1024 x 1024)."],
        "stand_in": False,
        "created_at": "2025-12-19T08:00:00Z",
        "updated_at": "2025-12-19T08:00:09Z",
    },
    "The generation as it is now.",
)

EVENT_STORED = of(
    responses.EventStored,
    {
        "ok": True,
        "status": "ok",
        "event_id": _ID,
        "eventId": _ID,
        "requestId": _REQUEST,
        "passId": _PASS,
        "preferences": {"hard_blocks": [], "tag_weights": {"soft light": 1}},
        "warnings": [],
    },
    "Stored.",
)


def _event(name: str, data: type[responses.ResponseModel]) -> Json:
    content = {"contentMediaType": "application/json", "contentSchema": {"$ref": PLACE + data.__name__}}
    fields: Json = {"event": {"const": name}, "data": {"type": "string", **content}}
    if data is responses.ScanLine:
        fields["id"] = {"type": "string"}
    return {"type": "object", "required": list(fields), "properties": fields}


STREAM: Json = {
    "description": "Server-sent events, their data as JSON. A line's id is its `seq`, and `Last-Event-ID`"
    " goes on after it. Comments keep an idle stream open.\n\n"
    + "\n".join(f"* `{name}`: {data.__doc__}" for name, data in responses.EVENTS.items()),
    "content": {
        "text/event-stream": {
            "schema": {"oneOf": [_event(name, data) for name, data in responses.EVENTS.items()]},
            "example": "id: 1\nevent: scan_line\n"
            'data: {"index":0,"text":"We have your order.","level":"info","step":"accepted"}\n\n'
            'event: status\ndata: {"status":"queued"}\n\nevent: done\ndata: {"status":"done"}\n\n',
        }
    },
}


def _item(mg_id: str, **more: Any) -> Json:
    common = {"passId": _PASS, "sessionId": _SESSION, "platform": "tiktok", "createdAt": _TIME}
    return {"id": mg_id, **common, **more, "mg_id": mg_id, "mg_created_at": _TIME}


_SESSION_ITEM = _item(f"session:{_SESSION}", title="Mina session")
_GENERATION_ITEM = _item(
    f"generation:{_ID}",
    generationId=_ID,
    type="image",
    mode="still",
    prompt="A cup on a stone table …",
    outputUrl=_STILL,
    status="done",
    meta={"cost": 1},
    mg_prompt="A cup on a stone table …",
)
_FEEDBACK_ITEM = _item(
    f"feedback:{_ID}", resultType="image", prompt="A cup …", comment="", imageUrl=_STILL, videoUrl=None
)
_CHARGE = {
    "mg_id": f"credit_transaction:charge:{_ID}",
    "mg_created_at": _TIME,
    "mg_delta": -1,
    "mg_reason": "mma_still",
}

DELETED = of(responses.Deleted, {"ok": True, "requestId": _REQUEST, "deleted": True, "deletedCount": 1})

HISTORY = of(
    legacy_responses.History,
    {
        "ok": True,
        "requestId": _REQUEST,
        "passId": _PASS,
        "customerId": _PASS,
        "passIdsChecked": [_PASS],
        "credits": {"balance": 13, "expiresAt": None, "history": [_CHARGE]},
        "page": {"limit": 200, "cursor": None, "nextCursor": None, "hasMore": False, "returned": 3},
        "sessions": [_SESSION_ITEM],
        "generations": [_GENERATION_ITEM],
        "feedbacks": [_FEEDBACK_ITEM],
    },
    "Newest first; every item under its camelCase and its raw names.",
)


_ERROR_CONTEXT = {
    "message": "The picture service took too long to answer. Please try again. Your credits were returned.",
    "type": "ProviderTimeout",
    "timestamp": "2025-12-19T08:00:09.120+00:00",
    "userId": _PASS,
    "category": "TIMEOUT",
    "httpStatus": 504,
    "isRetryable": True,
    "code": "SEEDREAM_TIMEOUT",
    "step": "seedream_generate",
    "provider": "seedream",
}

_FAILED: Json = {
    "id": _ID,
    "sessionId": _SESSION,
    "modelId": "seedream",
    "prompt": "A calm morning on a stone table",
    "status": "failed",
    "parameters": {"flow": "still_create", "error": _ERROR_CONTEXT["message"], "errorContext": _ERROR_CONTEXT},
    "createdAt": "2025-12-19T08:00:00Z",
    "session": {
        "id": _SESSION,
        "name": "Mina session",
        "project": {"id": _PASS, "name": "All work"},
    },
    "errorMessage": _ERROR_CONTEXT["message"],
    "isStuck": False,
    "stuckReason": None,
    "ageMinutes": 12,
}

FAILED_OF_ALL = of(
    failures.AdminFailureReport,
    {
        "ok": True,
        "total": 1,
        "summary": {"failed": 1, "stuck": 0, "cancelled": 0},
        "byUser": [
            {
                "userId": _PASS,
                "userDisplayName": "Ada",
                "userEmail": "ada@example.com",
                "count": 1,
                "failed": 1,
                "stuck": 0,
                "cancelled": 0,
                "generations": [{name: _FAILED[name] for name in ("id", "status", "errorMessage", "createdAt")}],
            }
        ],
        "generations": [
            _FAILED
            | {
                "userId": _PASS,
                "passId": _PASS,
                "user": {"id": _PASS, "displayName": "Ada", "username": _PASS},
                "errorContext": _ERROR_CONTEXT | {"stack": "Traceback (most recent call last): …"},
            }
        ],
        "nextCursor": None,
    },
    "Newest first. The counts are of all that was asked for, `generations` is one page of it.",
)

FAILED_OF_ONE = of(
    failures.CustomerFailureReport,
    {
        "ok": True,
        "failed": {"count": 1, "generations": [_FAILED]},
        "stuck": {"count": 0, "generations": []},
        "cancelled": {"count": 0, "generations": []},
        "total": 1,
        "nextCursor": None,
    },
    "Newest first; what is stuck shows however old it is.",
)

CLEANED_UP = of(
    failures.CleanedUp,
    {
        "ok": True,
        "message": "1 stuck generation(s) were queued again.",
        "cleaned": 1,
        "scanned": 3,
        "skippedReasons": {"running": 1, "waiting": 1},
        "generationIds": [_ID],
        "takenBack": [_ID],
        "adopted": [],
        "neverStarted": [],
        "byUser": [{"userId": _PASS, "userEmail": "unknown", "count": 1}],
        "heuristic": {"minAgeMinutes": 0.17, "heartbeatStaleMinutes": 0.25, "webhookGraceMinutes": 0},
    },
    "What was looked at, what was taken up again, and why the rest was left alone.",
)
