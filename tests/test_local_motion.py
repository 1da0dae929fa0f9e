"""What a motion prompt is taken to mean, and films measured frame by frame: camera, loop, crop, bytes."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data

import safelight
from safelight import media
from safelight.domain.errors import AssetUnreadable
from safelight.providers.local.film import film
from safelight.providers.local.motion import PAN, PUSH, pose, read_move
from safelight.providers.local.picture import Rendered, VideoOrder

COFFEE = (Path(safelight.__file__).parent / "samples" / "coffee.jpg").read_bytes()
ASTRONAUT = media.encode_jpeg(skimage.data.astronaut())
ROCKET = media.encode_jpeg(skimage.data.rocket())


def filmed(prompt: str, start: bytes = ASTRONAUT, end: bytes | None = None, **settings: Any) -> Rendered:
    return film(VideoOrder(prompt, {"duration": 1, **settings}, 3, start, end))


def grey(content: bytes, fraction: float) -> np.ndarray:
    pixels = media.decode_image(media.frame_at(content, fraction))[..., :3]
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


# --- films ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "size"),
    [({}, (960, 640)), ({"mode": "pro"}, (1280, 854)), ({"aspect_ratio": "1:1"}, (960, 960)), ({"aspect_ratio": "9:16"}, (540, 960))],
)  # fmt: skip
def test_a_film_has_the_size_that_was_asked_for(settings, size):
    result = filmed("Push in", COFFEE, **settings)
    facts = media.probe_video(result.content)
    assert (facts.codec, facts.width, facts.height) == ("h264", *size)
    assert (result.width, result.height) == size
    assert facts.duration_seconds == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize(("asked", "seconds"), [(None, 5), (0.2, 1), (60, 10)])
def test_a_duration_has_its_bounds(asked, seconds):
    small = media.encode_png(np.ascontiguousarray(media.decode_image(ROCKET)[:64, :256]))
    facts = media.probe_video(filmed("Pan left", small, duration=asked).content)
    assert facts.duration_seconds == pytest.approx(seconds, abs=0.1)


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


@pytest.mark.parametrize("prompt", ["Loop, pan right", "satisfying"])
def test_a_loop_closes(prompt):
    content = filmed(prompt, COFFEE).content
    first, middle, last = (grey(content, at) for at in (0.0, 0.5, 1.0))
    # A loop that pans crosses the middle halfway: a quarter in it is farthest away.
    away = max(np.abs(first - middle).mean(), np.abs(first - grey(content, 0.25)).mean())
    assert np.abs(first - last).mean() < min(2.0, away / 2)


@pytest.mark.parametrize("start", [b"", b"no picture", COFFEE[:200]])
def test_a_start_frame_that_cannot_be_read_is_said_to_be_so(start):
    with pytest.raises(AssetUnreadable):
        filmed("Push in", start)


def test_what_was_not_used_is_said():
    order = VideoOrder("Push in", {"duration": 1, "mode": "ultra", "aspect_ratio": "wide"}, 3, COFFEE, None, ("logo",))
    warnings = " ".join(film(order).warnings)
    assert all(word in warnings for word in ("ultra", "wide", "logo"))
