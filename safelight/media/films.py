"""Video files: opened by the format that their bytes show; frames are read as players show them."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import BinaryIO

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.sidedata.sidedata import SideData
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from safelight.domain.errors.base import AssetUnreadable
from safelight.media import formats
from safelight.media.formats import HEAD_BYTES, sniff

Pixels = NDArray[np.uint8]

FILM_PIXELS_MAX = 4096 * 2304
VIDEO_SAMPLES_MAX = 2_000_000
MOVIE_BYTES_MAX = 64 * 1024 * 1024
VIDEO_BUFFER_BYTES = 256 * 1024
PIXEL_SHAPE_MAX = 8  # largest ratio of a pixel's sides

_DEMUXERS = {"video/mp4": "mov", "video/quicktime": "mov", "video/webm": "matroska", "video/x-msvideo": "avi"}
_MOVIE_BOXES = (b"moov", b"moof")
_MATRIX_VALUES = 9


@contextmanager
def our_errors() -> Iterator[None]:
    try:
        yield
    except (FFmpegError, OverflowError) as error:
        raise AssetUnreadable(f"not a video, or not whole: {error!r}") from error


def opened(video: bytes | BinaryIO, **options: str) -> InputContainer:
    """Open the file by the format that its bytes show, never by one that FFmpeg guesses: a playlist would make it open
    other files.

    Raises:
        AssetUnreadable: it is no film, or claims more than we read.
        FFmpegError: it cannot be opened.
    """
    file = io.BytesIO(video) if isinstance(video, bytes) else video
    file.seek(0)
    media_type = sniff(file.read(HEAD_BYTES))
    if media_type not in _DEMUXERS:
        raise AssetUnreadable(f"not a video but {media_type or 'unknown bytes'}")
    if _DEMUXERS[media_type] == "mov":
        _must_have_few_samples(file)
    file.seek(0)
    bounds = {"max_pixels": str(FILM_PIXELS_MAX)}
    demuxer = _DEMUXERS[media_type]
    return av.open(file, "r", format=demuxer, buffer_size=VIDEO_BUFFER_BYTES, options=bounds | options)


def _must_have_few_samples(file: BinaryIO) -> None:
    """FFmpeg allocates memory for every sample that a table claims, and a claim of millions takes few bytes."""
    samples = 0
    for name, content in formats.boxes_of_file(file, _MOVIE_BOXES, MOVIE_BYTES_MAX):
        samples += formats.sample_count(content)
        if len(content) > MOVIE_BYTES_MAX or samples > VIDEO_SAMPLES_MAX or (name == b"moov" and b"cmov" in content):
            raise AssetUnreadable(f"a film may have at most {VIDEO_SAMPLES_MAX} samples, and no packed index")


def video_stream(container: InputContainer) -> VideoStream:
    """The first stream of moving pictures; the cover of a piece of music is a video stream of one picture. Raises
    AssetUnreadable if there is none, or its frames are larger than we decode."""
    streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    if not streams:
        raise AssetUnreadable("the file holds no video")
    stream = streams[0]
    if stream.codec_context.width * stream.codec_context.height > FILM_PIXELS_MAX:
        raise AssetUnreadable(f"frames of more than {FILM_PIXELS_MAX} pixels")
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": str(FILM_PIXELS_MAX)}  # a frame may be larger than the file says
    return stream


def duration_seconds(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return (container.duration or 0) / av.time_base


def pixel_shape(stream: VideoStream) -> Fraction:
    """Width of a pixel divided by its height; 1 if the file does not state it, or states an impossible one."""
    stated = stream.sample_aspect_ratio
    if not stated or not Fraction(1, PIXEL_SHAPE_MAX) <= stated <= PIXEL_SHAPE_MAX:
        return Fraction(1)
    return Fraction(stated)


def shown_size(frame: av.VideoFrame, shape: Fraction) -> tuple[int, int]:
    width, height = max(1, round(frame.width * shape)), frame.height
    return (height, width) if _turn(frame)[0] else (width, height)


def shown(frame: av.VideoFrame, shape: Fraction, side_max: int) -> Pixels:
    """The frame as RGB with square pixels, turned and mirrored by its display matrix, no side longer than
    `side_max`."""
    width, height = frame.width * float(shape), float(frame.height)
    scale = min(1.0, side_max / max(width, height))
    small = frame.reformat(max(1, round(width * scale)), max(1, round(height * scale)), format="rgb24")
    pixels = np.asarray(small.to_ndarray(), np.uint8)
    is_transposed, mirrored_across, mirrored_down = _turn(frame)
    pixels = pixels.transpose(1, 0, 2) if is_transposed else pixels
    return np.ascontiguousarray(pixels[:: -1 if mirrored_down else 1, :: -1 if mirrored_across else 1])


def _turn(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """The display matrix as three flags: swap rows and columns, then mirror horizontally, then vertically. Rotations
    by other than right angles are ignored, as browsers do."""
    found = frame.side_data.get("DISPLAYMATRIX")
    if not isinstance(found, SideData):
        return False, False, False
    a, b, _, c, d = np.frombuffer(bytes(found), "=i4", _MATRIX_VALUES)[:5]
    if not b and not c:
        return False, bool(a < 0), bool(d < 0)
    if not a and not d:
        return True, bool(c < 0), bool(b < 0)
    return False, False, False
