"""The offline stand-in from its front door: real photographs in, pictures and videos out."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import cv2
import numpy as np
import pytest
import skimage.data

import safelight
from safelight.domain.errors import base as errors
from safelight.domain.errors.base import AssetUnreadable, NotFound, ProviderRejected
from safelight.media import decode, inspection
from safelight.providers.base import GenerationRequest, Pending, ReferenceImage, Succeeded
from safelight.providers.fault_injection import Fault
from safelight_local.adapter import LocalImageProvider, LocalVideoProvider
from safelight_local.film import LONG_EDGE

COFFEE = (Path(safelight.__file__).parent / "samples" / "coffee.jpg").read_bytes()
PHOTOS = {
    "coffee": COFFEE,
    "cat": decode.encode_png(skimage.data.chelsea()),
    "astronaut": decode.encode_jpeg(skimage.data.astronaut()),
    "rocket": decode.encode_jpeg(skimage.data.rocket()),
}
HALF_EDGE = LONG_EDGE["standard"] // 2
MORNING = "A calm morning on a glossy acrylic table, soft light from the left."
RATIOS = {
    f"{wide}:{high}": wide / high for wide, high in ((9, 16), (3, 4), (2, 3), (4, 5), (1, 1), (3, 2), (4, 3), (16, 9))
}


class Shelf:
    """Pictures by URL; what is not there cannot be read."""

    def __init__(self, **pictures: bytes) -> None:
        self.pictures = {**PHOTOS, **pictures}

    async def read(self, url: str) -> bytes:
        if url not in self.pictures:
            raise NotFound(f"no picture {url}")
        return self.pictures[url]


def still_request(prompt: str, *images: tuple[str, str], seed: int = 3, **settings: Any) -> GenerationRequest:
    stated = {"size": "1K", "aspect_ratio": "1:1", **settings}
    return request("seedream_generate", "darkroom-still-1", prompt, images, stated, seed)


def video_request(prompt: str, *images: tuple[str, str], **settings: Any) -> GenerationRequest:
    stated = {"duration": 1, "mode": "standard", **settings}
    return request("kling_generate", "darkroom-motion-1", prompt, images, stated, 3)


def request(step_type: str, model: str, prompt: str, images: Any, settings: Any, seed: int) -> GenerationRequest:
    pictures = tuple(ReferenceImage(role, url) for role, url in images)
    return GenerationRequest(step_type, model, prompt, pictures, settings, seed, f"generation:{step_type}")


async def made(provider: Any, request: Any) -> Succeeded:
    operation = await provider.start(request)
    stored = replace(operation, handle=json.loads(json.dumps(operation.handle)))
    result = await provider.check(stored)
    assert isinstance(result, Succeeded)
    return result


async def still(prompt: str, *images: tuple[str, str], shelf: Shelf | None = None, **settings: Any) -> bytes:
    result = await made(LocalImageProvider((shelf or Shelf()).read), still_request(prompt, *images, **settings))
    return result.outputs[0].content or b""


async def video(prompt: str, *images: tuple[str, str], shelf: Shelf | None = None, **settings: Any) -> bytes:
    """A film of half its size, if no other `mode` is stated."""
    with patch.dict(LONG_EDGE, standard=HALF_EDGE):
        result = await made(LocalVideoProvider((shelf or Shelf()).read), video_request(prompt, *images, **settings))
    return result.outputs[0].content or b""


def rgb(content: bytes) -> np.ndarray:
    return decode.decode_image(content)[..., :3].astype(np.float32)


def hue(content: bytes) -> float:
    """Of the middle of the wall, in degrees."""
    wall = np.median(rgb(content)[40:160, 300:700].reshape(-1, 3), axis=0)
    return float(cv2.cvtColor((wall / 255)[None, None].astype(np.float32), cv2.COLOR_RGB2HSV)[0, 0, 0])


def frame(content: bytes, fraction: float) -> np.ndarray:
    return cv2.cvtColor(np.ascontiguousarray(rgb(decode.frame_at(content, fraction))), cv2.COLOR_RGB2GRAY)


def growth_and_shift(content: bytes, begin: float = 0.0, end: float = 1.0) -> tuple[float, float, float]:
    """Measure the enlargement and the movement of the picture by features found in both frames."""
    one, other = frame(content, begin).astype(np.uint8), frame(content, end).astype(np.uint8)
    points = cv2.goodFeaturesToTrack(one, 300, 0.01, 8)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(one, other, points, None, winSize=(41, 41), maxLevel=5)
    kept = found.ravel() == 1
    matrix, _ = cv2.estimateAffinePartial2D(points[kept], moved[kept], ransacReprojThreshold=2.0)
    centre = np.array([one.shape[1] / 2, one.shape[0] / 2, 1.0])
    shift = matrix @ centre - centre[:2]
    return float(np.hypot(matrix[0, 0], matrix[1, 0])), float(shift[0]), float(shift[1])


# --- stills --------------------------------------------------------------------------------------------------------


async def test_the_same_request_gives_the_same_bytes_and_another_seed_gives_others():
    once, again = [await still("Soft light", ("product", "coffee")) for _ in range(2)]
    other = await still("Soft light", ("product", "coffee"), seed=4)
    assert once == again
    assert once != other


@pytest.mark.parametrize("ratio", RATIOS)
async def test_every_aspect_ratio_is_met(ratio):
    facts = decode.probe_image(await still("A plain backdrop", aspect_ratio=ratio))
    assert facts.width / facts.height == pytest.approx(RATIOS[ratio], rel=1e-3)
    assert facts.width % 2 == facts.height % 2 == 0


async def test_an_unknown_aspect_ratio_is_said_and_the_products_own_one_can_be_asked_for():
    provider = LocalImageProvider(Shelf().read)
    unknown = await made(provider, still_request("Plain", aspect_ratio="7:5"))
    own = await made(provider, still_request("Plain", ("product", "coffee"), aspect_ratio="match_input_image"))
    assert any("7:5" in warning for warning in unknown.warnings)
    assert (own.response["width"], own.response["height"]) == (1020, 680)


async def test_pictures_that_were_not_used_are_said():
    extra = [("inspiration", "cat")] * 5 + [("product", "rocket"), ("mystery", "cat")]
    result = await made(LocalImageProvider(Shelf().read), still_request("Plain", ("product", "coffee"), *extra))
    said = " ".join(result.warnings)
    assert "2 picture(s) not used: inspiration" in said
    assert "1 picture(s) not used: product" in said
    assert "mystery" in said


@pytest.mark.parametrize(("colour", "degrees"), [("blue", 213), ("sage green", 95), ("pink", 349), ("terracotta", 15)])
async def test_the_colour_of_the_brief_is_the_colour_of_the_wall(colour, degrees):
    seen = hue(await still(f"Minimal, {colour} background, even light", ("product", "coffee")))
    assert abs((seen - degrees + 180) % 360 - 180) < 22


async def test_an_inspiration_colours_the_wall_where_the_brief_does_not():
    navy = decode.encode_png(np.full((200, 300, 3), (30, 60, 150), np.uint8))
    content = await still("Plain", ("product", "coffee"), ("inspiration", "sea"), shelf=Shelf(sea=navy))
    assert abs(hue(content) - 225) < 20


async def test_the_product_keeps_its_colours_in_every_scene():
    reds = []
    for prompt in ("White marble, airy", "Moody, navy wall, wooden table"):
        picture = rgb(await still(prompt, ("product", "coffee")))
        reds.append(np.median(picture[560:600, 260:300].reshape(-1, 3), axis=0))
    assert np.abs(reds[0] - reds[1]).max() < 40
    assert all(red[0] > 2 * red[1] for red in reds)


@pytest.mark.parametrize("photo", ["cat", "astronaut", "rocket"])
async def test_a_photo_without_a_clean_outline_is_shown_whole_as_a_print(photo):
    content = await still("Grey wall", ("product", photo))
    near_white = (rgb(content).min(axis=2) > 215).mean(axis=1)
    assert near_white.max() > 0.4, "the print has a white margin"


async def test_a_logo_appears_in_the_corner_and_a_wish_takes_it_away():
    mark = np.full((100, 300, 3), 255, np.uint8)
    cv2.putText(mark, "SAFE", (20, 75), cv2.FONT_HERSHEY_SIMPLEX, 2.4, (10, 10, 10), 6)
    shelf = Shelf(mark=decode.encode_png(mark))
    images = (("product", "coffee"), ("logo", "mark"))
    parent = await still("Plain beige wall.", *images, shelf=shelf)
    shelf.pictures["parent"] = parent
    bare = await still("Plain beige wall. Revision: remove the logo.", ("parent_output", "parent"), shelf=shelf)
    changed = np.abs(rgb(parent) - rgb(bare)).max(axis=2) > 20
    rows, columns = np.where(changed)
    assert changed.sum() > 100
    assert rows.min() > 800
    assert columns.min() > 700


async def test_a_brief_without_a_product_is_a_still_life():
    picture = rgb(await still("A calm still life in peach"))
    assert picture[600:900, 300:700].std() > 12


# --- tweaks --------------------------------------------------------------------------------------------------------


async def test_a_tweak_changes_what_was_asked_for_and_nothing_else():
    shelf = Shelf()
    shelf.pictures["parent"] = parent = await still(MORNING, ("product", "coffee"), shelf=shelf)
    wish = f"{MORNING} Revision: darker background, no reflections."
    tweaked = await still(wish, ("parent_output", "parent"), shelf=shelf, seed=99)
    before, after = rgb(parent), rgb(tweaked)
    wall, product = np.s_[40:200, 100:900], np.s_[420:560, 420:640]
    assert after[wall].mean() < 0.80 * before[wall].mean()
    assert np.abs(after[product] - before[product]).mean() < 0.6
    below = np.s_[900:960, 400:640]
    assert after[below].std(axis=1).mean() < before[below].std(axis=1).mean(), "nothing is mirrored any more"


async def test_only_the_reflection_goes_where_only_that_was_asked_for():
    shelf = Shelf()
    shelf.pictures["parent"] = parent = await still(MORNING, ("product", "coffee"), shelf=shelf)
    tweaked = await still(f"{MORNING} Revision: no reflections.", ("parent_output", "parent"), shelf=shelf)
    changed = np.abs(rgb(parent) - rgb(tweaked)).max(axis=2) > 3
    assert 0.002 < changed.mean() < 0.2
    assert np.where(changed.any(axis=1))[0].min() > 450, "all that changes lies below the saucer"


async def test_tweaks_follow_one_another():
    shelf, prompt, brightness = Shelf(), MORNING, []
    shelf.pictures["now"] = await still(prompt, ("product", "coffee"), shelf=shelf)
    for wish in ("darker background", "a little closer", "darker background", "blue background"):
        prompt = f"{prompt} Revision: {wish}."
        shelf.pictures["now"] = await still(prompt, ("parent_output", "now"), shelf=shelf)
        brightness.append(rgb(shelf.pictures["now"])[40:200, 100:900].mean())
    assert brightness[2] < 0.85 * brightness[0]
    assert abs(hue(shelf.pictures["now"]) - 213) < 22


async def test_a_foreign_picture_is_retouched():
    darker = await still("A portrait. Revision: darker background.", ("parent_output", "astronaut"))
    grey = await still("A portrait. Revision: black and white.", ("parent_output", "astronaut"))
    before = rgb(PHOTOS["astronaut"])
    assert rgb(darker)[:60, 400:].mean() < 0.8 * before[:60, 400:].mean()
    assert np.ptp(rgb(grey), axis=2).max() <= 2


async def test_a_tweak_whose_product_is_gone_is_a_retouch():
    parent = await still(MORNING, ("product", "coffee"))
    shelf = Shelf(parent=parent)
    del shelf.pictures["coffee"]
    tweaked = await still(f"{MORNING} Revision: darker.", ("parent_output", "parent"), shelf=shelf)
    assert rgb(tweaked).mean() < 0.95 * rgb(parent).mean()


# --- videos --------------------------------------------------------------------------------------------------------


async def test_a_video_plays_at_once_and_everywhere():
    content = await video("Slow push-in", ("start_frame", "coffee"), duration=3, mode="std")
    with av.open(io.BytesIO(content)) as container:
        [stream] = container.streams.video
        assert (stream.codec_context.name, stream.frames) == ("h264", 72)
    facts = inspection.inspect_film(content)
    assert facts.seconds == 3.0
    assert (facts.width, facts.height) == (960, 640)
    assert content.find(b"moov") < content.find(b"mdat"), "the index comes first"


async def test_the_same_video_is_the_same_bytes():
    once, again = [await video("Orbit, steam", ("start_frame", "coffee")) for _ in range(2)]
    assert once == again


@pytest.mark.parametrize(
    ("prompt", "grows", "moves"),
    [
        ("The camera pushes in", (1.08, 1.3), (-5, 5)),
        ("The camera pulls out slowly", (0.75, 0.93), (-5, 5)),
        ("Pan left to right", (0.98, 1.02), (-100, -20)),
        ("Pan right to left", (0.98, 1.02), (20, 100)),
        ("Pan right to left. Revision: other direction", (0.98, 1.02), (-100, -20)),
        ("Push in. Revision: stop the camera", (0.995, 1.005), (-0.5, 0.5)),
        ("fix_camera: light sweeps", (0.995, 1.005), (-0.5, 0.5)),
    ],
)
async def test_the_camera_does_what_the_words_say(prompt, grows, moves):
    growth, x, _ = growth_and_shift(await video(prompt, ("start_frame", "astronaut")))
    assert grows[0] < growth < grows[1]
    assert moves[0] < x < moves[1]


async def test_a_slower_revision_moves_less():
    fast, slow = [
        growth_and_shift(await video(f"Push in.{more}", ("start_frame", "astronaut")))[0]
        for more in ("", " Revision: much slower")
    ]
    assert 1.01 < slow < fast - 0.03


async def test_a_loop_ends_where_it_began():
    content = await video("Seamless loop, orbit around the cup, steam rises", ("start_frame", "coffee"))
    first, middle, last = frame(content, 0.0), frame(content, 0.5), frame(content, 1.0)
    assert np.abs(first - last).mean() < 2
    assert np.abs(first - middle).mean() > 2 * np.abs(first - last).mean()


async def test_a_fixed_camera_still_lives():
    content = await video("The camera stays fixed", ("start_frame", "coffee"))
    assert np.abs(frame(content, 0.2) - frame(content, 0.55)).mean() > 1.5


async def test_a_movement_is_even():
    content = await video("Pan left to right", ("start_frame", "astronaut"), duration=2)
    steps = [growth_and_shift(content, at / 8, (at + 1) / 8)[1] for at in range(7)]
    assert all(step < -1 for step in steps)
    assert np.abs(np.diff(steps)).max() < 0.5 * abs(float(np.mean(steps)))


async def test_a_video_arrives_at_its_end_frame():
    content = await video("Push in", ("start_frame", "coffee"), ("end_frame", "rocket"))
    wanted = rgb(PHOTOS["rocket"])
    arrived = cv2.resize(rgb(decode.frame_at(content, 1.0)), (640, 427))
    assert np.abs(arrived - wanted).mean() < 8


async def test_a_video_without_a_start_frame_is_refused_and_unused_pictures_are_said():
    provider = LocalVideoProvider(Shelf().read)
    with pytest.raises(ProviderRejected):
        await provider.start(video_request("Push in", ("end_frame", "coffee")))
    result = await made(provider, video_request("Push in", ("start_frame", "coffee"), ("logo", "cat")))
    assert any("logo" in warning for warning in result.warnings)


# --- operations, faults, bytes -------------------------------------------------------------------------------------


async def test_an_operation_is_pending_for_as_long_as_it_was_told_to_take():
    provider = LocalImageProvider(Shelf().read, wait_seconds=60)
    operation = await provider.start(still_request("Plain"))
    waiting = await provider.check(operation)
    assert isinstance(waiting, Pending)
    assert 50 < waiting.check_after_seconds <= 60
    long_ago = replace(operation, under_way_seconds=61)
    assert isinstance(await provider.check(long_ago), Succeeded)


@pytest.mark.parametrize(
    ("kind", "error", "status"),
    [
        ("timeout", errors.ProviderTimeout, 504),
        ("unavailable", errors.ProviderUnavailable, 503),
        ("rate_limited", errors.ProviderRateLimited, 429),
        ("rejected", ProviderRejected, 400),
        ("refused", errors.ContentRefused, 422),
        ("bad_shape", errors.ProviderContractBroken, 200),
    ],
)
async def test_a_fault_strikes_its_step_and_no_other(kind: str, error: type[errors.ProviderError], status: int):
    provider = LocalImageProvider(Shelf().read, Fault.parse(f"seedream_generate:{kind}"))
    with pytest.raises(error) as raised:
        await provider.start(still_request("Plain"))
    assert raised.value.provider_http_status == status
    await provider.start(replace(still_request("Plain"), step_type="seedream_generate_feedback"))


@pytest.mark.parametrize("text", ["", "seedream_generate", ":timeout", "seedream_generate:lightning"])
def test_a_fault_nobody_knows_is_refused_with_what_is_allowed(text):
    with pytest.raises(ValueError, match=r"rate_limited|there are scan_product"):
        Fault.parse(text)


@pytest.mark.parametrize("content", [b"", b"no picture", COFFEE[:300], PHOTOS["cat"][: len(PHOTOS["cat"]) // 2]])
async def test_a_picture_that_cannot_be_read_is_said_to_be_unreadable(content):
    shelf = Shelf(broken=content)
    with pytest.raises(AssetUnreadable):
        await still("Plain", ("product", "broken"), shelf=shelf)
    with pytest.raises(AssetUnreadable):
        await video("Push in", ("start_frame", "broken"), shelf=shelf)


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_unpacked():
    wide = bytearray(decode.encode_png(np.zeros((1, 1, 3), np.uint8)))
    wide[16:24] = (100_000).to_bytes(4, "big") * 2
    with pytest.raises(AssetUnreadable):
        decode.decode_image(bytes(wide))


@pytest.mark.parametrize("content", [b"", b"no video" * 100, COFFEE])
def test_bytes_that_are_no_video_are_said_to_be_unreadable(content):
    with pytest.raises(AssetUnreadable):
        inspection.inspect_film(content)
    with pytest.raises(AssetUnreadable):
        decode.frame_at(content, 0.5)


def test_a_photo_is_turned_the_way_the_camera_was_held():
    upright = np.zeros((40, 20, 3), np.uint8)
    upright[:20] = 200
    lying = decode.Image.fromarray(np.rot90(upright))
    exif = lying.getexif()
    exif[0x0112] = 6
    out = decode.io.BytesIO()
    lying.save(out, "JPEG", exif=exif)
    turned = decode.decode_image(out.getvalue())
    assert turned.shape[:2] == (40, 20)
    assert turned[5, 10, 0] > 150 > turned[35, 10, 0]
    assert decode.probe_image(out.getvalue()) == decode.ImageFacts("JPEG", 20, 40)
