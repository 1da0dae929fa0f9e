"""OpenAI as the eyes and the words, and as the maker of stills: over real HTTP, against a server that speaks its format."""

import base64
import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from safelight.config import Settings
from safelight.domain.errors.base import ProviderTimeout
from safelight.providers.openai.pictures import is_readable_from_outside
from safelight.providers.openai.replies import error_of_failure
from safelight.providers.openai.schemas import answer_format
from safelight.providers.openai.sizes import size_for
from tests.conftest import COFFEE, Backend, StartBackend
from tests.fakes import openai as fakes
from tests.fakes.openai import KEY, failed, image_call, openai_serving, response
from tests.pipelines.engine.test_resume import wait_for
from tests.pipelines.flows.test_main_job import STILL_STEPS, TWEAK_STEPS, VIDEO_STEPS, VIDEO_TWEAK_STEPS, tell_story
from tests.support import image_jobs

Json = dict[str, Any]

EYES = {"gpt": "gpt-5.4-mini"}
STILLS = {"seedream": "gpt-image-2.5-flare"}


async def still(start: StartBackend, reach: Json, **more: Any) -> tuple[Backend, Json]:
    backend = await start(**reach)
    await backend.grant(1)
    return backend, await backend.finished(await backend.create(**more))


def step(backend: Backend, made: Json, step_type: str) -> Json:
    [found] = [one for one in backend.steps(made["generation_id"]) if one["mg_step_type"] == step_type]
    return found


def ops_row(backend: Backend, made: Json) -> Json:
    [row] = backend.ops_rows(made["generation_id"])
    return row["mg_detail"]


# --- words and eyes --------------------------------------------------------------------------------------------------


async def test_the_main_job_runs_with_openai_as_the_eyes(dsn: str, start: StartBackend):
    async with openai_serving(dsn, **EYES) as (fake, settings):
        fake.latency_seconds = 0.05
        backend = await start(**settings)
        made = await tell_story(backend)
    assert [one["status"] for one in made] == ["done"] * 6
    steps = [backend.step_types(one["generation_id"]) for one in made]
    assert steps == [STILL_STEPS, *[TWEAK_STEPS] * 3, VIDEO_STEPS, VIDEO_TWEAK_STEPS]
    assert backend.balance() == backend.ledger_sum() == 0
    asked = [row for one in made for row in backend.steps(one["generation_id"]) if row["mg_provider"] == "openai"]
    assert len(asked) == len(fake.asked) == 13
    assert {row["mg_model"] for row in asked} == {"gpt-5.4-mini"}
    assert {(row["mg_input_tokens"], row["mg_output_tokens"]) for row in asked} == {(812, 64)}
    assert fake.authorizations == {f"Bearer {KEY}"}


async def test_a_key_in_the_environment_is_all_it_takes(start: StartBackend):
    async with openai_serving(None) as (fake, settings):
        backend, made = await still(start, settings)
    assert made["status"] == "done"
    assert len(fake.asked) == 3
    assert step(backend, made, "gpt_reader")["mg_provider"] == "openai"


async def test_a_question_is_one_strict_request_that_is_not_kept(dsn: str, start: StartBackend):
    async with openai_serving(dsn, **EYES) as (fake, settings):
        backend, made = await still(start, settings)
    scan = fake.asked[0]
    assert (scan["model"], scan["store"]) == ("gpt-5.4-mini", False)
    assert scan["max_output_tokens"] == 16_000
    assert "advertising photographer" in scan["instructions"]
    form = scan["text"]["format"]
    assert (form["type"], form["name"], form["strict"]) == ("json_schema", "mma_ctx_gpt_scanner", True)
    assert form["schema"]["additionalProperties"] is False
    assert set(form["schema"]["required"]) == {"crt", "userMessage"}
    assert scan["input"][0]["content"][1] == {"type": "input_text", "text": "Picture 1: product"}
    assert step(backend, made, "scan_product")["mg_payload"]["output"]["crt"] == "A white cup on pale stone, for crt."


async def test_a_picture_the_world_cannot_read_goes_inside_the_request(dsn: str, start: StartBackend):
    async with openai_serving(dsn, **EYES) as (fake, settings):
        await still(start, settings)
    [url] = fake.pictures_asked()
    assert url == "data:image/jpeg;base64," + base64.b64encode(COFFEE.read_bytes()).decode()


async def test_a_picture_the_world_can_read_goes_by_its_address(dsn: str, start: StartBackend):
    async with openai_serving(dsn, **EYES) as (fake, settings):
        backend = await start(**settings, public_url="https://media.example.com")
        backend.client.base_url = f"http://127.0.0.1:{backend.app.settings.port}"
        await backend.grant(1)
        product = await backend.upload()
        await backend.create(product=product)
        await wait_for(backend, "select count(*) from mega_generations where mg_mma_status = 'done'")
    assert fake.pictures_asked() == [product]


async def test_a_picture_of_another_format_becomes_a_png(dsn: str, start: StartBackend, tmp_path: Path):
    Image.radial_gradient("L").save(tmp_path / "logo.gif")
    async with openai_serving(dsn, **EYES) as (fake, settings):
        backend = await start(**settings)
        await backend.grant(1)
        await backend.finished(await backend.create(product=await backend.upload(tmp_path / "logo.gif")))
    assert fake.pictures_asked()[0].startswith("data:image/png;base64,")


async def test_pictures_have_a_size_together(dsn: str, start: StartBackend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("safelight.providers.openai.pictures.INLINE_BYTES_MAX", COFFEE.stat().st_size - 10)
    async with openai_serving(dsn, **EYES) as (fake, settings):
        backend, made = await still(start, settings)
    assert (ops_row(backend, made)["error_code"], fake.asked) == ("MMA_GPT_TOO_LARGE", [])


async def test_the_frame_of_a_video_goes_inside_the_request(dsn: str, start: StartBackend):
    async with openai_serving(dsn, **EYES) as (fake, settings):
        backend = await start(**settings)
        await backend.grant(5)
        body = {"assets": {"start_image_url": await backend.upload()}, "inputs": {"brief": "push in", "duration": 1}}
        made = await backend.finished(await backend.post("/mma/video/animate", body))
    assert made["status"] == "done"
    [url] = fake.pictures_asked(-1)
    head, _, content = url.partition(",")
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(content))).format == "PNG"


# What OpenAI does wrong in the first scan: how often it is asked, the step's error, its category, the status, the code.
FAILURES: dict[str, tuple[Any, int, str, str, int | None, str]] = {
    "a wrong key": (fakes.INVALID_KEY, 1, "ProviderAccessDenied", "CONFIG_ERROR", 401, "MMA_PROVIDER_ACCESS_DENIED"),
    "a key that may not": (fakes.REGION, 1, "ProviderAccessDenied", "CONFIG_ERROR", 403, "MMA_PROVIDER_ACCESS_DENIED"),
    "no money left": (fakes.QUOTA, 1, "ProviderQuotaExhausted", "PROVIDER_ERROR", 429, "MMA_GPT_QUOTA_EXHAUSTED"),
    "a rate limit": (fakes.RATE_LIMIT_IN_WORDS, 3, "ProviderRateLimited", "PROVIDER_ERROR", 429, "MMA_GPT_RATE_LIMITED"),
    "an error of its own": (fakes.SERVER_ERROR, 3, "ProviderUnavailable", "PROVIDER_ERROR", 500, "MMA_GPT_PROVIDER_UNAVAILABLE"),
    "too much to do": (fakes.OVERLOADED, 3, "ProviderUnavailable", "PROVIDER_ERROR", 503, "MMA_GPT_PROVIDER_UNAVAILABLE"),
    "a lost gateway": (fakes.BAD_GATEWAY, 3, "ProviderUnavailable", "PROVIDER_ERROR", 502, "MMA_GPT_PROVIDER_UNAVAILABLE"),
    "a slow gateway": (fakes.GATEWAY_TIMEOUT, 3, "ProviderTimeout", "TIMEOUT", 504, "MMA_GPT_TIMEOUT"),
    "a request it does not know": (fakes.BAD_REQUEST, 1, "ProviderRejected", "PROVIDER_ERROR", 400, "MMA_GPT_REJECTED"),
    "content rules": (fakes.POLICY, 1, "ContentRefused", "PROVIDER_ERROR", 400, "MMA_GPT_CONTENT_REFUSED"),
    "a refusal": (fakes.REFUSAL, 1, "ContentRefused", "PROVIDER_ERROR", None, "MMA_GPT_CONTENT_REFUSED"),
    "a filtered answer": (fakes.FILTERED, 1, "ContentRefused", "PROVIDER_ERROR", None, "MMA_GPT_CONTENT_REFUSED"),
    "an answer cut off": (fakes.CUT_OFF, 1, "ProviderContractBroken", "PROVIDER_ERROR", None, "MMA_GPT_INCOMPLETE"),
    "an answer that failed": (failed("server_error"), 3, "ProviderUnavailable", "PROVIDER_ERROR", None, "MMA_GPT_PROVIDER_UNAVAILABLE"),
    "a picture it cannot read": (failed("invalid_image"), 1, "ProviderRejected", "PROVIDER_ERROR", None, "MMA_GPT_REJECTED"),
    "an unknown status": (response("resting"), 1, "ProviderContractBroken", "PROVIDER_ERROR", None, "MMA_GPT_CONTRACT_BROKEN"),
    "an empty answer": (response("completed"), 1, "ProviderContractBroken", "PROVIDER_ERROR", None, "MMA_GPT_CONTRACT_BROKEN"),
    "a wrong shape": (fakes.WRONG_SHAPE, 1, "ProviderContractBroken", "PROVIDER_ERROR", 200, "MMA_GPT_CONTRACT_BROKEN"),
    "no JSON": (fakes.NO_JSON, 1, "ProviderContractBroken", "PROVIDER_ERROR", 200, "MMA_GPT_CONTRACT_BROKEN"),
    "an answer in prose": (response("completed", [fakes.says("A cup.")]), 1, "SchemaMismatch", "GPT_SCHEMA_ERROR", None, "MMA_GPT_OUTPUT_SCHEMA"),
    "an answer of another form": (response("completed", [fakes.says('{"crt": 1}')]), 1, "SchemaMismatch", "GPT_SCHEMA_ERROR", None, "MMA_GPT_OUTPUT_SCHEMA"),
    "a cut line": (fakes.HANG_UP_NOW, 3, "ProviderUnavailable", "PROVIDER_ERROR", None, "MMA_GPT_PROVIDER_UNAVAILABLE"),
}  # fmt: skip


@pytest.mark.parametrize("what", FAILURES)
async def test_what_goes_wrong_has_its_type_its_category_and_its_number_of_tries(
    dsn: str, start: StartBackend, what: str
):
    scripted, tries, kind, category, status, code = FAILURES[what]
    async with openai_serving(dsn, **EYES) as (fake, settings):
        fake.will("create", *[scripted] * 3)
        backend, made = await still(start, settings)
    assert (made["status"], len(fake.asked)) == ("error", tries)
    payload = step(backend, made, "scan_product")["mg_payload"]
    assert len(payload["attempts"]) == tries
    assert (payload["error"]["type"], payload["error"]["provider_http_status"]) == (kind, status)
    row = ops_row(backend, made)
    assert (row["category"], row["error_code"], row["provider_http_status"]) == (category, code, status)
    assert KEY not in str(row) + str(payload)
    assert backend.balance() == 1


async def test_a_stated_pause_is_kept(dsn: str, start: StartBackend):
    async with openai_serving(dsn, **EYES) as (fake, settings):
        fake.will("create", fakes.RATE_LIMIT)
        backend, made = await still(start, settings)
    assert made["status"] == "done"
    logged = backend.sql("select details from image_generation_logs where message like 'That did not work yet%%'")
    assert [row["details"]["retry_seconds"] for row in logged] == [1.0]


async def test_a_missing_key_is_named(dsn: str, start: StartBackend):
    async with openai_serving(dsn, **EYES) as (fake, settings):
        backend, made = await still(start, settings | {"openai_api_key": ""})
    assert (made["status"], fake.asked) == ("error", [])
    row = ops_row(backend, made)
    assert row["category"] == "CONFIG_ERROR"
    assert "SAFELIGHT_OPENAI_API_KEY" in row["message"]


async def test_a_service_that_is_not_there_is_tried_again(dsn: str, start: StartBackend):
    async with openai_serving(dsn, **EYES) as (_, settings):
        pass
    backend, made = await still(start, settings)
    payload = step(backend, made, "scan_product")["mg_payload"]
    assert (payload["error"]["type"], len(payload["attempts"])) == ("ProviderUnavailable", 3)


async def test_silence_is_a_time_out(dsn: str, start: StartBackend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("safelight.providers.openai.service.ANSWER_SECONDS", 0.2)
    async with openai_serving(dsn, **EYES) as (fake, settings):
        fake.will("create", *[fakes.SILENCE] * 3)
        backend, made = await still(start, settings)
    payload = step(backend, made, "scan_product")["mg_payload"]
    assert (payload["error"]["type"], len(payload["attempts"])) == (ProviderTimeout.__name__, 3)
    assert ops_row(backend, made)["category"] == "TIMEOUT"


# --- stills ----------------------------------------------------------------------------------------------------------


async def test_a_still_is_made_in_the_background_and_kept_by_us(dsn: str, start: StartBackend):
    async with openai_serving(dsn, **STILLS) as (fake, settings):
        backend, made = await still(start, settings)
        answer = await backend.client.get(made["outputs"]["seedream_image_url"])
    assert made["status"] == "done"
    assert answer.content == base64.b64decode(fakes.picture())
    [asked] = fake.background()
    assert asked["store"] is True
    assert asked["tool_choice"] == {"type": "image_generation"}
    assert asked["max_tool_calls"] == 1
    assert asked["tools"] == [{"type": "image_generation", "model": "gpt-image-2.5-flare", "size": "1024x1024"}]
    payload = step(backend, made, "seedream_generate")["mg_payload"]
    assert payload["operation"]["handle"] == {"id": "resp_1"}
    assert asked["metadata"] == {"attempt_key": payload["starts"][0]["attempt_key"]}
    assert payload["output"]["response"]["revised_prompt"] == "a cup, revised"
    assert payload["output"]["warnings"] == []


async def test_reference_pictures_go_along_in_their_order(dsn: str, start: StartBackend):
    async with openai_serving(dsn, **STILLS) as (fake, settings):
        backend = await start(**settings)
        await backend.grant(1)
        product, logo, hero = [await backend.upload(without_lines=lines) for lines in range(3)]
        assets = {"product_image_url": product, "logo_image_url": logo, "inspiration_image_urls": [hero, product]}
        made = await backend.finished(await backend.create(assets=assets))
    assert made["status"] == "done"
    content = fake.background()[0]["input"][0]["content"]
    said = [part["text"] for part in content if part["type"] == "input_text"][1:]
    assert said == ["Picture 1: product", "Picture 2: logo", "Picture 3: inspiration", "Picture 4: inspiration"]
    assert [part["type"] for part in content[1:]] == ["input_text", "input_image"] * 4


async def test_a_base_image_is_an_edit_of_its_source(dsn: str, start: StartBackend):
    """The customer's text stands in our own instruction, and its quotation marks end nothing."""
    async with openai_serving(dsn, image_edit="gpt-image-1") as (fake, settings):
        backend = await start(**settings)
        await backend.grant(2)
        [url] = await image_jobs.photographs(backend, 1)
        sources = [{"url": url, "prompt": 'a "blue" cup'}]
        job = image_jobs.job_of(backend, [url], sources=sources, variants=2, quality="high")
        accepted = await image_jobs.order(backend, job)
        assert (await image_jobs.ended(backend, accepted.generation_id))["mg_mma_status"] == "done"
    [asked] = fake.background()
    tool = {"type": "image_generation", "model": "gpt-image-1", "size": "1536x1024", "quality": "high"}
    assert asked["tools"] == [tool]
    said = [part["text"] for part in asked["input"][0]["content"] if part["type"] == "input_text"]
    assert said[0].startswith("Edit the picture that is given.")
    assert said[0].endswith('The text: "a \\"blue\\" cup"')
    assert said[1:] == ["Picture 1: source"]


async def test_what_is_not_used_is_said(dsn: str, start: StartBackend):
    wanted = {
        "size": "4K",
        "aspect_ratio": "1:1",
        "quality": "medium",
        "guidance": 7,
        "moderation": "low",
        "negative_prompt": "people",
    }
    async with openai_serving(dsn, **STILLS) as (fake, settings):
        backend, made = await still(start, settings, settings={"seedream": wanted})
    [asked] = fake.background()
    assert asked["input"][0]["content"][0]["text"].endswith("Nothing of this may be in the picture: people")
    [tool] = asked["tools"]
    assert (tool["size"], tool["quality"], "moderation" in tool) == ("2880x2880", "medium", False)
    expected = [
        "The setting guidance is not known to this model and was left out.",
        "The setting moderation is not known to this model and was left out.",
        "openai: 3840x3840 was asked for; gpt-image-2.5-flare makes 2880x2880 of it",
    ]
    assert sorted(step(backend, made, "seedream_generate")["mg_payload"]["output"]["warnings"]) == expected
    said = backend.sql("select message from image_generation_logs where level = 'warning' order by message")
    assert [row["message"] for row in said] == expected


async def test_another_model_may_call_the_tool(dsn: str, start: StartBackend):
    async with openai_serving(dsn, seedream="gpt-6-luna/gpt-image-1.5") as (fake, settings):
        await still(start, settings, inputs={"aspect_ratio": "9:16"})
    [asked] = fake.background()
    assert (asked["model"], asked["tools"][0]["model"]) == ("gpt-6-luna", "gpt-image-1.5")
    assert asked["tools"][0]["size"] == "1024x1536"


# What comes of a response in the background: how it ends, the step's error, the ops code.
ENDS: dict[str, tuple[Json, str, str]] = {
    "it fails": (failed("server_error"), "ProviderError", "MMA_SEEDREAM_PROVIDER_FAILED"),
    "it is refused": (failed("image_content_policy_violation"), "ContentRefused", "MMA_SEEDREAM_CONTENT_REFUSED"),
    "the tool is stopped by the rules": (
        response("completed", [image_call(None, status="failed", error={"code": "moderation_blocked", "message": "no", "type": "image_generation_user_error"})]),
        "ContentRefused",
        "MMA_SEEDREAM_CONTENT_REFUSED",
    ),
    "the model refuses": (fakes.REFUSAL, "ContentRefused", "MMA_SEEDREAM_CONTENT_REFUSED"),
    "it is cut off": (fakes.CUT_OFF, "ProviderContractBroken", "MMA_SEEDREAM_INCOMPLETE"),
    "somebody cancelled it": (response("cancelled"), "ProviderError", "MMA_SEEDREAM_PROVIDER_FAILED"),
    "it only talks": (response("completed", [fakes.says("Which cup?")]), "ProviderContractBroken", "MMA_SEEDREAM_NO_URL"),
    "its picture is no base64": (response("completed", [image_call("?!")]), "ProviderContractBroken", "MMA_SEEDREAM_CONTRACT_BROKEN"),
}  # fmt: skip


@pytest.mark.parametrize("how", ENDS)
async def test_a_still_that_is_not_made_ends_with_its_reason_and_is_not_started_again(
    dsn: str, start: StartBackend, how: str
):
    end, kind, code = ENDS[how]
    async with openai_serving(dsn, **STILLS) as (fake, settings):
        fake.ends = lambda: end
        backend, made = await still(start, settings)
    assert (made["status"], len(fake.background())) == ("error", 1)
    assert step(backend, made, "seedream_generate")["mg_payload"]["error"]["type"] == kind
    assert ops_row(backend, made)["error_code"] == code
    assert backend.balance() == 1


async def test_looking_again_survives_bad_moments(dsn: str, start: StartBackend):
    async with openai_serving(dsn, **STILLS) as (fake, settings):
        fake.will("retrieve", fakes.OVERLOADED, fakes.HANG_UP_NOW)
        _, made = await still(start, settings)
    assert (made["status"], len(fake.background())) == ("done", 1)


# A start that gets no usable answer may be under way; one that is answered is not.
STARTS: dict[str, tuple[Any, list[str]]] = {
    "its answer is lost": (fakes.LOST_ANSWER, ["unknown", "accepted"]),
    "its answer is of another shape": (fakes.WRONG_SHAPE, ["unknown", "accepted"]),
    "a gateway answers for it": (fakes.GATEWAY_TIMEOUT, ["unknown", "accepted"]),
    "the service has too much to do": (fakes.OVERLOADED, ["refused", "accepted"]),
    "there is a rate limit": (fakes.RATE_LIMIT_IN_WORDS, ["refused", "accepted"]),
}


@pytest.mark.parametrize("what", STARTS)
async def test_a_start_is_made_again_openly_when_it_may_be_under_way(dsn: str, start: StartBackend, what: str):
    scripted, outcomes = STARTS[what]
    async with openai_serving(dsn, **STILLS) as (fake, settings):
        fake.will("create", scripted)
        backend, made = await still(start, settings)
    assert made["status"] == "done"
    payload = step(backend, made, "seedream_generate")["mg_payload"]
    assert [one["outcome"] for one in payload["starts"]] == outcomes
    is_at_risk = outcomes[0] == "unknown"
    assert ("possible_double_spend" in payload) is is_at_risk
    assert [row["mg_record_type"] for row in backend.ops_rows(made["generation_id"])] == ["warn"] * is_at_risk


async def cancelled_at_openai(start: StartBackend, reach: Json) -> tuple[Backend, Json, Json]:
    backend = await start(**reach)
    await backend.grant(1)
    accepted = await backend.create()
    await wait_for(backend, "select count(*) from mega_generations where mg_payload ? 'operation'")
    await backend.post(f"/mma/generations/{accepted['generation_id']}/cancel", {})
    made = await backend.finished(accepted)
    return backend, made, step(backend, made, "seedream_generate")["mg_payload"]


async def test_a_cancelled_still_is_stopped_at_openai(dsn: str, start: StartBackend):
    async with openai_serving(dsn, **STILLS) as (fake, settings):
        fake.looks = 10_000
        backend, made, payload = await cancelled_at_openai(start, settings)
    assert (made["status"], payload["stopping"]["answer"]) == ("cancelled", "stopped")
    assert fake.responses["resp_1"]["status"] == "cancelled"
    assert backend.balance() == 1


async def test_a_still_that_is_ready_when_it_is_cancelled_is_said_to_be(dsn: str, start: StartBackend):
    async with openai_serving(dsn, **STILLS) as (fake, settings):
        fake.looks, fake.is_ready_when_cancelled = 10_000, True
        _, _, payload = await cancelled_at_openai(start, settings)
    assert payload["stopping"]["answer"] == "too_late"
    assert payload["output"]["output_url"]


# --- the key ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "key"),
    [
        ({}, ""),
        ({"OPENAI_API_KEY": "usual"}, "usual"),
        ({"OPENAI_API_KEY": "usual", "SAFELIGHT_OPENAI_API_KEY": "ours"}, "ours"),
    ],
)
def test_the_key_is_ours_or_the_usual_one(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], key: str):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.openai_api_key.get_secret_value() == key
    assert settings.as_environment()["SAFELIGHT_OPENAI_API_KEY"] == key
    assert not key or key not in repr(settings)


# --- pure parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "is_readable"),
    [
        ("https://media.example.com/a.jpg", True),
        ("https://8.8.8.8/a.jpg", True),
        ("http://127.0.0.1:8787/assets/a.jpg", False),
        ("http://10.0.0.7/a.jpg", False),
        ("http://[::1]/a.jpg", False),
        ("http://100.64.0.1/a.jpg", False),
        ("http://localhost:8787/a.jpg", False),
        ("http://media.internal/a.jpg", False),
        ("http://media/a.jpg", False),
    ],
)
def test_an_address_at_home_is_not_given_away(url: str, is_readable: bool):
    assert is_readable_from_outside(url) is is_readable


@pytest.mark.parametrize(
    ("model", "size", "ratio", "expected", "is_said"),
    [
        ("gpt-image-2.5-flare", "1K", "1:1", "1024x1024", False),
        ("gpt-image-2.5-flare", "2K", "9:16", "1152x2048", False),
        ("gpt-image-2.5-flare", "2K", "4:5", "1632x2048", False),
        ("gpt-image-2.5-flare", "4K", "16:9", "3840x2160", False),
        ("gpt-image-2.5-flare", "1K", "16:9", "1088x608", True),  # smaller it does not go
        ("gpt-image-2.5-flare", "2K", "9:1", "2048x688", True),
        ("gpt-image-2.5-flare", "1536x1024", "3:2", "1536x1024", False),
        ("gpt-image-2.5-flare", "5K", "1:1", "2048x2048", True),
        ("gpt-image-2.5-flare", "1K", "wide", "1024x1024", True),
        ("gpt-image-2.5-flare", "2K", "match_input_image", "auto", False),
        ("gpt-image-1.5", "1K", "1:1", "1024x1024", False),
        ("gpt-image-1.5", "2K", "1:1", "1024x1024", True),
        ("gpt-image-1-mini", "1K", "16:9", "1536x1024", True),
    ],
)
def test_sizes_are_the_nearest_a_model_makes(model: str, size: str, ratio: str, expected: str, is_said: bool):
    made, warnings = size_for(model, {"size": size, "aspect_ratio": ratio})
    assert (made, bool(warnings)) == (expected, is_said)


def test_every_shape_and_size_is_within_the_limits():
    for size in ("1K", "2K", "4K"):
        for ratio in ("9:16", "2:3", "3:4", "4:5", "1:1", "5:4", "4:3", "3:2", "16:9", "21:9", "1:9", "999:1"):
            wide, high = map(int, size_for("gpt-image-2", {"size": size, "aspect_ratio": ratio})[0].split("x"))
            assert wide % 16 == high % 16 == 0
            assert max(wide, high) <= 3840 and max(wide, high) / min(wide, high) <= 3
            assert 655_360 <= wide * high <= 8_294_400


TEXT = {"type": "string", "maxLength": 9}


@pytest.mark.parametrize(
    ("schema", "is_strict"),
    [
        ({"type": "object", "required": ["a"], "properties": {"a": TEXT}}, True),
        ({"type": "object", "required": ["a"], "properties": {"a": {"type": "array", "items": TEXT}}}, True),
        ({"type": "object", "required": [], "properties": {"a": TEXT}}, False),
        ({"type": "object", "required": ["a"], "properties": {"a": TEXT}, "additionalProperties": True}, False),
        ({"type": "object", "required": ["a"], "properties": {"a": {"anyOf": [TEXT]}}}, False),
    ],
)
def test_a_schema_is_strict_only_where_it_can_be(schema: Json, is_strict: bool):
    form = answer_format("mma.ctx.some thing", schema)
    assert (form["strict"], form["name"]) == (is_strict, "mma_ctx_some_thing")
    assert ("maxLength" in str(form["schema"])) is not is_strict
    assert is_strict or form["schema"] == schema


def test_a_pause_in_words_is_read():
    stated = "Rate limit reached. Please try again in {}."
    pauses = [
        error_of_failure("rate_limit_exceeded", stated.format(text)).retry_after_seconds
        for text in ("20s", "1.5s", "40ms", "6m0s", "1h2m3s", "a while")
    ]
    assert pauses == [20, 1.5, 0.04, 360, 3723, None]
