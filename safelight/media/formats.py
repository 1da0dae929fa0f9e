"""The structure of picture and video files: type, size, parts, end, and where a position may be recorded. Nothing is
decoded here, so a false claim in a header costs no memory."""

import os
import re
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO, Final, Literal

from safelight.domain.errors.base import AssetUnreadable

HEAD_BYTES = 4096  # the part of a file that `sniff` needs
LEADING_BOXES_MAX = 4
GIF_CODE_BYTES = 1
EXIF_HEAD: Final = b"Exif\x00\x00"
PARTS_MAX = 50_000

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_FILL_BYTES = re.compile(rb"\xff+")
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # a marker that is neither data nor a restart
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_AUDIO_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B "})
_TIFF_HEADS = (b"II*\x00", b"MM\x00*")
_BMP_HEADER_BYTES = frozenset({12, 40, 52, 56, 64, 108, 124})
_ISO_BOXES = frozenset({b"free", b"skip", b"wide", b"mdat", b"moov", b"pnot", b"uuid", b"styp"})
_QUICKTIME_BOXES = frozenset({b"moov", b"mdat"})
_ORIENTATION = 0x0112
_SAMPLE_COUNTS = re.compile(rb"(?:(?:stsz|stz2).{8}|trun.{4})(.{4})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """Facts of a decoded file. Width and height are as displayed: with the camera's orientation applied, and a video's
    pixels made square. Only a video has `seconds`."""

    media_type: str
    width: int
    height: int
    seconds: float | None = None

    @property
    def kind(self) -> Literal["image", "video"]:
        return "video" if self.media_type.startswith("video/") else "image"


@dataclass(frozen=True, slots=True)
class Part:
    """A segment, chunk or box: all of its bytes, its name and its content."""

    whole: bytes
    name: bytes
    content: bytes


def sniff(content: bytes) -> str | None:
    """The media type that the bytes show; None for types that are not accepted. AVIF, HEIC, TIFF and BMP are converted
    before they are stored."""
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
    if content.startswith(_TIFF_HEADS):
        return "image/tiff"
    if content.startswith(b"BM") and int.from_bytes(content[14:18], "little") in _BMP_HEADER_BYTES:
        return "image/bmp"
    return _sniff_boxes(content)


def _sniff_boxes(content: bytes) -> str | None:
    """An ISO media file is a sequence of boxes; `ftyp` comes first, or after a few boxes that may be skipped."""
    at = 0
    for _ in range(LEADING_BOXES_MAX):
        size, name = _box_head(content, at)
        if name == b"ftyp":
            return _type_of_brands(content[at + 8 : at + size])
        if name in _QUICKTIME_BOXES:
            return "video/quicktime"
        if name not in _ISO_BOXES or size < 8:
            return None
        at += size
    return None


def _type_of_brands(brands: bytes) -> str | None:
    """The type by the content of an `ftyp` box: the brand, a version, and the compatible brands."""
    brand = brands[:4]
    compatible = {brands[at : at + 4] for at in range(8, min(len(brands), HEAD_BYTES), 4)}
    if brand in _AUDIO_BRANDS or brand == b"jpeg":
        return None
    if brand in _AVIF_BRANDS or (brand in _HEIC_BRANDS and compatible & _AVIF_BRANDS):
        return "image/avif"
    if brand in _HEIC_BRANDS:
        return "image/heic"
    return "video/quicktime" if brand == b"qt  " else "video/mp4"


def _box_head(content: bytes | bytearray, at: int) -> tuple[int, bytes]:
    """Length and name of the box at `at`; the name is empty if there is no box."""
    head = bytes(content[at : at + 16])
    if len(head) < 8:
        return 0, b""
    size = int.from_bytes(head[:4], "big")
    if size == 1:
        size = int.from_bytes(head[8:16], "big")
    return size or len(content) - at, head[4:8]


def size_of_picture(content: bytes) -> tuple[int, int] | None:
    """Width and height as the header states them; None if it does not."""
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
        if _is_frame(segment):
            height, width = struct.unpack(">HH", segment.content[1:5])
            return width, height
    return None


def orientation_of(content: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 if there is none."""
    exif = _exif(content)
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"
    at = int.from_bytes(exif[4:8], order)
    entries = int.from_bytes(exif[at : at + 2], order)
    for start in range(at + 2, min(at + 2 + 12 * entries, len(exif) - 11), 12):
        if int.from_bytes(exif[start : start + 2], order) == _ORIENTATION:
            stated = int.from_bytes(exif[start + 8 : start + 10], order)
            return stated if 1 <= stated <= 8 else 1
    return 1


def _exif(content: bytes) -> bytes:
    """The EXIF block, a small TIFF file without pixels; empty if the picture has none."""
    match sniff(content):
        case "image/jpeg":
            exif = (part.content for part in jpeg_segments(content) if part.name == b"\xe1")
            return next((one[len(EXIF_HEAD) :] for one in exif if one.startswith(EXIF_HEAD)), b"")
        case "image/png":
            return next((chunk.content for chunk in png_chunks(content) if chunk.name == b"eXIf"), b"")
        case "image/webp":
            exif = (chunk.content for chunk in webp_chunks(content) if chunk.name == b"EXIF")
            return next(exif, b"").removeprefix(EXIF_HEAD)
        case "image/tiff":
            return content
    return b""


@dataclass(frozen=True, slots=True)
class Structure:
    """The costs of reading a picture beside its pixels: the number of its parts, and of a JPEG the number of scans.
    `is_held` is true if a decoder holds all coefficients until the last scan."""

    parts: int = 1
    scans: int = 1
    is_held: bool = False


def structure_of(content: bytes) -> Structure:
    """Counts parts up to PARTS_MAX. `content` may be the beginning of a file; then only its parts are counted."""
    match sniff(content):
        case "image/png":
            return Structure(parts=sum(1 for _ in islice(png_chunks(content), PARTS_MAX + 1)))
        case "image/webp":
            return Structure(parts=sum(1 for _ in islice(webp_chunks(content), PARTS_MAX + 1)))
        case "image/jpeg":
            return _structure_of_jpeg(content)
    return Structure()


def _structure_of_jpeg(content: bytes) -> Structure:
    parts = scans = components = 0
    is_held = False
    for segment in islice(jpeg_segments(content), PARTS_MAX + 1):
        parts += 1
        if _is_frame(segment):
            components = segment.content[5] if len(segment.content) > 5 else 0
            is_held |= segment.name[0] & 0x03 == 2
        elif segment.name == b"\xda":
            scans += 1
            is_held |= segment.content[:1] != bytes([components])
    return Structure(parts, scans, is_held)


def _is_frame(segment: Part) -> bool:
    return 0xC0 <= segment.name[0] <= 0xCF and segment.name[0] not in (0xC4, 0xC8, 0xCC)


def sample_count(movie: bytes) -> int:
    """Number of samples that the tables in a `moov` or `moof` box claim; an entry may take no bytes in the file."""
    return sum(int.from_bytes(found[1], "big") for found in _SAMPLE_COUNTS.finditer(movie))


# --- what a file consists of -----------------------------------------------------------------------------------------


def jpeg_segments(content: bytes) -> Iterator[Part]:
    """All segments from the start marker to the end marker, or to the end of a truncated file; the data of a scan
    belongs to its segment."""
    yield Part(content[:2], b"\xd8", b"")
    at = _after_fill_bytes(content, 2)
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
        at = _after_fill_bytes(content, end)
    if content[at : at + 2] == b"\xff\xd9":
        yield Part(content[at : at + 2], b"\xd9", b"")


def _after_fill_bytes(content: bytes, at: int) -> int:
    """Any number of bytes 0xFF may stand before a marker."""
    found = _FILL_BYTES.match(content, at)
    return found.end() - 1 if found else at


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


def boxes(content: bytes | bytearray, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int, bytes]]:
    """Start, end and name of each box of an ISO media file, or of a box in it."""
    at, end = start, len(content) if end is None else end
    while at + 8 <= end:
        size, name = _box_head(content, at)
        if size < 8:
            return
        yield at, min(at + size, end), name
        at += size


def boxes_of_file(file: BinaryIO, names: Collection[bytes], bytes_max: int) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each outermost box of these names. The content of a larger box is cut just beyond
    `bytes_max`, so that a caller can tell."""
    end = file.seek(0, os.SEEK_END)
    at = 0
    for _ in range(PARTS_MAX):
        file.seek(at)
        head = file.read(16)
        size, name = _box_head(head, 0)
        if len(head) < 8 or at >= end:
            return
        size = end - at if int.from_bytes(head[:4], "big") == 0 else size
        if name in names:
            file.seek(at)
            yield name, file.read(min(size, bytes_max + 1))
        if size < 8:
            return
        at += size
    raise AssetUnreadable(f"more than {PARTS_MAX} boxes")


def gif_parts(content: bytes) -> Iterator[Part]:
    """The head, then extensions and pictures up to the trailer, or to the first byte that is not part of a GIF. Their
    names: the label of an extension, `,` for a picture, `;` for the trailer, empty for the head."""
    at = 13 + _colours(content[10:11])
    yield Part(content[:at], b"", b"")
    while at < len(content):
        match content[at]:
            case 0x3B:
                yield Part(content[at : at + 1], b";", b"")
                return
            case 0x21:
                name, body, end = content[at + 1 : at + 2], at + 2, _after_blocks(content, at + 2)
            case 0x2C:
                body = at + 10 + _colours(content[at + 9 : at + 10]) + GIF_CODE_BYTES
                name, end = b",", _after_blocks(content, body)
            case _:
                return
        yield Part(content[at:end], name, content[body:end])
        at = end


def _colours(flags: bytes) -> int:
    """Length in bytes of the colour table that these flags announce."""
    return 3 * 2 ** (1 + (flags[0] & 7)) if flags and flags[0] & 0x80 else 0


def _after_blocks(content: bytes, at: int) -> int:
    while at < len(content) and content[at]:
        at += 1 + content[at]
    return at + 1
