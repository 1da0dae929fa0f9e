"""Looks at a picture and says what can be seen: colours, light, place and shape. It does not know what things are."""

from dataclasses import dataclass

import cv2
import numpy as np

from safelight.media.decode import Pixels
from safelight_local.colours import name_of, palette
from safelight_local.product.cutout import bounds, cut, tilt_of
from safelight_local.raster import Field, field, smoothstep

LOOKING_EDGE = 512
DARK, BRIGHT = 70.0, 168.0
SOFT_CONTRAST, HARD_CONTRAST = 34.0, 66.0
DETAIL = 9.0
WARMTH = 14.0


@dataclass(frozen=True, slots=True)
class Sight:
    """`subject` and `ground` are colour names, the most telling first."""

    subject: tuple[str, ...]
    ground: tuple[str, ...]
    brightness: str
    light: str
    shape: str
    place: str
    size: str
    texture: str
    format: str
    is_alone: bool
    from_above: bool


def look(pixels: Pixels) -> Sight:
    small = _small(pixels)
    found = cut(small)
    cover = found.cover if found.is_clean else _middle(small)
    grey = field(cv2.cvtColor(np.ascontiguousarray(small[..., :3]), cv2.COLOR_RGB2GRAY))
    ground = _masked(small, 1 - cover)
    return Sight(
        subject=_names(_masked(small, cover)),
        ground=_names(ground),
        brightness=_brightness(float(grey.mean())),
        light=_light(small, grey),
        shape=_shape(cover) if found.is_clean else "",
        place=_place(cover) if found.is_clean else "",
        size=_size(float((cover > 0.5).mean())) if found.is_clean else "",
        texture=_texture(grey, cover),
        format=_format(*pixels.shape[:2]),
        is_alone=found.is_clean,
        from_above=found.is_clean and tilt_of(cover) > 0.35,
    )


def caption(sight: Sight, role: str) -> str:
    """One or two sentences, as a prompt can use them."""
    opening = f"{_capital(_article(sight.brightness))} {sight.brightness}, {sight.light} picture"
    ground = f"{sight.texture} {sight.ground[0]}"
    if role == "logo":
        return f"A {_listed(sight.subject[:2])} mark on {_article(sight.ground[0])} {sight.ground[0]} ground."
    if role == "inspiration":
        return f"{opening} in {_listed(_both(sight))}, with a {sight.texture} background, in {sight.format} format."
    if not sight.is_alone:
        return (
            f"{opening}, mostly {_listed(_both(sight))}, with {sight.texture} surroundings, in {sight.format} format."
        )
    view = ", seen from above" if sight.from_above else ""
    what = f"{_capital(_article(sight.shape))} {sight.shape} object in {_listed(sight.subject)}"
    return (
        f"{what} on a {ground} ground{view}, {sight.place} and {sight.size}. "
        f"The picture is {sight.brightness} and {sight.light}, in {sight.format} format."
    )


def spoken(sight: Sight, role: str) -> str:
    """Return the message for the person who waits."""
    first = sight.subject[0]
    if role == "logo":
        return f"Your logo reads well: {_listed(sight.subject[:2])} on {sight.ground[0]}."
    if role == "inspiration":
        return f"Lovely mood: {_listed(_both(sight)[:2])}, {sight.light}."
    if role in ("still", "video_frame"):
        return f"Here it is: {first} tones against {_listed(sight.ground[:2])}, {sight.light}."
    if not sight.is_alone:
        return f"I see {_listed(_both(sight)[:3])} tones, {sight.light}."
    what = f"{_article(sight.shape)} {sight.shape} {first} object"
    return f"I see {what} on {sight.texture} {sight.ground[0]}, {sight.light}."


def _small(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    scale = min(1.0, LOOKING_EDGE / max(height, width))
    size = max(16, round(width * scale)), max(16, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _middle(small: Pixels) -> Field:
    height, width = small.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    return smoothstep(0.42, 0.30, field(np.hypot(x / width - 0.5, y / height - 0.5)))


def _masked(pixels: Pixels, cover: Field) -> Pixels:
    seen = pixels.copy()
    seen[..., 3] = np.where(cover > 0.6, seen[..., 3], 0)
    return seen


def _names(pixels: Pixels) -> tuple[str, ...]:
    names = [name_of(swatch.rgb) for swatch in palette(pixels, 4) if swatch.share > 0.08]
    return tuple(dict.fromkeys(names))[:3] or ("grey",)


def _both(sight: Sight) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*sight.ground[:2], *sight.subject[:2])))[:3]


def _brightness(mean: float) -> str:
    return "dark" if mean < DARK else "bright" if mean > BRIGHT else "balanced"


def _light(small: Pixels, grey: Field) -> str:
    red, _, blue = (float(channel) for channel in small[..., :3].reshape(-1, 3).mean(axis=0))
    tones = ["warmly"] if red - blue > WARMTH else ["coolly"] if blue - red > WARMTH else []
    spread = float(grey.std())
    manner = " and ".join(["softly"] * (spread < SOFT_CONTRAST) + tones) or "evenly"
    return f"{manner} lit{' with strong contrast' if spread > HARD_CONTRAST else ''}"


def _texture(grey: Field, cover: Field) -> str:
    detail = np.abs(grey - field(cv2.GaussianBlur(grey, (0, 0), 2.0)))
    weight = (cover < 0.1).astype(np.float32)
    amount = float((detail * weight).sum() / max(1.0, float(weight.sum())))
    return "textured" if amount > DETAIL / 2 else "smooth"


def _shape(cover: Field) -> str:
    left, top, right, bottom = bounds(cover)
    wide, high = right - left, bottom - top
    filled = float((cover[top:bottom, left:right] > 0.5).mean())
    if wide > 1.9 * high:
        return "long, flat"
    if high > 1.6 * wide:
        return "tall, slender"
    return "round" if 0.66 < filled < 0.87 else "compact" if filled >= 0.87 else "finely shaped"


def _place(cover: Field) -> str:
    left, _, right, _ = bounds(cover)
    middle = (left + right) / 2 / cover.shape[1]
    return "left of the centre" if middle < 0.42 else "right of the centre" if middle > 0.58 else "in the centre"


def _size(share: float) -> str:
    return (
        "filling much of the frame" if share > 0.38 else "small in the frame" if share < 0.12 else "with room around it"
    )


def _format(height: int, width: int) -> str:
    return "portrait" if height > 1.1 * width else "landscape" if width > 1.1 * height else "square"


def _listed(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _article(word: str) -> str:
    return "an" if word[:1] in "aeiou" else "a"


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:]
