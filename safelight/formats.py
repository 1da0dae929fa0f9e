"""How picture and video files are built: their type, their size, where they end and where they tell of a place. Nothing
is decoded here, so nothing that a header only claims can cost memory."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

HEAD_BYTES = 4096  # what `sniff` needs of a file
LEADING_BOXES_MAX = 4
GIF_CODE_BYTES = 1

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # neither data nor a restart
_PICTURE_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"jpeg"})
_ISO_BOXES = frozenset({b"free", b"skip", b"wide", b"mdat", b"moov", b"pnot", b"uuid", b"styp"})
_QUICKTIME_BOXES = frozenset({b"moov", b"mdat"})


@dataclass(frozen=True, slots=True)
class Part:
    """A segment, chunk or box: all of its bytes, its name and its content."""

    whole: bytes
    name: bytes
    content: bytes


def sniff(content: bytes) -> str | None:
    """The media type the bytes themselves show, whatever anyone says; None for what we do not store."""
    if content.startswith(_PNG):
        return "image/png"
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content.startswith(b"RIFF"):
        return {b"WEBP": "image/webp", b"AVI ": "video/x-msvideo"}.get(content[8:12])
    if content.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm" if b"webm" in content[:64] else None
    return _sniff_boxes(content)


def _sniff_boxes(content: bytes) -> str | None:
    """An ISO media file is a row of boxes of any size; `ftyp` comes first, or after some that say nothing."""
    at = 0
    for _ in range(LEADING_BOXES_MAX):
        size, name = _box_head(content, at)
        if name == b"ftyp":
            brand = content[at + 8 : at + 12]
            if brand in _PICTURE_BRANDS:
                return None
            return "video/quicktime" if brand == b"qt  " else "video/mp4"
        if name in _QUICKTIME_BOXES:
            return "video/quicktime"
        if name not in _ISO_BOXES or size < 8:
            return None
        at += size
    return None


def _box_head(content: bytes, at: int) -> tuple[int, bytes]:
    """How many bytes the box has and what it is called; the name is empty where there is none."""
    head = content[at : at + 16]
    if len(head) < 8:
        return 0, b""
    size = int.from_bytes(head[:4], "big")
    if size == 1:
        size = int.from_bytes(head[8:16], "big")
    return size or len(content) - at, head[4:8]


def size_of_picture(content: bytes) -> tuple[int, int] | None:
    """Width and height as the header states them; None where it does not."""
    try:
        match sniff(content):
            case "image/png":
                return struct.unpack(">II", content[16:24])
            case "image/gif":
                return struct.unpack("<HH", content[6:10])
            case "image/webp":
                return _size_of_webp(content)
            case "image/jpeg":
                return _size_of_jpeg(content)
    except (struct.error, IndexError):
        return None
    return None


def _size_of_webp(content: bytes) -> tuple[int, int] | None:
    body = content[20:]
    match content[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
        case b"VP8L":
            bits = int.from_bytes(body[1:5], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case b"VP8 ":
            width, height = struct.unpack("<HH", body[6:10])
            return width & 0x3FFF, height & 0x3FFF
    return None


def _size_of_jpeg(content: bytes) -> tuple[int, int] | None:
    for segment in jpeg_segments(content):
        if 0xC0 <= segment.name[0] <= 0xCF and segment.name[0] not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", segment.content[1:5])
            return width, height
    return None


# --- what a file consists of -----------------------------------------------------------------------------------------


def jpeg_segments(content: bytes) -> Iterator[Part]:
    """All from the start marker to the end marker; the data of a scan belongs to its segment. What is cut off ends."""
    yield Part(content[:2], b"\xd8", b"")
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        name = content[at + 1 : at + 2]
        if name == b"\xd9":
            yield Part(content[at : at + 2], name, b"")
            return
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        segment_content = content[at + 4 : end]
        if name == b"\xda":
            found = _JPEG_MARKER.search(content, end)
            end = found.start() if found else len(content)
        yield Part(content[at:end], name, segment_content)
        at = end
    if content[at : at + 2] == b"\xff\xd9":
        yield Part(content[at : at + 2], b"\xd9", b"")


def png_chunks(content: bytes) -> Iterator[Part]:
    at = len(_PNG)
    while at + 12 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        part = Part(content[at:end], content[at + 4 : at + 8], content[at + 8 : end - 4])
        yield part
        if part.name == b"IEND":
            return
        at = end


def webp_chunks(content: bytes) -> Iterator[Part]:
    at, file_end = 12, min(len(content), 8 + int.from_bytes(content[4:8], "little"))
    while at + 8 <= file_end:
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        end = at + 8 + size + size % 2
        yield Part(content[at:end], content[at : at + 4], content[at + 8 : at + 8 + size])
        at = end


def boxes(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and name of each box of an ISO media file."""
    at = 0
    while at + 8 <= len(content):
        size, name = _box_head(content, at)
        if size < 8:
            return
        yield at, min(at + size, len(content)), name
        at += size


def end_of_gif(content: bytes) -> int:
    """Where its trailer ends; the length of the whole where it has none."""
    at = 13 + _colours(content[10:11])
    while at < len(content):
        match content[at]:
            case 0x3B:
                return at + 1
            case 0x21:
                at = _after_blocks(content, at + 2)
            case 0x2C:
                at = _after_blocks(content, at + 10 + _colours(content[at + 9 : at + 10]) + GIF_CODE_BYTES)
            case _:
                break
    return len(content)


def _colours(flags: bytes) -> int:
    """How many bytes the colour table takes that these flags announce."""
    return 3 * 2 ** (1 + (flags[0] & 7)) if flags and flags[0] & 0x80 else 0


def _after_blocks(content: bytes, at: int) -> int:
    while at < len(content) and content[at]:
        at += 1 + content[at]
    return at + 1
