"""Motion prompts are read as movements, and films are measured frame by frame: camera, loop, crop, bytes."""

from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import pytest
import skimage.data

import safelight
from safelight.domain.errors.base import AssetUnreadable
from safelight.media import decode, inspection
from safelight_local.film import LONG_EDGE, film
from safelight_local.motion import PAN, PUSH, asks_for_orbit, pose, read_move
from safelight_local.picture import SUBJECT_OUTLINE, Rendered, VideoOrder
from safelight_local.product import outline

COFFEE = (Path(safelight.__file__).parent / "samples" / "coffee.jpg").read_bytes()
ASTRONAUT = decode.encode_jpeg(skimage.data.astronaut())
HALF_EDGE = LONG_EDGE["standard"] // 2
ROCKET = decode.encode_jpeg(skimage.data.rocket())


def filmed(prompt: str, start: bytes = ASTRONAUT, end: bytes | None = None, **settings: Any) -> Rendered:
    """A film of half its size, which is measured by the test that is about sizes."""
    with patch.dict(LONG_EDGE, standard=HALF_EDGE):
        return film(VideoOrder(prompt, {"duration": 1, **settings}, 3, start, end))


def grey(content: bytes, fraction: float) -> np.ndarray:
    pixels = decode.decode_image(decode.frame_at(content, fraction))[..., :3]
    return cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY).astype(np.float32)


def shift(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
    return cv2.phaseCorrelate(one, other, window)[0]


# --- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("slow push-in", {"push": PUSH, "speed": 0.85}),
        ("slow_motion", {"speed": 0.6}),
        ("The camera drifts gently", {"push": 0.0, "pan": PAN * 0.5}),
        ("Pan left", {"pan": -PAN}),
        ("Pan left. Revision: the other direction", {"pan": PAN}),
        ("Pan left. Revision: come closer", {"pan": -PAN, "push": PUSH}),
        ("Push in. Revision: closer", {"push": PUSH * 1.5}),
        ("Push in. Revision: pan left instead", {"push": 0.0, "pan": -PAN}),
        ("Push in. Revision: not so fast", {"speed": 0.6}),
        ("Push in. Revision: too fast", {"speed": 0.6}),
        ("Push in. Revision: too slow", {"speed": 1.6}),
        ("Push in. Revision: loop it", {"push": PUSH, "loop": True}),
        ("Push in. Revision: stop the camera. Revision: pan right", {"push": 0.0, "pan": PAN}),
        ("fix_camera", {"push": 0.0, "pan": 0.0, "light": 1.0}),
        ("The camera stays still while the light drifts", {"push": 0.0, "pan": 0.0, "light": 1.0}),
    ],
)
def test_words_become_a_movement(prompt, told):
    move = read_move(prompt)
    assert {name: getattr(move, name) for name in told} == pytest.approx(told)


@pytest.mark.parametrize("prompt", ["Push in", "Pull out", "Pan left", "Tilt down", "Rotate", "Orbit", "Drift, faster"])
def test_no_frame_ever_shows_what_is_beyond_the_edge(prompt):
    move = read_move(prompt)
    for t in np.linspace(0, 1, 49):
        at = pose(move, float(t))
        turned = abs(np.sin(np.radians(at.turn))) * 0.5
        assert abs(at.x) + 0.5 + turned <= at.zoom * 0.5 + 1e-9
        assert abs(at.y) + 0.5 + turned <= at.zoom * 0.5 + 1e-9


@pytest.mark.parametrize("prompt", ["Loop, push in", "Loop, pan left", "Loop, tilt up", "Loop, drift"])
def test_the_camera_of_a_loop_closes_its_path(prompt):
    begin, end = pose(read_move(prompt), 0.0), pose(read_move(prompt), 1.0)
    assert (begin.zoom, begin.x, begin.y) == pytest.approx((end.zoom, end.x, end.y), abs=1e-9)


PEAKS = [t / 200 for t in range(201)]


def top_speed(prompt: str) -> float:
    """The most that any part of the camera's pose changes in a two hundredth of the film."""
    poses = [pose(read_move(prompt), t) for t in PEAKS]
    return max(
        max(abs(now.zoom / before.zoom - 1), abs(now.x - before.x), abs(now.y - before.y), abs(now.turn - before.turn))
        for before, now in pairwise(poses)
    )


@pytest.mark.parametrize(
    "motion",
    ["Push in", "Pull out", "Pan left", "Tilt down", "Rotate", "A slow slide past the product", "Loop, pan right"],
)
@pytest.mark.parametrize(
    "wish",
    [
        "slower",
        "slower, and let it loop",
        "a bit slower",
        "slow it down",
        "half the speed",
        "too fast",
        "less movement",
    ],
)
def test_slower_is_slower(motion: str, wish: str):
    assert top_speed(f"{motion}. Revision: {wish}") < top_speed(motion)


def test_slower_said_again_is_slower_again():
    texts = [f"Pan left{' Revision: slower.' * times}" for times in range(5)]
    speeds = [top_speed(text) for text in texts]
    assert speeds == sorted(speeds, reverse=True)
    assert len(set(speeds)) == len(speeds)


# --- films ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "size"),
    [({}, (960, 640)), ({"mode": "pro"}, (1280, 854)), ({"aspect_ratio": "1:1"}, (960, 960)), ({"aspect_ratio": "9:16"}, (540, 960))],
)  # fmt: skip
def test_a_film_has_the_size_that_was_asked_for(settings, size):
    result = film(VideoOrder("Push in", {"duration": 1, **settings}, 3, COFFEE, None))
    facts = inspection.inspect_film(result.content)
    assert (facts.media_type, facts.width, facts.height) == ("video/mp4", *size)
    assert (result.width, result.height) == size
    assert facts.seconds == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("asked", "seconds"), [(None, 5), (0.2, 1), (60, 10)])
def test_a_duration_has_its_bounds(asked, seconds):
    small = decode.encode_png(np.ascontiguousarray(decode.decode_image(ROCKET)[:64, :256]))
    facts = inspection.inspect_film(filmed("Pan left", small, duration=asked).content)
    assert facts.seconds == pytest.approx(seconds, abs=0.1)


def test_the_index_comes_before_the_pictures_and_the_bytes_are_always_the_same():
    once, again = filmed("Pan left", COFFEE).content, filmed("Pan left", COFFEE).content
    assert once == again
    assert once.index(b"moov") < once.index(b"mdat")


def test_a_pan_goes_one_way_without_jitter():
    content = filmed("Pan left to right").content
    frames = [grey(content, at / 6) for at in range(6)]
    steps = [shift(one, other) for one, other in pairwise(frames)]
    assert all(x < -1 for x, _ in steps)
    assert max(abs(y) for _, y in steps) < 0.3


def test_a_fixed_camera_does_not_move_but_its_light_does():
    content = filmed("The camera stays still", COFFEE).content
    one, other = grey(content, 0.3), grey(content, 0.6)
    assert max(map(abs, shift(one, other))) < 0.2
    assert np.abs(one - other).mean() > 1


@pytest.mark.parametrize(
    "motion", ["The camera stays fixed while the light drifts", "fix_camera, steam rises", "The surface melts"]
)
def test_what_moves_besides_the_camera_is_slower_too(motion: str):
    small = decode.encode_png(decode.decode_image(COFFEE)[100:356, 100:356])

    def activity(prompt: str) -> float:
        content = filmed(prompt, small).content
        frames = [grey(content, at / 6) for at in range(6)]
        return max(float(np.abs(one - other).mean()) for one, other in pairwise(frames))

    assert activity(f"{motion}. Revision: slower, and let it loop") < activity(motion)


@pytest.mark.parametrize(
    "prompt", ["Orbit the cup", "A 360 of it", "Circling around the bottle", "Pan left. Revision: a slow arc"]
)
def test_an_orbit_is_recognised(prompt: str):
    assert asks_for_orbit(prompt)


@pytest.mark.parametrize(
    "prompt",
    ["A slow slide past the product", "Push in, no orbit", "Soft light moves around the product", "an arch behind it"],
)
def test_what_is_no_orbit_is_not_taken_for_one(prompt: str):
    assert not asks_for_orbit(prompt)


def test_an_orbit_that_is_filmed_as_a_slide_is_said_to_be_one():
    assert any("slide" in warning for warning in filmed("Orbit the cup", ROCKET).warnings)


WALL, TABLE, CUP = (30, 52, 28), (140, 132, 116), (190, 30, 20)


@pytest.mark.parametrize(
    ("prompt", "tells"),
    [
        ("Parallax", False),
        ("Parallax, faster", True),
        ("The cup drops into place", True),
        ("Parallax, in a loop", True),
    ],
)
def test_a_film_shows_no_colour_where_the_product_was_that_is_not_beside_it(prompt: str, tells: bool):
    """A cup whose rim touches the line between wall and table, which must stay a straight line of two colours."""
    still = np.full((320, 320, 3), WALL, np.uint8)
    still[130:] = TABLE
    cover = cv2.ellipse(np.zeros((320, 320), np.uint8), (160, 190), (80, 70), 0, 0, 360, 255, -1)
    still[cover > 0] = CUP
    texts = {SUBJECT_OUTLINE: outline.to_text(cover / np.float32(255))} if tells else {}
    start = decode.encode_png(np.dstack([still, np.full((320, 320), 255, np.uint8)]), texts)
    content = filmed(prompt, start).content
    for fraction in (0.0, 0.3, 0.6, 1.0):
        frame = decode.decode_image(decode.frame_at(content, fraction))[..., :3].astype(float)
        away = np.min([np.abs(frame - colour).max(axis=2) for colour in (WALL, TABLE, CUP)], axis=0)
        row = np.median(frame[:, :40].max(axis=2), axis=1)
        edge = int(np.argmax(row > (WALL[1] + TABLE[0]) / 2))
        line = np.abs(np.arange(len(frame)) - edge) < 16
        assert ((away > 24) & ~line[:, None]).mean() < 0.02


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[[1,2,3]]", "[[1,2,3,4,5,99999]]", '[["a",1,2,3,4,5]]', "[[1.5,2,3,4,5,6]]", "[" * 2000, f"[{[1] * 9_000}]", f"{[[1, 2, 3, 4, 5, 6]] * 60}"]
)  # fmt: skip
def test_an_outline_that_is_none_is_not_used(text: str):
    assert outline.from_text(text, 64, 64) is None


@pytest.mark.parametrize("shape", ["disc", "ring", "two"])
def test_an_outline_keeps_its_shape(shape: str):
    cover = np.zeros((300, 400), np.float32)
    cv2.circle(cover, (150, 150), 90, 1.0, -1)
    if shape == "ring":
        cv2.circle(cover, (150, 150), 40, 0.0, -1)
    if shape == "two":
        cv2.rectangle(cover, (300, 50), (350, 250), 1.0, -1)
    again = outline.from_text(outline.to_text(cover), 400, 300)
    assert again is not None
    assert ((again > 0.5) == (cover > 0.5)).mean() > 0.995
    larger = outline.from_text(outline.to_text(cover), 800, 600)
    assert larger is not None
    assert larger.mean() == pytest.approx(cover.mean(), rel=0.02)


@pytest.mark.parametrize("prompt", ["Loop, pan right", "satisfying"])
def test_a_loop_closes(prompt):
    content = filmed(prompt, COFFEE).content
    first, middle, last = (grey(content, at) for at in (0.0, 0.5, 1.0))
    # A loop that pans crosses the middle halfway: a quarter in it is farthest away.
    away = max(np.abs(first - middle).mean(), np.abs(first - grey(content, 0.25)).mean())
    assert np.abs(first - last).mean() < min(2.5, away / 2)


@pytest.mark.parametrize("start", [b"", b"no picture", COFFEE[:200]])
def test_a_start_frame_that_cannot_be_read_is_said_to_be_so(start):
    with pytest.raises(AssetUnreadable):
        filmed("Push in", start)


def test_what_was_not_used_is_said():
    order = VideoOrder("Push in", {"duration": 1, "mode": "ultra", "aspect_ratio": "wide"}, 3, COFFEE, None, ("logo",))
    warnings = " ".join(film(order).warnings)
    assert all(word in warnings for word in ("ultra", "wide", "logo"))
