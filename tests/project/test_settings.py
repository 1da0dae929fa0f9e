"""A customer's settings never decide what we pay: they are held to a table before the charge, and again before the start."""

import json
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.api.http.test_limits import limit
from tests.conftest import Backend, Json, StartBackend, running
from tests.fakes.vendors import vendor
from tests.pipelines.engine.test_failed_generations import ADMIN, TOKEN
from tests.support.simulated_provider import simulating

FRAME = {"start_image_url": "https://e.com/f.png"}


@pytest.fixture(scope="module")
async def idle(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    """A backend without a worker, and 100 credits."""
    async with running(module_dsn, tmp_path_factory.mktemp("home"), worker=False, admin_token=TOKEN) as started:
        await started.grant(100)
        yield started


async def refused(backend: Backend, engine: str, settings: Json) -> str:
    """The message of a 400 that charged nothing."""
    before = backend.balance()
    path = "/mma/still/create" if engine == "seedream" else "/mma/video/animate"
    body = {"inputs": {"brief": "a cup"}, "assets": {} if engine == "seedream" else FRAME}
    answer = await backend.post(path, body | {"settings": {engine: settings}}, status=400)
    assert backend.balance() == before
    return str(answer["message"])


MULTIPLIERS = [
    ("seedream", "max_images", 15),
    ("seedream", "max_images", "15"),
    ("seedream", "num_images", 2),
    ("seedream", "n", 4),
    ("seedream", "batch_size", 8),
    ("seedream", "sequential_image_generation", "auto"),
    ("seedream", "quality", "max"),
    ("kling", "num_videos", 2),
    ("kling", "n", 3),
    ("kling", "generate_audio", True),
    ("kling", "resolution", "1080p"),
    ("kling", "duration", 1600),
    ("kling", "duration", 10.5),
    ("kling", "duration", 0),
    ("kling", "duration", -1000000),
    ("kling", "duration_seconds", 60),
]


@pytest.mark.parametrize(("engine", "name", "value"), MULTIPLIERS)
async def test_what_multiplies_the_output_is_refused_before_the_charge(
    idle: Backend, engine: str, name: str, value: Any
):
    assert (await refused(idle, engine, {name: value})).startswith(f"settings.{engine}.{name}: must be ")


WRONG = [
    ("seedream", "seed", {}, "a whole number from 0 to 4"),
    ("seedream", "seed", [1], "a whole number"),
    ("seedream", "seed", True, "a whole number"),
    ("seedream", "seed", "nan", "a whole number"),
    ("seedream", "seed", "Infinity", "a whole number"),
    ("seedream", "seed", "1e400", "a whole number"),
    ("seedream", "seed", "9" * 400, "a whole number"),
    ("seedream", "seed", 1.5, "a whole number"),
    ("seedream", "seed", -1, "a whole number"),
    ("seedream", "max_images", True, "a whole number"),
    ("seedream", "size", 2, "one of 1K, 2K, 4K, or look like 1536x1024"),
    ("seedream", "size", "4K\n", "one of"),
    ("seedream", "size", [["2K"]], "one of"),
    ("seedream", "aspect_ratio", "1:1:1", "one of"),
    ("seedream", "enhance_prompt", "yes", "true or false"),
    ("seedream", "enhance_prompt", 1, "true or false"),
    ("seedream", "negative_prompt", {"$ne": ""}, "a text"),
    ("kling", "duration", True, "a number from 1 to 10"),
    ("kling", "duration", {"seconds": 5}, "a number"),
    ("kling", "mode", "master", "one of standard, pro"),
    ("kling", "cfg_scale", 2, "a number from 0 to 1"),
]


@pytest.mark.parametrize(("engine", "name", "value", "said"), WRONG)
async def test_a_setting_of_the_wrong_type_or_out_of_its_bounds_is_refused_by_name(
    idle: Backend, engine: str, name: str, value: Any, said: str
):
    assert (await refused(idle, engine, {name: value})).startswith(f"settings.{engine}.{name}: must be {said}")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "1" + "0" * 4400])
async def test_what_is_no_number_of_json_is_a_400_anywhere(idle: Backend, number: str):
    body = f'{{"inputs": {{"brief": "a"}}, "settings": {{"seedream": {{"seed": {number}}}}}}}'
    answer = await idle.client.post("/mma/still/create", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["error"]) == (400, "INVALID_JSON")


@pytest.mark.parametrize("duration", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("path", ["/mma/video/animate", "/motion/generate"])
async def test_a_duration_that_is_no_number_is_a_400(idle: Backend, path: str, duration: str):
    body = {"inputs": {"duration": duration}, "assets": FRAME, "durationSeconds": duration}
    legacy = {"lastImageUrl": FRAME["start_image_url"], "motionDescription": "push in"}
    assert "uration" in (await idle.post(path, body | legacy, status=400))["message"]


async def test_settings_that_are_documented_and_such_as_nobody_knows_are_accepted(idle: Backend):
    known = {"size": "4K", "aspect_ratio": "4:5", "enhance_prompt": False, "seed": 7, "max_images": 1, "n": 1}
    more = {"sequential_image_generation": "disabled", "sparkle": {"deep": [1]}, "negative_prompt": ""}
    await idle.post("/mma/still/create", {"inputs": {"brief": "a"}, "settings": {"seedream": known | more}})
    kling = {"mode": "pro", "duration": 10, "negative_prompt": "blur", "aspect_ratio": "9:16"}
    await idle.post("/mma/video/animate", {"assets": FRAME, "settings": {"kling": kling}})


# --- what reaches the vendor, and what is counted ---------------------------------------------------------------------


def resolved(backend: Backend, generation_id: str, step_type: str) -> Json:
    [step] = [one for one in backend.steps(generation_id) if one["mg_step_type"] == step_type]
    return dict(step["mg_payload"]["input"])


async def test_nothing_that_is_not_in_the_models_table_reaches_the_vendor(dsn: str, start: StartBackend):
    """Stated by any of them: the request, the customer's row, or the parent of a tweak."""
    async with vendor(dsn, "replicate") as (wire, settings):
        backend = await start(**settings)
        await backend.grant(2)
        preferred = {"settings": {"seedream": {"max_images": 15, "n": 15, "size": "1K", "seed": {}}, "kling": []}}
        backend.sql(
            "update mega_customers set mg_mma_preferences = %s where mg_pass_id = %s",
            json.dumps(preferred),
            backend.pass_id,
        )
        stated = {"webhook": "https://e.com", "prompt": "another", "image_input": ["https://e.com/x.png"]}
        still = await backend.finished(await backend.create(settings={"seedream": stated}))
        backend.sql(
            "update mega_generations set mg_mma_vars = jsonb_set(mg_mma_vars, '{settings,seedream}', %s)"
            " where mg_id = %s",
            json.dumps({"max_images": 9, "sequential_image_generation": "auto", "size": "4K"}),
            f"generation:{still['generation_id']}",
        )
        body = {"generation_id": still["generation_id"], "feedback": {"comment": "darker"}}
        tweaked = await backend.finished(await backend.post("/mma/still/tweak", body))
        first, second = (work.input for work in wire.works.values())
    assert (still["status"], tweaked["status"]) == ("done", "done")
    assert (first["max_images"], first["size"], first["prompt"] == "another") == (1, "1K", False)
    assert "webhook" not in first
    assert "https://e.com/x.png" not in first["image_input"]
    assert (second["max_images"], second["sequential_image_generation"], second["size"]) == (1, "disabled", "4K")
    assert resolved(backend, still["generation_id"], "seedream_generate")["settings_resolved"].keys().isdisjoint(stated)


async def test_spend_is_computed_from_the_fitted_values(dsn: str, start: StartBackend):
    """Also of a duration that was never stated, and of one that the customer's row or a parent holds."""
    async with simulating(dsn) as (_, settings):
        limit(dsn, {"daily_usd_max": 100}, usd=0.1, usd_per_second=0.09)
        backend = await start(**settings, admin_token=TOKEN)
        await backend.grant(10)
        frame = await backend.upload()
        made = []
        for preferred in (-1000000, 1600):
            backend.sql(
                "update mega_customers set mg_mma_preferences = %s where mg_pass_id = %s",
                json.dumps({"settings": {"kling": {"duration": preferred}}}),
                backend.pass_id,
            )
            body = {"assets": {"start_image_url": frame}, "inputs": {"motion_user_brief": "push in"}}
            made.append(await backend.finished(await backend.post("/mma/video/animate", body)))
        [row] = (await backend.get("/api/admin/providers", headers=ADMIN))["providers"]
    assert [one["status"] for one in made] == ["done", "done"]
    usd = [resolved(backend, one["generation_id"], "kling_generate")["usd"] for one in made]
    assert [Decimal(one) for one in usd] == [Decimal("0.55")] * 2
    assert float(row["spent_today_usd"]) == pytest.approx(1.1)


@pytest.mark.parametrize("usd", ["-1", "'NaN'", "1000", "null"])
def test_the_database_counts_no_start_that_costs_less_than_nothing_or_more_than_one_can(dsn: str, usd: str):
    with psycopg.connect(dsn, autocommit=True) as conn:
        for statement in (
            f"select safelight.admit_start('a', 600, 10, 5, 60, {usd}, 100)",
            f"select safelight.give_back_spend('a', {usd})" if usd != "null" else "select safelight.start_cost(null)",
        ):
            conn.execute(
                "insert into safelight.provider_state (adapter, spent_on) values ('a', now()) on conflict do nothing"
            )
            with pytest.raises(psycopg.errors.CheckViolation, match="a start costs from 0 to 200 USD"):
                conn.execute(statement)
        with pytest.raises(psycopg.errors.CheckViolation, match="provider_state_spend_not_negative"):
            conn.execute("update safelight.provider_state set spent_usd = -0.01")


# --- configuration is refused when it is saved ------------------------------------------------------------------------

REFUSED_VERSIONS = {
    "mma.ctx.gpt_reader": ({"user_template": "BRIEF: {{brief}}"}, "nothing fills the placeholder {{brief}}"),
    "mma.ctx.gpt_scanner": ({"user_template": "{{role}} {{ role }}"}, "nothing fills the placeholder {{ role }}"),
    "mma.ctx.motion_suggestion": ({"user_template": "{{feedback}}"}, "there are avoid, motion_brief"),
    "mma.provider.seedream.defaults": ({"defaults": {"max_images": 4}}, "defaults.max_images of seedream: 4"),
    "mma.provider.seedream.defaults ": ({"defaults": {"seed": {}}}, "defaults.seed of seedream"),
    "mma.provider.seedream.defaults  ": ({"defaults": {"size": "64K"}}, "among 1K, 2K, 4K"),
    "mma.provider.kling.defaults": ({"defaults": {"duration": 1600}}, "from 1 to 10"),
    "mma.provider.kling.defaults ": ({"defaults": {"duration": -5}}, "from 1 to 10"),
    "mma.provider.kling.defaults  ": ({"defaults": []}, "must be an object"),
    "mma.provider.registry": ({"providers": [{"id": "kling", "usd_per_second": -1}]}, "usd_per_second of kling: -1"),
    "mma.provider.registry ": ({"providers": [{"id": "kling", "usd": "NaN"}]}, "usd of kling"),
}


@pytest.mark.parametrize("key", REFUSED_VERSIONS)
def test_a_version_that_could_not_be_used_is_refused_when_it_is_saved(dsn: str, key: str):
    value, said = REFUSED_VERSIONS[key]
    with psycopg.connect(dsn) as conn, pytest.raises(psycopg.errors.CheckViolation) as caught:
        conn.execute(
            "insert into mega_admin (mg_id, mg_record_type, mg_key, mg_value) values (%s, 'app_config', %s, %s)",
            [f"app_config:{key.strip()}.v9", key.strip(), json.dumps(value | {"version": 9})],
        )
    assert said in str(caught.value)


# --- what people write is text ----------------------------------------------------------------------------------------

TEXTS = [
    "a cup with {{mustache}}",
    "{{brief}} {{input_gpt_reader}} {{avoid}} {{",
    "100 %s of $1, \\1 \\g<0> {} {0} %(x)s ${HOME} `id`",
    "}}{{}}{{{x}}}",
]


@pytest.mark.parametrize("text", TEXTS)
async def test_what_a_person_writes_reaches_the_model_as_it_is(start: StartBackend, text: str):
    backend = await start()
    await backend.grant(3)
    still = await backend.finished(await backend.create(inputs={"brief": text, "style": text}))
    assert still["status"] == "done"
    sent = resolved(backend, still["generation_id"], "gpt_reader")["input_gpt_reader"]
    assert f"BRIEF: {text}\n" in sent
    assert f"STYLE: {text}\n" in sent
    body = {"generation_id": still["generation_id"], "feedback": {"comment": text}}
    tweaked = await backend.finished(await backend.post("/mma/still/tweak", body))
    assert tweaked["status"] == "done"
    sent = resolved(backend, tweaked["generation_id"], "gpt_feedback_still")["input_gpt_feedback_still"]
    assert f"FEEDBACK: {text}\n" in sent


async def test_a_brief_of_8000_characters_is_read_whole(start: StartBackend):
    backend = await start()
    await backend.grant(1)
    brief = "{{x}}%s\\1$" * 800
    still = await backend.finished(await backend.create(inputs={"brief": brief}))
    assert still["status"] == "done"
    assert f"BRIEF: {brief}\n" in resolved(backend, still["generation_id"], "gpt_reader")["input_gpt_reader"]


def test_every_placeholder_of_our_own_templates_is_one_that_is_filled(dsn: str):
    prompts = Path(__file__).parents[2] / "safelight" / "pipelines" / "prompts"
    with psycopg.connect(dsn) as conn:
        known = dict(conn.execute("select key, names from safelight.context_placeholders").fetchall())
    assert set(known) == {path.stem for path in prompts.glob("mma.ctx.*.toml")}
    for path in prompts.glob("mma.ctx.*.toml"):
        assert all(f"{{{{{name}}}}}" in path.read_text() for name in known[path.stem])
