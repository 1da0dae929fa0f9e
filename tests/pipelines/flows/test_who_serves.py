"""The adapter that serves each engine is named by the commands, by /health and by each generation; where customers are served from a
shared database, the offline stand-in is refused unless it is allowed."""

import importlib.metadata
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from safelight.app import App
from safelight.config import Settings
from safelight.domain.errors.base import ConfigError
from safelight.extras import MissingExtra
from safelight.pipelines.serving import ServedEngine, is_reachable, unreachable_warnings
from safelight.setting_checks import check_extras, check_stand_in
from tests.conftest import Backend, StartBackend
from tests.db.test_database_urls import safelight
from tests.fakes.registry import serve_with

STILLS = ServedEngine("seedream", "still", "replicate", "bytedance/seedream-4")
STAND_IN = ServedEngine("seedream", "still", "local", "darkroom-still-1", ("REPLICATE_API_TOKEN",))


async def lines(backend: Backend, **keys: str) -> list[str]:
    app = App(Settings(database_url=backend.dsn, home=backend.app.home, **keys))
    async with app.database() as db:
        return [engine.line for engine in await app.on(db).serving.engines()]


async def test_each_engine_says_who_serves_it_and_why(backend: Backend):
    assert await lines(backend) == [
        "Texts: local stand-in (no OPENAI_API_KEY)",
        "Stills: local stand-in (no REPLICATE_API_TOKEN or FAL_KEY)",
        "Videos: local stand-in (no REPLICATE_API_TOKEN or FAL_KEY)",
        "Image jobs: local stand-in (no OPENAI_API_KEY)",
    ]
    assert await lines(backend, replicate_token="r8_test", openai_api_key="sk-test") == [
        "Texts: openai, gpt-5.4-mini (paid)",
        "Stills: replicate, bytedance/seedream-4 (paid)",
        "Videos: replicate, kwaivgi/kling-v2.1 (paid)",
        "Image jobs: openai, gpt-image-1 (paid)",
    ]
    assert (await lines(backend, fal_key="f"))[1] == "Stills: fal, fal-ai/bytedance/seedream/v4/edit (paid)"


async def test_health_and_the_generation_name_the_stand_in(start: StartBackend):
    backend = await start(fal_key="f", worker=False)
    engines = {engine["engine"]: engine for engine in (await backend.get("/health"))["engines"]}
    assert (engines["gpt"]["adapter"], engines["gpt"]["stand_in"], engines["gpt"]["paid"]) == ("local", True, False)
    assert (engines["kling"]["adapter"], engines["kling"]["stand_in"], engines["kling"]["paid"]) == ("fal", False, True)


async def test_a_result_of_the_stand_in_is_marked(backend: Backend):
    await backend.grant(1)
    accepted = await backend.create()
    made = await backend.finished(accepted)
    assert (made["status"], made["stand_in"]) == ("done", True)


@pytest.mark.parametrize(
    ("settings", "is_refused"),
    [
        ({"database_url": "postgresql://h/x", "stand_in": None}, True),
        ({"database_url": "postgresql://h/x", "stand_in": "refuse"}, True),
        ({"database_url": "postgresql://h/x", "stand_in": "allow"}, False),
        ({"stand_in": None}, False),
        ({"stand_in": "refuse"}, True),
    ],
)
def test_the_stand_in_is_refused_where_customers_are_served(settings: dict[str, Any], is_refused: bool):
    check_stand_in(Settings(**settings), [STILLS])
    if is_refused:
        with pytest.raises(ConfigError, match=r"REPLICATE_API_TOKEN.*SAFELIGHT_STAND_IN=allow"):
            check_stand_in(Settings(**settings), [STILLS, STAND_IN])
    else:
        check_stand_in(Settings(**settings), [STILLS, STAND_IN])


@pytest.mark.parametrize("command", ["api", "worker", "up"])
def test_a_command_that_would_serve_with_it_ends_with_a_line(dsn: str, tmp_path: Path, command: str):
    settings = {
        "SAFELIGHT_DATABASE_URL": dsn,
        "SAFELIGHT_STAND_IN": "refuse",
        "SAFELIGHT_PORT": "0",
        "SAFELIGHT_LOG_LEVEL": "ERROR",
    }
    done = safelight(tmp_path, command, **settings)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "Stills: local stand-in (no REPLICATE_API_TOKEN or FAL_KEY)" in done.stderr


def test_the_command_lists_engines(dsn: str, tmp_path: Path):
    done = safelight(tmp_path, "providers", "--json", SAFELIGHT_DATABASE_URL=dsn)
    said = json.loads(done.stdout)
    assert [engine["engine"] for engine in said["engines"]] == ["gpt", "seedream", "kling", "image_edit"]
    assert said["providers"] == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://media.example.com", True),
        ("https://93.184.216.34:8443/x", True),
        ("http://127.0.0.1:8787", False),
        ("http://localhost:8787", False),
        ("https://10.0.0.7", False),
        ("https://[::1]:443", False),
        ("https://api.internal", False),
        ("https://box", False),
    ],
)
def test_urls_that_vendors_cannot_reach_are_known(url: str, expected: bool):
    assert is_reachable(url) is expected
    assert unreachable_warnings([STAND_IN], url, url) == []
    warnings = unreachable_warnings([STILLS], url, url)
    assert len(warnings) == (0 if expected else 2)
    assert all("replicate" in warning and url in warning for warning in warnings)


@pytest.mark.parametrize(
    ("module", "engine"),
    [
        ("safelight_local", STAND_IN),
        ("safelight_local", replace(STILLS, fallback="local")),
        ("openai", replace(STILLS, adapter="openai")),
        ("openai", replace(STILLS, fallback="openai")),
    ],
)
def test_an_adapter_that_is_not_installed_is_named_before_a_worker_starts(
    monkeypatch: pytest.MonkeyPatch, module: str, engine: ServedEngine
):
    check_extras([STILLS, engine])
    monkeypatch.setitem(sys.modules, module, None)
    extra = module.removeprefix("safelight_")
    with pytest.raises(
        MissingExtra, match=rf"the adapter '{extra}'.* 'seedream', .*pip install 'safelight\[{extra}\]'"
    ):
        check_extras([STILLS, engine])
    check_extras([STILLS])


@pytest.mark.parametrize("module", ["safelight_local", "openai"])
async def test_an_adapter_that_is_needed_later_is_an_error_of_configuration(
    monkeypatch: pytest.MonkeyPatch, start: StartBackend, dsn: str, module: str
):
    """The registry may name it while workers run: the generation fails, refunded, and the operator is told why."""
    extra = module.removeprefix("safelight_")
    await serve_with(dsn, {"gpt": {"adapter": extra, "model": "m"}})
    points = importlib.metadata.entry_points
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda **wanted: [] if wanted.get("name") else points(**wanted)
    )
    backend: Backend = await start(openai_api_key="sk-test")
    await backend.grant(1)
    assert (await backend.finished(await backend.create()))["status"] == "error"
    assert (backend.balance(), len(backend.ops_rows())) == (1, 1)
    assert f"pip install 'safelight[{extra}]'" in backend.ops_rows()[0]["mg_detail"]["message"]


# --- the registry's `modes` say what an engine makes ------------------------------------------------------------------

SET_MODES = """
insert into mega_admin (mg_id, mg_record_type, mg_key, mg_value)
select 'app_config:mma.provider.registry.v2', 'app_config', mg_key, jsonb_set(
  mg_value || '{"version": 2}', '{providers}',
  (select jsonb_agg(case one->>'id' when %s then one - 'modes' || %s else one end) from jsonb_array_elements(mg_value->'providers') one))
from mega_admin where mg_id = 'app_config:mma.provider.registry.v1'
"""
REFUSED_MODES = {
    "another kind": ("seedream", ["video"], "the registry says that it makes video, and not still"),
    "several other kinds": (
        "seedream",
        ["text", "video"],
        "the registry says that it makes text, video, and not still",
    ),
    "no list": ("seedream", "still", "modes must be a list of image_job, model_run, still, text, video"),
    "an unknown word": ("seedream", ["picture"], "modes must be a list of image_job, model_run, still, text, video"),
    "no word": ("seedream", [{"still": True}], "cannot be used"),
    "no texts": ("gpt", ["still"], "the registry says that it makes still, and not text"),
}


@pytest.mark.parametrize("modes", REFUSED_MODES)
async def test_an_engine_is_not_asked_for_what_its_modes_do_not_say(start: StartBackend, modes: str):
    engine, value, said = REFUSED_MODES[modes]
    backend = await start()
    backend.sql(SET_MODES, engine, json.dumps({"modes": value}))
    await backend.grant(1)
    failed = await backend.finished(await backend.create())
    assert (failed["status"], backend.balance()) == ("error", 1)
    [row] = backend.ops_rows(failed["generation_id"])
    assert (row["mg_detail"]["category"], said in row["mg_detail"]["message"]) == ("CONFIG_ERROR", True)


@pytest.mark.parametrize("modes", [["video", "still", "text"], None])
async def test_an_engine_may_have_several_modes_and_without_any_makes_what_it_is_asked_for(
    start: StartBackend, modes: Any
):
    backend = await start()
    backend.sql(SET_MODES, "seedream", json.dumps({} if modes is None else {"modes": modes}))
    await backend.grant(1)
    assert (await backend.finished(await backend.create()))["status"] == "done"
