"""Examples of the OpenAPI document: ids, URLs and bodies about one product photo and the results made of it."""

from typing import Any

from safelight.domain.orders import Flow

Json = dict[str, Any]

SERVER = "http://127.0.0.1:8787"  # the document has the server's own address in its place
SAMPLE_KEY = "samples/coffee.jpg"
SAMPLE_PATH = f"assets/{SAMPLE_KEY}"
SAMPLE_URL = f"{SERVER}/{SAMPLE_PATH}"
FILE_KEY = "product/o.5f0c2b9e8d7a41c6b3e2d1f0a9b8c7d6/1766131200000-0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11-cup.jpg"
FILE_URL = f"{SERVER}/assets/{FILE_KEY}"

GENERATION = "019a9f1c-7d2e-7c11-a5a0-6f2b8c1d9e42"
PARENT = "019a9f1b-11aa-7b02-9c3d-2e4f6a8b0c1d"
SESSION = "0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11"
USER = SESSION
PASS = "pass:user:42"  # noqa: S105 - an id, no secret
REQUEST = "req_1766131200000_7f1d2c1e-6a51-4a55-9a5e-7f6f1f0b7c55"
PROMPT = "A cup on a stone table …"
STILL_URL = f"{SERVER}/assets/mma/still/{GENERATION}-5f0c2b9e8d7a41c6b3e2d1f0a9b8c7d6/1.png"
VIDEO_URL = f"{SERVER}/assets/mma/video/{GENERATION}-5f0c2b9e8d7a41c6b3e2d1f0a9b8c7d6/1.mp4"

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
                "passId": PASS,
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
                "passId": PASS,
                "parent_generation_id": PARENT,
                "feedback": {"still_feedback": "darker background, no reflections"},
            }
        }
    },
    Flow.VIDEO_ANIMATE: {
        "type for me": {"value": {"passId": PASS, "parent_generation_id": PARENT, "inputs": {"type_for_me": True}}},
        "own words": {
            "value": {
                "passId": PASS,
                "assets": {"start_image_url": SAMPLE_URL},
                "inputs": {
                    "motion_user_brief": "push in slowly",
                    "movement_style": "fix_camera",
                    "duration": 5,
                },
            }
        },
        "suggestion only": {
            "value": {"passId": PASS, "parent_generation_id": PARENT, "inputs": {"suggest_only": True}}
        },
    },
    Flow.VIDEO_TWEAK: {
        "slower": {
            "value": {
                "passId": PASS,
                "parent_generation_id": PARENT,
                "feedback": {"motion_feedback": "slower, and let it loop"},
            }
        }
    },
}

CANCEL: Json = {"by its owner": {"value": {"passId": PASS}}}
