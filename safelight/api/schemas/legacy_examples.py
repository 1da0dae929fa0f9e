"""What the OpenAPI document shows of the legacy routes."""

from typing import Any

from safelight.api.schemas import legacy_responses
from safelight.api.schemas.examples import SERVER, of

Json = dict[str, Any]

_ID = "019a9f1c-7d2e-7c11-a5a0-6f2b8c1d9e42"
_SESSION = "0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11"
_PASS = "pass:user:42"  # noqa: S105 - an id, no secret
_REQUEST = "req_1766131200000_7f1d2c1e-6a51-4a55-9a5e-7f6f1f0b7c55"
_STILL = f"{SERVER}/assets/mma/still/{_ID}-5f0c2b9e8d7a41c6b3e2d1f0a9b8c7d6/1.png"
_GPT = {
    "usedFallback": False,
    "error": None,
    "styleProfile": None,
    "styleProfileMeta": {"source": "none", "likesCount": 0, "presetKey": None},
}
_EFFECTIVE = {
    "models": {"seedream": "darkroom-still-1", "kling": "darkroom-motion-1", "gpt": "darkroom-eyes-1"},
    "credits": {"imageCost": 2, "motionCost": 5},
    "replicate": {"seedream": {"size": "2K"}, "kling": {"mode": "pro"}},
    "gpt": {"editorial": {"temperature": 0.8}},
}


def _made(model: Any, result: Json, cost: int, **gpt: Any) -> Json:
    return of(
        model,
        {
            "ok": True,
            "message": "Your picture is ready.",
            "requestId": _REQUEST,
            "prompt": "A cup on a stone table …",
            **result,
            "generationId": _ID,
            "sessionId": _SESSION,
            "passId": _PASS,
            "credits": {"balance": 13, "cost": cost},
            "gpt": {**_GPT, **gpt},
        },
    )


EDITORIAL = _made(
    legacy_responses.StillMade,
    {"imageUrl": _STILL, "imageUrls": [_STILL]},
    1,
    imageTexts=["A white cup"],
    userMessage="Your picture is ready.",
)
MOTION = _made(
    legacy_responses.VideoMade,
    {"videoUrl": f"{SERVER}/assets/mma/video/{_ID}-5f0c2b9e8d7a41c6b3e2d1f0a9b8c7d6/1.mp4"},
    5,
    userMessage="Your video is ready.",
)
SUGGESTION = of(
    legacy_responses.Suggestion,
    {
        "ok": True,
        "requestId": _REQUEST,
        "suggestion": "Push in slowly while steam rises from the cup.",
        "passId": _PASS,
        "gpt": {"usedFallback": False, "error": None},
    },
)
LIKED = of(
    legacy_responses.Liked,
    {
        "ok": True,
        "message": "Thank you, noted.",
        "requestId": _REQUEST,
        "payload": {
            "customerId": _PASS,
            "resultType": "image",
            "platform": "tiktok",
            "sessionId": _SESSION,
            "generationId": _ID,
        },
        "totals": {"likesForCustomer": 3},
        "passId": _PASS,
        "feedbackId": _ID,
    },
)
SUMMARY = of(
    legacy_responses.Summary,
    {"ok": True, "totalCustomers": 120, "totalCredits": 1450, "autoTopupOn": 7, "source": "mega_customers"},
)
CUSTOMERS = of(
    legacy_responses.Customers,
    {
        "customers": [
            {
                "shopify_customer_id": "8812345",
                "email": "ada@example.com",
                "credits": 13,
                "last_active": "2025-12-19T08:00:00Z",
                "created_at": "2025-12-01T08:00:00Z",
                "updated_at": "2025-12-19T08:00:00Z",
                "disabled": False,
            }
        ],
        "source": "supabase",
    },
)
ADJUSTED = of(
    legacy_responses.Adjusted,
    {
        "ok": True,
        "requestId": _REQUEST,
        "customerId": _PASS,
        "passId": _PASS,
        "balance": 23,
        "creditsBefore": 13,
        "creditsAfter": 23,
        "expiresAt": None,
        "source": "mega_customers",
    },
)
EFFECTIVE = of(legacy_responses.Effective, {"ok": True, "effective": _EFFECTIVE})
UNSET = of(legacy_responses.Unset, {"ok": True, "override": {}, "effective": _EFFECTIVE})
RUNTIME = of(
    legacy_responses.Runtime,
    {
        "ok": True,
        "defaults": _EFFECTIVE | {"credits": {"imageCost": 1, "motionCost": 5}},
        "override": {"credits": {"imageCost": 2}},
        "effective": _EFFECTIVE,
        "meta": {"updatedAt": "2025-12-19T08:00:00Z", "updatedBy": "admin", "ttlMs": 5000},
        "schema": [{"path": "credits.imageCost", "type": "integer", "description": "Credits charged for a still."}],
    },
)
