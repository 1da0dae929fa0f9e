"""Pictures and videos as bytes: decode, encode, probe. Everything is bounded and depends on its input only."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from struct import error as StructError  # noqa: N812  # Pillow lets it through on truncated headers
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from safelight.domain.errors.base import AssetUnreadable
from safelight.media import colours, films, formats
from safelight.media.formats import size_of_picture, sniff
from safelight.media.heic import HeicPicture, LazyPicture

Pixels = NDArray[np.uint8]

PIXELS_MAX = 50 * 1024 * 1024
DECODE_BYTES_MAX = 320 * 1024 * 1024  # memory that decoding one picture or video may take
WHOLE_PIXELS_MAX = 2560 * 2560  # larger pictures are reduced while they are decoded
SIDE_MAX = 2048
SCANS_MAX = 100
FRAMES_DECODED_MAX = 3_000
TEXT_CHARS_MAX = 100_000
REDUCED_QUALITY = 90
REDUCED_BYTES_MAX = 8 * 1024 * 1024
BAND_ROWS = 32

# Measured, including the decoder's own memory: animated formats hold several canvases.
_BYTES_PER_PIXEL = {
    "image/png": 4.2,
    "image/gif": 4.2,
    "image/webp": 18.0,
    "image/jpeg": 4.2,
    "image/tiff": 8.4,
    "image/bmp": 4.2,
    "image/avif": 10.5,
}
_COEFFICIENT_BYTES_PER_PIXEL = 6.1
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_OTHER_BYTES_PER_PIXEL = 12.0
DECODE_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    StructError,
    EOFError,
    MemoryError,
    RuntimeError,
    Image.DecompressionBombError,
)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = (5, 6, 7, 8)
_ORIENTATION = 0x0112
_SHOWN_EVERYWHERE = frozenset({"image/png", "image/jpeg", "image/webp", "image/gif"})
_DEEP_PNG = 16  # bits a channel


@dataclass(frozen=True, slots=True)
class ImageFacts:
    format: str
    width: int
    height: int


# --- pictures ------------------------------------------------------------------------------------------------------


def probe_image(content: bytes) -> ImageFacts:
    """Size as it is shown, with the camera's orientation applied. Nothing is decoded."""
    image = open_picture(content)
    return ImageFacts(image.format or "", *shown_size(content, image))


def shown_size(content: bytes, image: LazyPicture) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if orientation_of(content, image) in _LYING else (width, height)


def orientation_of(content: bytes, image: LazyPicture) -> int:
    """The EXIF orientation, or that of the AVIF file itself; a HEIC is turned by its decoder."""
    if isinstance(image, Image.Image) and image.format == "AVIF":
        stated = image.getexif().get(_ORIENTATION, 1)
        return stated if stated in _TURNS else 1
    return formats.orientation_of(content)


def bytes_to_decode(content: bytes) -> int:
    """Memory that decoding the picture or video may take; `content` may be its beginning. DECODE_BYTES_MAX if it cannot
    be determined."""
    media_type = sniff(content) or ""
    if media_type.startswith("video/"):
        return DECODE_BYTES_MAX
    size = size_of_picture(content)
    return min(_cost(content, media_type, *size), DECODE_BYTES_MAX) if size else DECODE_BYTES_MAX


def decode_image(content: bytes, side_max: int | None = None) -> Pixels:
    """The picture as height x width x RGBA, upright, no side longer than `side_max`. A picture of more than
    WHOLE_PIXELS_MAX pixels is always reduced, to at most SIDE_MAX a side, while it is decoded."""
    image = open_picture(content)
    if image.width * image.height > WHOLE_PIXELS_MAX:
        side_max = min(side_max or SIDE_MAX, SIDE_MAX)
    return np.asarray(upright(content, image, side_max))


def reduced(content: bytes, *, bytes_max: int = REDUCED_BYTES_MAX) -> bytes:
    """The same picture, if every reader shows it as browsers do. Otherwise, and if it has more than WHOLE_PIXELS_MAX
    pixels or more bytes than these, a JPEG of at most SIDE_MAX a side, upright and in sRGB, or a PNG where it is
    transparent. Raises AssetUnreadable if it is no picture."""
    image = open_picture(content)
    if image.width * image.height <= WHOLE_PIXELS_MAX and len(content) <= bytes_max and _is_plain(content, image):
        return content
    return rendered(content)


def rendered(content: bytes) -> bytes:
    """As `reduced`, but always encoded again. Raises AssetUnreadable."""
    small = decode_image(content, SIDE_MAX)
    is_opaque = bool(np.all(small[..., 3] == 255))
    return encode_jpeg(small, REDUCED_QUALITY) if is_opaque else encode_png(small)


def rendered_if_needed(content: bytes) -> bytes | None:
    """As `rendered`, if a reader that ignores orientation and colour profiles would show the picture differently from a
    browser; else None. Raises AssetUnreadable."""
    return None if _is_plain(content, open_picture(content)) else rendered(content)


def _is_plain(content: bytes, image: LazyPicture) -> bool:
    if sniff(content) not in _SHOWN_EVERYWHERE or orientation_of(content, image) != 1:
        return False
    is_deep = image.format == "PNG" and content[24] == _DEEP_PNG
    return not is_deep and colours.is_plain(image)


def image_texts(content: bytes) -> dict[str, str]:
    """The text chunks of a PNG; empty for any other picture."""
    image = open_picture(content)
    if not isinstance(image, PngImagePlugin.PngImageFile):
        return {}
    try:
        return {key: str(text) for key, text in image.text.items() if len(text) <= TEXT_CHARS_MAX}
    except DECODE_ERRORS as error:
        raise AssetUnreadable(f"picture text: {error!r}") from error


def encode_png(pixels: Pixels, texts: Mapping[str, str] | None = None) -> bytes:
    chunks = PngImagePlugin.PngInfo()
    for key, text in (texts or {}).items():
        chunks.add_itxt(key, text)
    return _saved(pixels, "PNG", pnginfo=chunks, compress_level=3)


def encode_jpeg(pixels: Pixels, quality: int = 90) -> bytes:
    return _saved(np.ascontiguousarray(pixels[..., :3]), "JPEG", quality=quality, subsampling=0)


def encode_webp(pixels: Pixels, quality: int = 90) -> bytes:
    return _saved(pixels, "WEBP", quality=quality, method=4)


def thumbnail(content: bytes, size: int, quality: int) -> bytes:
    """The picture as WebP, no side longer than `size`; it is never enlarged."""
    return encode_webp(np.asarray(upright(content, open_picture(content), size)), quality)


def open_picture(content: bytes) -> LazyPicture:
    """All bounds are checked before a decoder gets the bytes: some decoders allocate the whole picture when they open
    it. Raises AssetUnreadable if it is not a picture, or is larger than we decode."""
    structure, media_type = formats.structure_of(content), sniff(content) or ""
    if structure.parts > formats.PARTS_MAX or structure.scans > SCANS_MAX:
        raise AssetUnreadable(f"more than {formats.PARTS_MAX} parts, or {SCANS_MAX} scans")
    stated = size_of_picture(content)
    if stated:
        _must_fit(content, media_type, *stated)
    try:
        image = _opened(content, media_type)
    except DECODE_ERRORS as error:
        raise AssetUnreadable(f"not a picture, or not whole: {error!r}") from error
    _must_fit(content, media_type, *image.size, image.bytes_per_pixel if isinstance(image, HeicPicture) else None)
    return image


def _opened(content: bytes, media_type: str) -> LazyPicture:
    if media_type == "image/heic":
        return HeicPicture(content)
    return Image.open(io.BytesIO(content), formats=_FORMATS)


def _must_fit(content: bytes, media_type: str, width: int, height: int, bytes_per_pixel: float | None = None) -> None:
    if width * height > PIXELS_MAX:
        raise AssetUnreadable(f"{width}x{height} is more than {PIXELS_MAX} pixels")
    usual = bytes_per_pixel or _BYTES_PER_PIXEL.get(media_type, _OTHER_BYTES_PER_PIXEL)
    cost = width * height * bytes_per_pixel if bytes_per_pixel else _cost(content, media_type, width, height)
    if cost > DECODE_BYTES_MAX:
        pixels_max = int(DECODE_BYTES_MAX / usual)
        raise AssetUnreadable(f"{width}x{height}: such a picture may have at most {pixels_max} pixels")


def _cost(content: bytes, media_type: str, width: int, height: int) -> int:
    """Memory that decoding takes. The decoder of a JPEG reduces it while decoding, unless it holds all coefficients."""
    pixels = width * height
    if media_type == "image/jpeg":
        scale = _scale(width, height, SIDE_MAX) if pixels > WHOLE_PIXELS_MAX else 1
        held = _COEFFICIENT_BYTES_PER_PIXEL if formats.structure_of(content).is_held else 0.0
        return int(pixels * (held + _BYTES_PER_PIXEL[media_type] / scale**2))
    return int(pixels * _BYTES_PER_PIXEL.get(media_type, _OTHER_BYTES_PER_PIXEL))


def _scale(width: int, height: int, side_max: int) -> int:
    """The factor by which a JPEG decoder may reduce the picture so that it still has `side_max`."""
    return next(scale for scale in (8, 4, 2, 1) if scale == 1 or max(width, height) >= scale * side_max)


def upright(content: bytes, image: LazyPicture, side_max: int | None) -> Image.Image:
    """The decoded picture as RGBA in sRGB, upright, no side longer than `side_max`. Raises AssetUnreadable if it is not
    whole."""
    try:
        if side_max is not None:
            scale = _scale(*image.size, side_max)
            image.draft(None, (image.width // scale, image.height // scale))
        image.load()
        small = _in_bands(image, max(image.size) // side_max if side_max else 1)
    except DECODE_ERRORS as error:
        raise AssetUnreadable(f"the picture is not whole: {error!r}") from error
    if side_max is not None:
        small.thumbnail((side_max, side_max), Image.Resampling.LANCZOS)
    turn = _TURNS.get(orientation_of(content, image))
    return small if turn is None else small.transpose(turn)


def _in_bands(image: LazyPicture, factor: int) -> Image.Image:
    """Convert to RGBA in sRGB, each side `factor` times smaller; band by band, so that no second picture of full size
    is in memory."""
    factor = max(factor, 1)
    to_srgb = colours.to_srgb(image)
    small = Image.new("RGBA", (math.ceil(image.width / factor), math.ceil(image.height / factor)))
    for top in range(0, image.height, factor * BAND_ROWS):
        band = to_srgb(image.crop((0, top, image.width, min(top + factor * BAND_ROWS, image.height))))
        small.paste(band.reduce(factor) if factor > 1 else band, (0, top // factor))
    return small


def _saved(pixels: Pixels, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


# --- videos --------------------------------------------------------------------------------------------------------


def frame_at(video: bytes | BinaryIO, fraction: float) -> bytes:
    """The frame shown at `fraction` (0 first, 1 last) of a video, as players show it, as PNG, no side longer than
    SIDE_MAX."""
    with films.our_errors(), films.opened(video) as container:
        stream = films.video_stream(container)
        seconds = films.duration_seconds(container, stream) * min(max(fraction, 0.0), 1.0)
        frame = _frame_before(container, stream, seconds)
        return encode_png(films.shown(frame, films.pixel_shape(stream), SIDE_MAX))


def _frame_before(container: InputContainer, stream: VideoStream, seconds: float) -> av.VideoFrame:
    """The last frame that begins at or before `seconds`; the first one where none does."""
    if stream.time_base:
        container.seek(int(seconds / stream.time_base), stream=stream)
    shown: av.VideoFrame | None = None
    for number, frame in enumerate(container.decode(stream)):
        if number >= FRAMES_DECODED_MAX or (shown is not None and (frame.time or 0.0) > seconds):
            break
        shown = frame
    if shown is None:
        raise AssetUnreadable("the video holds no frame")
    return shown
