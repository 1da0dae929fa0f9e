"""Particulars of Replicate's and fal's adapters, their models and the table of their errors."""

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from safelight.domain.errors.base import (
    ConfigError,
    LookupUnsupported,
    ProviderContractBroken,
    ProviderError,
    ProviderRateLimited,
    ProviderRejected,
)
from safelight.providers.base import CancelResult, GenerationRequest, ReferenceImage
from safelight.providers.errors import VendorError, map_error, table
from safelight.providers.fal import adapter as fal_module
from safelight.providers.outputs import succeeded
from safelight.providers.parameters import build_input
from safelight.providers.replicate import adapter as replicate_module
from safelight.testing.adapter_contract import PICTURE, new_key
from tests.conftest import StartBackend
from tests.contracts.test_adapters import on_fal, on_replicate, webhook_url
from tests.fakes import replicate
from tests.fakes.registry import serve_with
from tests.fakes.wire import Scripted

SEEDREAM = "bytedance/seedream-4"
KLING = "kwaivgi/kling-v2.1"
SEED_003 = {
    "fal-ai/flux-pro/v1.1-ultra": "image",
    "fal-ai/flux-pro/kontext/max": "image",
    "fal-ai/imagen4/preview/ultra": "image",
    "fal-ai/veo3": "video",
    "fal-ai/minimax/hailuo-02/pro/text-to-video": "video",
    "fal-ai/kling-video/v2.1/master/text-to-video": "video",
    "fal-ai/wan-pro/text-to-video": "video",
}


def request(*roles: str, prompt: str = "a cup", **settings: Any) -> GenerationRequest:
    images = tuple(ReferenceImage(role, f"https://example.com/{role}-{at}.jpg") for at, role in enumerate(roles))
    return GenerationRequest("seedream_generate", "m", prompt, images, settings, 7, new_key())


def fitted(name: str, *roles: str, prompt: str = "a cup", **settings: Any) -> tuple[dict[str, Any], list[str]]:
    models = replicate_module.MODELS if "fal-ai" not in name else fal_module.MODELS
    found = build_input(models.named(name), request(*roles, prompt=prompt, **settings))
    return found.input, list(found.warnings)


# --- models as data -------------------------------------------------------------------------------------------------


def test_what_is_not_stated_is_filled_with_the_models_defaults():
    given, warnings = fitted(SEEDREAM, "product")
    assert given == {
        "prompt": "a cup",
        "size": "4K",
        "aspect_ratio": "match_input_image",
        "enhance_prompt": False,
        "sequential_image_generation": "disabled",
        "max_images": 1,
        "image_input": ["https://example.com/product-0.jpg"],
    }
    assert warnings == []
    assert fitted(SEEDREAM)[0]["aspect_ratio"] == "1:1"  # there is nothing to match


def test_a_number_out_of_its_bounds_is_brought_into_them_and_this_is_said():
    given, warnings = fitted(SEEDREAM, max_images=99)
    assert (given["max_images"], warnings) == (15, ["max_images 99 is not possible with this model; 15 was taken."])
    given, warnings = fitted(KLING, "start_frame", duration=2)
    assert (given["duration"], warnings) == (5, ["duration 2 is not possible with this model; 5 was taken."])
    assert fitted(KLING, "start_frame", duration="10")[0]["duration"] == 10


def test_long_text_is_cut_and_this_is_said():
    given, warnings = fitted("fal-ai/wan-pro/text-to-video", prompt="x" * 2001)
    assert (len(given["prompt"]), warnings) == (2000, ["prompt was cut to 2000 characters."])


def test_unknown_settings_and_pictures_without_a_place_are_left_out_and_this_is_said():
    given, warnings = fitted(KLING, "start_frame", "logo", sparkle=1)
    assert "sparkle" not in given
    assert warnings == [
        "The picture logo was not used: this model has no place for it.",
        "The setting sparkle is not known to this model and was left out.",
    ]
    _, warnings = fitted(SEEDREAM, *["inspiration"] * 11)
    assert len(warnings) == 1


@pytest.mark.parametrize(
    ("name", "roles", "settings", "message"),
    [
        (SEEDREAM, (), {"size": "8K"}, "size must be one of 1K, 2K, 4K, custom, not '8K'"),
        (SEEDREAM, (), {"enhance_prompt": "yes"}, "enhance_prompt must be true or false, not 'yes'"),
        (SEEDREAM, (), {"max_images": "many"}, "max_images must be a number, not 'many'"),
        (SEEDREAM, (), {"max_images": True}, "max_images must be a number, not 'True'"),
        (KLING, (), {}, "start_image is missing: it takes a picture that is a start_frame or a reference"),
        (SEEDREAM, (), {"prompt": ""}, "prompt is missing"),
    ],
)
def test_what_a_model_cannot_take_is_refused_by_name(name: str, roles: Any, settings: Any, message: str):
    with pytest.raises(ProviderRejected) as caught:
        fitted(name, *roles, prompt=settings.pop("prompt", "a cup"), **settings)
    assert str(caught.value) == message
    assert caught.value.safe_message == f"{message[0].upper()}{message[1:]}."


def test_each_model_of_seed_003_has_a_description():
    for name, kind in SEED_003.items():
        model = fal_module.MODELS.named(name)
        assert (model.kind, bool(model.source)) == (kind, True)
        given, _ = fitted(name, "product")
        assert given["prompt"] == "a cup"


def test_the_words_of_seed_003_are_understood():
    given, warnings = fitted("fal-ai/flux-pro/v1.1-ultra", image_size="portrait_16_9", safety_tolerance=9)
    assert (given["aspect_ratio"], given["safety_tolerance"]) == ("9:16", "6")
    assert warnings == ["safety_tolerance 9 is not possible with this model; 6 was taken."]
    assert fitted("fal-ai/flux-pro/kontext/max", "product", guidance=2)[0]["guidance_scale"] == 2
    assert fitted("fal-ai/veo3", duration=5, aspect="9:16")[0] | {"prompt": ""} == {
        "prompt": "",
        "duration": "6s",
        "aspect_ratio": "9:16",
        "resolution": "720p",
        "generate_audio": True,
        "seed": 7,
    }
    given, warnings = fitted("fal-ai/imagen4/preview/ultra", aspect_ratio="2:3")
    assert (given["aspect_ratio"], len(warnings)) == ("3:4", 1)


def test_a_model_without_a_description_is_an_error_of_configuration():
    with pytest.raises(ConfigError, match="no model 'x/y' is described; there are"):
        replicate_module.MODELS.named("x/y")


# --- outputs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "output",
    [
        "https://x.example/a.png",
        ["https://x.example/a.png", "https://x.example/b.png"],
        {"url": "https://x.example/a.png"},
        {"output": ["https://x.example/a.png"]},
        {"video": {"url": "https://x.example/a.png"}},
        {"images": [{"url": "https://x.example/a.png"}], "seed": 1},
    ],
)
def test_the_first_url_of_an_output_is_its_first_file(output: Any):
    first = succeeded(output, "image", "x", {}, ()).outputs[0]
    assert (first.url, first.media_type) == ("https://x.example/a.png", "image/png")


@pytest.mark.parametrize(
    "output", [None, "", 7, [], {}, "data:image/png;base64,A", "data:image/png", {"url": None}, "ftp://x/y"]
)
def test_an_output_without_a_url_breaks_the_contract(output: Any):
    with pytest.raises(ProviderContractBroken) as caught:
        succeeded(output, "image", "x", {}, ())
    assert caught.value.code == "NO_URL"


# --- errors ---------------------------------------------------------------------------------------------------------


def test_every_row_of_the_error_table_agrees_with_its_type_and_is_safe_to_show():
    assert table().version >= 1
    for row in table().rows:
        assert issubclass(row.error_type, ProviderError)
        assert not {"replicate", "fal", "http"} & set(row.message.lower().replace(".", " ").split())


def test_what_a_throttled_text_says_of_the_time_is_honoured():
    said = VendorError("replicate", "start", 429, str(replicate.THROTTLED))
    error = map_error(said)
    assert isinstance(error, ProviderRateLimited)
    assert error.retry_after_seconds == 7


def test_a_fingerprint_is_of_what_is_said_and_not_of_whom():
    def fingerprint(text: str, status: int = 0) -> Any:
        return map_error(VendorError("fal", "result", status, text)).details["fingerprint"]

    same = {
        fingerprint(f"no frame {n} of https://x.example/{n} for 01234567-89ab-cdef-0123-456789abcde{n}")
        for n in range(9)
    }
    assert len(same) == 1
    assert fingerprint("another") not in same
    assert fingerprint("another") != fingerprint("another", 418)


def test_a_status_that_nobody_has_explained_breaks_the_contract():
    error = map_error(VendorError("fal", "check", 418, "I'm a teapot"))
    assert isinstance(error, ProviderContractBroken)
    assert error.details["known"] is False


# --- stopping -------------------------------------------------------------------------------------------------------


async def test_replicate_says_whether_it_stopped():
    async with on_replicate("image", SEEDREAM) as bench:
        ready = await bench.provider.start(bench.request())
        assert await bench.provider.cancel(ready) is CancelResult.TOO_LATE
        await bench.slow()
        assert await bench.provider.cancel(await bench.provider.start(bench.request())) is CancelResult.STOPPED


async def test_fal_stops_what_waits_and_only_tells_what_has_begun():
    async with on_fal("image", "fal-ai/bytedance/seedream/v4/edit") as bench:
        wire: Any = bench.wire
        ready = await bench.provider.start(bench.request())
        assert await bench.provider.cancel(ready) is CancelResult.TOO_LATE
        await bench.slow()
        assert await bench.provider.cancel(await bench.provider.start(bench.request())) is CancelResult.STOPPED
        wire.begins = True
        begun = await bench.provider.start(bench.request())
        assert await bench.provider.cancel(begun) is CancelResult.UNSUPPORTED
        for status, body in ((400, {"status": "ALREADY_COMPLETED"}), (404, {"status": "NOT_FOUND"})):
            wire.script("cancel", Scripted(status, body))
            assert await bench.provider.cancel(begun) is CancelResult.TOO_LATE


# --- looking a start up ---------------------------------------------------------------------------------------------


async def test_replicate_is_looked_through_page_by_page():
    async with on_replicate("image", SEEDREAM) as bench:
        wire: Any = bench.wire
        wire.page_size = 2
        first, began = bench.request(), datetime.now(UTC)
        operation = await bench.provider.start(first)
        for _ in range(4):
            await bench.provider.start(bench.request())
        found = await bench.provider.look_up(first.attempt_key, began)
        assert found.handle == operation.handle
        assert await bench.provider.look_up(new_key(), began) is None
        wire.page_size = 1
        for _ in range(replicate_module.PAGES_LOOKED_THROUGH_MAX):
            await bench.provider.start(bench.request())
        with pytest.raises(LookupUnsupported):
            await bench.provider.look_up(first.attempt_key, began)


async def test_a_prediction_that_hides_its_webhook_may_be_the_one_looked_for():
    async with on_replicate("image", SEEDREAM) as bench:
        wire: Any = bench.wire
        asked, began = bench.request(), datetime.now(UTC)
        assert await bench.provider.look_up(asked.attempt_key, began) is None  # there is none at all
        wire.shows_webhooks = False
        await bench.provider.start(asked)
        with pytest.raises(LookupUnsupported):
            await bench.provider.look_up(asked.attempt_key, began)


async def test_a_version_of_a_model_can_be_named():
    async with on_replicate("image", f"{SEEDREAM}:cf7d43") as bench:
        await bench.provider.start(bench.request())
        [work] = bench.wire.works.values()
    assert work.model == f"{SEEDREAM}:cf7d43"
    assert work.webhook.startswith(webhook_url(""))
    assert bench.wire.calls == [("start", "POST /v1/predictions")]
    assert bench.wire.authorizations == {f"Bearer {replicate.TOKEN}"}
    assert work.input["image_input"] == [PICTURE]


# --- adapters of other packages -------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path) -> Iterator[str]:
    """An installed package that brings the adapter `borrowed`, which is the offline renderer under another name, and one that
    cannot be loaded."""
    (tmp_path / "borrowed_adapter.py").write_text(
        "from safelight.media.decoding_pool import MediaPool\n"
        "from safelight.providers.base import AdapterContext\n"
        "from safelight_local.adapter import make_adapter\n\n\n"
        "def make(read):\n    return make_adapter(AdapterContext(read, MediaPool(2**29)))\n"
    )
    info = tmp_path / "borrowed_adapter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: borrowed-adapter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[safelight.adapters]\nborrowed = borrowed_adapter:make\nbroken = no_such_module:make\nlocal = no_such:make\n"
    )
    sys.path.insert(0, str(tmp_path))
    yield "borrowed"
    sys.path.remove(str(tmp_path))


async def test_an_installed_package_can_bring_an_adapter(dsn: str, start: StartBackend, package: str):
    await serve_with(dsn, {"seedream": {"adapter": package, "model": "m"}})
    backend = await start()
    await backend.grant(1)
    still = await backend.finished(await backend.create())
    assert still["status"] == "done"
    [step] = [one for one in backend.steps(still["generation_id"]) if one["mg_step_type"] == "seedream_generate"]
    assert step["mg_payload"]["input"]["adapter"] == package


async def test_an_adapter_that_cannot_be_loaded_is_an_error_of_configuration(
    dsn: str, start: StartBackend, package: str
):
    await serve_with(dsn, {"seedream": {"adapter": "broken", "model": "m"}})
    backend = await start()
    await backend.grant(1)
    still = await backend.finished(await backend.create())
    assert still["status"] == "error"
    [row] = backend.ops_rows(still["generation_id"])
    assert "the adapter 'broken' of no_such_module:make cannot be loaded" in row["mg_detail"]["message"]
