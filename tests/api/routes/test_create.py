"""Create, tweak, animate, fetch: answers, spellings, what is inherited, what is refused."""

import pytest

from tests.conftest import Backend, StartBackend


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    backend = await start(worker=False)
    await backend.grant(100)
    return backend


def order_of(backend: Backend, accepted: dict) -> dict:
    key = f"generation:{accepted['generation_id']}"
    return backend.value("select mg_payload->'order' from mega_generations where mg_id = %s", key)


async def test_an_accepted_order_is_answered_with_the_superset(idle: Backend):
    answer = await idle.client.post("/mma/still/create", json={"passId": idle.pass_id, "inputs": {"brief": "a cup"}})
    body = answer.json()
    generation_id = body["generation_id"]
    assert body.pop("requestId") == answer.headers["x-request-id"]
    assert body == {
        "generation_id": generation_id,
        "status": "queued",
        "sse_url": f"/mma/stream/{generation_id}",
        "ok": True,
        "generationId": generation_id,
        "passId": idle.pass_id,
        "parent_generation_id": None,
        "credits_cost": 1,
        "credits": {"balance": 99, "cost": 1},
        "billing": {"cost": 1, "mode": "still"},
        "warnings": [],
    }
    assert answer.headers["x-mina-pass-id"] == idle.pass_id


async def test_accepting_writes_everything_in_one_go(idle: Backend):
    accepted = await idle.post("/mma/still/create", {"inputs": {"brief": "a cup"}})
    rows = idle.sql("select mg_record_type, count(*) as n from mega_generations group by 1")
    assert {row["mg_record_type"]: row["n"] for row in rows} == {
        "generation": 1,
        "session": 1,
        "mma_event": 1,
        "credit_transaction": 2,
    }
    lines = idle.sql("select seq, level, step from image_generation_logs where job_id = %s", accepted["generation_id"])
    assert lines == [{"seq": 1, "level": "info", "step": "initialization"}]
    queued = idle.value("select queueing_lock from procrastinate.procrastinate_jobs")
    assert queued == accepted["generation_id"]


async def test_a_waiting_generation_shows_no_error_and_no_output(idle: Backend):
    accepted = await idle.post("/mma/still/create", {"inputs": {"brief": "a cup"}})
    fetched = await idle.generation(accepted["generation_id"])
    assert fetched["status"] == fetched["state"] == "queued"
    assert fetched["error"] is None
    assert fetched["outputs"] == {"seedream_image_url": None, "kling_video_url": None}
    assert fetched["credits"] == {"balance": 99, "cost": 1}
    assert "error" not in fetched["mma_vars"]


@pytest.mark.parametrize(
    ("body", "field", "value"),
    [
        ({"inputs": {"userBrief": " a cup "}}, "brief", "a cup"),
        ({"inputs": {"brief": "", "prompt": "a cup"}}, "brief", "a cup"),
        ({"inputs": {"brief": "a", "aspectRatio": "16:9"}}, "aspect_ratio", "16:9"),
        ({"inputs": {"brief": 42}}, "brief", "42"),
        ({"inputs": {"brief": "a"}, "platform": "TikTok"}, "platform", "tiktok"),
        ({"inputs": {"brief": "a"}, "history": {"vision_intelligence": False}}, "vision_intelligence", False),
        ({"inputs": {"brief": "a", "minaVisionEnabled": "false"}}, "vision_intelligence", False),
        ({"inputs": {"brief": "a"}}, "vision_intelligence", True),
        ({"inputs": {"brief": "a"}, "mode": "still"}, "type_for_me", None),
        ({"inputs": {"brief": "a"}, "prompts": {"clean_prompt": "as it is"}}, "preset_prompt", "as it is"),
        ({"inputs": {"brief": "a"}, "feedback": {"still_feedback": "a"}}, "feedback", None),
        (
            {"inputs": {"brief": "a"}, "history": {"sessionId": "0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11"}},
            "session_id",
            "0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11",
        ),
        (
            {"inputs": {"brief": "a"}, "sessionId": "sess_0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11"},
            "session_id",
            "0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11",
        ),
        ({"inputs": {"brief": "a", "still_lane": "niche", "hd_audio": True}}, "informational", {"still_lane": "niche", "hd_audio": True}),
        ({"inputs": {"brief": "a"}, "settings": {"seedream": {"size": "4K"}}}, "settings", {"seedream": {"size": "4K"}, "kling": {}}),
        ({"inputs": {"brief": "a"}, "title": "Mugs"}, "title", "Mugs"),
        ({"inputs": {"brief": "a"}}, "title", "Image session"),
    ],
)  # fmt: skip
async def test_every_spelling_is_folded_into_one_field(idle: Backend, body: dict, field: str, value: object):
    assert order_of(idle, await idle.post("/mma/still/create", body)).get(field) == value


@pytest.mark.parametrize(
    ("assets", "field", "value"),
    [
        ({"productImageUrl": "https://e.com/a.jpg"}, "product", "https://e.com/a.jpg"),
        ({"product_image_url": "", "product_url": "https://e.com/a.jpg"}, "product", "https://e.com/a.jpg"),
        ({"product_image_id": "https://e.com/a.jpg"}, "product", "https://e.com/a.jpg"),
        ({"logo_image_id": "https://e.com/l.png"}, "logo", "https://e.com/l.png"),
        ({"styleHeroUrl": "https://e.com/s.png"}, "style_hero", "https://e.com/s.png"),
        (
            {"inspiration_image_urls": ["https://e.com/1.png", ""], "styleImageUrls": ["https://e.com/2.png"]},
            "inspirations",
            ["https://e.com/1.png", "https://e.com/2.png"],
        ),
    ],
)
async def test_every_spelling_of_an_asset_is_known(idle: Backend, assets: dict, field: str, value: object):
    accepted = await idle.post("/mma/still/create", {"inputs": {"brief": "a"}, "assets": assets})
    assert order_of(idle, accepted)["assets"][field] == value


async def test_an_asset_may_be_a_key_of_our_own_storage(idle: Backend):
    accepted = await idle.post(
        "/mma/still/create", {"inputs": {"brief": "a"}, "assets": {"product_image_id": "product/anon/1-cup.jpg"}}
    )
    url = order_of(idle, accepted)["assets"]["product"]
    assert url == f"{idle.app.settings.base_url}/assets/product/anon/1-cup.jpg"


@pytest.mark.parametrize("path", ["/mma/video/animate", "/mma/video/create"])
@pytest.mark.parametrize(
    "assets",
    [
        {"start_image_url": "https://e.com/f.png"},
        {"image": "https://e.com/f.png"},
        {"kling_image_urls": ["https://e.com/f.png"]},
        {"input_still_image_id": "https://e.com/f.png"},
        {"product_image_url": "https://e.com/f.png"},
    ],
)
async def test_a_video_finds_its_first_frame_under_every_name(idle: Backend, path: str, assets: dict):
    accepted = await idle.post(path, {"assets": assets, "inputs": {"motionBrief": "push in"}})
    assert accepted["billing"] == {"cost": 5, "mode": "video"}
    fetched = await idle.generation(accepted["generation_id"])
    assert fetched["mma_vars"]["assets"]["start_image_url"] == "https://e.com/f.png"


@pytest.mark.parametrize(
    ("path", "body", "status", "error", "named"),
    [
        ("/mma/still/create", {}, 400, "MISSING_INPUT", "inputs.brief"),
        ("/mma/still/create", {"inputs": "no"}, 400, "VALIDATION_ERROR", "inputs"),
        ("/mma/still/create", {"inputs": {"brief": "a", "aspect_ratio": "7:3"}}, 400, "VALIDATION_ERROR", "16:9"),
        ("/mma/still/create", {"inputs": {"brief": "a"}, "assets": {"logo_url": "ftp://e.com/x"}}, 400, "INVALID_URL", "assets.logo"),
        ("/mma/still/create", {"inputs": {"brief": "a"}, "assets": {"logo_url": "http://u:p@e.com/x"}}, 400, "INVALID_URL", "assets.logo"),
        ("/mma/still/create", {"inputs": {"brief": "a"}, "settings": {"seedream": {"x": "y" * 5000}}}, 400, "VALIDATION_ERROR", "settings.seedream"),
        ("/mma/still/create", {"inputs": {"brief": "a"}, "assets": {"inspiration_urls": [f"https://e.com/{n}" for n in range(9)]}}, 400, "VALIDATION_ERROR", "inspiration"),
        ("/mma/still/tweak", {"feedback": {"comment": "darker"}}, 400, "MISSING_GENERATION_ID", "parent_generation_id"),
        ("/mma/still/tweak", {"generation_id": "nope", "feedback": {"comment": "x"}}, 404, "PARENT_GENERATION_NOT_FOUND", "nope"),
        ("/mma/still/nope/tweak", {"feedback": {"comment": "x"}}, 404, "PARENT_GENERATION_NOT_FOUND", "nope"),
        ("/mma/video/animate", {"inputs": {"motion_user_brief": "x"}}, 400, "MISSING_START_IMAGE", "assets.start_image_url"),
        ("/mma/video/tweak", {"feedback": {"comment": "x"}}, 400, "MISSING_GENERATION_ID", "parent_generation_id"),
    ],
)  # fmt: skip
async def test_a_wrong_request_is_refused_with_the_name_of_the_field(idle, path, body, status, error, named):
    answer = await idle.post(path, body, status=status)
    assert (answer["ok"], answer["error"]) == (False, error)
    assert named in answer["message"]
    assert idle.balance() == 100


async def test_a_tweak_without_a_word_of_feedback_is_refused(start: StartBackend):
    backend = await start()
    await backend.grant(2)
    parent = await backend.finished(await backend.create())
    path = f"/mma/still/{parent['generation_id']}/tweak"
    answer = await backend.post(path, {"feedback": {"still_feedback": "  "}}, status=400)
    assert answer["error"] == "MISSING_FEEDBACK"


@pytest.mark.parametrize("spelling", ["parent_generation_id", "parentGenerationId", "generation_id", "generationId"])
async def test_the_flat_tweak_takes_its_parent_from_the_body_and_inherits(start: StartBackend, spelling: str):
    backend = await start()
    await backend.grant(2)
    more = {"inputs": {"aspect_ratio": "16:9"}, "platform": "print", "title": "Mugs"}
    parent = await backend.finished(await backend.create(**more))
    body = {spelling: parent["generation_id"], "feedback": {"comment": "darker"}}
    accepted = await backend.post("/mma/still/tweak", body)
    assert accepted["parent_generation_id"] == parent["generation_id"]
    order = order_of(backend, accepted)
    first = backend.sql("select * from mega_generations where mg_id = %s", f"generation:{parent['generation_id']}")[0]
    assert order["session_id"] == first["mg_session_id"]
    assert (order["platform"], order["title"]) == ("print", "Mugs")
    assert order["parent"]["prompt"] == parent["prompt"]
    tweaked = await backend.finished(accepted)
    assert tweaked["mma_vars"]["settings"]["seedream"]["aspect_ratio"] == "16:9"
    assert tweaked["mma_vars"]["settings"]["seedream"]["size"] == "1K"


async def test_a_tweak_of_something_unfinished_is_refused(idle: Backend):
    parent = await idle.post("/mma/still/create", {"inputs": {"brief": "a cup"}})
    path = f"/mma/still/{parent['generation_id']}/tweak"
    answer = await idle.post(path, {"feedback": {"comment": "darker"}}, status=400)
    assert answer["error"] == "PARENT_NOT_READY"


async def test_another_customers_generation_is_not_found(start: StartBackend):
    backend = await start()
    await backend.grant(2)
    parent = await backend.finished(await backend.create())
    body = {"passId": "pass:user:stranger", "feedback": {"comment": "x"}}
    answer = await backend.post(f"/mma/still/{parent['generation_id']}/tweak", body, status=404)
    assert answer["error"] == "PARENT_GENERATION_NOT_FOUND"


async def test_a_suggestion_alone_is_free_and_ends_as_suggested(start: StartBackend):
    backend = await start()
    body = {"assets": {"start_image_url": await backend.upload()}, "inputs": {"suggest_only": True}}
    accepted = await backend.post("/mma/video/animate", body)
    assert accepted["credits_cost"] == 0
    suggested = await backend.finished(accepted)
    assert suggested["status"] == "suggested"
    assert backend.step_types(suggested["generation_id"]) == ["scan_input_still", "motion_suggestion"]
    assert suggested["mma_vars"]["prompts"]["sugg_prompt"] == suggested["prompt"]
    assert suggested["outputs"] == {"seedream_image_url": None, "kling_video_url": None}
    assert backend.ledger_sum() == 0


async def test_a_video_in_ones_own_words_takes_the_reader_path(start: StartBackend):
    backend = await start()
    await backend.grant(5)
    inputs = {"motion_user_brief": "push in slowly", "movement_style": "fix_camera", "duration": 1}
    body = {"assets": {"start_image_url": await backend.upload()}, "inputs": inputs}
    made = await backend.finished(await backend.post("/mma/video/create", body))
    steps = backend.steps(made["generation_id"])
    assert [step["mg_step_type"] for step in steps] == [
        "scan_input_still",
        "gpt_reader_motion",
        "kling_generate",
        "postscan_output_video",
    ]
    reader = steps[1]["mg_payload"]
    assert reader["input"]["motion_user_brief"] == "push in slowly"
    assert reader["output"]["motion_prompt"] == made["prompt"]
    assert steps[2]["mg_payload"]["input"]["settings_resolved"]["duration"] == 1


async def test_a_preset_prompt_is_used_as_it_is(start: StartBackend):
    backend = await start()
    await backend.grant(1)
    made = await backend.finished(await backend.create(prompts={"clean_prompt": "a red cup on blue stone"}))
    assert made["prompt"] == "a red cup on blue stone"
    assert "gpt_reader" not in backend.step_types(made["generation_id"])


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b'"\xff"',
        b'{"a": NaN}',
        b'{"a": 1e400}',
        b'{"a": "\\u0000"}',
        b'{"a": "\\ud800"}',
        b'{"a": 1, "a": 2}',
        b"[" * 100 + b"]" * 100,
        b"[" * 100_000,
        b'{"a": ' + b"9" * 6000 + b"}",
        b"[]",
        b"null",
    ],
)
async def test_ugly_json_is_a_400(idle: Backend, content: bytes):
    answer = await idle.client.post("/mma/still/create", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"] in ("INVALID_JSON", "VALIDATION_ERROR")


async def test_a_body_over_the_limit_is_a_413(idle: Backend):
    answer = await idle.client.post("/mma/still/create", content=b'{"a":"' + b"x" * 2_000_000 + b'"}')
    assert answer.status_code == 413


async def test_an_unknown_route_is_a_json_404(idle: Backend):
    answer = await idle.get("/nothing/here", status=404)
    assert (answer["ok"], answer["error"]) == (False, "NOT_FOUND")


async def test_browsers_may_call_with_the_documented_headers(idle: Backend):
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,authorization,x-mina-pass-id,idempotency-key",
    }
    answer = await idle.client.options("/mma/still/create", headers=asked)
    assert answer.status_code in (200, 204)
    assert answer.headers["access-control-allow-origin"] == "*"
    simple = await idle.client.get("/health", headers={"Origin": "https://app.example"})
    assert "X-Mina-Pass-Id" in simple.headers["access-control-expose-headers"]


async def test_health_says_whether_the_database_answers(idle: Backend):
    answer = await idle.get("/health")
    assert (answer["ok"], answer["service"], answer["supabase"]) == (True, "safelight", True)
