"""The product on Replicate and on fal: only the registry's row differs, and what goes wrong ends well."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from safelight.ops.maintenance import delete_orphans
from tests.conftest import Backend, StartBackend, running
from tests.fakes import fal, replicate
from tests.fakes.vendors import settings_for, vendor
from tests.fakes.wire import Break, Scripted, Wire
from tests.pipelines.flows.test_main_job import STILL_STEPS, TWEAK_STEPS, VIDEO_STEPS, VIDEO_TWEAK_STEPS, tell_story

Json = dict[str, Any]
ADAPTERS = ["replicate", "fal"]
PICTURES = {"replicate": "image_input", "fal": "image_urls"}
FRAMES = {"replicate": "start_image", "fal": "image_url"}


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_the_main_job_is_done_by_a_vendor(dsn: str, tmp_path: Path, adapter: str):
    async with vendor(dsn, adapter) as (wire, settings), running(dsn, tmp_path, **settings) as backend:
        made = await tell_story(backend)
        assert [one["status"] for one in made] == ["done"] * 6
        steps = [backend.step_types(one["generation_id"]) for one in made]
        assert steps == [STILL_STEPS, *[TWEAK_STEPS] * 3, VIDEO_STEPS, VIDEO_TWEAK_STEPS]
        assert backend.balance() == backend.ledger_sum() == 0
        assert backend.ops_rows() == []
        still = await backend.client.get(made[0]["outputs"]["seedream_image_url"])
        assert Image.open(io.BytesIO(still.content)).width == 512
        film = await backend.client.get(made[5]["outputs"]["kling_video_url"])
        assert film.headers["content-type"] == "video/mp4"
        inputs = [work.input for work in wire.works.values()]
        pictures, frame = PICTURES[adapter], FRAMES[adapter]
        stills = [one["outputs"]["seedream_image_url"] for one in made[:4]]
        assert [one[pictures] for one in inputs[1:4]] == [[url] for url in stills[:3]]  # a tweak: the parent only
        assert inputs[4][frame] == stills[3]
        assert [one["prompt"] for one in inputs] == [one["prompt"] for one in made]
    assert len(wire.authorizations) == 1


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_key_in_the_environment_is_all_it_takes(start: StartBackend, adapter: str):
    wire: Wire = fal.Fal() if adapter == "fal" else replicate.Replicate()
    async with wire.answering():
        backend = await start(**settings_for(adapter, wire))
        await backend.grant(6)
        still = await backend.finished(await backend.create())
        body = {"parent_generation_id": still["generation_id"], "inputs": {"motion_user_brief": "slowly closer"}}
        film = await backend.finished(await backend.post("/mma/video/animate", body))
    assert (still["status"], film["status"]) == ("done", "done")
    assert [work.kind for work in wire.works.values()] == ["image", "video"]
    served = "select distinct mg_payload #>> '{input,adapter}' from mega_generations where mg_payload ? 'starts'"
    assert backend.value(served) == adapter


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_the_pictures_go_in_the_order_the_model_is_used_to(dsn: str, start: StartBackend, adapter: str):
    async with vendor(dsn, adapter) as (wire, settings):
        backend = await start(**settings)
        await backend.grant(1)
        urls = [await backend.upload(without_lines=lines) for lines in range(5)]
        assets = {
            "style_hero_image_url": urls[4],
            "inspiration_image_urls": urls[2:4],
            "logo_image_url": urls[1],
            "product_image_url": urls[0],
        }
        still = await backend.finished(await backend.create(product=urls[0], assets=assets))
        assert still["status"] == "done"
        [work] = wire.works.values()
    assert work.input[PICTURES[adapter]] == urls


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_what_a_model_does_not_know_is_said_in_the_step_and_in_the_log(
    dsn: str, start: StartBackend, adapter: str
):
    async with vendor(dsn, adapter) as (wire, settings):
        backend = await start(**settings)
        await backend.grant(1)
        accepted = await backend.create(settings={"seedream": {"sparkle": 11, "enhance_prompt_level": 99}})
        still = await backend.finished(accepted)
        [work] = wire.works.values()
    assert "sparkle" not in work.input
    [step] = [one for one in backend.steps(still["generation_id"]) if one["mg_step_type"] == "seedream_generate"]
    warnings = step["mg_payload"]["output"]["warnings"]
    assert "The setting sparkle is not known to this model and was left out." in warnings
    assert "enhance_prompt_level" not in work.input
    logged = backend.sql("select message from image_generation_logs where level = 'warning' order by seq")
    assert [row["message"] for row in logged] == warnings


# --- what goes wrong ------------------------------------------------------------------------------------------------

REFUSED_STARTS = {
    "replicate": [
        (401, replicate.UNAUTHENTICATED, "PROVIDER_ACCESS_DENIED", "CONFIG_ERROR"),
        (402, replicate.UNPAID, "SEEDREAM_QUOTA_EXHAUSTED", "PROVIDER_ERROR"),
        (404, replicate.GONE, "SEEDREAM_MODEL_GONE", "PROVIDER_ERROR"),
        (422, replicate.INVALID, "SEEDREAM_REJECTED", "PROVIDER_ERROR"),
        (422, {"detail": "NSFW content detected"}, "SEEDREAM_CONTENT_REFUSED", "PROVIDER_ERROR"),
    ],
    "fal": [
        (401, fal.UNAUTHENTICATED, "PROVIDER_ACCESS_DENIED", "CONFIG_ERROR"),
        (403, fal.LOCKED, "SEEDREAM_QUOTA_EXHAUSTED", "PROVIDER_ERROR"),
        (404, fal.GONE, "SEEDREAM_MODEL_GONE", "PROVIDER_ERROR"),
        (422, fal.INVALID, "SEEDREAM_REJECTED", "PROVIDER_ERROR"),
        (422, fal.REFUSED, "SEEDREAM_CONTENT_REFUSED", "PROVIDER_ERROR"),
    ],
}
REFUSALS = [(adapter, *one) for adapter, several in REFUSED_STARTS.items() for one in several]


async def ended(backend: Backend) -> Json:
    await backend.grant(1)
    return await backend.finished(await backend.create())


def assert_failed(backend: Backend, still: Json, code: str) -> Json:
    """It failed with this code, on both planes, refunded, and nothing of the vendor is shown."""
    assert still["status"] == "error"
    assert still["mma_vars"] is not None
    assert backend.balance() == 1
    [row] = [one for one in backend.ops_rows(still["generation_id"]) if one["mg_record_type"] == "error"]
    assert row["mg_detail"]["error_code"] == f"MMA_{code}"
    assert "replicate" not in still["error"]["message"].lower() and "fal" not in still["error"]["message"].split()
    return dict(row["mg_detail"])


@pytest.mark.parametrize(("adapter", "status", "body", "code", "category"), REFUSALS)
async def test_a_refused_start_fails_by_name_and_is_refunded(
    dsn: str, start: StartBackend, adapter: str, status: int, body: Json, code: str, category: str
):
    async with vendor(dsn, adapter) as (wire, settings):
        wire.always("start", Scripted(status, body))
        backend = await start(**settings)
        still = await ended(backend)
    detail = assert_failed(backend, still, code)
    assert detail["category"] == category
    assert detail["provider_http_status"] == status
    assert detail["provider_error"]["known"] is True
    assert [call for call, _ in wire.calls] == ["start"]  # what cannot help is not tried again


@pytest.mark.parametrize(
    ("adapter", "error", "code"),
    [
        ("replicate", replicate.SENSITIVE, "SEEDREAM_CONTENT_REFUSED"),
        ("replicate", "Prediction interrupted; please retry (code: PA)", "SEEDREAM_PROVIDER_FAILED"),
        ("replicate", "CUDA out of memory. Tried to allocate 20 MiB", "SEEDREAM_OUT_OF_MEMORY"),
        ("fal", fal.REFUSED, "SEEDREAM_CONTENT_REFUSED"),
    ],
)
async def test_a_failed_result_fails_by_name(dsn: str, start: StartBackend, adapter: str, error: Any, code: str):
    async with vendor(dsn, adapter) as (wire, settings):
        wire.fails_with = error
        backend = await start(**settings)
        still = await ended(backend)
    assert_failed(backend, still, code)


async def test_errors_that_nobody_has_explained_are_grouped_by_what_they_say(dsn: str, start: StartBackend):
    async with vendor(dsn, "replicate") as (wire, settings):
        backend = await start(**settings)
        for said in ("Kaboom in frame 17 of x1y2z3a4b5c6d7", "Kaboom in frame 4 of a9b8c7d6e5f4g3", "Another thing"):
            wire.fails_with = said
            await ended(backend)
    found = [row["mg_detail"]["provider_error"] for row in backend.ops_rows() if row["mg_record_type"] == "error"]
    assert [one["known"] for one in found] == [False] * 3
    assert found[0]["fingerprint"] == found[1]["fingerprint"] != found[2]["fingerprint"]


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_throttled_start_is_made_again(dsn: str, start: StartBackend, adapter: str):
    async with vendor(dsn, adapter) as (wire, settings):
        throttled = {"replicate": replicate.THROTTLED, "fal": fal.THROTTLED}[adapter]
        wire.script("start", Scripted(429, throttled, {"Retry-After": "1"}))
        backend = await start(**settings)
        still = await ended(backend)
    assert still["status"] == "done"
    assert len(wire.works) == 1


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("fault", ["cut", "expired"])
async def test_a_result_file_that_cannot_be_read_is_asked_for_again(
    dsn: str, start: StartBackend, adapter: str, fault: Any
):
    async with vendor(dsn, adapter) as (wire, settings):
        wire.file_faults.append(fault)
        backend = await start(**settings)
        still = await ended(backend)
    assert still["status"] == "done"
    assert len(wire.works) == 1  # paid once


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_result_file_that_stays_unreadable_fails_and_is_refunded(dsn: str, start: StartBackend, adapter: str):
    async with vendor(dsn, adapter) as (wire, settings):
        wire.file_faults.extend(["expired"] * 3)
        backend = await start(**settings)
        still = await ended(backend)
    assert_failed(backend, still, "SEEDREAM_RESULT_GONE")


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_result_that_is_no_picture_breaks_the_contract(dsn: str, start: StartBackend, adapter: str):
    async with vendor(dsn, adapter) as (wire, settings):
        wire.file_faults.append("no_picture")
        backend = await start(**settings)
        still = await ended(backend)
    assert_failed(backend, still, "SEEDREAM_CONTRACT_BROKEN")


@pytest.mark.parametrize("output", ["string", "list", "object"])
async def test_a_prediction_may_have_its_url_in_any_of_the_known_shapes(dsn: str, start: StartBackend, output: Any):
    async with vendor(dsn, "replicate") as (wire, settings):
        wire.output = output
        still = await ended(await start(**settings))
    assert still["status"] == "done"


async def test_all_that_was_made_is_kept_and_what_could_not_be_had_is_said(dsn: str, start: StartBackend):
    async with vendor(dsn, "replicate") as (wire, settings):
        wire.output = "several"
        backend = await start(**settings)
        still = await ended(backend)
        [step] = [one for one in backend.steps(still["generation_id"]) if one["mg_step_type"] == "seedream_generate"]
        output = step["mg_payload"]["output"]
        [other] = output["more_outputs"]
        for url in (output["output_url"], other["url"]):
            assert Image.open(io.BytesIO((await backend.client.get(url)).content)).width == 512
        async with backend.app.database() as db:
            assert (await delete_orphans(db, backend.app.resources.assets, hours=0, delete=False)).keys == []
    assert still["status"] == "done"
    assert output["warnings"] == [
        "File 2 of 3 could not be kept (RESULT_GONE).",
        "1:1 was ordered; the result is 3:2 (512 x 341).",
    ]


async def test_a_prediction_without_a_url_is_an_error_by_name(dsn: str, start: StartBackend):
    async with vendor(dsn, "replicate") as (wire, settings):
        wire.output = "nothing"
        backend = await start(**settings)
        still = await ended(backend)
    assert_failed(backend, still, "SEEDREAM_NO_URL")


async def test_a_lost_answer_of_replicate_is_found_by_its_webhook(dsn: str, start: StartBackend):
    async with vendor(dsn, "replicate") as (wire, settings):
        wire.script("start", Break.CLOSED_AFTER)
        backend = await start(**settings, webhook_url="http://127.0.0.1:9")
        still = await ended(backend)
    assert still["status"] == "done"
    assert len(wire.works) == 1
    assert backend.ops_rows() == []


@pytest.mark.parametrize("adapter", ADAPTERS)
async def test_a_lost_answer_that_cannot_be_looked_up_is_started_once_more_and_admitted(
    dsn: str, start: StartBackend, adapter: str
):
    async with vendor(dsn, adapter) as (wire, settings):
        wire.shows_webhooks = False
        wire.script("start", Break.CLOSED_AFTER)
        backend = await start(**settings, webhook_url="http://127.0.0.1:9")
        still = await ended(backend)
    assert still["status"] == "done"
    assert len(wire.works) == 2
    [row] = backend.ops_rows(still["generation_id"])
    assert row["mg_record_type"] == "warn"
    assert row["mg_detail"]["possible_double_spend"]


async def test_an_adapter_without_its_key_says_which_setting_is_missing(dsn: str, start: StartBackend):
    for adapter, setting in (("replicate", "SAFELIGHT_REPLICATE_TOKEN"),):
        async with vendor(dsn, adapter) as (_, settings):
            backend = await start(**settings | {"replicate_token": ""})
            still = await ended(backend)
        detail = assert_failed(backend, still, "CONFIG")
        assert setting in detail["message"]
