"""Arrays of light: the few operations on them that everything else is made of. Values are linear, 1.0 is white."""

import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from safelight.media.decode import Pixels

Field = NDArray[np.float32]

GAMMA = 2.2
BAND_ROWS = 64
_TO_LINEAR = ((np.arange(256) / 255.0) ** GAMMA).astype(np.float32)


def dice(seed: int, what: str) -> np.random.Generator:
    """Chance that hangs on the seed and on what it decides only: one word more does not shift other decisions."""
    return np.random.default_rng([seed & 0xFFFFFFFF, zlib.crc32(what.encode())])


def field(values: Any) -> Field:
    return np.asarray(values, dtype=np.float32)


def to_linear(pixels: Pixels) -> Field:
    return field(_TO_LINEAR[pixels])


def to_pixels(light: Field) -> Pixels:
    """Band by band: a picture takes a fraction of what its light does."""
    pixels = np.empty(light.shape, np.uint8)
    for top in range(0, light.shape[0], BAND_ROWS):
        band = slice(top, top + BAND_ROWS)
        shown = cv2.pow(np.clip(light[band], 0.0, 1.0), 1.0 / GAMMA)
        pixels[band] = np.rint(np.asarray(shown) * 255.0)
    return pixels


def yuv_planes(pixels: Pixels) -> Pixels:
    """RGB as the planes that `encode_mp4` writes; the same on every machine."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2YUV_I420), np.uint8)


def linear(rgb: tuple[int, int, int]) -> Field:
    return field(_TO_LINEAR[np.array(rgb, np.uint8)])


def resize(image: Field, width: int, height: int) -> Field:
    """Down by area, up by Lanczos."""
    shrinks = width * height < image.shape[0] * image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4
    return field(cv2.resize(image, (max(1, width), max(1, height)), interpolation=how))


def bounded(pixels: Pixels, edge_max: int) -> Pixels:
    """The picture, no edge longer than this."""
    height, width = pixels.shape[:2]
    scale = min(1.0, edge_max / max(height, width))
    if scale == 1.0:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def smooth_resize(image: Field, width: int, height: int) -> Field:
    """For fields without detail: no overshoot, and fast."""
    return field(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR))


def blur(image: Field, sigma: float) -> Field:
    """Gaussian; wide ones are made small first, which nobody can tell apart."""
    if sigma < 0.3:
        return image
    height, width = image.shape[:2]
    factor = max(1, int(sigma / 6))
    if factor == 1:
        return field(cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))
    small = resize(image, max(2, width // factor), max(2, height // factor))
    soft = field(cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_REPLICATE))
    return smooth_resize(soft, width, height)


def warp(image: Field, matrix: Any, width: int, height: int) -> Field:
    """`matrix` (2x3) leads from the image to the result; outside of the image is nothing."""
    return field(cv2.warpAffine(image, field(matrix), (width, height), flags=cv2.INTER_LINEAR))


def sample(image: Field, x: Field, y: Field, *, wrap: bool = False) -> Field:
    border = cv2.BORDER_WRAP if wrap else cv2.BORDER_CONSTANT
    return field(cv2.remap(image, x, y, interpolation=cv2.INTER_LINEAR, borderMode=border))


def smoothstep(low: float, high: float, value: Field) -> Field:
    t = np.clip((value - low) / (high - low), 0.0, 1.0)
    return field(t * t * (3.0 - 2.0 * t))


def grid(width: int, height: int) -> tuple[Field, Field]:
    """x and y of every pixel centre, each from 0 to 1."""
    x = (np.arange(width, dtype=np.float32) + 0.5) / width
    y = (np.arange(height, dtype=np.float32) + 0.5) / height
    return np.broadcast_to(x, (height, width)), np.broadcast_to(y[:, None], (height, width))


def noise(chance: np.random.Generator, width: int, height: int, cells_x: float, cells_y: float) -> Field:
    """Smooth noise between -1 and 1 that repeats at its edges, with about so many lumps across and down."""
    across, down = max(2, round(cells_x)), max(2, round(cells_y))
    coarse = field(chance.uniform(-1.0, 1.0, (down, across)))
    padded = field(np.pad(coarse, 2, mode="wrap"))
    x, y = grid(width, height)
    at_x, at_y = field(x * across + 1.5), field(y * down + 1.5)
    return field(cv2.remap(padded, at_x, at_y, interpolation=cv2.INTER_CUBIC))


def clouds(chance: np.random.Generator, size: int, cells_x: float, cells_y: float, octaves: int = 5) -> Field:
    """Noise upon finer noise."""
    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        fine = 2.0**octave
        total += noise(chance, size, size, cells_x * fine, cells_y * fine) / fine
    return total


def over(canvas: Field, colour: Field, cover: Field) -> Field:
    """`colour` laid on `canvas` where `cover` is 1."""
    laid = field(colour - canvas)
    laid *= cover[..., None]
    laid += canvas
    return laid


def luminance(light: Field) -> Field:
    return field(light[..., :3] @ np.array([0.2126, 0.7152, 0.0722], np.float32))
