"""What a published file must not carry along: the place where it was taken, and whatever follows its end."""

import re
import struct
import zlib
from collections.abc import Callable, Mapping

from PIL import Image

from safelight import formats
from safelight.formats import Part

_GPS_TAG = 0x8825
_EXIF_HEAD = b"Exif\x00\x00"
_XMP_HEAD = b"http://ns.adobe.com/xap/1.0/\x00"
_MORE_PICTURES = b"MPF\x00"  # an index of what follows the end
_PLACE = re.compile(rb"[+-]\d{2,6}(?:\.\d+)?[+-]\d{3,7}(?:\.\d+)?(?:[+-]\d+(?:\.\d+)?)?(?:CRS[\w]*)?/")  # ISO 6709
_PLACE_KEYS = (b"location.ISO6709", b"\xa9xyz", b"location")
_EXIF_ERRORS = (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error)


def published(content: bytes, media_type: str) -> bytes:
    """The file without either; the same bytes where it has neither. What cannot be followed stays as it is."""
    clean = _CLEANERS.get(media_type)
    return clean(content) if clean else content


def _clean_jpeg(content: bytes) -> bytes:
    segments = list(formats.jpeg_segments(content))
    if segments[-1].name != b"\xd9":
        return content
    return b"".join(_jpeg_segment(segment) for segment in segments)


def _jpeg_segment(segment: Part) -> bytes:
    if segment.name == b"\xe1" and segment.content.startswith(_EXIF_HEAD):
        exif = _without_place(segment.content[len(_EXIF_HEAD) :])
        return segment.whole if exif is None else _app1(_EXIF_HEAD + exif)
    if segment.name == b"\xe1" and b"GPS" in segment.content and not segment.content.startswith(_EXIF_HEAD):
        return b""  # XMP, or what continues it
    return b"" if segment.name == b"\xe2" and segment.content.startswith(_MORE_PICTURES) else segment.whole


def _app1(content: bytes) -> bytes:
    return b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content


def _clean_png(content: bytes) -> bytes:
    chunks = list(formats.png_chunks(content))
    if not chunks or chunks[-1].name != b"IEND":
        return content
    return content[:8] + b"".join(_png_chunk(chunk) for chunk in chunks)


def _png_chunk(chunk: Part) -> bytes:
    match chunk.name:
        case b"eXIf":
            exif = _without_place(chunk.content)
            return chunk.whole if exif is None else _chunk(b"eXIf", exif)
        case b"iTXt" | b"tEXt" | b"zTXt" if chunk.content.startswith(
            (b"Raw profile type exif", b"Raw profile type xmp")
        ):
            return b""
        case b"iTXt" if chunk.content.startswith(b"XML:com.adobe.xmp") and _may_tell_place(chunk.content):
            return b""
    return chunk.whole


def _may_tell_place(content: bytes) -> bool:
    """Packed text is not unpacked to look: it may be a bomb."""
    is_packed = content[len(b"XML:com.adobe.xmp\x00") : len(b"XML:com.adobe.xmp\x00") + 1] == b"\x01"
    return is_packed or b"GPS" in content


def _chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def _clean_webp(content: bytes) -> bytes:
    chunks = list(formats.webp_chunks(content))
    if not chunks or sum(len(chunk.whole) for chunk in chunks) + 12 > len(content):
        return content
    body = b"".join(_webp_chunk(chunk) for chunk in chunks)
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


def _webp_chunk(chunk: Part) -> bytes:
    match chunk.name:
        case b"EXIF":
            head = _EXIF_HEAD if chunk.content.startswith(_EXIF_HEAD) else b""
            exif = _without_place(chunk.content[len(head) :])
            return chunk.whole if exif is None else _riff(b"EXIF", head + exif)
        case b"XMP " if b"GPS" in chunk.content:
            return _riff(b"XMP ", b"<x/>")  # the file's header announces one
    return chunk.whole


def _riff(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "little") + content + b"\x00" * (len(content) % 2)


def _clean_gif(content: bytes) -> bytes:
    return content[: formats.end_of_gif(content)]


def _clean_boxes(content: bytes) -> bytes:
    """Digits become zeros: no box changes its size, so nothing that points into the file goes astray."""
    clean = bytearray()
    for start, end, name in formats.boxes(content):
        movie = content[start:end] if name == b"moov" else b""
        if any(key in movie for key in _PLACE_KEYS):
            clean = clean or bytearray(content)
            clean[start:end] = _PLACE.sub(lambda found: re.sub(rb"\d", b"0", found[0]), movie)
    return bytes(clean) if clean else content


def _without_place(exif: bytes) -> bytes | None:
    """The block without its GPS directory; None where it has none. One that cannot be read is emptied."""
    tags = Image.Exif()
    try:
        tags.load(_EXIF_HEAD + exif)
        if _GPS_TAG not in tags:
            return None
        del tags[_GPS_TAG]
        return tags.tobytes().removeprefix(_EXIF_HEAD)
    except _EXIF_ERRORS:
        return Image.Exif().tobytes().removeprefix(_EXIF_HEAD)


_CLEANERS: Mapping[str, Callable[[bytes], bytes]] = {
    "image/jpeg": _clean_jpeg,
    "image/png": _clean_png,
    "image/webp": _clean_webp,
    "image/gif": _clean_gif,
    "video/mp4": _clean_boxes,
    "video/quicktime": _clean_boxes,
}
