"""Small files that are large once they are decoded, and files that are large before."""

import io
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction

import av
import numpy as np
from PIL import Image

WIDE, HIGH = 8192, 6144


def _flat(mode: str, width: int = WIDE, height: int = HIGH) -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert(mode)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """A PNG with these chunks after its header."""
    return png[:33] + b"".join(chunks) + png[33:]


def animated(kind: str, frames: int, size: int) -> bytes:
    shades = [Image.new("RGB", (size, size), (n % 256, n // 256, 9)) for n in range(frames)]
    return _saved(shades[0], kind, save_all=True, append_images=shades[1:], duration=20)


def noise_png() -> bytes:
    """About as large as an upload may be."""
    pixels = np.random.default_rng(1).integers(0, 256, (2540, 2540, 3), np.uint8)
    return _saved(Image.fromarray(pixels), "PNG", compress_level=0)


def exif_jpeg() -> bytes:
    """EXIF whose thousands of values are all the same bytes, and are many times as long as the file together."""
    entries = b"".join(struct.pack("<HHII", 0x9000 + n, 7, 50_000, 12_000) for n in range(4_000))
    exif = b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", 4_000) + entries + b"\x00" * 4
    part = b"Exif\x00\x00" + (exif + b"\x00" * 65_000)[:65_500]
    jpeg = _saved(_flat("RGB", 64, 64), "JPEG")
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part + jpeg[2:]


def film(width: int = 3840, height: int = 2160, codec: str = "libx264") -> bytes:
    """Frames that are large, each of which needs many others."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream(codec, rate=Fraction(5))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"preset": "ultrafast", "refs": "16", "bf": "3", "crf": "45"}
        frame = av.VideoFrame(width, height, "yuv420p")
        for number in range(20):
            for plane in frame.planes:
                plane.update(bytes([number * 9]) * plane.buffer_size)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


# What is accepted, and must cost no more than there is room for.
LARGE: dict[str, Callable[[], bytes]] = {
    "50 megapixels of jpeg": lambda: _saved(_flat("RGB"), "JPEG", quality=80),
    "50 megapixels of jpeg in many scans": lambda: _saved(_flat("RGB"), "JPEG", quality=80, progressive=True, subsampling=0),
    "50 megapixels of jpeg on its side": lambda: _saved(_flat("RGB"), "JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00"),
    "50 megapixels of png": lambda: _saved(_flat("RGBA"), "PNG", compress_level=1),
    "50 megapixels of png with a palette": lambda: _saved(_flat("P"), "PNG", compress_level=1),
    "50 megapixels of gif": lambda: _saved(_flat("P"), "GIF"),
    "16 megapixels of webp": lambda: _saved(_flat("RGB", 4096, 4096), "WEBP", method=0),
    "thousands of frames of gif": lambda: animated("GIF", 2000, 64),
    "hundreds of frames of webp": lambda: animated("WEBP", 500, 64),
    "hundreds of frames of apng": lambda: animated("PNG", 500, 64),
    "20 MB of noise": noise_png,
    "text that was packed": lambda: with_chunks(_saved(_flat("L", 64, 64), "PNG"), *[chunk(b"zTXt", b"a\x00\x00" + zlib.compress(b"\x00" * 900_000))] * 60),
    "values that overlap": exif_jpeg,
}  # fmt: skip


def _jpeg_of_parts() -> bytes:
    jpeg = _saved(_flat("L", 64, 64), "JPEG")
    return jpeg[:2] + b"\xff\xe5\x00\x02" * 3_000_000 + jpeg[2:]


def _jpeg_of_scans() -> bytes:
    jpeg = _saved(_flat("RGB", 256, 256), "JPEG", progressive=True)
    scan = jpeg[jpeg.index(b"\xff\xda") : jpeg.index(b"\xff\xda", jpeg.index(b"\xff\xda") + 2)]
    return jpeg[:-2] + scan * 500 + jpeg[-2:]


def _claiming(tag: bytes, film_of: bytes) -> bytes:
    """A film whose table claims a hundred million samples of one size."""
    at = film_of.index(tag) + 8
    return film_of[:at] + struct.pack(">II", 1, 100_000_000) + film_of[at + 8 :]


# What is refused by what it says of itself.
REFUSED: dict[str, Callable[[], bytes]] = {
    "webp that takes too much": lambda: _saved(_flat("RGB", 6000, 4000), "WEBP", method=0),
    "51 megapixels and more": lambda: _saved(Image.new("L", (8200, 6500)), "PNG"),
    "a jpeg of millions of parts": _jpeg_of_parts,
    "a jpeg of hundreds of scans": _jpeg_of_scans,
    "a png of a million parts": lambda: with_chunks(_saved(_flat("L", 64, 64), "PNG"), chunk(b"prVt", b"") * 1_000_000),
    "a film of huge frames": lambda: film(4112, 2312),
    "a film that claims millions of samples": lambda: _claiming(b"stsz", film(320, 240)),
}  # fmt: skip
