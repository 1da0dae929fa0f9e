"""The outline of a still's product as text, which travels inside the still, so that a film cuts exactly there."""

import json
from typing import Any

import cv2
import numpy as np

from safelight_local.raster import Field, blur, field

UNITS = 10_000  # the picture's width and height in the text's numbers
DRAWN_SHIFT = 4  # OpenCV draws with 1/16 of a pixel
POINTS_MAX = 4_000
RINGS_MAX = 50
RING_AREA_MIN = 12.0  # in pixels: what is smaller is a speck
TOLERANCE_PIXELS = 0.5
SOFT_EDGE_PIXELS = 0.8


def to_text(cover: Field) -> str:
    """The rings round all that is covered, holes included; no text where there are too many points."""
    height, width = cover.shape
    found = cv2.findContours((cover > 0.5).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]
    large = sorted((ring for ring in found if cv2.contourArea(ring) >= RING_AREA_MIN), key=cv2.contourArea)
    rings = [cv2.approxPolyDP(ring, TOLERANCE_PIXELS, True)[:, 0] for ring in large[-RINGS_MAX:]]
    if sum(map(len, rings)) > POINTS_MAX:
        return "[]"
    parts = [np.rint((ring + 0.5) * (UNITS / width, UNITS / height)).astype(int).reshape(-1).tolist() for ring in rings]
    return json.dumps(parts, separators=(",", ":"))


def from_text(text: str, width: int, height: int) -> Field | None:
    """Return the area that the rings enclose, or None where the text is not an outline."""
    try:
        rings = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not _is_outline(rings):
        return None
    scale = np.array([width, height]) * (1 << DRAWN_SHIFT) / UNITS
    half = (1 << DRAWN_SHIFT) / 2
    drawn = [np.rint(np.array(ring).reshape(-1, 1, 2) * scale - half).astype(np.int32) for ring in rings]
    cover = np.zeros((height, width), np.uint8)
    cv2.fillPoly(cover, drawn, 255, cv2.LINE_AA, DRAWN_SHIFT)
    return blur(field(cover / 255.0), SOFT_EDGE_PIXELS)


def _is_outline(rings: Any) -> bool:
    if not isinstance(rings, list) or not 0 < len(rings) <= RINGS_MAX:
        return False
    if not all(isinstance(ring, list) and len(ring) >= 6 and len(ring) % 2 == 0 for ring in rings):
        return False
    numbers = [number for ring in rings for number in ring]
    return len(numbers) <= 2 * POINTS_MAX and all(type(each) is int and 0 <= each <= UNITS for each in numbers)
