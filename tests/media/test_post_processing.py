"""Variants of a picture: small changes that a seed decides, recorded, and nothing about the picture that is not true."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from safelight.domain.errors.base import AssetUnreadable
from safelight.domain.sets.post_processing import PostProcessing
from safelight.media.post_processing import processed

PHOTO = (Path(__file__).parents[2] / "safelight" / "samples" / "coffee.jpg").read_bytes()
PROVENANCE = {"job": "01a2", "variant": "3", "seed": "7", "model": "gpt-image-1"}


def made(wanted: PostProcessing, *, seed: int = 7, variant: int = 3, source: int = 1, photo: bytes = PHOTO) -> bytes:
    return processed(photo, wanted, wanted.drawn(seed, variant, source), PROVENANCE)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("preset", ["light", "standard", "maximum"])
@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_the_same_seed_and_settings_give_the_same_bytes(preset: Any, format: Any):
    wanted = PostProcessing(preset=preset, format=format)
    assert made(wanted) == made(wanted)
    assert opened(made(wanted)).format == format.upper()


@pytest.mark.parametrize("other", [{"seed": 8}, {"variant": 4}, {"source": 2}])
def test_each_position_and_seed_has_a_picture_of_its_own(other: dict[str, int]):
    wanted = PostProcessing()
    assert made(wanted) != made(wanted, **other)


@pytest.mark.parametrize(("preset", "most"), [("light", 3.0), ("standard", 6.0), ("maximum", 12.0)])
def test_a_variant_stays_close_to_its_picture(preset: Any, most: float):
    before = np.asarray(opened(PHOTO).convert("RGB"), np.int16)
    for variant in range(3):
        image = opened(made(PostProcessing(preset=preset, border_px=0), variant=variant)).convert("RGB")
        difference = np.abs(np.asarray(image, np.int16) - before).mean()
        assert 0.1 < difference <= most


def test_nothing_is_changed_where_everything_is_set_to_zero():
    still = PostProcessing(
        hue_degrees=0, saturation_percent=0, lightness_percent=0, noise_percent=0, border_px=0, quality_min=100
    )
    after = np.asarray(opened(made(still)).convert("RGB"), np.int16)
    assert np.abs(after - np.asarray(opened(PHOTO).convert("RGB"), np.int16)).mean() < 1.0


@pytest.mark.parametrize(
    ("crop", "size"), [("auto", (600, 400)), ("1:1", (400, 400)), ("9:16", (225, 400)), ("16:9", (600, 337))]
)
def test_the_middle_is_cropped_to_a_ratio(crop: Any, size: tuple[int, int]):
    assert opened(made(PostProcessing(crop=crop))).size == size


def test_a_border_is_drawn_around_the_picture_and_a_long_side_is_made_shorter():
    assert opened(made(PostProcessing(side_max=300))).size == (300, 200)
    widths = {opened(made(PostProcessing(border_px=10), variant=number)).width - 600 for number in range(12)}
    assert len(widths) > 3
    assert all(0 <= width <= 20 and width % 2 == 0 for width in widths)


@pytest.mark.parametrize("name", ["exif_gps.jpg", "iptc.jpg", "xmp_padded.jpg"])
def test_no_metadata_of_the_picture_is_kept(name: str):
    photo = (Path(__file__).parents[1] / "samples" / name).read_bytes()
    after = opened(made(PostProcessing(), photo=photo))
    assert not after.getexif()
    assert set(after.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "xmp"}


def test_the_file_says_truly_where_it_comes_from():
    text = opened(processed(PHOTO, PostProcessing(), PostProcessing().drawn(7, 0, 0), {"job": "\"<&'>"})).info["xmp"]
    assert b"trainedAlgorithmicMedia" in text
    assert b"safelight:job='\"&lt;&amp;" in text or b"&quot;&lt;&amp;" in text
    for name, value in PROVENANCE.items():
        assert f'safelight:{name}="{value}"'.encode() in opened(made(PostProcessing())).info["xmp"]


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "CMYK", "LA", "1"])
def test_a_picture_of_any_kind_is_taken(mode: str):
    out = io.BytesIO()
    opened(PHOTO).convert(mode).save(out, "TIFF" if mode == "CMYK" else "PNG")
    assert opened(made(PostProcessing(), photo=out.getvalue())).mode == "RGB"


@pytest.mark.parametrize("photo", [b"", b"no picture", PHOTO[: len(PHOTO) // 2]])
def test_what_is_no_whole_picture_is_refused(photo: bytes):
    with pytest.raises(AssetUnreadable):
        made(PostProcessing(), photo=photo)


@pytest.mark.parametrize(
    ("stated", "named"),
    [
        ({"border_px": 11}, "border_px"),
        ({"quality_min": 95, "quality_max": 80}, "quality_min (95) must be at most quality_max (80)"),
        ({"preset": "extreme"}, "preset"),
        ({"seed": -1}, "seed"),
        ({"camera_model": "X100"}, "camera_model"),
        ({"side_max": 100_000}, "side_max"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(stated: dict[str, Any], named: str):
    with pytest.raises(ValidationError) as refused:
        PostProcessing(**stated)
    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("stated", "allowed"), [({}, (88, 94)), ({"quality_min": 97}, (97, 97)), ({"quality_max": 60}, (60, 60))]
)
def test_qualities_are_drawn_from_their_range(stated: dict[str, Any], allowed: tuple[int, int]):
    wanted = PostProcessing(**stated)
    drawn = {wanted.drawn(7, variant, 0).quality for variant in range(50)}
    assert allowed[0] <= min(drawn) <= max(drawn) <= allowed[1]
