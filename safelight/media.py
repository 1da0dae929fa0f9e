"""Pictures and videos as bytes: decode, encode, probe. Everything is bounded and depends on its input only."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from struct import error as StructError  # noqa: N812  # Pillow lets it through on truncated headers
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from safelight import formats, privacy
from safelight.domain.errors import AssetUnreadable
from safelight.formats import HEAD_BYTES, size_of_picture, sniff

Pixels = NDArray[np.uint8]

PIXELS_MAX = 50 * 1024 * 1024
FILM_PIXELS_MAX = 4096 * 2304
DECODE_BYTES_MAX = 320 * 1024 * 1024  # what decoding one picture or film may take
WHOLE_PIXELS_MAX = 2560 * 2560  # what has more is made smaller while it is decoded
SIDE_MAX = 2048
SCANS_MAX = 100
VIDEO_FRAMES_MAX = 100_000
FRAMES_DECODED_MAX = 3_000
VIDEO_SAMPLES_MAX = 2_000_000
MOVIE_BYTES_MAX = 64 * 1024 * 1024
VIDEO_BUFFER_BYTES = 256 * 1024
TEXT_CHARS_MAX = 100_000
REDUCED_QUALITY = 90
REDUCED_BYTES_MAX = 8 * 1024 * 1024
BAND_ROWS = 16

# Measured, with what the decoder needs beside the picture: an animated format holds several canvases.
_BYTES_PER_PIXEL = {"image/png": 4.2, "image/gif": 4.2, "image/webp": 18.0, "image/jpeg": 4.2}
_FILM_BYTES_PER_PIXEL = 33.0
_COEFFICIENT_BYTES_PER_PIXEL = 6.1
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_OTHER_BYTES_PER_PIXEL = 12.0
_DECODE_ERRORS = (OSError, ValueError, SyntaxError, StructError, EOFError, MemoryError, Image.DecompressionBombError)
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


_VIDEO_ERRORS = (FFmpegError, OverflowError)
_DEMUXERS = {"video/mp4": "mov", "video/quicktime": "mov", "video/webm": "matroska", "video/x-msvideo": "avi"}
_MOVIE_BOXES = (b"moov", b"moof")


@dataclass(frozen=True, slots=True)
class ImageFacts:
    format: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class VideoFacts:
    codec: str
    width: int
    height: int
    frames: int
    duration_seconds: float


# --- pictures ------------------------------------------------------------------------------------------------------


def probe_image(content: bytes) -> ImageFacts:
    """Size as it is shown, with the camera's orientation applied. Nothing is decoded."""
    image = _open(content)
    width, height = image.size
    is_lying = formats.orientation_of(content) in _LYING
    return ImageFacts(image.format or "", *((height, width) if is_lying else (width, height)))


def bytes_to_decode(content: bytes) -> int:
    """What decoding the picture or film may take; `content` may be the beginning of it. DECODE_BYTES_MAX where that
    cannot be told."""
    media_type = sniff(content) or ""
    if media_type.startswith("video/"):
        return DECODE_BYTES_MAX
    size = size_of_picture(content)
    return min(_cost(content, media_type, *size), DECODE_BYTES_MAX) if size else DECODE_BYTES_MAX


def decode_image(content: bytes, side_max: int | None = None) -> Pixels:
    """The picture as height x width x RGBA, upright, no side longer than `side_max`. One of more than WHOLE_PIXELS_MAX
    pixels is made smaller in any case, to at most SIDE_MAX a side, while it is decoded."""
    image = _open(content)
    if image.width * image.height > WHOLE_PIXELS_MAX:
        side_max = min(side_max or SIDE_MAX, SIDE_MAX)
    return np.asarray(_upright(content, image, side_max))


def reduced(content: bytes, *, bytes_max: int = REDUCED_BYTES_MAX) -> bytes:
    """The same picture; one of more than WHOLE_PIXELS_MAX pixels, or more bytes than these, as a JPEG of at most
    SIDE_MAX a side, or a PNG where it is transparent.

    Raises:
        AssetUnreadable: it is no picture.
    """
    image = _open(content)
    if image.width * image.height <= WHOLE_PIXELS_MAX and len(content) <= bytes_max:
        return content
    small = decode_image(content, SIDE_MAX)
    is_opaque = bool(np.all(small[..., 3] == 255))
    return encode_jpeg(small, REDUCED_QUALITY) if is_opaque else encode_png(small)


def image_texts(content: bytes) -> dict[str, str]:
    """The text chunks of a PNG; empty for any other picture."""
    image = _open(content)
    if not isinstance(image, PngImagePlugin.PngImageFile):
        return {}
    try:
        return {key: str(text) for key, text in image.text.items() if len(text) <= TEXT_CHARS_MAX}
    except _DECODE_ERRORS as error:
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
    """As WebP, no side longer than `size`, never larger than it was."""
    return encode_webp(np.asarray(_upright(content, _open(content), size)), quality)


def published(content: bytes, media_type: str) -> bytes:
    """An uploaded file as we give it out: nothing after its end, and nothing about the place it was taken at.

    Raises:
        AssetUnreadable: it is not of this type after all, or larger than we decode.
    """
    probe = probe_video if media_type.startswith("video/") else probe_image
    probe(content)
    return privacy.published(content, media_type)


def _open(content: bytes) -> Image.Image:
    """Every bound is held before a decoder sees the bytes: some make room for all of a picture when they open it."""
    structure, media_type = formats.structure_of(content), sniff(content) or ""
    if structure.parts > formats.PARTS_MAX or structure.scans > SCANS_MAX:
        raise AssetUnreadable(f"more than {formats.PARTS_MAX} parts, or {SCANS_MAX} scans")
    stated = size_of_picture(content)
    if stated:
        _must_fit(content, media_type, *stated)
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except _DECODE_ERRORS as error:
        raise AssetUnreadable(f"not a picture: {error!r}") from error
    _must_fit(content, media_type, *image.size)
    return image


def _must_fit(content: bytes, media_type: str, width: int, height: int) -> None:
    if width * height > PIXELS_MAX:
        raise AssetUnreadable(f"{width}x{height} is more than {PIXELS_MAX} pixels")
    if _cost(content, media_type, width, height) > DECODE_BYTES_MAX:
        pixels_max = int(DECODE_BYTES_MAX / _BYTES_PER_PIXEL.get(media_type, _OTHER_BYTES_PER_PIXEL))
        raise AssetUnreadable(f"{width}x{height}: such a picture may have at most {pixels_max} pixels")


def _cost(content: bytes, media_type: str, width: int, height: int) -> int:
    """The bytes that decoding takes. A JPEG is made smaller by its decoder, unless it holds all coefficients."""
    pixels = width * height
    if media_type == "image/jpeg":
        scale = _scale(width, height, SIDE_MAX) if pixels > WHOLE_PIXELS_MAX else 1
        held = _COEFFICIENT_BYTES_PER_PIXEL if formats.structure_of(content).is_held else 0.0
        return int(pixels * (held + _BYTES_PER_PIXEL[media_type] / scale**2))
    return int(pixels * _BYTES_PER_PIXEL.get(media_type, _OTHER_BYTES_PER_PIXEL))


def _scale(width: int, height: int, side_max: int) -> int:
    """By how much a JPEG's decoder may make it smaller, so that it is still large enough."""
    return next(scale for scale in (8, 4, 2, 1) if scale == 1 or max(width, height) >= scale * side_max)


def _upright(content: bytes, image: Image.Image, side_max: int | None) -> Image.Image:
    """Decoded, as RGBA, no side longer than `side_max`."""
    try:
        if side_max is not None:
            scale = _scale(*image.size, side_max)
            image.draft(None, (image.width // scale, image.height // scale))
        image.load()
        small = _in_bands(image, max(image.size) // side_max if side_max else 1)
    except _DECODE_ERRORS as error:
        raise AssetUnreadable(f"picture: {error!r}") from error
    if side_max is not None:
        small.thumbnail((side_max, side_max), Image.Resampling.LANCZOS)
    turn = _TURNS.get(formats.orientation_of(content))
    return small if turn is None else small.transpose(turn)


def _in_bands(image: Image.Image, factor: int) -> Image.Image:
    """As RGBA, each side `factor` times smaller: band by band, so that no second picture of full size is made."""
    if factor <= 1:
        return image.convert("RGBA")
    small = Image.new("RGBA", (math.ceil(image.width / factor), math.ceil(image.height / factor)))
    for top in range(0, image.height, factor * BAND_ROWS):
        band = image.crop((0, top, image.width, min(top + factor * BAND_ROWS, image.height)))
        small.paste(band.convert("RGBA").reduce(factor), (0, top // factor))
    return small


def _saved(pixels: Pixels, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **options)
    return out.getvalue()


# --- videos --------------------------------------------------------------------------------------------------------


def probe_video(video: bytes | BinaryIO) -> VideoFacts:
    """Of a file, only what the answer needs is read."""
    try:
        with _opened_video(video) as container:
            stream = _video_stream(container)
            packets = islice(container.demux(stream), VIDEO_FRAMES_MAX)
            frames = stream.frames or sum(1 for packet in packets if packet.size)
            return VideoFacts(
                codec=stream.codec_context.name,
                width=stream.codec_context.width,
                height=stream.codec_context.height,
                frames=frames,
                duration_seconds=_duration_seconds(container, stream),
            )
    except _VIDEO_ERRORS as error:
        raise AssetUnreadable(f"not a video: {error!r}") from error


def frame_at(video: bytes | BinaryIO, fraction: float) -> bytes:
    """The frame shown at `fraction` (0 first, 1 last) of a video, as PNG, no side longer than SIDE_MAX."""
    try:
        with _opened_video(video) as container:
            stream = _video_stream(container)
            seconds = _duration_seconds(container, stream) * min(max(fraction, 0.0), 1.0)
            return encode_png(_frame_before(container, stream, seconds))
    except _VIDEO_ERRORS as error:
        raise AssetUnreadable(f"not a video: {error!r}") from error


def _opened_video(video: bytes | BinaryIO) -> InputContainer:
    """By the format that the bytes show, never by one that FFmpeg guesses: playlists would lead it to other files."""
    file = io.BytesIO(video) if isinstance(video, bytes) else video
    media_type = sniff(file.read(HEAD_BYTES))
    if media_type not in _DEMUXERS:
        raise AssetUnreadable(f"not a video but {media_type or 'unknown bytes'}")
    if _DEMUXERS[media_type] == "mov":
        _must_have_few_samples(file)
    file.seek(0)
    bounds = {"max_pixels": str(FILM_PIXELS_MAX)}
    return av.open(file, "r", format=_DEMUXERS[media_type], buffer_size=VIDEO_BUFFER_BYTES, options=bounds)


def _must_have_few_samples(file: BinaryIO) -> None:
    """FFmpeg makes room for every sample that a table claims, and a claim of millions takes few bytes."""
    samples = 0
    for name, content in formats.boxes_of_file(file, _MOVIE_BOXES, MOVIE_BYTES_MAX):
        samples += formats.sample_count(content)
        if len(content) > MOVIE_BYTES_MAX or samples > VIDEO_SAMPLES_MAX or (name == b"moov" and b"cmov" in content):
            raise AssetUnreadable(f"a film may have at most {VIDEO_SAMPLES_MAX} samples, and no packed index")


def _video_stream(container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise AssetUnreadable("the file holds no video")
    stream = container.streams.video[0]
    if stream.codec_context.width * stream.codec_context.height > FILM_PIXELS_MAX:
        raise AssetUnreadable(f"frames of more than {FILM_PIXELS_MAX} pixels")
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(FILM_PIXELS_MAX)}  # a frame may be larger than the file says
    return stream


def _duration_seconds(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def _frame_before(container: InputContainer, stream: VideoStream, seconds: float) -> Pixels:
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
    scale = min(1.0, SIDE_MAX / max(shown.width, shown.height))
    small = shown.reformat(max(1, round(shown.width * scale)), max(1, round(shown.height * scale)), format="rgb24")
    return np.asarray(small.to_ndarray(), np.uint8)
