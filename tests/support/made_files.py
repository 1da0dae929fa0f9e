"""Small pictures and films of every kind, made for tests."""

import io
import struct
from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
import pillow_heif
from PIL import Image, ImageCms

WIDTH, HEIGHT = 160, 120


def noise(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8))


def gradient(mode: str = "RGB") -> Image.Image:
    across = np.linspace(0, 255, WIDTH).astype(np.uint8)
    down = np.linspace(0, 255, HEIGHT).astype(np.uint8)
    pixels = np.stack(
        [np.tile(across, (HEIGHT, 1)), np.tile(down[:, None], (1, WIDTH)), np.full((HEIGHT, WIDTH), 90)], -1
    )
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    if kind == "HEIF":
        pillow_heif.from_pillow(image).save(out, **options)
    else:
        image.save(out, kind, **options)
    return out.getvalue()


def moving_noise(frames: int) -> Iterator[np.ndarray]:
    pixels = np.asarray(noise())
    return (np.roll(pixels, number, axis=1) for number in range(frames))


def film(kind: str = "mp4", codec: str = "libx264", *, shape: Fraction | None = None, **options: str) -> bytes:
    """Two seconds, red at the left, of noise that moves."""
    out = io.BytesIO()
    with av.open(out, "w", format=kind, options=options) as container:
        stream = container.add_stream(codec, rate=12)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.thread_count = 1  # then the bytes are the same each time
        if shape:
            stream.codec_context.sample_aspect_ratio = shape
        pixels = np.asarray(noise()).copy()
        for number in range(24):
            pixels = np.roll(pixels, number, axis=1)
            pixels[:, : WIDTH // 4] = (255, 0, 0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return out.getvalue()


PICTURES = {
    "image/jpeg": saved(noise(), "JPEG", quality=80),
    "image/png": saved(noise(), "PNG"),
    "image/gif": saved(noise(), "GIF"),
    "image/webp": saved(noise(), "WEBP"),
    "image/avif": saved(noise(), "AVIF", speed=10),
    "image/heic": saved(noise(), "HEIF"),
    "image/tiff": saved(noise(), "TIFF", compression="tiff_lzw"),
    "image/bmp": saved(noise(), "BMP"),
}
ANIMATIONS = {
    kind: saved(noise(), kind, save_all=True, append_images=[noise().rotate(90 * n) for n in range(1, 6)], duration=50)
    for kind in ("GIF", "WEBP", "PNG")
}


def matrix_profile(primaries: tuple[tuple[float, float, float], ...], gamma: float) -> bytes:
    """An ICC profile of a display: `primaries` are the XYZ (D50) of red, green and blue."""

    def fixed(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \x00\x00\x00\x00" + b"".join(map(fixed, values))

    text = b"desc\x00\x00\x00\x00" + struct.pack(">I", 5) + b"test\x00" + bytes(78)
    curve = b"curv\x00\x00\x00\x00" + struct.pack(">IH", 1, round(gamma * 256)) + b"\x00\x00"
    tags = {
        b"desc": text + bytes(-len(text) % 4),
        b"cprt": b"text\x00\x00\x00\x00none\x00\x00\x00\x00",
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
    }
    tags |= {b"rXYZ": xyz(primaries[0]), b"gXYZ": xyz(primaries[1]), b"bXYZ": xyz(primaries[2])}
    tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content
    header = struct.pack(">I4sI4s4s4s", at + len(body), b"test", 0x02400000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + b"".join(map(fixed, (0.9642, 1.0, 0.8249)))
    return header.ljust(128, b"\x00") + table + body


PROFILES = {
    "Adobe RGB": matrix_profile(((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446)), 2.2),
    "ProPhoto": matrix_profile(((0.7977, 0.2880, 0.0), (0.1352, 0.7119, 0.0), (0.0313, 0.0001, 0.8249)), 1.8),
    "Display P3": matrix_profile(((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)), 2.2),
    "exchanged colours": matrix_profile(
        ((0.3851, 0.7169, 0.0971), (0.4361, 0.2225, 0.0139), (0.1431, 0.0606, 0.7141)), 2.2
    ),
}


def by_littlecms(image: Image.Image, profile: bytes) -> np.ndarray:
    srgb = ImageCms.createProfile("sRGB")
    shown = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb, outputMode="RGB")
    return np.asarray(shown, np.int16)
