"""Rows of older versions: their steps keep every key, and their orders are made as they were accepted."""

import json
from typing import Any

import pytest

from safelight.domain.orders import StillTweak, VideoAnimate, read_order
from safelight.pipelines.engine.step_payload import StepPayload
from tests.conftest import Json, StartBackend

TIMING = {"started_at": "2026-01-01T00:00:00.000+00:00", "ended_at": None, "duration_ms": None}
BARE = {"input": {}, "output": {}, "timing": TIMING, "error": None, "attempts": []}
ATTEMPT = {"attempt": 1, "started_at": "2026-01-01T00:00:00.000+00:00", "ended_at": None, "error": None}
FAILED = ATTEMPT | {"ended_at": "2026-01-01T00:00:02+00:00", "error": "ProviderTimeout", "message": "late"}
START = {"attempt_key": "g:3:1", "outcome": "asked", "at": "2026-01-01T00:00:00.000+00:00"}

PAYLOADS: dict[str, Json] = {
    "a step that has begun": BARE | {"input": {"prompt": "a cup", "n": [1, None, {"deep": 1.5}]}, "attempts": [ATTEMPT]},
    "one without its input and attempts, as an ended step is read": {"output": {"crt": "x"}, "timing": TIMING, "error": None},
    "one that was written before writes were counted": BARE,
    "one that is tried again": BARE | {
        "writes": 3, "item": 0, "deadline_at": "2026-01-01T00:10:00+00:00",
        "attempts": [FAILED | {"provider_http_status": 503, "retry_at": "2026-01-01T00:00:04+00:00"}, ATTEMPT | {"attempt": 2}],
    },
    "an operation under way": BARE | {
        "starts": [START | {"outcome": "accepted", "usd": "0.03"}],
        "operation": {"handle": {"id": "p1"}, "check_after_seconds": 2.0, "warnings": ["w"]},
    },
    "a start that was looked up and given up": BARE | {
        "starts": [START | {"outcome": "not_accepted", "look_ups_failed": 2}, START | {"attempt_key": "g:3:2"}],
        "possible_double_spend": {"attempt_key": "g:3:1", "provider": "seedream", "model": None, "at": "x"},
        "stopping": {"answer": "failed", "message": "no", "at": "2026-01-01T00:00:02+00:00"},
    },
    "a step that waits for the storage": BARE | {
        "storage_away": {"since": "a", "until": "b", "tries": 2, "back_at": None, "error": "away"},
        "sealed": {"input": "token"}, "redacted": "Shown here without what looks like a secret.",
    },
    "a failed step": BARE | {
        "error": {"error_code": "MMA_X", "type": "Cancelled", "message": "m", "provider_http_status": None},
    },
    "a degraded one": BARE | {"degraded": {"error_code": "MMA_X", "type": "Cancelled", "message": "m"}},
    "keys that nobody knows": BARE | {
        "later": {"a": [1]}, "attempts": [ATTEMPT | {"host": "h"}], "starts": [START | {"region": None}],
        "operation": {"handle": {}, "check_after_seconds": 0.0, "warnings": [], "queue": "q"},
    },
}  # fmt: skip


@pytest.mark.parametrize("stored", PAYLOADS.values(), ids=PAYLOADS)
def test_a_payload_keeps_every_key_and_gets_none(stored: Json):
    again = StepPayload.read(json.loads(json.dumps(stored))).to_json()
    assert json.loads(json.dumps(again)) == stored


def test_a_change_of_a_part_is_stored_with_what_was_there():
    payload = StepPayload.read(PAYLOADS["keys that nobody knows"])
    payload.starts[-1].usd, payload.attempts[-1].error = "1", "WorkerLost"
    stored = payload.to_json()
    assert stored["starts"] == [START | {"region": None, "usd": "1"}]
    assert stored["attempts"] == [ATTEMPT | {"host": "h", "error": "WorkerLost"}]


# An order as every flow stored it before each had a type of its own.
FLAT: Json = {
    "platform": "web", "title": "T", "brief": "a cup", "style": "plain", "motion_brief": "spin", "movement_style": "slow",
    "type_for_me": True, "suggest_only": False, "aspect_ratio": None, "duration_seconds": 5.0, "kling_mode": None,
    "negative_prompt": "", "feedback": "", "vision_intelligence": True, "style_history_csv": None, "preset_prompt": None,
    "attempts_max": None, "settings": {"seedream": {}, "kling": {}}, "informational": {}, "warnings": [],
}  # fmt: skip


async def test_a_still_that_an_older_version_has_queued_is_made(start: StartBackend):
    idle = await start(worker=False)
    await idle.grant(1)
    accepted = await idle.post("/mma/still/create", {"inputs": {"brief": "a cup", "style": "plain"}})
    where = "where mg_record_type = 'generation'"
    before = idle.value(f"select mg_payload->'order' from mega_generations {where}")
    flat = FLAT | {name: before[name] for name in ("flow", "pass_id", "session_id", "assets", "parent")}
    idle.sql(
        f"update mega_generations set mg_payload = mg_payload || jsonb_build_object('order', %s::jsonb) {where} returning 1",
        json.dumps(flat),
    )
    working = await start()
    assert (await working.finished(accepted))["status"] == "done"
    [step] = [one for one in working.steps(accepted["generation_id"]) if one["mg_step_type"] == "gpt_reader"]
    assert step["mg_payload"]["input"]["parts"]["style"] == "plain"


@pytest.mark.parametrize(
    ("flow", "kind", "more"),
    [
        ("still_tweak", StillTweak, {"feedback": "warmer", "parent": {"generation_id": "g", "mode": "still"}}),
        ("video_animate", VideoAnimate, {"parent": None}),
    ],
)
def test_a_stored_order_becomes_one_of_its_flow(flow: str, kind: type, more: dict[str, Any]):
    order = read_order(FLAT | {"flow": flow, "pass_id": "p", "session_id": "s"} | more)
    assert type(order) is kind
    assert not hasattr(order, "brief") and order.flow_inputs()["userBrief"] == "a cup"
    assert read_order(order.model_dump(mode="json")) == order


async def test_what_only_other_flows_read_is_shown_with_a_generation(start: StartBackend):
    idle = await start(worker=False)
    await idle.grant(1)
    inputs = {"brief": "a cup", "motion_user_brief": "spin", "movement_style": "slow", "negative_prompt": "no text"}
    await idle.post("/mma/still/create", {"inputs": inputs})
    [row] = idle.sql("select mg_mma_vars->'inputs' as inputs, mg_payload->'order' as stored from mega_generations"
                     " where mg_record_type = 'generation'")  # fmt: skip
    assert row["inputs"].items() >= inputs.items()
    assert "motion_brief" not in row["stored"] and row["stored"]["unused"]["motion_brief"] == "spin"
