"""Sessions, events and preferences, likes, history, identity."""

import pytest

from tests.conftest import Backend, StartBackend


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    return await start(worker=False)


async def test_a_session_is_answered_with_both_namings(idle: Backend):
    answer = await idle.post("/sessions/start", {"platform": "Instagram-Post", "title": "Mugs"})
    session = answer["session"]
    assert answer["ok"] is True
    assert answer["sessionId"] == session["id"]
    assert (session["customerId"], session["platform"], session["title"]) == (idle.pass_id, "instagram-post", "Mugs")
    [row] = idle.sql("select * from mega_generations where mg_record_type = 'session'")
    assert row["mg_id"] == f"session:{session['id']}"
    assert row["mg_pass_id"] == answer["passId"] == idle.pass_id


async def test_an_anonymous_session_leaves_no_row(idle: Backend):
    answer = await idle.client.post("/sessions/start", json={"customerId": "anonymous"})
    assert answer.json()["passId"] is None
    assert answer.json()["session"]["platform"] == "tiktok"
    assert idle.value("select count(*) from mega_generations") == 0


@pytest.mark.parametrize(
    ("body", "pass_id"),
    [
        ({"passId": "pass:user:1"}, "pass:user:1"),
        ({"pass_id": "pass:user:1"}, "pass:user:1"),
        ({"customerId": "pass_abc"}, "pass_abc"),
        ({"customer_id": "8812345"}, "pass:shopify:8812345"),
        ({"customerId": "Anonymous"}, None),
        ({"passId": "0D0F5A3E-5B1C-4B36-9A0A-2F1F6F6C2A11"}, "pass:anon:0d0f5a3e-5b1c-4b36-9a0a-2f1f6f6c2a11"),
    ],
)
async def test_every_form_of_an_id_is_known(idle: Backend, body: dict, pass_id: str | None):
    answer = (await idle.client.post("/sessions/start", json=body)).json()
    assert answer["passId"] == pass_id
    rows = idle.sql("select mg_pass_id from mega_customers")
    assert [row["mg_pass_id"] for row in rows] == ([pass_id] if pass_id else [])


async def test_a_shop_key_finds_its_customer(idle: Backend):
    idle.sql("insert into mega_customers (mg_pass_id, mg_shopify_customer_id) values ('pass:user:7', '8812345')")
    answer = await idle.client.post("/sessions/start", json={"customerId": "8812345"})
    assert answer.json()["passId"] == "pass:user:7"


async def test_an_event_is_answered_with_the_union(idle: Backend):
    answer = await idle.post("/mma/events", {"eventType": "like", "payload": {"tags": ["soft light"]}})
    assert (answer["ok"], answer["status"], answer["passId"]) == (True, "ok", idle.pass_id)
    assert answer["event_id"] == answer["eventId"]
    assert answer["preferences"]["tag_weights"] == {"soft light": 1}
    [row] = idle.sql("select * from mega_generations where mg_record_type = 'mma_event'")
    assert row["mg_id"] == f"mma_event:{answer['event_id']}"
    said = {"event_type": "like", "payload": {"tags": ["soft light"]}, "request_id": answer["requestId"]}
    assert row["mg_meta"] == said


async def test_preferences_follow_the_events(idle: Backend):
    idle.sql(
        "insert into mega_customers (mg_pass_id, mg_mma_preferences) values (%s, '{\"type_for_me_success_count\": 4}')",
        idle.pass_id,
    )
    for event_type, payload in [
        ("like", {"tags": ["warm", "stone"]}),
        ("dislike", {"tag": "stone", "hard_block": "hands"}),
        ("preference_set", {"hard_blocks": ["text", "hands"], "tag_weights": {"warm": 5}}),
        ("download", {"tag": "warm"}),
    ]:
        answer = await idle.post("/mma/events", {"event_type": event_type, "payload": payload})
    preferences = answer["preferences"]
    assert preferences["hard_blocks"] == ["hands", "text"]
    assert preferences["tag_weights"] == {"warm": 6, "stone": 0, "hands": -999, "text": -999}
    assert preferences["source"] == "mma"
    assert preferences["type_for_me_success_count"] == 4


async def test_the_same_event_id_is_stored_once(idle: Backend):
    event = {"event_type": "like", "event_id": "e-1", "payload": {"tag": "warm"}}
    answers = [await idle.post("/mma/events", event) for _ in range(2)]
    assert answers[0]["event_id"] == answers[1]["event_id"] == "e-1"
    assert answers[1]["preferences"]["tag_weights"] == {"warm": 1}


async def test_an_event_without_a_type_is_refused(idle: Backend):
    answer = await idle.post("/mma/events", {"payload": {}}, status=400)
    assert answer["error"] == "VALIDATION_ERROR"
    assert "event_type" in answer["message"]


async def like_many(backend: Backend, count: int) -> None:
    """Done stills with a like each, as another version may have left them."""
    for number in range(count):
        key = f"g{number:03d}"
        backend.sql(
            "insert into mega_generations (mg_id, mg_record_type, mg_pass_id, mg_generation_id, mg_mma_mode,"
            " mg_content_type, mg_prompt, mg_output_url) values (%s, 'generation', %s, %s, 'still', 'image', %s, %s)",
            f"generation:{key}",
            backend.pass_id,
            key,
            f"warm stone number {number}",
            backend.photo,
        )
        await backend.post("/mma/events", {"event_type": "like", "generation_id": key})


async def likes_of(backend: Backend, **more: object) -> dict:
    made = await backend.finished(await backend.create(product=backend.photo, **more))
    [step] = [step for step in backend.steps(made["generation_id"]) if step["mg_step_type"] == "like_history"]
    return step["mg_payload"]


@pytest.mark.parametrize(("vision", "window"), [(True, 5), (False, 20)])
async def test_the_newest_likes_are_read_five_with_vision_twenty_without(start, vision: bool, window: int):
    backend = await start()
    await backend.grant(1)
    backend.photo = await backend.upload()
    await like_many(backend, 25)
    payload = await likes_of(backend, history={"vision_intelligence": vision})
    given = payload["input"]
    assert (given["window"], given["vision_intelligence"]) == (window, vision)
    assert [like["item"] for like in given["likes"]] == [f"g{number:03d}" for number in range(24, 24 - window, -1)]
    assert given["ctx_id"] == "app_config:mma.ctx.like_history.v1"
    assert payload["output"]["style_history_csv"]
    assert payload["output"]["style_history_tags"] == payload["output"]["style_history_csv"].split(", ")


async def test_likes_downloads_and_silent_feedback_count_and_unlikes_cancel(start: StartBackend):
    backend = await start()
    await backend.grant(1)
    backend.photo = await backend.upload()
    await like_many(backend, 3)
    await backend.post("/mma/events", {"event_type": "dislike", "generation_id": "g000"})
    await backend.post("/mma/events", {"event_type": "like", "generation_id": "g001", "payload": {"liked": False}})
    await backend.post("/mma/events", {"event_type": "download", "generation_id": "g000"})
    feedback = (
        "insert into mega_generations (mg_id, mg_record_type, mg_pass_id, mg_prompt, mg_comment, mg_output_url, mg_meta)"
        " values (%s, 'feedback', %s, %s, %s, %s, %s)"
    )
    backend.sql(feedback, "feedback:1", backend.pass_id, "a silent like", "", None, '{"payload": {"url": "x"}}')
    backend.sql(feedback, "feedback:2", backend.pass_id, "with words", "too dark", "https://assets.example/2.png", "{}")
    payload = await likes_of(backend)
    assert [like["prompt"] for like in payload["input"]["likes"]][:2] == ["a silent like", "warm stone number 0"]
    assert [like["item"] for like in payload["input"]["likes"]][1:] == ["g000", "g002"]


async def test_hard_blocks_reach_the_prompts_and_the_negative_prompt(start: StartBackend):
    backend = await start()
    await backend.grant(6)
    await backend.post("/mma/events", {"event_type": "preference_set", "payload": {"hard_blocks": ["hands", "neon"]}})
    made = await backend.finished(await backend.create(inputs={"brief": "on stone, with neon light"}))
    [reader] = [step for step in backend.steps(made["generation_id"]) if step["mg_step_type"] == "gpt_reader"]
    assert "AVOID: hands, neon" in reader["mg_payload"]["input"]["input_gpt_reader"]
    body = {
        "parent_generation_id": made["generation_id"],
        "inputs": {"motion_user_brief": "push in", "duration": 1, "negative_prompt": "blur"},
    }
    video = await backend.finished(await backend.post("/mma/video/animate", body))
    [kling] = [step for step in backend.steps(video["generation_id"]) if step["mg_step_type"] == "kling_generate"]
    assert kling["mg_payload"]["input"]["settings_resolved"]["negative_prompt"] == "blur, hands, neon"


async def test_settings_merge_defaults_then_preferences_then_request(start: StartBackend):
    backend = await start()
    await backend.grant(1)
    preferred = '{"settings": {"seedream": {"size": "4K", "seed": 7}}}'
    backend.sql("update mega_customers set mg_mma_preferences = %s where mg_pass_id = %s", preferred, backend.pass_id)
    backend.sql(
        "insert into mega_admin (mg_id, mg_record_type, mg_key, mg_value) values"
        " ('app_config:mma.provider.seedream.defaults.v2', 'app_config', 'mma.provider.seedream.defaults',"
        ' \'{"version": 2, "enabled": true, "defaults": {"size": "2K", "enhance_prompt": true}}\')'
    )
    made = await backend.finished(await backend.create())
    [step] = [step for step in backend.steps(made["generation_id"]) if step["mg_step_type"] == "seedream_generate"]
    given = step["mg_payload"]["input"]
    assert given["settings_id"] == "app_config:mma.provider.seedream.defaults.v2"
    assert given["settings_version"] == 2
    assert given["settings_resolved"] == {"size": "1K", "enhance_prompt": True, "seed": 7, "aspect_ratio": "1:1"}
    assert given["seed"] == 7


async def test_a_newer_context_is_used_and_named(start: StartBackend):
    backend = await start()
    await backend.grant(1)
    backend.sql(
        "insert into mega_admin (mg_id, mg_record_type, mg_key, mg_value)"
        " select 'app_config:mma.ctx.gpt_reader.v12', mg_record_type, mg_key, mg_value || '{\"version\": 12}'"
        " from mega_admin where mg_id = 'app_config:mma.ctx.gpt_reader.v1'"
    )
    made = await backend.finished(await backend.create())
    [step] = [step for step in backend.steps(made["generation_id"]) if step["mg_step_type"] == "gpt_reader"]
    assert step["mg_payload"]["input"]["ctx_version"] == 12
    assert made["mma_vars"]["meta"]["ctx_versions"]["mma.ctx.gpt_reader"] == 12


async def test_history_tells_it_in_both_namings_page_by_page(start: StartBackend):
    backend = await start()
    await backend.grant(2)
    made = [await backend.finished(await backend.create()) for _ in range(2)]
    whole = await backend.get(f"/history/pass/{backend.pass_id}")
    assert whole["ok"] is True
    assert whole["passId"] == whole["customerId"] == backend.pass_id
    newest = whole["generations"][0]
    assert newest["id"] == newest["mg_id"] == f"generation:{made[1]['generation_id']}"
    assert newest["outputUrl"] == newest["mg_output_url"] == made[1]["outputs"]["seedream_image_url"]
    assert newest["prompt"] == newest["mg_prompt"] == made[1]["prompt"]
    assert newest["createdAt"] == newest["mg_created_at"]
    assert whole["credits"]["balance"] == 0
    assert [entry["mg_delta"] for entry in whole["credits"]["history"]] == [-1, -1, 2]
    assert whole["page"] == {"limit": 200, "cursor": None, "nextCursor": None, "hasMore": False, "returned": 4}

    seen, cursor = [], None
    while True:
        params = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = await backend.get(f"/history/pass/{backend.pass_id}", params=params)
        seen += [item["mg_id"] for kind in ("sessions", "generations", "feedbacks") for item in page[kind]]
        cursor = page["page"]["nextCursor"]
        if not page["page"]["hasMore"]:
            break
    assert len(seen) == len(set(seen)) == 4


async def test_the_history_of_somebody_unknown_is_empty(idle: Backend):
    answer = await idle.get("/history/pass/pass:user:nobody")
    assert (answer["generations"], answer["credits"]["balance"]) == ([], 0)
    refused = await idle.get("/history/pass/anonymous", status=400)
    assert refused["error"] == "MISSING_PASS_ID"
