"""Pictures and videos as bytes: decode, encode, probe. Everything is bounded and depends on its input only."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from struct import error as StructError  # noqa: N812  # Pillow lets it through on truncated headers
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

from safelight import privacy
from safelight.domain.errors import AssetUnreadable
from safelight.formats import HEAD_BYTES, size_of_picture, sniff

Pixels = NDArray[np.uint8]

PIXELS_MAX = 50_000_000
VIDEO_FRAMES_MAX = 100_000
VIDEO_BUFFER_BYTES = 256 * 1024
TEXT_CHARS_MAX = 100_000

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
_DECODE_ERRORS = (OSError, ValueError, SyntaxError, StructError, EOFError, Image.DecompressionBombError)


_VIDEO_ERRORS = (FFmpegError, OverflowError)
_DEMUXERS = {"video/mp4": "mov", "video/quicktime": "mov", "video/webm": "matroska", "video/x-msvideo": "avi"}


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
    """Size as it is shown, with the camera's orientation applied."""
    image = _open(content)
    width, height = image.size
    try:
        turned = image.getexif().get(0x0112, 1) >= 5  # EXIF orientations 5-8 lie on their side
    except _DECODE_ERRORS:
        turned = False
    return ImageFacts(image.format or "", *((height, width) if turned else (width, height)))


def decode_image(content: bytes) -> Pixels:
    """The picture as height x width x RGBA, upright."""
    image = _open(content)
    try:
        upright = ImageOps.exif_transpose(image) or image
        return np.asarray(upright.convert("RGBA"))
    except _DECODE_ERRORS as error:
        raise AssetUnreadable(f"picture: {error!r}") from error


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
    image = Image.fromarray(decode_image(content))
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    return encode_webp(np.asarray(image), quality)


def published(content: bytes, media_type: str) -> bytes:
    """An uploaded file as we give it out: nothing after its end, and nothing about the place it was taken at.

    Raises:
        AssetUnreadable: it is not of this type after all, or larger than we decode.
    """
    probe = probe_video if media_type.startswith("video/") else probe_image
    probe(content)
    return privacy.published(content, media_type)


def _open(content: bytes) -> Image.Image:
    stated = size_of_picture(content)  # some decoders make room for all of it when they only open it
    if stated and stated[0] * stated[1] > PIXELS_MAX:
        raise AssetUnreadable(f"{stated[0]}x{stated[1]} is more than {PIXELS_MAX} pixels")
    try:
        image = Image.open(io.BytesIO(content), formats=_FORMATS)
    except _DECODE_ERRORS as error:
        raise AssetUnreadable(f"not a picture: {error!r}") from error
    if image.width * image.height > PIXELS_MAX:
        raise AssetUnreadable(f"{image.width}x{image.height} is more than {PIXELS_MAX} pixels")
    return image


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
            frames = stream.frames or sum(1 for packet in container.demux(stream) if packet.size)
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
    """The frame shown at `fraction` (0 first, 1 last) of a video, as PNG."""
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
    file.seek(0)
    if media_type not in _DEMUXERS:
        raise AssetUnreadable(f"not a video but {media_type or 'unknown bytes'}")
    return av.open(file, "r", format=_DEMUXERS[media_type], buffer_size=VIDEO_BUFFER_BYTES)


def _video_stream(container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise AssetUnreadable("the file holds no video")
    stream = container.streams.video[0]
    if stream.codec_context.width * stream.codec_context.height > PIXELS_MAX:
        raise AssetUnreadable(f"frames of more than {PIXELS_MAX} pixels")
    stream.codec_context.thread_count = 1
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
        if number >= VIDEO_FRAMES_MAX or (shown is not None and (frame.time or 0.0) > seconds):
            break
        shown = frame
    if shown is None:
        raise AssetUnreadable("the video holds no frame")
    return np.asarray(shown.to_ndarray(format="rgb24"), np.uint8)
