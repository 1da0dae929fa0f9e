"""The story of the plan: still create → 3 tweaks → animate (type for me) → 1 video tweak → like and download."""

import io
from collections.abc import AsyncIterator

import av
import pytest
from PIL import Image

from tests.conftest import Backend, running

STILL_STEPS = ["scan_product", "like_history", "gpt_reader", "seedream_generate", "postscan_output_still"]
TWEAK_STEPS = ["gpt_feedback_still", "seedream_generate_feedback", "postscan_output_still_feedback"]
VIDEO_STEPS = ["motion_suggestion", "kling_generate", "postscan_output_video"]
VIDEO_TWEAK_STEPS = ["gpt_feedback_motion", "kling_generate_feedback", "postscan_output_video_feedback"]


async def tell_story(backend: Backend) -> list[dict]:
    await backend.grant(14)
    made = [await backend.finished(await backend.create())]
    for feedback in ("darker background, no reflections", "warmer light", "a bit closer"):
        path = f"/mma/still/{made[-1]['generation_id']}/tweak"
        made.append(await backend.finished(await backend.post(path, {"feedback": {"still_feedback": feedback}})))
    body = {"parent_generation_id": made[-1]["generation_id"], "mode": {"type_for_me": True}, "inputs": {"duration": 2}}
    made.append(await backend.finished(await backend.post("/mma/video/animate", body)))
    path = f"/mma/video/{made[-1]['generation_id']}/tweak"
    made.append(await backend.finished(await backend.post(path, {"feedback": {"motion_feedback": "slower"}})))
    for event_type in ("like", "download"):
        event = {"event_type": event_type, "generation_id": made[-1]["generation_id"]}
        await backend.post("/mma/events", event)
    return made


@pytest.fixture(scope="module")
async def backend(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with running(module_dsn, tmp_path_factory.mktemp("home")) as started:
        yield started


@pytest.fixture(scope="module")
async def story(backend: Backend) -> list[dict]:
    return await tell_story(backend)


async def test_six_generations_are_done_with_the_documented_steps(backend: Backend, story: list[dict]):
    assert [made["status"] for made in story] == ["done"] * 6
    steps = [backend.step_types(made["generation_id"]) for made in story]
    assert steps == [STILL_STEPS, *[TWEAK_STEPS] * 3, VIDEO_STEPS, VIDEO_TWEAK_STEPS]
    numbers = [[step["mg_step_no"] for step in backend.steps(made["generation_id"])] for made in story]
    assert all(found == list(range(len(found))) for found in numbers)


async def test_each_tweak_is_chained_to_its_parent(backend: Backend, story: list[dict]):
    parents = [made["parent_generation_id"] for made in story]
    assert parents == [None, *[made["generation_id"] for made in story[:-1]]]
    rows = backend.sql("select mg_generation_id, mg_parent_id from mega_generations where mg_record_type='generation'")
    stored = {row["mg_generation_id"]: row["mg_parent_id"] for row in rows}
    assert all(
        stored[made["generation_id"]] == f"generation:{parent}"
        for made, parent in zip(story, parents, strict=True)
        if parent
    )


async def test_the_ledger_holds_exactly_minus_fourteen(backend: Backend, story: list[dict]):
    charges = backend.sql(
        "select mg_delta from mega_generations where mg_ref_type = 'mma_charge' order by mg_created_at"
    )
    assert [row["mg_delta"] for row in charges] == [-1, -1, -1, -1, -5, -5]
    assert backend.balance() == backend.ledger_sum() == 0


async def test_like_and_download_are_two_events(backend: Backend, story: list[dict]):
    rows = backend.sql("select mg_meta->>'event_type' as type from mega_generations where mg_record_type = 'mma_event'")
    assert sorted(row["type"] for row in rows) == ["create", "create", "download", "like", *["tweak"] * 4]


async def test_the_results_are_real_media_under_permanent_urls(backend: Backend, story: list[dict]):
    for made in story[:4]:
        answer = await backend.client.get(made["outputs"]["seedream_image_url"])
        image = Image.open(io.BytesIO(answer.content))
        assert image.width == image.height
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 5_000
    for made in story[4:]:
        answer = await backend.client.get(made["outputs"]["kling_video_url"])
        assert answer.headers["content-type"] == "video/mp4"
        with av.open(io.BytesIO(answer.content)) as video:
            assert video.streams.video[0].codec_context.name == "h264"
            assert sum(1 for _ in video.decode(video=0)) == 48


async def test_every_step_says_what_it_ran_under(backend: Backend, story: list[dict]):
    for made in story:
        for step in backend.steps(made["generation_id"]):
            given, timing = step["mg_payload"]["input"], step["mg_payload"]["timing"]
            assert timing["ended_at"] >= timing["started_at"]
            assert step["mg_payload"]["error"] is None
            if "generate" in step["mg_step_type"]:
                assert given["settings_id"] == f"app_config:{given['settings_key']}.v{given['settings_version']}"
                assert "version" not in given["settings_resolved"]
                assert "enabled" not in given["settings_resolved"]
                assert step["mg_payload"]["output"]["output_url"].startswith("http")
            elif step["mg_step_type"] != "like_history":
                assert given["ctx_id"] == f"app_config:{given['ctx_key']}.v{given['ctx_version']}"


async def test_the_variable_map_tells_the_whole_run(backend: Backend, story: list[dict]):
    still, video = story[0]["mma_vars"], story[4]["mma_vars"]
    assert still["scans"]["product_crt"]
    assert still["scans"]["output_still_crt"]
    assert still["prompts"]["clean_prompt"] == story[0]["prompt"]
    assert still["history"] == {"vision_intelligence": True, "like_window": 5, "style_history_csv": None}
    assert still["meta"]["flow"] == "still_create"
    assert still["meta"]["ctx_versions"] == {"mma.ctx.gpt_scanner": 1, "mma.ctx.gpt_reader": 1}
    assert still["meta"]["settings_versions"] == {"mma.provider.seedream.defaults": 1}
    assert still["settings"]["seedream"]["size"] == "1K"
    assert video["prompts"]["motion_sugg_prompt"] == video["prompts"]["sugg_prompt"] == story[4]["prompt"]
    assert video["outputs"]["kling_video_url"] == story[4]["outputs"]["kling_video_url"]


async def test_the_variable_map_tells_the_lines_of_the_job_log(backend: Backend, story: list[dict]):
    for made in story:
        rows = backend.sql(
            "select seq, message from image_generation_logs where job_id = %s order by seq", made["generation_id"]
        )
        assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
        lines = made["mma_vars"]["userMessages"]["scan_lines"]
        assert lines == [{"index": row["seq"] - 1, "text": row["message"]} for row in rows]
        assert all(len(line["text"]) <= 140 for line in lines)
