"""Files are decoded whole before they are accepted: a header does not show that a broken download is incomplete.

A picture is decoded to its last row, an animation frame by frame up to ANIMATION_PIXELS_MAX. Every packet of a film is
read to its end, and its frames are decoded up to FILM_PIXELS_CHECKED_MAX pixels, which is 35 seconds in 1920x1080.
"""

import io
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import av
from av.container import InputContainer
from av.video.stream import VideoStream
from PIL import ImageFile

from safelight.domain.errors.base import AssetUnreadable
from safelight.media import decode, film_structure, films, formats
from safelight.media.formats import HEAD_BYTES, MediaFacts, sniff

ANIMATION_PIXELS_MAX = 200_000_000
ANIMATED_PIXELS_MAX = decode.WHOLE_PIXELS_MAX  # of one frame: of larger animations only the first frame is decoded
FRAMES_MAX = 10_000
FILM_PIXELS_CHECKED_MAX = 2_200_000_000
PACKETS_MAX = 2 * films.VIDEO_SAMPLES_MAX
_ANIMATED_BYTES_PER_PIXEL = 18.0
_NO_SIZE = (0, 0)
_SMALLEST = (1, 1)  # the decoder of a JPEG reads all of it in any case, and need not keep all


def bytes_to_inspect(head: bytes) -> int:
    """Memory that `inspect_picture` or `inspect_film` may take, by the beginning of the file."""
    size = formats.size_of_picture(head)
    needed = decode.bytes_to_decode(head)
    if size and sniff(head) in ("image/gif", "image/png"):
        canvas = min(size[0] * size[1], ANIMATED_PIXELS_MAX)
        return min(max(needed, int(canvas * _ANIMATED_BYTES_PER_PIXEL)), decode.DECODE_BYTES_MAX)
    return needed


def inspect_picture(content: bytes) -> MediaFacts:
    """Decode the picture to its end. Raises AssetUnreadable if it is not a picture, is larger than we decode, or is
    truncated."""
    image = decode.open_picture(content)
    _must_have_its_end(content)
    try:
        shown = decode.shown_size(content, image)
        image.draft(None, _SMALLEST)
        image.load()
        if isinstance(image, ImageFile.ImageFile):
            _decode_frames(image)
    except decode.DECODE_ERRORS as error:
        raise AssetUnreadable(f"the picture is not whole: {error!r}") from error
    return MediaFacts(sniff(content) or "", *shown)


def _decode_frames(image: ImageFile.ImageFile) -> None:
    """Decode all frames of an animation after the first."""
    frames = min(getattr(image, "n_frames", 1), FRAMES_MAX) if image.format in ("GIF", "PNG", "WEBP") else 1
    pixels = image.width * image.height
    if pixels > ANIMATED_PIXELS_MAX:
        return
    for number in range(1, min(frames, ANIMATION_PIXELS_MAX // pixels)):
        image.seek(number)
        image.load()


def _must_have_its_end(content: bytes) -> None:
    """Raises AssetUnreadable for a truncation that Pillow does not report: it stops reading once it has all pixels of
    the first picture."""
    match sniff(content):
        case "image/png":
            _must_be_whole_png(content)
        case "image/gif":
            *_, last = formats.gif_parts(content)
            if last.name != b";":
                raise AssetUnreadable("the picture is cut: it has no trailer")
        case "image/webp":
            if 8 + int.from_bytes(content[4:8], "little") > len(content):
                raise AssetUnreadable("the picture is cut: it is shorter than it says")


def _must_be_whole_png(content: bytes) -> None:
    name = b""
    for chunk in formats.png_chunks(content):
        name, stated = chunk.name, chunk.whole[-4:]
        is_needed = not name[:1].islower() or name == b"fdAT"
        if is_needed and zlib.crc32(chunk.whole[4:-4]).to_bytes(4, "big") != stated:
            raise AssetUnreadable(f"the picture is damaged in its part {name!r}")
    if name != b"IEND":
        raise AssetUnreadable("the picture is cut: it has no end")


def inspect_film(video: bytes | BinaryIO) -> MediaFacts:
    """Read the video to its end, and decode its frames up to FILM_PIXELS_CHECKED_MAX pixels. Raises AssetUnreadable if
    it is not a video, is larger than we decode, or is truncated."""
    file = io.BytesIO(video) if isinstance(video, bytes) else video
    file.seek(0)
    media_type = sniff(file.read(HEAD_BYTES)) or ""
    if media_type.startswith("video/"):
        film_structure.must_be_whole(file, media_type)
    # An edit list skips samples, which would then look missing.
    with films.our_errors(), films.opened(file, ignore_editlist="1") as container:
        stream = films.video_stream(container)
        size, end_seconds = _read_to_the_end(container, stream)
        seconds = films.duration_seconds(container, stream) or end_seconds
        return MediaFacts(media_type, *size, seconds=round(seconds, 3))


def _read_to_the_end(container: InputContainer, stream: VideoStream) -> tuple[tuple[int, int], float]:
    """Returns the displayed size of the first frame, and where the last packet ends, in seconds."""
    size, samples, end_seconds, pixels_left = _NO_SIZE, 0, 0.0, FILM_PIXELS_CHECKED_MAX
    shape = films.pixel_shape(stream)
    for packets, packet in enumerate(container.demux(), 1):
        if packet.is_corrupt or packets > PACKETS_MAX:
            raise AssetUnreadable(f"the film is cut, or has more than {PACKETS_MAX} packets")
        if packet.stream is not stream:
            continue
        samples += bool(packet.size)  # the last packet is empty
        if packet.pts is not None and packet.time_base is not None:
            end_seconds = max(end_seconds, float((packet.pts + (packet.duration or 0)) * packet.time_base))
        for frame in _frames(packet) if pixels_left > 0 else ():
            size = films.shown_size(frame, shape) if size == _NO_SIZE else size
            pixels_left -= frame.width * frame.height
    if size == _NO_SIZE:
        raise AssetUnreadable("the video holds no frame")
    if "mp4" in container.format.name and samples < stream.frames:
        raise AssetUnreadable(f"the film is cut: {samples} of {stream.frames} frames are there")
    return size, end_seconds


def _frames(packet: "av.Packet[Any]") -> Iterator[av.VideoFrame]:
    for frame in packet.decode():
        if isinstance(frame, av.VideoFrame):
            if frame.is_corrupt:
                raise AssetUnreadable(f"the film is damaged at {frame.time or 0.0:.2f} s")
            yield frame
