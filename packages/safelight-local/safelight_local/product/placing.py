"""A product in a scene: its size and place, its shadow, its reflection and the light on it."""

from dataclasses import dataclass

import cv2
import numpy as np

from safelight.media.decode import Pixels
from safelight_local.product.cutout import Subject, bled, bounds, cut, tilt_of
from safelight_local.raster import (
    Field,
    blur,
    bounded,
    dice,
    field,
    grid,
    linear,
    noise,
    over,
    resize,
    sample,
    smooth_resize,
    smoothstep,
    to_linear,
    warp,
)
from safelight_local.scene.backdrop import Stage
from safelight_local.scene.materials import material

SOURCE_EDGE_MAX = 2000
PRINT_MARGIN = 0.045
FLAT_TILT = 0.35  # from here on the product is seen so much from above that its shadow lies beside it
SHADOW_EDGE = 640
FLAT_SIZES = (0.70, 0.60)  # the part of the frame's width and height a product may fill
TALL_SIZES = (0.58, 0.62)
PRINT_SIZES = (0.74, 0.62)


@dataclass(frozen=True, slots=True)
class Placed:
    """A product at its place; arrays have the canvas's size."""

    colour: Field
    cover: Field
    box: tuple[int, int, int, int]
    tilt: float


def subject_of(pixels: Pixels) -> Subject:
    """The product without its ground, or, where it cannot be taken out cleanly, its photo as a print."""
    photo = bounded(pixels, SOURCE_EDGE_MAX)
    found = cut(photo)
    if not found.is_clean:
        return _print(photo)
    left, top, right, bottom = bounds(found.cover, 0.02)
    window = slice(top, bottom), slice(left, right)
    cover = found.cover[window]
    colour = bled(to_linear(np.ascontiguousarray(photo[..., :3]))[window], cover)
    return Subject(colour, cover, tilt_of(found.cover))


def frame_share(subject: Subject) -> tuple[float, float]:
    return PRINT_SIZES if subject.is_print else FLAT_SIZES if subject.tilt > FLAT_TILT else TALL_SIZES


def place(subject: Subject, stage: Stage) -> Placed:
    left, top, right, bottom = _box(subject, stage)
    size = right - left, bottom - top
    scale = size[0] / subject.cover.shape[1]
    colour = np.clip(_sharpened(resize(subject.colour, *size), scale), 0, 1.2)
    cover = np.clip(resize(subject.cover, *size), 0, 1)
    shape = stage.height, stage.width
    return Placed(
        _on_canvas(field(colour), left, top, shape),
        _on_canvas(field(cover), left, top, shape),
        (left, top, right, bottom),
        subject.tilt,
    )


def place_of(subject: Subject, stage: Stage) -> list[float]:
    """left, top, right, bottom as parts of the picture."""
    left, top, right, bottom = _box(subject, stage)
    parts = left / stage.width, top / stage.height, right / stage.width, bottom / stage.height
    return [round(part, 4) for part in parts]


def _box(subject: Subject, stage: Stage) -> tuple[int, int, int, int]:
    height, width = subject.cover.shape
    across, down = frame_share(subject)
    scale = min(across * stage.width / width, down * stage.height / height) * stage.scene.zoom
    size = max(2, round(width * scale)), max(2, round(height * scale))
    left = round(stage.centre * stage.width - size[0] / 2)
    top = round(stage.foot * stage.height - size[1] * (1 - 0.04 * subject.tilt))
    return left, top, left + size[0], top + size[1]


def lit(placed: Placed, stage: Stage) -> Field:
    """The product takes on a little of the scene's light; its own colours stay what they are."""
    left, _, right, _ = placed.box
    x = np.arange(stage.width, dtype=np.float32)
    across = np.clip((x - left) / max(1, right - left) * 2 - 1, -1, 1)
    shade = 1.0 + 0.10 * np.clip(across * stage.light_from, -1, 1)
    colour = placed.colour * field(shade)[None, :, None]
    for glow, side in ((stage.scene.glow, -1.0), (stage.scene.second_glow, 1.0)):
        if glow:
            near = np.clip(0.5 + 0.5 * across * side, 0, 1) ** 2
            colour = colour * (1 - 0.35 * near[None, :, None]) + colour * linear(glow) * near[None, :, None] * 1.1
    return field(colour + _rim(placed, stage))


def _rim(placed: Placed, stage: Stage) -> Field | float:
    if stage.scene.backlight <= 0:
        return 0.0
    reach = 0.006 * min(stage.width, stage.height)
    edge = np.clip(placed.cover - blur(placed.cover, reach * 2), 0, 1) * placed.cover
    tint = linear(stage.scene.second_glow) if stage.scene.second_glow else field([1.0, 0.96, 0.9])
    return field(edge[..., None] * tint * 0.9 * stage.scene.backlight)


def shadowed(canvas: Field, placed: Placed, stage: Stage) -> Field:
    if stage.scene.shadow <= 0:
        return canvas
    scale = min(1.0, SHADOW_EDGE / max(stage.width, stage.height))
    width, height = max(8, round(stage.width * scale)), max(8, round(stage.height * scale))
    cover = smooth_resize(placed.cover, width, height)
    box = [edge * scale for edge in placed.box]
    cast = _beside(cover, box, stage) if placed.tilt > FLAT_TILT else _behind(cover, box, stage)
    contact = _contact(cover, box, placed.tilt)
    dark = 1 - (1 - np.clip(0.66 * cast * stage.scene.shadow, 0, 0.9)) * (
        1 - np.clip(0.78 * contact * stage.scene.shadow, 0, 0.92)
    )
    full = smooth_resize(field(dark), stage.width, stage.height)
    tint = 1.0 - 0.25 * linear(stage.ground) / max(0.05, float(linear(stage.ground).max()))
    return field(canvas * (1.0 - full[..., None] * tint))


def reflected(canvas: Field, placed: Placed, lit_colour: Field, stage: Stage) -> Field:
    """The product mirrored in the surface, each column about its own lower edge, fading with the distance."""
    scene = stage.scene
    own_gloss = 0.0 if stage.set_piece == "plinth" else material(stage.surface).gloss
    strength = own_gloss if scene.reflection is None else scene.reflection
    if strength <= 0:
        return canvas
    _, top, _, bottom = placed.box
    height = stage.height
    lower = _lower_edges(placed, height)
    x, y = np.meshgrid(np.arange(stage.width, dtype=np.float32), np.arange(height, dtype=np.float32))
    below = field(y - lower[None, :])
    source = field(lower[None, :] - below * (1.0 + 0.5 * placed.tilt))
    cover = np.where(below > 0, sample(placed.cover, x, source), 0.0)
    fade = np.exp(-np.clip(below, 0, None) / max(4.0, (0.26 if placed.tilt < FLAT_TILT else 0.10) * (bottom - top)))
    soft = 0.004 * height
    mirrored = blur(sample(lit_colour, x, source), soft)
    return over(canvas, mirrored, blur(field(cover * fade * strength), soft * 0.6))


def with_steam(canvas: Field, placed: Placed, stage: Stage) -> Field:
    if stage.scene.steam <= 0:
        return canvas
    left, top, right, bottom = placed.box
    x, y = grid(384, 384)
    chance = dice(stage.seed, "steam")
    sway = 0.05 * noise(chance, 384, 384, 2, 4)
    streaks = noise(chance, 384, 384, 7, 2)
    bent = sample(field(streaks), field((x + sway) * 384), field(y * 384), wrap=True)
    middle, width = (left + right) / 2 / stage.width, (right - left) / stage.width
    foot = (top + 0.28 * (bottom - top)) / stage.height
    column = np.exp(-(((x - middle + sway * 1.5) / (0.17 * width + 0.05 * (foot - y).clip(0))) ** 2))
    rise = smoothstep(foot, foot - 0.08, y) * smoothstep(foot - 0.46, foot - 0.12, y)
    wisps = smoothstep(-0.1, 0.9, bent) * column * rise * 0.42 * stage.scene.steam
    veil = smooth_resize(blur(field(wisps), 3), stage.width, stage.height)
    return over(canvas, field(np.ones_like(canvas) * 0.95), field(np.clip(veil, 0, 0.8)))


# --- shadows -------------------------------------------------------------------------------------------------------


def _behind(cover: Field, box: list[float], stage: Stage) -> Field:
    """Standing: the shadow lies on the surface, away from the light, softer the farther it reaches."""
    height, width = cover.shape
    foot = box[3]
    lean, squash = -0.55 * stage.light_from, 0.20
    matrix = [[1.0, -lean, lean * foot], [0.0, squash, foot * (1 - squash)]]
    laid = warp(cover, matrix, width, height)
    near, far = _softness(stage, width)
    along = np.clip((foot - np.arange(height, dtype=np.float32)) / max(1.0, squash * (foot - box[1])), 0, 1)
    mixed = blur(laid, near) * (1 - along)[:, None] + blur(laid, far) * along[:, None]
    return field(mixed * (1 - 0.55 * along)[:, None])


def _beside(cover: Field, box: list[float], stage: Stage) -> Field:
    """Seen from above: the shadow is the product's own shape, moved away from the light."""
    height, width = cover.shape
    move = (box[2] - box[0]) * (0.10 + 0.04 * stage.scene.light_hardness)
    near, far = _softness(stage, width)
    close = warp(cover, [[1, 0, -move * stage.light_from], [0, 1, 0.32 * move]], width, height)
    wide = warp(cover, [[1, 0, -2.4 * move * stage.light_from], [0, 1, 0.7 * move]], width, height)
    return field(np.maximum(blur(close, near), blur(wide, far) * 0.8))


def _softness(stage: Stage, width: int) -> tuple[float, float]:
    soft = 1.0 - stage.scene.light_hardness
    return width * (0.004 + 0.012 * soft), width * (0.014 + 0.036 * soft)


def _contact(cover: Field, box: list[float], tilt: float) -> Field:
    """The dark line where things touch."""
    height, width = cover.shape
    tall = max(2.0, box[3] - box[1])
    band = field(cover * smoothstep(box[3] - (0.07 + 0.3 * tilt) * tall, box[3], grid(width, height)[1] * height))
    drop = max(1.0, 0.012 * tall)
    pressed = warp(band, [[1, 0, 0], [0, 1, drop]], width, height)
    return field(np.clip(blur(pressed, max(0.8, 0.012 * tall)) * 1.15, 0, 1))


# --- pictures ------------------------------------------------------------------------------------------------------


def _print(photo: Pixels) -> Subject:
    """A print with a white margin."""
    height, width = photo.shape[:2]
    margin = max(3, round(PRINT_MARGIN * min(height, width)))
    paper = np.full((height + 2 * margin, width + 2 * margin, 3), 0.88, np.float32)
    shown = photo[..., 3:4].astype(np.float32) / 255
    inner = slice(margin, margin + height), slice(margin, margin + width)
    paper[inner] = to_linear(np.ascontiguousarray(photo[..., :3])) * shown + 0.88 * (1 - shown)
    paper[margin - 1, margin : margin + width] = 0.66  # the edge of the mount throws a hair of shadow
    cover = np.zeros(paper.shape[:2], np.float32)
    cover[1:-1, 1:-1] = 1.0
    return Subject(paper, cover, 0.0, is_print=True)


def _sharpened(colour: Field, scale: float) -> Field:
    """Sharpen a product that was enlarged."""
    if scale <= 1.1:
        return colour
    return field(colour + 0.45 * (colour - blur(colour, min(2.2, 0.7 * scale))))


def _on_canvas(image: Field, left: int, top: int, shape: tuple[int, int]) -> Field:
    """`image` at its place, cropped where it leaves the canvas."""
    height, width = shape
    canvas = np.zeros((height, width, *image.shape[2:]), np.float32)
    x0, y0, x1, y1 = max(0, left), max(0, top), min(width, left + image.shape[1]), min(height, top + image.shape[0])
    if x1 > x0 and y1 > y0:
        canvas[y0:y1, x0:x1] = image[y0 - top : y1 - top, x0 - left : x1 - left]
    return canvas


def _lower_edges(placed: Placed, height: int) -> Field:
    """Return the smoothed lower end of each column; columns without product end so low that nothing is mirrored."""
    covered = placed.cover > 0.5
    has = np.asarray(covered.any(axis=0))
    lower = np.where(has, height - np.argmax(covered[::-1], axis=0), height * 4).astype(np.float32)
    if not has.any():
        return field(lower)
    left, right = int(np.argmax(has)), len(has) - int(np.argmax(has[::-1]))
    inside = lower[left:right][None]
    smooth = field(cv2.GaussianBlur(inside, (0, 0), max(1.0, 0.006 * len(has)), borderType=cv2.BORDER_REPLICATE))[0]
    lower[left:right] = np.where(inside[0] < height * 2, smooth, inside[0])
    return field(lower)
