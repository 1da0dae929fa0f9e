"""What the OpenAPI document shows of the legacy routes."""

from typing import Any

from safelight.api.examples import of

Json = dict[str, Any]

_ID = "019a9f1c-7d2e-7c11-a5a0-6f2b8c1d9e42"
_SESSION = "0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11"
_PASS = "pass:user:42"  # noqa: S105 - an id, no secret
_REQUEST = "req_1766131200000_7f1d2c1e-6a51-4a55-9a5e-7f6f1f0b7c55"
_STILL = f"http://127.0.0.1:8787/assets/mma/still/{_ID}.png"
_GPT = {
    "usedFallback": False,
    "error": None,
    "styleProfile": None,
    "styleProfileMeta": {"source": "none", "likesCount": 0, "presetKey": None},
}
_EFFECTIVE = {
    "models": {"seedream": "darkroom-still-1", "kling": "darkroom-motion-1", "gpt": "darkroom-eyes-1"},
    "credits": {"imageCost": 2, "motionCost": 5},
}


def _made(result: Json, cost: int, **gpt: Any) -> Json:
    return of(
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
        }
    )


def coded(code: str) -> Json:
    return of({"ok": False, "error": code, "message": "…", "requestId": _REQUEST}, code)


def sentence(said: str) -> Json:
    return of({"error": said}, "What is wrong.")


EDITORIAL = _made(
    {"imageUrl": _STILL, "imageUrls": [_STILL]}, 1, imageTexts=["A white cup"], userMessage="Your picture is ready."
)
MOTION = _made({"videoUrl": f"http://127.0.0.1:8787/assets/mma/video/{_ID}.mp4"}, 5, userMessage="Your video is ready.")
SUGGESTION = of(
    {
        "ok": True,
        "requestId": _REQUEST,
        "suggestion": "Push in slowly while steam rises from the cup.",
        "passId": _PASS,
        "gpt": {"usedFallback": False, "error": None},
    }
)
INSUFFICIENT_CREDITS = of(
    {
        "ok": False,
        "error": "INSUFFICIENT_CREDITS",
        "message": "This needs 5 credits, and you have 2.",
        "requiredCredits": 5,
        "currentCredits": 2,
        "requestId": _REQUEST,
        "passId": _PASS,
    },
    "Not enough credits.",
)
STILL_MAKING = of(
    {
        "ok": False,
        "error": "STILL_MAKING",
        "message": "This takes longer than usual and goes on by itself. The result will be in your history.",
        "requestId": _REQUEST,
        "generationId": _ID,
    },
    "It goes on; ask again with the same idempotency key, or look at `/mma/generations/{id}`.",
)
LIKED = of(
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
    }
)
UNAUTHORIZED = of({"error": "Unauthorized"}, "The admin token is missing or does not hold.")
SUMMARY = of({"ok": True, "totalCustomers": 120, "totalCredits": 1450, "autoTopupOn": 7, "source": "mega_customers"})
CUSTOMERS = of(
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
    }
)
ADJUSTED = of(
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
    }
)
EFFECTIVE = of({"ok": True, "effective": _EFFECTIVE})
UNSET = of({"ok": True, "override": {}, "effective": _EFFECTIVE})
RUNTIME = of(
    {
        "ok": True,
        "defaults": _EFFECTIVE | {"credits": {"imageCost": 1, "motionCost": 5}},
        "override": {"credits": {"imageCost": 2}},
        "effective": _EFFECTIVE,
        "meta": {"updatedAt": "2025-12-19T08:00:00Z", "updatedBy": "admin", "ttlMs": 5000},
        "schema": [{"path": "credits.imageCost", "type": "integer", "description": "Credits charged for a still."}],
    }
)
