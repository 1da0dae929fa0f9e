"""Model runs: what reaches the model, what is kept and paid, and what can be completed later."""

import io
from typing import Any

import pytest
from PIL import Image

from safelight.domain.errors.base import IdempotencyConflict, InsufficientCredits
from safelight.domain.errors.retries import NothingToRetry
from tests.conftest import StartBackend
from tests.fakes.wire import Scripted
from tests.support.image_jobs import cancelled, complete, ended, lines, money, problems
from tests.support.model_runs import (
    FLUX,
    HAILUO,
    IMAGEN,
    KLING,
    KONTEXT,
    PROMPT,
    VEO,
    WAN,
    numbers,
    on_fal,
    quoted,
    results,
    run_model,
    started,
)

Json = dict[str, Any]

# What a model is asked, and what reaches fal of it, beside the prompt; `reference` stands for the customer's picture.
REQUESTS: list[tuple[str, int, Json, Json]] = [
    (
        FLUX, 50, {"parameters": {"image_size": "landscape_16_9", "seed": 7, "raw": True}},
        {"aspect_ratio": "16:9", "seed": 7, "raw": True, "num_images": 1, "output_format": "jpeg", "safety_tolerance": "2"},
    ),
    (
        KONTEXT, 60, {"reference_image_url": "reference", "parameters": {"guidance": 5, "seed": 1}},
        {
            "image_url": "reference", "guidance_scale": 5, "seed": 1, "aspect_ratio": "4:3", "num_images": 1,
            "output_format": "jpeg", "safety_tolerance": "2",
        },
    ),
    (
        IMAGEN, 45, {"negative_prompt": "text, logos", "parameters": {"aspect_ratio": "1:1", "seed": 2}},
        {"negative_prompt": "text, logos", "aspect_ratio": "1:1", "seed": 2, "num_images": 1, "output_format": "jpeg"},
    ),
    (
        VEO, 500, {"negative_prompt": "people", "parameters": {"duration": 6, "aspect": "9:16", "seed": 3}},
        {
            "negative_prompt": "people", "duration": "6s", "aspect_ratio": "9:16", "seed": 3, "resolution": "720p",
            "generate_audio": True,
        },
    ),
    (HAILUO, 400, {"parameters": {"prompt_optimizer": False}}, {"prompt_optimizer": False}),
    (
        KLING, 350, {"parameters": {"duration": 10, "creativity": 0.7}},
        {
            "duration": "10", "cfg_scale": 0.7, "aspect_ratio": "16:9",
            "negative_prompt": "blur, distort, and low quality",
        },
    ),
    (WAN, 300, {"parameters": {"seed": 4}}, {"seed": 4, "enable_safety_checker": True}),
]  # fmt: skip


@pytest.mark.parametrize(("model_id", "price", "body", "sent"), REQUESTS, ids=[one[0] for one in REQUESTS])
async def test_each_model_is_given_what_the_customer_states(
    start: StartBackend, model_id: str, price: int, body: Json, sent: Json
):
    async with on_fal(start) as (wire, backend):
        picture = await backend.upload()
        body = {name: picture if value == "reference" else value for name, value in body.items()}
        accepted = await run_model(backend, model_id, **body)
        row = await ended(backend, accepted.generation_id)
        [work] = wire.works.values()
        [result] = results(backend, accepted.generation_id)
        file = await backend.client.get(result["url"])
        found = await problems(backend)
    assert row["mg_mma_status"] == "done", row["mg_error"]
    expected = {name: picture if value == "reference" else value for name, value in sent.items()}
    assert (work.model, work.input) == (model_id, expected | {"prompt": PROMPT})
    assert (accepted.credits_cost, money(backend, accepted.generation_id)) == (price, {"mma:<id>": -price})
    assert (result["variant"], result["source"], len(result["sha256"])) == (0, 0, 64)
    is_video = model_id in (VEO, HAILUO, KLING, WAN)
    assert file.headers["content-type"] == ("video/mp4" if is_video else "image/jpeg")
    assert row["mg_mma_vars"]["userMessages"]["final_line"] == f"Your {'video' if is_video else 'picture'} is ready."
    assert row["mg_mma_vars"]["meta"]["model_id"] == model_id
    assert found == {}


async def test_a_step_names_the_version_of_the_list_of_models_and_the_settings(start: StartBackend):
    async with on_fal(start) as (_, backend):
        accepted = await run_model(backend, FLUX, parameters={"num_images": 2, "seed": 7})
        await ended(backend, accepted.generation_id)
        steps = backend.steps(accepted.generation_id)
    assert [step["mg_step_type"] for step in steps] == ["validation", "model_generate", "completion"]
    given = steps[1]["mg_payload"]["input"]
    assert (given["settings_key"], given["settings_version"]) == ("mma.provider.models", 1)
    assert given["settings_id"] == "app_config:mma.provider.models.v1"
    assert given["model_id"] == FLUX
    assert given["settings_resolved"] == {
        "aspect_ratio": "4:3", "num_images": 2, "output_format": "jpeg", "safety_tolerance": 2, "seed": 7,
    }  # fmt: skip


# --- parts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "lost"), [("no_picture", [2]), ("expired", [4]), ("cut", [3, 4])])
async def test_what_could_be_stored_is_kept_and_the_rest_is_refunded(start: StartBackend, fault: Any, lost: list[int]):
    async with on_fal(start, retry_base_seconds=0.01) as (wire, backend):
        wire.faults_of_files = {str(number): fault for number in lost}
        accepted = await run_model(backend, FLUX, parameters={"num_images": 4})
        row = await ended(backend, accepted.generation_id)
        assert row["mg_mma_status"] == "partial"
        kept = [(0, number) for number in range(4) if number + 1 not in lost]
        assert numbers(backend, accepted.generation_id) == kept
        expected = {"mma:<id>": -200, "mma:<id>:refund:1": 50 * len(lost)}
        assert money(backend, accepted.generation_id) == expected
        assert backend.balance() == 10_000 - 50 * len(kept)
        assert await problems(backend) == {}

        wire.faults_of_files = {}
        reopened = await complete(backend, accepted.generation_id)
        assert (reopened.missing, reopened.credits_cost) == (len(lost), 50 * len(lost))
        row = await ended(backend, accepted.generation_id)
        assert row["mg_mma_status"] == "done"
        works = list(wire.works.values())
        assert [work.input["num_images"] for work in works] == [4, len(lost)]
        assert works[0].input["seed"] != works[1].input["seed"]
        assert numbers(backend, accepted.generation_id) == [(0, 0), (0, 1), (0, 2), (0, 3)]
        assert len({one["key"] for one in results(backend, accepted.generation_id)}) == 4
        assert [one["source"] for one in row["mg_mma_vars"]["outputs"]["results"]].count(0) == 1
        assert backend.balance() == backend.ledger_sum() == 10_000 - 200
        assert await problems(backend) == {}
        with pytest.raises(NothingToRetry):
            await complete(backend, accepted.generation_id)


async def test_a_model_that_makes_too_few_results_is_paid_for_those(start: StartBackend):
    async with on_fal(start) as (wire, backend):
        wire.makes_at_most = 3
        accepted = await run_model(backend, IMAGEN, parameters={"num_images": 4})
        row = await ended(backend, accepted.generation_id)
        assert (row["mg_mma_status"], backend.balance()) == ("partial", 10_000 - 3 * 45)
        assert numbers(backend, accepted.generation_id) == [(0, 0), (0, 1), (0, 2)]
        warnings = [line["message"] for line in lines(backend, accepted.generation_id) if line["level"] == "warning"]
        assert "The model made 3 results, not the 4 that it was asked for." in warnings
        assert await problems(backend) == {}


@pytest.mark.parametrize("status", [422, 404, 401])
async def test_a_run_that_makes_nothing_has_failed_and_is_refunded_whole(start: StartBackend, status: int):
    async with on_fal(start) as (wire, backend):
        wire.always("start", Scripted(status, {"detail": "no"}))
        accepted = await run_model(backend, FLUX, parameters={"num_images": 2})
        row = await ended(backend, accepted.generation_id)
        assert (row["mg_mma_status"], backend.balance()) == ("error", 10_000)
        assert money(backend, accepted.generation_id) == {"mma:<id>": -100, "mma:<id>:refund:1": 100}
        assert numbers(backend, accepted.generation_id) == []
        assert await problems(backend) == {}


async def test_a_run_is_cancelled_and_refunded(start: StartBackend):
    async with on_fal(start) as (wire, backend):
        wire.work_seconds = 60
        accepted = await run_model(backend, VEO)
        await started(wire)
        await cancelled(backend, accepted.generation_id)
        row = await ended(backend, accepted.generation_id)
        assert (row["mg_mma_status"], backend.balance()) == ("cancelled", 10_000)
        assert all(work.cancelled for work in wire.works.values())
        assert await problems(backend) == {}


# --- offline ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_id", "parameters", "size"),
    [
        (FLUX, {"num_images": 2, "aspect_ratio": "landscape_16_9"}, (16, 9)),
        (IMAGEN, {"aspect_ratio": "1:1"}, (1, 1)),
        (WAN, {}, (16, 9)),
    ],
)
async def test_the_stand_in_makes_what_models_make(start: StartBackend, model_id: str, parameters: Json, size: Any):
    backend = await start()
    await backend.grant(1_000)
    accepted = await run_model(backend, model_id, parameters=parameters)
    row = await ended(backend, accepted.generation_id)
    made = results(backend, accepted.generation_id)
    assert row["mg_mma_status"] == "done", row["mg_error"]
    assert len({one["sha256"] for one in made}) == parameters.get("num_images", 1)
    assert all(abs(one["width"] / one["height"] - size[0] / size[1]) < 0.02 for one in made)
    small = await backend.client.get("/thumbnails/256/" + made[0]["key"], follow_redirects=True)
    assert Image.open(io.BytesIO(small.content)).format == "WEBP"
    assert row["mg_mma_vars"]["meta"]["stand_in"] is True
    assert await problems(backend) == {}


# --- acceptance ------------------------------------------------------------------------------------------------------


async def test_a_dry_run_says_price_and_warnings_and_writes_nothing(start: StartBackend):
    backend = await start()
    before = backend.value("select count(*) from mega_generations")
    quote = await quoted(backend, FLUX, parameters={"num_images": 9, "sparkle": 11})
    assert (quote.credits, quote.price_each, quote.positions) == (200, 50, 4)
    assert quote.warnings == (
        "num_images 9 is not possible with this model; 4 was taken.",
        f"The parameter sparkle is not known to {FLUX} and was left out.",
    )
    assert backend.value("select count(*) from mega_generations") == before


async def test_a_run_that_is_not_paid_is_not_accepted(start: StartBackend):
    backend = await start()
    await backend.grant(99)
    with pytest.raises(InsufficientCredits):
        await run_model(backend, FLUX, parameters={"num_images": 2})
    assert backend.balance() == 99


async def test_a_key_is_good_for_one_request(start: StartBackend):
    backend = await start()
    await backend.grant(200)
    first = await run_model(backend, FLUX, key="one")
    again = await run_model(backend, FLUX, key="one")
    assert (again.generation_id, again.repeated, backend.balance()) == (first.generation_id, True, 150)
    with pytest.raises(IdempotencyConflict):
        await run_model(backend, FLUX, key="one", parameters={"num_images": 2})
