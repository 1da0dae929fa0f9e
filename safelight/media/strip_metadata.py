"""Removes personal metadata from published files: position, author, device, and whatever follows the end of the file.

A picture keeps only the parts on a list: pixels, colour profile and orientation. So the code need not know every place
where a camera or a program may write a name or a position.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping

from safelight.domain.errors.base import AssetUnreadable
from safelight.media import formats
from safelight.media.formats import EXIF_HEAD, Part

TEXT_KEYS = frozenset({b"Title", b"Software", b"safelight-recipe", b"safelight-subject"})

_JFIF_HEAD, _JFIF_BYTES = b"JFIF\x00", 14
_PROFILE_HEAD = b"ICC_PROFILE\x00"
_ADOBE_HEAD = b"Adobe"
_PIXEL_SEGMENTS = frozenset(bytes([name]) for name in (*range(0xC0, 0xD0), 0xD8, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD))
_PIXEL_CHUNKS = frozenset(
    {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"acTL", b"fcTL", b"fdAT"}
    | {b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"hIST", b"pHYs"}
)
_PIXEL_WEBP_CHUNKS = frozenset({b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP"})
_WEBP_EXIF_FLAG, _WEBP_XMP_FLAG = 0x08, 0x04
_GIF_LOOPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012")
_PNG_SIGNATURE_BYTES = 8
_RIFF_HEAD_BYTES = 12
# Pixel data does not contain these by chance: they are metadata, in its usual place or hidden.
_TELLTALES = re.compile(
    rb"Exif\x00\x00(?:II|MM)|http://ns\.adobe\.com/|GPSL(?:at|ong)itude|Photoshop 3\.0|<x:xmpmeta|<\?xpacket|/IPTC4Xmp"
)
_PERSONAL_BOXES = frozenset({b"udta", b"meta", b"uuid", b"XMP_"})
_NESTED_BOXES = frozenset({b"moov", b"trak", b"mdia", b"moof", b"traf"})
_NESTED_MAX = 6


class PartsUnclear(AssetUnreadable):
    """The parts of a picture cannot be told apart, so none can be removed: it has to be encoded again."""


def published(content: bytes, media_type: str) -> bytes:
    """The file without personal metadata; the same bytes if it has none. Raises PartsUnclear if it is a picture whose
    parts cannot be followed to its end."""
    clean = _CLEANERS.get(media_type)
    return clean(content) if clean else content


def orientation_only(orientation: int) -> bytes:
    """An EXIF block with the orientation and nothing else."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return struct.pack(">2sHIH", b"MM", 42, 8, 1) + entry + struct.pack(">I", 0)


def _without_telltales(parts: Iterable[bytes]) -> list[bytes]:
    kept = list(parts)
    if any(_TELLTALES.search(part) for part in kept):
        raise PartsUnclear("metadata stand among the pixels")
    return kept


def _clean_jpeg(content: bytes) -> bytes:
    segments = list(formats.jpeg_segments(content))
    if segments[-1].name != b"\xd9":
        raise PartsUnclear("the picture has no end marker")
    start, *rest = _without_telltales(_jpeg_segment(segment) for segment in segments)
    orientation = formats.orientation_of(content)
    if orientation == 1:
        return b"".join([start, *rest])
    exif = _app1(EXIF_HEAD + orientation_only(orientation))
    jfif = rest[:1] if rest[0].startswith(b"\xff\xe0") else []  # which must come first
    return b"".join([start, *jfif, exif, *rest[len(jfif) :]])


def _jpeg_segment(segment: Part) -> bytes:
    if segment.name in _PIXEL_SEGMENTS:
        return segment.whole
    match segment.name:
        case b"\xe0" if segment.content.startswith(_JFIF_HEAD) and len(segment.content) >= _JFIF_BYTES:
            return _without_thumbnail(segment)
        case b"\xe2" if segment.content.startswith(_PROFILE_HEAD):
            return segment.whole
        case b"\xee" if segment.content.startswith(_ADOBE_HEAD):
            return segment.whole
    return b""


def _without_thumbnail(segment: Part) -> bytes:
    if len(segment.content) == _JFIF_BYTES:
        return segment.whole
    return b"\xff\xe0" + (_JFIF_BYTES + 2).to_bytes(2, "big") + segment.content[: _JFIF_BYTES - 2] + b"\x00\x00"


def _app1(content: bytes) -> bytes:
    return b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content


def _clean_png(content: bytes) -> bytes:
    chunks = list(formats.png_chunks(content))
    if not chunks or chunks[-1].name != b"IEND":
        raise PartsUnclear("the picture has no end")
    header, *rest = _without_telltales(_png_chunk(chunk) for chunk in chunks)
    orientation = formats.orientation_of(content)
    exif = _chunk(b"eXIf", orientation_only(orientation)) if orientation != 1 else b""
    return b"".join([content[:_PNG_SIGNATURE_BYTES], header, exif, *rest])


def _png_chunk(chunk: Part) -> bytes:
    if chunk.name in _PIXEL_CHUNKS:
        return chunk.whole
    is_text = chunk.name in (b"tEXt", b"iTXt") and chunk.content.partition(b"\x00")[0] in TEXT_KEYS
    is_packed = chunk.name == b"iTXt" and b"\x00\x01" in chunk.content[:80]
    return chunk.whole if is_text and not is_packed else b""


def _chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + name + content + zlib.crc32(name + content).to_bytes(4, "big")


def _clean_webp(content: bytes) -> bytes:
    chunks = list(formats.webp_chunks(content))
    if not chunks or sum(len(chunk.whole) for chunk in chunks) + _RIFF_HEAD_BYTES > len(content):
        raise PartsUnclear("the picture is shorter than it says")
    orientation = formats.orientation_of(content) if chunks[0].name == b"VP8X" else 1
    body = b"".join(_without_telltales(_webp_chunk(chunk, has_exif=orientation != 1) for chunk in chunks))
    if orientation != 1:
        body += _riff(b"EXIF", orientation_only(orientation))
    return b"RIFF" + (len(body) + 4).to_bytes(4, "little") + b"WEBP" + body


def _webp_chunk(chunk: Part, *, has_exif: bool) -> bytes:
    """Clears the flags of the header that announce EXIF and XMP."""
    if chunk.name not in _PIXEL_WEBP_CHUNKS:
        return b""
    if chunk.name != b"VP8X" or not chunk.content:
        return chunk.whole
    flags = chunk.content[0] & ~(_WEBP_XMP_FLAG | _WEBP_EXIF_FLAG) | (_WEBP_EXIF_FLAG if has_exif else 0)
    return _riff(b"VP8X", bytes([flags]) + chunk.content[1:])


def _riff(name: bytes, content: bytes) -> bytes:
    return name + len(content).to_bytes(4, "little") + content + b"\x00" * (len(content) % 2)


def _clean_gif(content: bytes) -> bytes:
    parts = list(formats.gif_parts(content))
    if parts[-1].name != b";":
        raise PartsUnclear("the picture has no trailer")
    return b"".join(_without_telltales(_gif_part(part) for part in parts))


def _gif_part(part: Part) -> bytes:
    """Removes comments, plain texts and application extensions, except loops and colour profiles."""
    match part.name:
        case b"\xfe" | b"\x01":
            return b""
        case b"\xff" if part.content[1:12] not in _GIF_LOOPS:
            return b""
    return part.whole


def _clean_boxes(content: bytes) -> bytes:
    """Replaces boxes of metadata by free space of the same size, so that offsets into the file stay right."""
    clean = bytearray(content)
    _empty_boxes(clean, 0, len(clean), _NESTED_MAX)
    return content if clean == content else bytes(clean)


def _empty_boxes(clean: bytearray, start: int, end: int, depth: int) -> None:
    for at, box_end, name in formats.boxes(clean, start, end):
        body = at + (16 if clean[at : at + 4] == b"\x00\x00\x00\x01" else 8)
        if name in _PERSONAL_BOXES:
            clean[at + 4 : at + 8] = b"free"
            clean[body:box_end] = bytes(max(box_end - body, 0))
        elif name in _NESTED_BOXES and depth > 0:
            _empty_boxes(clean, body, box_end, depth - 1)


_CLEANERS: Mapping[str, Callable[[bytes], bytes]] = {
    "image/jpeg": _clean_jpeg,
    "image/png": _clean_png,
    "image/webp": _clean_webp,
    "image/gif": _clean_gif,
    "video/mp4": _clean_boxes,
    "video/quicktime": _clean_boxes,
}
