"""Files that lie, bombs, polyglots, and what a published picture must not tell."""

import io
import struct
import subprocess
import sys
import textwrap
import zlib
from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from safelight.domain.errors.base import AssetUnreadable
from safelight.media import decode, formats, inspection, publishing, strip_metadata
from safelight.media.mp4 import encode_mp4
from tests.api.routes.test_files import data_url
from tests.conftest import COFFEE, Backend

PLACE = {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 17.0)}
ORIENTATION, GPS = 0x0112, 0x8825


def picture(kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 24), (200, 120, 40)).save(out, kind, **options)
    return out.getvalue()


def placed(kind: str) -> bytes:
    """A picture that tells where it was taken, in EXIF."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[GPS] = PLACE
    return picture(kind, exif=exif.tobytes())


def film(**options: str) -> bytes:
    frames = (np.full((48, 64, 3), shade, np.uint8) for shade in range(0, 240, 20))
    return encode_mp4(frames, width=64, height=48)


def png_of(width: int, height: int) -> bytes:
    """A PNG whose header claims this size; the data are a few zeros, well packed."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\x00" * 1000))
        + chunk(b"IEND", b"")
    )


def webp_of(width: int, height: int) -> bytes:
    canvas = b"\x10\x00\x00\x00" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    inner = picture("WEBP")[12:]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


def gif_of(width: int, height: int) -> bytes:
    content = bytearray(picture("GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


def jpeg_of(width: int, height: int) -> bytes:
    content = bytearray(picture("JPEG"))
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(content)


BOMBS = {
    "png": png_of(60_000, 60_000),
    "a png of one huge row": png_of(2**31 - 1, 1),
    "webp": webp_of(16_384, 16_384),
    "gif": gif_of(65_535, 65_535),
    "jpeg": jpeg_of(65_500, 65_500),
}


async def sent(backend: Backend, content: bytes, *, status: int) -> dict:
    body = {"dataUrl": data_url(content), "kind": "product", "filename": "x"}
    return await backend.post("/api/r2/upload-signed", body, status=status)


async def test_bombs_are_refused_by_their_headers(backend: Backend):
    for name, content in BOMBS.items():
        answer = await sent(backend, content, status=400)
        assert (answer["error"], "pixels" in answer["message"]) == ("UNREADABLE_MEDIA", True), name


def test_a_bomb_costs_no_memory():
    program = """
    import re, sys
    from pathlib import Path
    from safelight.media import decode as media
    from safelight.domain.errors.base import AssetUnreadable
    from tests.media.test_media_safety import BOMBS
    peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
    before = peak()
    for content in BOMBS.values():
        for look in (media.probe_image, media.decode_image):
            try:
                look(content)
                sys.exit("it was opened")
            except AssetUnreadable:
                pass
    print(peak() - before)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 20_000  # kB


LIES = {
    "a page that calls itself a picture": (b"<!doctype html><script>alert(1)</script>", "UNSUPPORTED_MEDIA_TYPE"),
    "an svg with a script": (b"<?xml version='1.0'?><svg onload='alert(1)'/>", "UNSUPPORTED_MEDIA_TYPE"),
    "a zip": (b"PK\x03\x04" + b"\x00" * 100, "UNSUPPORTED_MEDIA_TYPE"),
    "a pdf": (b"%PDF-1.7\n" + b"\x00" * 100, "UNSUPPORTED_MEDIA_TYPE"),
    "a program": (b"\x7fELF" + b"\x00" * 100, "UNSUPPORTED_MEDIA_TYPE"),
    "a playlist": (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "UNSUPPORTED_MEDIA_TYPE"),
    "a photo of a telephone that is only a box": (b"\x00\x00\x00\x18ftypheic" + b"\x00" * 100, "UNREADABLE_MEDIA"),
    "a png that is only a signature": (b"\x89PNG\r\n\x1a\n<script>", "UNREADABLE_MEDIA"),
    "a jpeg that is only a signature": (b"\xff\xd8\xff\xe0<html>", "UNREADABLE_MEDIA"),
    "a gif that is a script": (b"GIF89a/*\x00\x00*/=1;alert(1)", "UNREADABLE_MEDIA"),
    "a film that is only a box": (b"\x00\x00\x00\x18ftypisom" + b"\x00" * 100, "UNREADABLE_MEDIA"),
    "a film that is a playlist": (b"\x00\x00\x00\x18ftypisom\n#EXTM3U\nfile:///etc/passwd\n", "UNREADABLE_MEDIA"),
    "a webm that is only a head": (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm" + b"\x00" * 100, "UNREADABLE_MEDIA"),
}


async def test_what_is_not_what_it_says_is_refused(backend: Backend):
    for name, (content, code) in LIES.items():
        assert (await sent(backend, content, status=400))["error"] == code, name


def boxed(*boxes: tuple[bytes, bytes]) -> bytes:
    return b"".join((8 + len(content)).to_bytes(4, "big") + name + content for name, content in boxes)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (boxed((b"ftyp", b"isom\x00\x00\x02\x00isomiso2avc1mp41")), "video/mp4"),
        (boxed((b"ftyp", b"mp42\x00\x00\x00\x00")), "video/mp4"),
        (boxed((b"ftyp", b"iso5" + b"\x00" * 200)), "video/mp4"),
        (boxed((b"free", b"\x00" * 40), (b"ftyp", b"avc1\x00\x00\x00\x00")), "video/mp4"),
        (b"\x00\x00\x00\x01ftypisom" + b"\x00" * 20, "video/mp4"),
        (boxed((b"ftyp", b"qt  \x00\x00\x00\x00")), "video/quicktime"),
        (boxed((b"wide", b""), (b"mdat", b"\x00" * 10)), "video/quicktime"),
        (boxed((b"moov", b"\x00" * 10)), "video/quicktime"),
        (boxed((b"ftyp", b"avif\x00\x00\x00\x00")), "image/avif"),
        (boxed((b"ftyp", b"mif1\x00\x00\x00\x00mif1avif")), "image/avif"),
        (boxed((b"ftyp", b"heic\x00\x00\x00\x00")), "image/heic"),
        (boxed((b"ftyp", b"mif1\x00\x00\x00\x00mif1heic")), "image/heic"),
        (boxed((b"ftyp", b"M4A \x00\x00\x00\x00M4A mp42isom")), None),
        (b"II*\x00\x08\x00\x00\x00", "image/tiff"),
        (b"MM\x00*\x00\x00\x00\x08", "image/tiff"),
        (b"BM" + b"\x00" * 12 + b"\x28\x00\x00\x00", "image/bmp"),
        (b"BM is no picture of ours", None),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "video/x-msvideo"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", None),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", "video/webm"),
        (b"\x1a\x45\xdf\xa3\xa3\x42\x82\x88matroska", None),
        (b"", None),
        (b"\x00\x00", None),
        (b"just words, and no more of them", None),
    ],
)  # fmt: skip
def test_a_type_is_told_by_the_files_structure(content: bytes, media_type: str | None):
    assert formats.sniff(content) == media_type


# --- what is published -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_the_place_of_a_picture_is_not_published(backend: Backend, kind: str):
    content = placed(kind)
    assert GPS in Image.open(io.BytesIO(content)).getexif()
    stored = await sent(backend, content, status=200)
    published = (await backend.client.get(stored["publicUrl"])).content
    shown = Image.open(io.BytesIO(published))
    assert GPS not in shown.getexif()
    assert shown.getexif()[ORIENTATION] == 6
    assert np.array_equal(np.asarray(shown), np.asarray(Image.open(io.BytesIO(content))))


def test_a_place_in_xmp_is_not_published():
    xmp = b"<x:xmpmeta exif:GPSLatitude='52,31.2N'/>"
    jpeg = picture("JPEG", xmp=xmp)
    assert b"GPSLatitude" in jpeg
    assert b"GPSLatitude" not in strip_metadata.published(jpeg, "image/jpeg")
    webp = picture("WEBP", xmp=xmp)
    assert b"GPSLatitude" in webp
    cleaned = strip_metadata.published(webp, "image/webp")
    assert b"GPSLatitude" not in cleaned
    assert Image.open(io.BytesIO(cleaned)).size == (32, 24)
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", xmp.decode())
    texts.add_itxt("Title", "a cup")
    cleaned = strip_metadata.published(picture("PNG", pnginfo=texts), "image/png")
    assert decode.image_texts(cleaned) == {"Title": "a cup"}


def test_a_place_in_a_film_is_not_published():
    out = io.BytesIO()
    with av.open(out, "w", format="mp4", options={"movflags": "use_metadata_tags"}) as container:
        container.metadata["location"] = "+52.5200+013.4050/"
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 64, 48, "yuv420p", Fraction(1, 24)
        for _ in range(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    content = out.getvalue()
    assert b"52.52" in content
    published = publishing.published(content).content
    assert b"52.52" not in published
    assert len(published) == len(content)
    assert inspection.inspect_film(published) == inspection.inspect_film(content)


PAYLOAD = b"PK\x03\x04 a second file <script>alert(1)</script>"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
async def test_what_follows_the_end_of_a_picture_is_not_published(backend: Backend, kind: str):
    stored = await sent(backend, picture(kind) + PAYLOAD, status=200)
    assert (await backend.client.get(stored["publicUrl"])).content == picture(kind)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_picture_without_either_stays_as_it_is(kind: str):
    content = picture(kind)
    assert strip_metadata.published(content, f"image/{kind.lower()}") == content
    assert strip_metadata.published(COFFEE.read_bytes(), "image/jpeg") == COFFEE.read_bytes()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_picture_cut_anywhere_never_breaks_its_cleaner(kind: str):
    content = placed(kind) if kind != "GIF" else picture(kind)
    for end in range(len(content)):
        with suppress(strip_metadata.PartsUnclear):
            strip_metadata.published(content[:end], f"image/{kind.lower()}")
        formats.size_of_picture(content[:end])


def test_a_progressive_picture_of_several_scans_keeps_them_all():
    content = io.BytesIO()
    Image.open(COFFEE).save(content, "JPEG", progressive=True)
    assert strip_metadata.published(content.getvalue() + PAYLOAD, "image/jpeg") == content.getvalue()


def test_films_are_probed_before_use_and_damaged_ones_are_refused():
    content = film()
    assert inspection.inspect_film(content).seconds == pytest.approx(0.5)
    assert inspection.inspect_film(io.BytesIO(content)).width == 64
    for damaged in (
        content[:100],
        content[: len(content) // 3],
        b"#EXTM3U\n" + content,
        content.replace(b"moov", b"xxxx"),
    ):
        with pytest.raises(AssetUnreadable):
            publishing.published(damaged)
