"""A failure is on record in both planes (docs/contract/errors.md): both planes, the refund, the variables as far as they had come."""

import pytest

from tests.conftest import Backend, StartBackend

STILL_STEPS = [
    "scan_product",
    "scan_logo",
    "scan_inspiration",
    "gpt_reader",
    "seedream_generate",
    "postscan_output_still",
]
TWEAK_STEPS = ["gpt_feedback_still", "seedream_generate_feedback", "postscan_output_still_feedback"]
VIDEO_STEPS = ["scan_input_still", "gpt_reader_motion", "kling_generate", "postscan_output_video"]
VIDEO_TWEAK_STEPS = ["gpt_feedback_motion", "kling_generate_feedback", "postscan_output_video_feedback"]
LAST_LOOKS = {
    "postscan_output_still",
    "postscan_output_still_feedback",
    "postscan_output_video",
    "postscan_output_video_feedback",
}  # their result is delivered without them: tests/pipelines/flows/test_delivered_results.py
FAILING_STEPS = [
    step
    for step in (*STILL_STEPS, *TWEAK_STEPS, "motion_suggestion", *VIDEO_STEPS, *VIDEO_TWEAK_STEPS)
    if step not in LAST_LOOKS
]
SECTION_9 = {"request_id", "pass_id", "route", "http_status", "error_code", "message", "generation_id", "step_type"}
SMALL_VIDEO = {"motion_user_brief": "push in", "duration": 1}


async def fail_at(start: StartBackend, step_type: str, kind: str = "timeout") -> tuple[Backend, dict]:
    """A generation whose step of this type fails. Parents are made by a backend that works."""
    sound = await start()
    await sound.grant(20)
    photo = await sound.upload()
    parent = None
    if step_type in TWEAK_STEPS:
        parent = await sound.finished(await sound.create(product=photo))
    if step_type in VIDEO_TWEAK_STEPS:
        body = {"assets": {"start_image_url": photo}, "inputs": SMALL_VIDEO}
        parent = await sound.finished(await sound.post("/mma/video/animate", body))
    await sound.stop_working()
    faulty = await start(local_fault=f"{step_type}:{kind}", public_url=sound.app.settings.base_url)
    faulty.pass_id = sound.pass_id
    if step_type in STILL_STEPS:
        assets = {"product_image_url": photo, "logo_image_url": photo, "inspiration_image_urls": [photo]}
        accepted = await faulty.create(assets=assets)
    elif step_type == "motion_suggestion":
        body = {"assets": {"start_image_url": photo}, "inputs": {"type_for_me": True}}
        accepted = await faulty.post("/mma/video/animate", body)
    elif parent is None:
        body = {"assets": {"start_image_url": photo}, "inputs": SMALL_VIDEO}
        accepted = await faulty.post("/mma/video/animate", body)
    else:
        mode = "still" if step_type in TWEAK_STEPS else "video"
        body = {"feedback": {"comment": "darker"}}
        accepted = await faulty.post(f"/mma/{mode}/{parent['generation_id']}/tweak", body)
    return faulty, await faulty.finished(accepted)


@pytest.mark.parametrize("step_type", FAILING_STEPS)
async def test_a_provider_failure_leaves_both_planes_the_refund_and_the_variables(start: StartBackend, step_type: str):
    backend, failed = await fail_at(start, step_type)
    generation_id = failed["generation_id"]

    row = backend.sql("select * from mega_generations where mg_id = %s", f"generation:{generation_id}")[0]
    assert (row["mg_mma_status"], row["mg_status"]) == ("error", "failed")
    assert row["mg_error"] == failed["error"]["message"]
    assert "credits were returned" in row["mg_error"]
    assert "local" not in row["mg_error"]

    *earlier, last = backend.steps(generation_id)
    assert last["mg_step_type"] == step_type == failed["error"]["step"]
    assert last["mg_payload"]["error"]["provider_http_status"] == 504
    assert last["mg_payload"]["error"]["error_code"] == f"MMA_{failed['error']['code']}"
    assert last["mg_payload"]["timing"]["ended_at"]
    assert all(step["mg_payload"]["error"] is None for step in earlier)

    [ops] = backend.ops_rows(generation_id)
    detail = ops["mg_detail"]
    assert ops["mg_record_type"] == "error"
    assert ops["mg_actor_pass_id"] == backend.pass_id
    assert {name for name, value in detail.items() if value is not None} >= SECTION_9
    assert (detail["emoji"], detail["category"]) == ("⏱️", "TIMEOUT")
    assert (detail["step_type"], detail["generation_id"]) == (step_type, generation_id)
    assert detail["provider"] and detail["model"]
    versions = {"settings_key", "settings_version"} if "generate" in step_type else {"ctx_key", "ctx_version"}
    assert all(detail[name] for name in versions)
    assert detail["retry"] == {"attempt": 3, "max": 3}
    assert [attempt["error"] for attempt in last["mg_payload"]["attempts"]] == ["ProviderTimeout"] * 3
    # A start that got no answer may have been paid: the provider was asked about each one, and knew of none.
    if "generate" in step_type:
        assert [start["outcome"] for start in last["mg_payload"]["starts"]] == ["refused"] * 3

    charge, refund = backend.sql(
        "select * from mega_generations where mg_ref_id = %s order by mg_ref_type", f"mma:{generation_id}"
    )
    assert (charge["mg_ref_type"], refund["mg_ref_type"]) == ("mma_charge", "mma_refund")
    assert charge["mg_delta"] == -refund["mg_delta"] < 0
    assert backend.balance() == backend.ledger_sum()

    outputs = [step["mg_payload"]["output"] for step in earlier if step["mg_payload"]["output"].get("crt")]
    scans = row["mg_mma_vars"]["scans"]
    kept = [scans["product_crt"], scans["logo_crt"], *scans["inspiration_crt"], scans["still_crt"]]
    assert all(output["crt"] in kept for output in outputs)
    assert row["mg_mma_vars"]["userMessages"]["scan_lines"][-1]["text"] == row["mg_error"]


@pytest.mark.parametrize(
    ("kind", "category", "emoji", "code"),
    [
        ("timeout", "TIMEOUT", "⏱️", "MMA_SEEDREAM_TIMEOUT"),
        ("unavailable", "PROVIDER_ERROR", "🛰️", "MMA_SEEDREAM_PROVIDER_UNAVAILABLE"),
        ("rate_limited", "PROVIDER_ERROR", "🛰️", "MMA_SEEDREAM_RATE_LIMITED"),
        ("rejected", "PROVIDER_ERROR", "🛰️", "MMA_SEEDREAM_REJECTED"),
        ("refused", "PROVIDER_ERROR", "🛰️", "MMA_SEEDREAM_CONTENT_REFUSED"),
        ("bad_shape", "PROVIDER_ERROR", "🛰️", "MMA_SEEDREAM_CONTRACT_BROKEN"),
    ],
)
async def test_each_kind_of_failure_has_its_category_and_code(start, kind, category, emoji, code):
    backend = await start(local_fault=f"seedream_generate:{kind}")
    await backend.grant(1)
    failed = await backend.finished(await backend.create())
    [ops] = backend.ops_rows(failed["generation_id"])
    assert (ops["mg_detail"]["category"], ops["mg_detail"]["emoji"], ops["mg_detail"]["error_code"]) == (
        category,
        emoji,
        code,
    )
    assert ops["mg_error_code"] == f"{emoji} {code}"


async def test_an_answer_that_misses_its_schema_is_a_gpt_schema_error(start: StartBackend):
    backend = await start(local_fault="gpt_reader:bad_json")
    await backend.grant(1)
    failed = await backend.finished(await backend.create())
    [ops] = backend.ops_rows(failed["generation_id"])
    assert (ops["mg_detail"]["emoji"], ops["mg_detail"]["category"]) == ("🧠", "GPT_SCHEMA_ERROR")
    assert ops["mg_detail"]["ctx"] == {
        "key": "mma.ctx.gpt_reader",
        "version": 1,
        "id": "app_config:mma.ctx.gpt_reader.v1",
    }
    assert failed["error"]["code"] == "GPT_OUTPUT_SCHEMA"


async def test_a_context_that_is_switched_off_is_a_config_error(backend: Backend):
    await backend.grant(1)
    backend.sql(
        "select safelight.amend_history('a test', 'a test'); update mega_admin"
        " set mg_value = jsonb_set(mg_value, '{enabled}', 'false') where mg_key = 'mma.ctx.gpt_reader'"
    )
    failed = await backend.finished(await backend.create())
    [ops] = backend.ops_rows(failed["generation_id"])
    assert (ops["mg_detail"]["emoji"], ops["mg_detail"]["category"]) == ("🎛️", "CONFIG_ERROR")
    assert failed["error"]["step"] == "gpt_reader"
    assert backend.balance() == 1


async def test_a_product_photo_that_cannot_be_read_fails_cleanly(backend: Backend):
    await backend.grant(1)
    gone = backend.app.settings.base_url + "/assets/product/anon/gone.jpg"
    failed = await backend.finished(await backend.create(product=gone))
    assert failed["error"]["step"] == "scan_product"
    assert failed["error"]["code"] == "ASSET_UNREADABLE"
    assert backend.balance() == 1


async def test_taste_that_cannot_be_read_is_a_warning_and_the_run_goes_on(start: StartBackend):
    backend = await start(local_fault="like_history:timeout")
    await backend.grant(2)
    liked = await backend.finished(await backend.create())
    await backend.post("/mma/events", {"event_type": "like", "generation_id": liked["generation_id"]})
    made = await backend.finished(await backend.create())
    assert made["status"] == "done"
    [ops] = backend.ops_rows(made["generation_id"])
    assert (ops["mg_record_type"], ops["mg_detail"]["step_type"]) == ("warn", "like_history")
    assert ops["mg_detail"]["level"] == "warn"


async def test_a_failed_stream_ends_with_one_done_that_names_the_error(start: StartBackend):
    backend = await start(local_fault="gpt_reader:refused")
    await backend.grant(1)
    accepted = await backend.create()
    events = await backend.events(accepted["sse_url"])
    assert [event for event, _, _ in events].count("done") == 1
    name, _, data = events[-1]
    assert name == "done"
    assert data["status"] == "error"
    assert data["error"]["code"] == "GPT_CONTENT_REFUSED"
    assert data["error"]["step"] == "gpt_reader"
    assert [event for event, _, _ in events[-3:]] == ["status", "scan_line", "done"]
    assert events[-3][2] == {"status": "error"}


async def test_a_failing_suggestion_that_was_free_refunds_nothing(start: StartBackend):
    backend = await start(local_fault="motion_suggestion:unavailable")
    await backend.grant(1)
    body = {"assets": {"start_image_url": await backend.upload()}, "inputs": {"suggest_only": True}}
    failed = await backend.finished(await backend.post("/mma/video/animate", body))
    assert failed["status"] == "error"
    assert "credits" not in failed["error"]["message"]
    assert backend.sql("select 1 from mega_generations where mg_ref_type = 'mma_refund'") == []


async def test_a_request_that_is_wrong_leaves_a_warning_for_operators(backend: Backend):
    answer = await backend.post("/mma/still/create", {"inputs": {"brief": "x" * 9000}}, status=400)
    assert answer["error"] == "VALIDATION_ERROR"
    assert answer["message"].startswith("inputs.brief: ")
    [ops] = backend.ops_rows()
    assert ops["mg_record_type"] == "warn"
    assert (ops["mg_detail"]["emoji"], ops["mg_detail"]["category"]) == ("⚠️", "VALIDATION_ERROR")
    assert (ops["mg_route"], ops["mg_method"], ops["mg_status"]) == ("/mma/still/create", "POST", 400)
    assert ops["mg_detail"]["request_id"] == answer["requestId"]


async def test_an_unexpected_exception_is_a_500_with_an_ops_row(backend: Backend):
    await backend.grant(1)
    backend.sql("alter table mega_generations rename column mg_title to mg_title_gone")
    answer = await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}}, status=500)
    assert answer["error"] == "MMA_CREATE_FAILED"
    assert "mg_title" not in answer["message"]
    [ops] = backend.ops_rows()
    assert (ops["mg_detail"]["emoji"], ops["mg_detail"]["category"]) == ("🔥", "API_ERROR")
    assert "mg_title" in ops["mg_error_stack"]
    assert backend.balance() == backend.ledger_sum() == 1


async def test_a_failure_that_passes_is_tried_again_and_told(start: StartBackend):
    backend = await start(local_fault="seedream_generate:unavailable:2")
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    assert made["status"] == "done"
    [step] = [step for step in backend.steps(made["generation_id"]) if step["mg_step_type"] == "seedream_generate"]
    attempts = step["mg_payload"]["attempts"]
    assert [(one["attempt"], one["error"]) for one in attempts] == [
        (1, "ProviderUnavailable"),
        (2, "ProviderUnavailable"),
        (3, None),
    ]
    assert step["mg_payload"]["error"] is None
    lines = backend.sql(
        "select level, message, details from image_generation_logs where job_id = %s and step = 'seedream_generate' order by seq",
        made["generation_id"],
    )
    assert [line["level"] for line in lines] == ["info", "warning", "warning", "success"]
    assert [line["details"]["attempt"] for line in lines[1:3]] == [1, 2]
    assert lines[2]["message"].endswith("(attempt 3 of 3).")
    assert backend.ops_rows() == []
    assert backend.balance() == 0


@pytest.mark.parametrize(
    ("kind", "attempts"), [("unavailable", 3), ("rate_limited", 3), ("rejected", 1), ("refused", 1), ("bad_shape", 1)]
)
async def test_only_what_may_pass_is_tried_again(start: StartBackend, kind: str, attempts: int):
    backend = await start(local_fault=f"gpt_reader:{kind}")
    await backend.grant(1)
    failed = await backend.finished(await backend.create())
    [*_, step] = backend.steps(failed["generation_id"])
    assert len(step["mg_payload"]["attempts"]) == attempts
    assert backend.balance() == 1


async def test_retry_after_is_honoured(start: StartBackend):
    backend = await start(local_fault="gpt_reader:rate_limited:1")
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    [step] = [step for step in backend.steps(made["generation_id"]) if step["mg_step_type"] == "gpt_reader"]
    assert step["mg_payload"]["timing"]["duration_ms"] >= 1000


async def test_a_generation_may_have_its_own_number_of_attempts_within_limits(start: StartBackend):
    backend = await start(local_fault="gpt_reader:unavailable")
    await backend.grant(1)
    failed = await backend.finished(await backend.create(settings={"attempts_max": 5}))
    [*_, step] = backend.steps(failed["generation_id"])
    assert len(step["mg_payload"]["attempts"]) == 5
    body = {"inputs": {"brief": "a"}, "settings": {"attempts_max": 6}}
    answer = await backend.post("/mma/still/create", body, status=400)
    assert "settings.attempts_max" in answer["message"]
