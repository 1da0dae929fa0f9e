"""Colours and their English names, and the palette of a picture."""

import colorsys
import re
from dataclasses import dataclass

import cv2
import numpy as np

from safelight.media.decode import Pixels

Rgb = tuple[int, int, int]

# What a photographer would paint a wall in: a little greyed, never a screen primary.
NAMED: dict[str, Rgb] = {
    "black": (28, 27, 28), "charcoal": (54, 55, 58), "graphite": (70, 72, 76), "grey": (150, 150, 150),
    "gray": (150, 150, 150), "silver": (192, 194, 197), "white": (244, 243, 240), "ivory": (244, 238, 222),
    "cream": (243, 231, 206), "off-white": (240, 236, 228), "beige": (222, 202, 172), "sand": (214, 190, 154),
    "greige": (198, 188, 174), "taupe": (160, 146, 132), "brown": (116, 78, 52), "chocolate": (84, 54, 38),
    "caramel": (188, 128, 76), "tan": (202, 164, 124), "camel": (190, 150, 104), "coffee": (96, 68, 50),
    "terracotta": (196, 104, 74), "rust": (168, 80, 48), "copper": (184, 112, 72), "bronze": (150, 108, 66),
    "orange": (232, 136, 58), "apricot": (244, 184, 136), "peach": (246, 198, 168), "coral": (238, 128, 108),
    "salmon": (240, 152, 130), "red": (190, 48, 44), "crimson": (160, 30, 48), "burgundy": (104, 30, 42),
    "maroon": (104, 34, 36), "pink": (240, 176, 188), "blush": (238, 204, 196), "rose": (222, 150, 156),
    "magenta": (200, 50, 140), "fuchsia": (214, 60, 150), "purple": (112, 70, 140), "plum": (98, 54, 92),
    "violet": (128, 90, 170), "lavender": (204, 190, 226), "lilac": (208, 188, 220), "mauve": (184, 150, 172),
    "indigo": (62, 60, 124), "navy": (32, 46, 82), "blue": (76, 122, 180), "cobalt": (36, 78, 160),
    "azure": (110, 170, 220), "sky": (164, 202, 230), "turquoise": (84, 186, 184), "teal": (34, 116, 118),
    "cyan": (100, 200, 214), "aqua": (140, 212, 210), "mint": (188, 224, 202), "sage": (168, 182, 152),
    "olive": (120, 122, 70), "moss": (98, 112, 68), "green": (92, 140, 92), "emerald": (22, 104, 78),
    "forest": (44, 80, 58), "lime": (180, 206, 90), "yellow": (242, 206, 92), "mustard": (206, 158, 56),
    "gold": (206, 166, 92), "golden": (212, 172, 98), "lemon": (248, 228, 132), "amber": (226, 156, 62),
    "honey": (222, 166, 84), "slate": (98, 110, 122), "steel": (134, 146, 158),
}  # fmt: skip

_SHADES: dict[str, tuple[float, float]] = {  # what a word before the colour does to lightness and saturation
    "dark": (0.55, 1.0), "darker": (0.55, 1.0), "deep": (0.6, 1.15), "midnight": (0.45, 1.1), "light": (1.25, 0.75),
    "lighter": (1.25, 0.75), "pale": (1.35, 0.55), "pastel": (1.35, 0.65), "powder": (1.3, 0.55),
    "baby": (1.3, 0.7), "dusty": (1.05, 0.6), "muted": (1.0, 0.6), "bright": (1.15, 1.3), "vivid": (1.05, 1.6),
    "hot": (1.0, 1.6), "warm": (1.0, 1.0), "cool": (1.0, 1.0), "soft": (1.2, 0.75), "rich": (0.85, 1.25),
}  # fmt: skip

_NAMES = "|".join(sorted(NAMED, key=len, reverse=True))
COLOUR_PATTERN = rf"\b(?:(?P<shade>{'|'.join(_SHADES)})[ -])?(?P<colour>{_NAMES})(?:ish)?(?: (?P<second>{_NAMES}))?\b"


@dataclass(frozen=True, slots=True)
class Swatch:
    """`share` is the part of the picture that has about this colour."""

    rgb: Rgb
    share: float


def colour_of(match: re.Match[str]) -> Rgb:
    """Return the colour that a match of COLOUR_PATTERN names: `sky blue` is a blend of its two words."""
    first, second = NAMED[match["colour"]], match["second"]
    rgb = blend(first, NAMED[second], 0.4) if second else first
    lighter, purer = _SHADES.get(match["shade"] or "", (1.0, 1.0))
    return shaded(rgb, lighter, purer)


def blend(one: Rgb, other: Rgb, share: float) -> Rgb:
    mixed = [round(a + (b - a) * share) for a, b in zip(one, other, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def shaded(rgb: Rgb, lighter: float, purer: float = 1.0) -> Rgb:
    hue, light, purity = hls(rgb)
    light = light * lighter if lighter < 1 else 1 - (1 - light) / (lighter * lighter)
    channels = colorsys.hls_to_rgb(hue, min(0.97, max(0.03, light)), min(1.0, purity * purer))
    return round(channels[0] * 255), round(channels[1] * 255), round(channels[2] * 255)


def hls(rgb: Rgb) -> tuple[float, float, float]:
    return colorsys.rgb_to_hls(*(channel / 255 for channel in rgb))


def chroma(rgb: Rgb) -> float:
    """Return the distance from grey, from 0 to 1."""
    return (max(rgb) - min(rgb)) / 255


def name_of(rgb: Rgb) -> str:
    """The nearest everyday name."""
    lab = _lab(rgb)
    return min(_PLAIN, key=lambda name: float(np.linalg.norm(_PLAIN[name] - lab)))


def palette(pixels: Pixels, count: int = 5) -> list[Swatch]:
    """The main colours of the visible part of a picture, the most frequent first."""
    small = cv2.resize(pixels, (48, 48), interpolation=cv2.INTER_AREA)
    shown = np.asarray(small[small[..., 3] > 127, :3], np.uint8)
    if len(shown) < count:
        return [Swatch((128, 128, 128), 1.0)]
    lab = np.asarray(cv2.cvtColor(shown[None], cv2.COLOR_RGB2Lab)[0], np.float32)
    cv2.setRNGSeed(1)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    labels = np.asarray(
        cv2.kmeans(lab, count, np.zeros((len(lab), 1), np.int32), criteria, 2, cv2.KMEANS_PP_CENTERS)[1]
    ).ravel()
    groups = [shown[labels == label] for label in range(count) if np.any(labels == label)]
    swatches = [Swatch(_median(group), len(group) / len(shown)) for group in groups]
    return sorted(swatches, key=lambda swatch: -swatch.share)


def _median(group: Pixels) -> Rgb:
    red, green, blue = (int(channel) for channel in np.median(group, axis=0))
    return red, green, blue


def _lab(rgb: Rgb) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    scaled = np.array([[rgb]], np.float32) / 255
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2Lab)[0, 0], np.float32)


_PLAIN = {
    name: _lab(rgb)
    for name, rgb in {
        "black": (20, 20, 20), "charcoal": (60, 60, 62), "grey": (128, 128, 128), "silver": (192, 192, 194),
        "white": (245, 245, 245), "cream": (240, 228, 204), "beige": (214, 192, 162), "brown": (110, 72, 44),
        "dark brown": (60, 38, 26), "red-brown": (140, 52, 26), "tan": (190, 146, 104), "orange": (230, 130, 50),
        "peach": (244, 190, 156), "red": (196, 36, 36), "burgundy": (96, 24, 36), "pink": (238, 160, 176),
        "purple": (120, 64, 150), "lavender": (196, 180, 222), "navy": (28, 40, 84), "blue": (56, 104, 186),
        "sky blue": (140, 188, 228), "teal": (30, 120, 120), "mint": (176, 222, 196), "green": (70, 140, 70),
        "dark green": (30, 70, 44), "olive": (116, 118, 60), "yellow": (244, 210, 70), "gold": (204, 160, 80),
    }.items()
}  # fmt: skip
