"""Colours as browsers show them, in thumbnails, in what vendors are given and in the offline renderer; and films and photos
the right way up."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from safelight.media import decode, publishing
from tests.api.routes.test_files import data_url
from tests.conftest import Backend
from tests.support.made_files import HEIGHT, PROFILES, WIDTH, by_littlecms, film, gradient, saved

SAMPLES = Path(__file__).parents[1] / "samples"
MEAN_ERROR_MAX = 3.0
ORIENTATION = 0x0112


def shown(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.int16)


def mean_error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(one - other).mean())


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_profile_is_applied_as_littlecms_does(name: str, kind: str):
    content = saved(gradient(), kind, icc_profile=PROFILES[name])
    expected = by_littlecms(Image.open(io.BytesIO(content)).convert("RGB"), PROFILES[name])
    assert mean_error(decode.decode_image(content)[..., :3].astype(np.int16), expected) <= 1.0
    assert mean_error(shown(decode.thumbnail(content, WIDTH, 95)), expected) <= MEAN_ERROR_MAX
    assert mean_error(shown(decode.reduced(content)), expected) <= MEAN_ERROR_MAX
    assert "icc_profile" not in Image.open(io.BytesIO(decode.reduced(content))).info


def test_greys_of_16_bits_are_not_white():
    grey = np.linspace(0, 65535, WIDTH).astype(np.uint16)
    for kind in ("PNG", "TIFF"):
        content = saved(Image.fromarray(np.tile(grey, (HEIGHT, 1))), kind)
        for pixels in (decode.decode_image(content)[..., 0], shown(decode.thumbnail(content, WIDTH, 95))[..., 0]):
            assert np.abs(pixels[0].astype(float) - grey / 257).mean() <= MEAN_ERROR_MAX
    assert shown(decode.reduced((SAMPLES / "L_16__29x100.png").read_bytes())).std() > 20


def test_colours_of_16_bits_are_given_to_vendors_with_8():
    content = (SAMPLES / "RGB_16__29x100.png").read_bytes()
    small = decode.reduced(content)
    assert small != content
    assert mean_error(shown(small), np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.int16)) <= 3


@pytest.mark.parametrize("name", ["made", "pil_sample_cmyk.jpg"])
def test_printing_colours_become_those_of_screens(name: str):
    content = saved(gradient("CMYK"), "JPEG", quality=95) if name == "made" else (SAMPLES / name).read_bytes()
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), np.int16)
    assert mean_error(decode.decode_image(content)[..., :3].astype(np.int16), expected) <= MEAN_ERROR_MAX
    assert Image.open(io.BytesIO(decode.reduced(content))).mode == "RGB"


def test_a_palette_keeps_its_transparency():
    image = gradient().quantize(16)
    content = saved(image, "PNG", transparency=3)
    expected = Image.open(io.BytesIO(content)).convert("RGBA").getchannel("A")
    small = Image.open(io.BytesIO(decode.thumbnail(content, WIDTH, 95))).convert("RGBA").getchannel("A")
    assert expected.getextrema() == small.getextrema() == (0, 255)


def test_a_profile_that_cannot_be_read_is_ignored():
    plain = saved(gradient(), "PNG")
    for profile in (b"nonsense" * 30, PROFILES["ProPhoto"][:140], b""):
        content = saved(gradient(), "PNG", icc_profile=profile)
        assert np.array_equal(decode.decode_image(content), decode.decode_image(plain))


def turned(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return saved(gradient(), kind, exif=exif.tobytes())


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_photo_is_given_to_vendors_the_right_way_up(kind: str, orientation: int):
    content = turned(kind, orientation)
    from PIL import ImageOps  # noqa: PLC0415

    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"), np.int16)
    small = decode.reduced(content)
    assert mean_error(shown(small), expected) <= MEAN_ERROR_MAX
    assert Image.open(io.BytesIO(small)).getexif().get(ORIENTATION, 1) == 1
    published = publishing.published(content)
    assert (published.facts.width, published.facts.height) == (expected.shape[1], expected.shape[0])


@pytest.mark.parametrize("shape", [None, Fraction(4, 3), Fraction(1, 2), Fraction(16, 11)])
def test_a_film_with_pixels_that_are_not_square_is_shown_as_players_show_it(shape: Fraction | None):
    content = film(shape=shape)
    wide = round(WIDTH * (shape or 1))
    frame = Image.open(io.BytesIO(decode.frame_at(content, 0.0)))
    assert frame.size == (wide, HEIGHT)
    facts = publishing.published(content).facts
    assert (facts.width, facts.height) == (wide, HEIGHT)


MATRICES = {
    (0, 1, -1, 0): "top", (0, -1, 1, 0): "bottom", (-1, 0, 0, -1): "right", (-1, 0, 0, 1): "right", (1, 0, 0, -1): "left", (0, 1, 1, 0): "top",
}  # fmt: skip


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_film_is_turned_and_mirrored_by_its_matrix(matrix: tuple[int, int, int, int]):
    content = bytearray(film())
    at = content.index(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in matrix)
    values = (a, b, 0, c, d, 0, 0, 0, 1 << 30)
    content[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in values)
    frame = shown(decode.frame_at(bytes(content), 0.0))
    height, width = frame.shape[:2]
    assert (width, height) == ((HEIGHT, WIDTH) if matrix[1] else (WIDTH, HEIGHT))
    edges = {"left": frame[:, 2], "right": frame[:, -3], "top": frame[2], "bottom": frame[-3]}
    reds = {name: float((edge[:, 0] - edge[:, 1]).mean()) for name, edge in edges.items()}
    assert max(reds, key=lambda name: reds[name]) == MATRICES[matrix]


@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "TIFF", "BMP"])
async def test_every_type_of_picture_is_taken_and_converted(backend: Backend, kind: str):
    sent = saved(gradient(), kind)
    stored = await backend.post("/api/r2/upload-signed", {"dataUrl": data_url(sent)})
    assert stored["contentType"] in ("image/jpeg", "image/png", "image/webp")
    content = (await backend.client.get(stored["publicUrl"])).content
    assert mean_error(shown(content), np.asarray(gradient(), np.int16)) <= MEAN_ERROR_MAX
    media_type = {"HEIF": "image/heic"}.get(kind, f"image/{kind.lower()}")
    ticket = await backend.post("/api/r2/upload-signed", {"contentType": media_type, "filename": "photo"})
    put = await backend.client.put(ticket["uploadUrl"], content=sent)
    assert put.status_code == 200, put.text
    assert Image.open(io.BytesIO((await backend.client.get(ticket["publicUrl"])).content)).size == (WIDTH, HEIGHT)


@pytest.mark.parametrize("media_type", ["image/svg+xml", "application/pdf", "audio/mp4", "image/jxl"])
async def test_a_type_that_is_not_taken_is_named(backend: Backend, media_type: str):
    for path in ("/api/r2/upload-signed", "/api/r2/presign"):
        answer = await backend.post(path, {"contentType": media_type}, status=400)
        assert answer["error"] == "UNSUPPORTED_TYPE"
        assert media_type in answer["message"]


async def test_music_is_no_film(backend: Backend):
    for brand in (b"M4A ", b"isom"):
        out = io.BytesIO()
        with av.open(out, "w", format="ipod" if brand == b"M4A " else "mp4") as container:
            stream = container.add_stream("aac", rate=44100)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="flt", layout="mono")
            frame.sample_rate = 44100
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        answer = await backend.post("/api/r2/upload-signed", {"dataUrl": data_url(out.getvalue())}, status=400)
        assert answer["error"] in ("UNSUPPORTED_MEDIA_TYPE", "UNREADABLE_MEDIA")


def test_a_photo_of_50_megapixels_passes():
    large = saved(gradient().resize((8192, 6144)), "JPEG", quality=60)
    facts = publishing.published(large).facts
    assert (facts.width, facts.height) == (8192, 6144)
    assert Image.open(io.BytesIO(decode.thumbnail(large, 512, 80))).size == (512, 384)
