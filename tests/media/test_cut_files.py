"""Files are decoded whole: what is cut or damaged is refused when it is uploaded, and is a vendor's failure when it comes
from one."""

import io
from pathlib import Path

import pytest

from safelight.domain.errors.base import AssetUnreadable
from safelight.media import inspection, publishing
from safelight.media.mp4 import encode_mp4
from safelight.providers.simulated import results
from tests.api.routes.test_files import data_url
from tests.conftest import Backend, StartBackend
from tests.support.made_files import ANIMATIONS, HEIGHT, PICTURES, WIDTH, film, moving_noise
from tests.support.simulated_provider import simulating

SHARES = (0.75, 0.6, 0.48)
FILMS = {
    "mp4": film(),
    "mp4 that begins to play at once": encode_mp4(moving_noise(48), width=WIDTH, height=HEIGHT),
    "mp4 in fragments": film(movflags="frag_keyframe+empty_moov+default_base_moof"),
    "mov": film("mov"),
    "webm": film("webm", "libvpx"),
    "webm of a live recording": film("webm", "libvpx", live="1"),
    "avi": film("avi", "mpeg4"),
}
WHOLE = PICTURES | {f"moving {kind}": content for kind, content in ANIMATIONS.items()} | FILMS


@pytest.mark.parametrize("name", WHOLE)
def test_a_cut_file_is_found_and_a_whole_one_is_measured(name: str):
    content = WHOLE[name]
    facts = publishing.published(content).facts
    assert (facts.width, facts.height) == (WIDTH, HEIGHT)
    assert facts.kind == ("video" if name in FILMS else "image")
    assert facts.seconds is None if facts.kind == "image" else 1.9 <= (facts.seconds or 0) <= 2.1
    for share in (*SHARES, 1 - 1 / len(content)):
        with pytest.raises(AssetUnreadable):
            publishing.published(content[: int(len(content) * share)])


@pytest.mark.parametrize("name", ["image/png", "image/gif", "moving PNG", "mp4", "mov", "avi"])
def test_a_block_of_other_bytes_is_found_where_the_decoder_tells(name: str):
    damaged = bytearray(WHOLE[name])
    middle = len(damaged) // 2
    damaged[middle : middle + 2000] = bytes(byte ^ 0xFF for byte in damaged[middle : middle + 2000])
    with pytest.raises(AssetUnreadable):
        publishing.published(bytes(damaged))


def test_a_film_of_which_only_the_last_bytes_are_zeros_is_found():
    content = FILMS["mp4 that begins to play at once"]
    with pytest.raises(AssetUnreadable):
        inspection.inspect_film(content[: len(content) // 2].ljust(len(content), b"\x00"))


@pytest.mark.parametrize("name", ["image/jpeg", "image/avif", "image/heic", "moving GIF", "mp4"])
async def test_a_cut_upload_is_refused_at_every_route(backend: Backend, name: str):
    content = WHOLE[name]
    cut = content[: int(len(content) * 0.6)]
    for more in ({}, {"private": True}):
        answer = await backend.post("/api/r2/upload-signed", {"dataUrl": data_url(cut), **more}, status=400)
        assert answer["error"] == "UNREADABLE_MEDIA"
    media_type = {"moving GIF": "image/gif", "mp4": "video/mp4"}.get(name, name)
    ticket = await backend.post("/api/r2/presign", {"contentType": media_type})
    refused = await backend.client.put(ticket["uploadUrl"], content=cut)
    assert (refused.status_code, refused.json()["error"]) == (400, "UNREADABLE_MEDIA")
    assert (await backend.client.put(ticket["uploadUrl"], content=content)).status_code == 200


async def cut_results(backend: Backend, monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    """The first results that the vendor gives out, as often as they are fetched, lack their end."""
    whole, left = results.image, [times]

    def image(prediction_id: str) -> bytes:
        left[0] -= 1
        content = whole(prediction_id)
        return content[: len(content) * 6 // 10] if left[0] >= 0 else content

    monkeypatch.setattr(results, "image", image)


async def test_a_cut_result_is_the_vendors_failure(dsn: str, start: StartBackend, monkeypatch: pytest.MonkeyPatch):
    async with simulating(dsn) as (simulation, settings):
        backend = await start(retry_base_seconds=0.05, **settings)
        await backend.grant(1)
        await cut_results(backend, monkeypatch, times=1000)
        failed = await backend.finished(await backend.create())
        assert (failed["status"], failed["error"]["code"]) == ("error", "SEEDREAM_RESULT_DAMAGED")
        assert "upload" not in failed["error"]["message"]
        assert "Your credits were returned" in failed["error"]["message"]
        assert backend.balance() == 1
        [row] = backend.ops_rows(failed["generation_id"])
        assert row["mg_error"]["provider_error"]["vendor"] if "mg_error" in row else "simulated" in str(row)
        [step] = [one for one in backend.steps(failed["generation_id"]) if one["mg_step_type"] == "seedream_generate"]
        assert len(step["mg_payload"]["attempts"]) == 3
        assert len(simulation.record.by_attempt_key()) == 1  # the same result was fetched again, none was paid again


async def test_a_result_that_is_whole_at_the_second_try_is_delivered(
    dsn: str, start: StartBackend, monkeypatch: pytest.MonkeyPatch
):
    async with simulating(dsn) as (_, settings):
        backend = await start(retry_base_seconds=0.05, **settings)
        await backend.grant(1)
        await cut_results(backend, monkeypatch, times=1)
        made = await backend.finished(await backend.create())
        assert made["status"] == "done"
        assert (made["outputs"]["width"], made["outputs"]["height"]) == (512, 341)


async def test_a_result_in_a_format_that_browsers_lack_is_converted_and_that_is_said(
    dsn: str, start: StartBackend, monkeypatch: pytest.MonkeyPatch
):
    async with simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(4)
        for media_type, stored in (("avif", "webp"), ("tiff", "png"), ("bmp", "png"), ("heic", "webp")):
            content = PICTURES[f"image/{media_type}"]
            monkeypatch.setattr(results, "image", lambda _, content=content: content)
            made = await backend.finished(await backend.create())
            assert made["status"] == "done", made
            assert made["outputs"]["seedream_image_url"].endswith(f".{stored}")
            [step] = [one for one in backend.steps(made["generation_id"]) if one["mg_step_type"] == "seedream_generate"]
            output = step["mg_payload"]["output"]
            assert any("was converted to" in warning for warning in output["warnings"])
            assert (output["width"], output["height"]) == (WIDTH, HEIGHT)


def partial_file(folder: Path) -> Path:
    path = folder / "mma" / "still" / "x" / "1.png#1"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"half of it")
    return path


async def test_parts_of_interrupted_copies_are_swept(backend: Backend):
    from datetime import UTC, datetime, timedelta  # noqa: PLC0415

    bucket = backend.app.resources.assets.public
    path = partial_file(bucket.root)
    found = await bucket.partial_files()
    assert [entry.key for entry in found] == ["mma/still/x/1.png#1"]
    assert found[0].changed_at > datetime.now(UTC) - timedelta(minutes=5)
    await bucket.delete_partial([entry.key for entry in found])
    assert not path.exists()


def test_a_film_given_as_an_open_file_is_read_from_its_beginning():
    file = io.BytesIO(FILMS["webm"])
    file.read(100)
    assert inspection.inspect_film(file).width == WIDTH
