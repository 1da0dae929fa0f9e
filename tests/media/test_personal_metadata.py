"""No published picture says where or by whom it was taken: real files, and what a mutation makes of them."""

import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from safelight.domain.errors.base import AssetUnreadable
from safelight.media import publishing
from tests.conftest import COFFEE
from tests.support.made_files import gradient, saved

SAMPLES = Path(__file__).parents[1] / "samples"
SECRETS = (b"GPSLatitude", b"52,31.2N", b"+52.5200+013.4050/", b"Jane Doe, Berlin")
ORIENTATION, GPS, ARTIST, MAKER_NOTE = 0x0112, 0x8825, 0x013B, 0x927C
DEMO = Path(__file__).parents[2] / "docs" / "images" / "demo.jpg"


def told(kind: str) -> bytes:
    """A picture that tells everything, in every way that its format has."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[ARTIST] = 6, "Jane Doe, Berlin"
    exif[GPS] = {1: "N", 2: (52.0, 31.0, 12.0), 29: "52,31.2N"}
    exif.get_ifd(0x8769)[MAKER_NOTE] = b"GPSLatitude 52,31.2N"
    xmp = b"<x:xmpmeta exif:GPSLatitude='52,31.2N' dc:creator='Jane Doe, Berlin'/>"
    more = {"comment": b"Jane Doe, Berlin"} if kind == "JPEG" else {}
    return saved(gradient(), kind, exif=exif.tobytes(), xmp=xmp, **more)


def app1(content: bytes, fill: int = 0, name: int = 0xE1) -> bytes:
    return b"\xff" * fill + bytes([0xFF, name]) + (len(content) + 2).to_bytes(2, "big") + content


EXIF = b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00 GPSLatitude 52,31.2N Jane Doe, Berlin"
XMP = b"http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta exif:GPSLatitude='52,31.2N'/>"
IPTC = b"Photoshop 3.0\x008BIM\x04\x04\x00\x00\x00\x00\x00\x10Jane Doe, Berlin"
PLACE = b"+52.5200+013.4050/"
PIECES = (EXIF, XMP, IPTC, PLACE)
PHOTOS = {
    **{kind: told(kind) for kind in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")},
    **{path.name: path.read_bytes() for path in sorted(SAMPLES.iterdir()) if path.suffix != ".md"},
    **{path.name: path.read_bytes() for path in (COFFEE, DEMO)},
}
JPEGS = [name for name, content in PHOTOS.items() if content.startswith(b"\xff\xd8")]


def must_not_tell(content: bytes) -> None:
    """Raises where it is published and says more than it may. To be refused is fine."""
    try:
        published = publishing.published(content)
    except AssetUnreadable:
        return
    assert not any(secret in published.content for secret in SECRETS)
    shown = Image.open(io.BytesIO(published.content))
    assert set(shown.getexif()) <= {ORIENTATION}
    assert not shown.info.get("xmp") and not shown.info.get("comment")


@pytest.mark.parametrize("name", PHOTOS)
def test_a_photo_is_published_without_what_it_tells(name: str):
    published = publishing.published(PHOTOS[name])
    must_not_tell(PHOTOS[name])
    before = Image.open(io.BytesIO(PHOTOS[name])) if not name.endswith(("heic", "heif")) else None
    if before is not None and published.converted_from is None:
        after = Image.open(io.BytesIO(published.content))
        assert after.getexif().get(ORIENTATION, 1) == before.getexif().get(ORIENTATION, 1)
        assert after.info.get("icc_profile") == before.info.get("icc_profile")


def inserted(content: bytes, piece: bytes, at: str, fill: int) -> bytes:
    segment = app1(piece, fill, 0xED if piece is IPTC else 0xE1)
    match at:
        case "first":
            return content[:2] + segment + content[2:]
        case "before the picture":
            place = content.index(b"\xff\xdb")
            return content[:place] + segment + content[place:]
        case "after the pixels":
            return content[:-2] + segment + content[-2:]
        case "after the end":
            return content + segment + piece
        case "instead of the end":
            return content[:-2] + piece
        case "after a missing end":
            return content[:-2] + segment + b"\x00" * 2000 + piece
    return content[:2] + piece + content[2:]  # where no marker stands


PLACES = (
    "first",
    "before the picture",
    "after the pixels",
    "after the end",
    "instead of the end",
    "after a missing end",
    "naked",
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("piece", PIECES, ids=["exif", "xmp", "iptc", "place"])
@pytest.mark.parametrize("fill", [0, 1, 7])
def test_what_was_put_into_a_jpeg_does_not_stay(place: str, piece: bytes, fill: int):
    for name in ("JPEG", "iptc.jpg"):
        must_not_tell(inserted(PHOTOS[name], piece, place, fill))


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(JPEGS),
    pieces=st.lists(
        st.tuples(st.sampled_from(PIECES), st.sampled_from(PLACES), st.integers(0, 9)), min_size=1, max_size=3
    ),
    flips=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=2),
    cut=st.floats(0.9, 1),
)
def test_no_mutation_of_a_real_photo_tells_a_place(
    name: str, pieces: list[tuple[bytes, str, int]], flips: list[tuple[float, int]], cut: float
):
    content = bytearray(PHOTOS[name])
    for share, byte in flips:
        content[min(int(share * len(content)), len(content) - 1)] = byte
    mutated = bytes(content)
    for piece, place, fill in pieces:
        if b"\xff\xdb" in mutated:
            mutated = inserted(mutated, piece, place, fill)
    must_not_tell(mutated[: int(len(mutated) * cut)] if cut < 0.95 else mutated)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from([name for name in PHOTOS if name not in JPEGS]),
    share=st.floats(0, 1),
    piece=st.sampled_from(PIECES),
)
def test_no_mutation_of_another_picture_tells_a_place(name: str, share: float, piece: bytes):
    content = PHOTOS[name]
    at = int(share * len(content))
    must_not_tell(content[:at] + piece + content[at:])
    must_not_tell(content + piece)
    if piece != PLACE:  # in the middle of packed pixels it is a few bytes like any others
        must_not_tell(content[:at] + piece + content[at + len(piece) :])
