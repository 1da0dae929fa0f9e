"""A logo as a quiet signature in the lower corner."""

import numpy as np

from safelight.media.decode import Pixels
from safelight_local.product.cutout import bounds
from safelight_local.raster import Field, field, luminance, over, resize, smoothstep, to_linear

WIDTH, HEIGHT, MARGIN = 0.16, 0.075, 0.05
GROUND_DISTANCE = 0.09
READABLE_DIFFERENCE = 0.16
PAPER, INK = 0.90, 0.03


def signed(canvas: Field, logo: Pixels, size: float) -> Field:
    colour, cover = _without_ground(logo)
    height, width = canvas.shape[:2]
    scale = min(WIDTH * size * width / cover.shape[1], HEIGHT * size * height / cover.shape[0])
    wide, high = max(2, round(cover.shape[1] * scale)), max(2, round(cover.shape[0] * scale))
    left, top = width - wide - round(MARGIN * min(width, height)), height - high - round(MARGIN * min(width, height))
    window = slice(max(0, top), max(0, top) + high), slice(max(0, left), max(0, left) + wide)
    under = canvas[window]
    small = np.clip(resize(cover, wide, high), 0, 1)[: under.shape[0], : under.shape[1]]
    ink = _readable(resize(colour, wide, high)[: under.shape[0], : under.shape[1]], field(small), under)
    signed_canvas = canvas.copy()
    signed_canvas[window] = over(under, ink, field(small * 0.94))
    return signed_canvas


def _without_ground(logo: Pixels) -> tuple[Field, Field]:
    """The mark alone: by its own transparency, else by what differs from an even ground, else all of it."""
    colour = to_linear(np.ascontiguousarray(logo[..., :3]))
    cover = field(logo[..., 3] / 255.0)
    if float(cover.min()) > 0.98:
        shown = logo[..., :3].astype(np.float32) / 255
        rim = np.concatenate([shown[0], shown[-1], shown[:, 0], shown[:, -1]])
        ground = np.median(rim, axis=0)
        if float(np.percentile(np.abs(rim - ground).max(axis=1), 90)) < GROUND_DISTANCE:
            cover = smoothstep(GROUND_DISTANCE, 3 * GROUND_DISTANCE, field(np.linalg.norm(shown - ground, axis=2)))
    left, top, right, bottom = bounds(cover, 0.3)
    return field(np.ascontiguousarray(colour[top:bottom, left:right])), field(
        np.ascontiguousarray(cover[top:bottom, left:right])
    )


def _readable(colour: Field, cover: Field, under: Field) -> Field:
    """A mark that would drown in its ground is shown in ink or in white."""
    weight = max(1e-3, float(cover.sum()))
    mark, ground = float((luminance(colour) * cover).sum()) / weight, float(luminance(under).mean())
    if abs(mark**0.45 - ground**0.45) >= READABLE_DIFFERENCE:
        return colour
    return field(np.full_like(colour, PAPER if ground < 0.3 else INK))
