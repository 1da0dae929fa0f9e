"""Encodes videos, for providers that render their own."""

import tempfile
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.stream import VideoStream

from safelight.media.decode import Pixels

FRAMES_PER_SECOND = 24
FRAMES_BETWEEN_KEYFRAMES = 24


def yuv_planes(pixels: Pixels) -> Pixels:
    """Convert RGB to the three planes of YUV 4:2:0 (BT.601, limited range), one below the other."""
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
    return np.asarray(frame.reformat(format="yuv420p").to_ndarray(), np.uint8)


def encode_mp4(
    frames: Iterable[Pixels],
    *,
    width: int,
    height: int,
    quality: int = 20,
    to_planes: Callable[[Pixels], Pixels] = yuv_planes,
) -> bytes:
    """Encode as H.264 that a browser can play while it still loads. `frames` are RGB; `quality` is the CRF of x264;
    `to_planes` converts a frame as `yuv_planes` does."""
    if width % 2 or height % 2:
        raise ValueError(f"H.264 in 4:2:0 needs even sizes, not {width}x{height}")
    with tempfile.TemporaryDirectory() as folder:  # moving the index to the front needs a seekable file
        path = Path(folder) / "film.mp4"
        with av.open(str(path), "w", options={"movflags": "+faststart", "fflags": "+bitexact"}) as container:
            stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
            assert isinstance(stream, VideoStream)
            _configure(stream, width, height, quality)
            for pixels in frames:
                frame = av.VideoFrame.from_ndarray(to_planes(pixels), format="yuv420p")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path.read_bytes()


def _configure(stream: VideoStream, width: int, height: int, quality: int) -> None:
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.time_base = Fraction(1, FRAMES_PER_SECOND)
    context = stream.codec_context
    context.gop_size = FRAMES_BETWEEN_KEYFRAMES
    context.thread_count = 1  # one thread: the same frames give the same bytes on every machine
    context.options = {
        "crf": str(quality),
        "preset": "veryfast",
        "profile": "high",
        "threads": "1",
        # With its macroblock tree, x264 is not always deterministic on a busy machine.
        "x264-params": "mbtree=0:rc-lookahead=0:cpu-independent=1",
    }
    context.color_range, context.colorspace = 1, 6  # limited range, BT.601
    context.color_primaries, context.color_trc = 6, 6
