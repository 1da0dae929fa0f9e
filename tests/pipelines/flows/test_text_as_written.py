"""User text is data: it reaches a model as it was written, and only records show it redacted."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import Backend, running
from tests.fakes import replicate as fakes
from tests.fakes.openai import OpenAIFake, openai_serving
from tests.fakes.registry import serve_with
from tests.fakes.vendors import MODELS, settings_for
from tests.fakes.wire import Scripted, Wire

Json = dict[str, Any]

Vendors = tuple[OpenAIFake, Wire, Backend]


@pytest.fixture(scope="module")
async def vendors(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Vendors]:
    wire = fakes.Replicate()
    async with openai_serving(module_dsn, gpt="gpt-5.4-mini") as (fake, reach), wire.answering():
        await serve_with(
            module_dsn,
            {engine: {"adapter": "replicate", "model": model} for engine, model in MODELS["replicate"].items()}
            | {"gpt": {"adapter": "openai", "model": "gpt-5.4-mini"}},
        )
        settings = settings_for("replicate", wire) | reach
        async with running(module_dsn, tmp_path_factory.mktemp("home"), **settings) as backend:
            await backend.grant(100)
            yield fake, wire, backend


TEXTS = {
    "braces": "a cup {{brief}} {{avoid}} {0} ${name} %s %(x)s $1 \\1 \\n",
    "lines and spaces": "one\n\n  two   with   spaces\tand a tab\r\nthree",
    "a password": "a sign that says password: hunter2xx, and Bearer abcdefgh12345678",
    "a key": "the label reads api_key=sk-abcdefghij0123456789 in gold",
    "as long as can be": "crème 🍰 " * 888,
    "markup": "<script>alert('x')</script> -- ; drop table \u2028 next",
}


@pytest.mark.parametrize("name", list(TEXTS))
async def test_a_brief_reaches_the_model_as_it_is_written(vendors: Vendors, name: str):
    fake, _wire, backend = vendors
    text = TEXTS[name]
    fake.asked[:] = []
    still = await backend.finished(await backend.post("/mma/still/create", {"inputs": {"brief": f"  {text}\n"}}))
    assert still["status"] == "done"
    asked = fake.asked[0]["input"][0]["content"][0]["text"]
    assert f"BRIEF: {text.strip()}\n" in asked


@pytest.mark.parametrize("name", ["braces", "lines and spaces", "a password", "a key"])
async def test_a_prompt_reaches_the_service_as_it_is_written_also_after_a_pause(vendors: Vendors, name: str):
    _fake, wire, backend = vendors
    wire.works.clear()
    wire.script("start", Scripted(429, fakes.THROTTLED))  # it goes on in another run, from what is stored
    body = {"prompts": {"clean_prompt": TEXTS[name]}, "settings": {"seedream": {"size": "1K"}}}
    still = await backend.finished(await backend.post("/mma/still/create", body))
    assert still["status"] == "done"
    [work] = wire.works.values()
    assert work.input["prompt"] == TEXTS[name]


@pytest.mark.parametrize("field", ["brief", "style"])
async def test_records_show_no_secret_and_say_that_the_model_got_it(vendors: Vendors, field: str):
    fake, _wire, backend = vendors
    fake.asked[:] = []
    inputs = {"brief": "a cup", field: "the door code is password: hunter2xx"}
    accepted = await backend.post("/mma/still/create", {"inputs": inputs})
    await backend.finished(accepted)
    assert "password: hunter2xx" in fake.asked[0]["input"][0]["content"][0]["text"]
    rows = backend.sql(
        "select mg_payload, mg_mma_vars::text as vars from mega_generations where mg_generation_id = %s",
        accepted["generation_id"],
    )
    assert not [row for row in rows if "hunter2xx" in f"{row}"]
    [order] = [row["mg_payload"] for row in rows if "order" in (row["mg_payload"] or {})]
    assert order["order"][field] == "the door code is password: [redacted: password]"
    assert "as it was written" in order["redacted"]
    assert set(order["sealed"]) == {field}


async def test_feedback_reaches_the_model_as_it_is_written(vendors: Vendors):
    fake, _wire, backend = vendors
    still = await backend.finished(await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}}))
    fake.asked[:] = []
    text = "darker\n  and the   note says token=abcdef1234567890 {{previous_prompt}}"
    body = {"parent_generation_id": still["generation_id"], "feedback": {"still_feedback": text}}
    tweaked = await backend.finished(await backend.post("/mma/still/tweak", body))
    assert tweaked["status"] == "done"
    assert any(text in part.get("text", "") for body in fake.asked for part in body["input"][0]["content"])


async def test_a_longer_video_and_what_no_pipeline_uses_are_told_of(vendors: Vendors):
    _fake, _wire, backend = vendors
    start = await backend.upload()
    body = {
        "assets": {"start_image_url": start, "reference_video_url": "https://files.example/dance.mp4"},
        "inputs": {"motion_user_brief": "closer", "duration": 15, "audio": {"url": "https://files.example/song"}},
        "reference": "https://files.example/voice.mp3",
    }
    accepted = await backend.post("/mma/video/animate", body)
    said = [
        "A video of 15 s was asked for; one of 10 s is made: 1 to 10 s are possible.",
        "assets.reference_video_url: a reference video cannot be used and was left out.",
        "inputs.audio.url: a reference audio cannot be used and was left out.",
        "reference: a reference audio cannot be used and was left out.",
    ]
    assert accepted["warnings"] == said
    film = await backend.finished(accepted)
    assert film["status"] == "done"
    assert film["warnings"][:4] == said
    logged = backend.sql(
        "select message from image_generation_logs where job_id = %s and level = 'warning' order by seq",
        accepted["generation_id"],
    )
    assert [row["message"] for row in logged] == film["warnings"]
