"""The empty set: wall, surface, set piece and the light that falls on them."""

from dataclasses import dataclass

import cv2
import numpy as np

from safelight_local.colours import Rgb, blend, shaded
from safelight_local.raster import (
    Field,
    blur,
    clouds,
    dice,
    field,
    grid,
    linear,
    over,
    sample,
    smooth_resize,
    smoothstep,
    warp,
)
from safelight_local.scene.materials import TILE, material
from safelight_local.scene.scene import Scene

SOFT_EDGE = 480  # light has no detail: it is made small


@dataclass(frozen=True, slots=True)
class Stage:
    """A scene with every choice made. `edge` is where the surface ends, `horizon` where it would in infinity,
    `foot` where the product stands; all parts of the height."""

    scene: Scene
    width: int
    height: int
    seed: int
    wall: Rgb
    ground: Rgb
    light_from: float
    surface: str
    set_piece: str
    edge: float
    horizon: float
    foot: float
    centre: float


def build(stage: Stage) -> Field:
    """The set in its light, without the product."""
    wall, ground = _wall(stage), _ground(stage)
    _, y = grid(stage.width, stage.height)
    seam = 0.16 if stage.surface == "sweep" else 0.002 + 0.006 * (1 + stage.scene.backdrop_blur)
    on_ground = smoothstep(stage.edge - seam, stage.edge + seam, y)
    canvas = over(_with_set_piece(stage, wall), ground, on_ground)
    if stage.scene.backdrop_blur > 0:
        canvas = _defocused(stage, canvas)
    exposure = 2.0 ** (stage.scene.backdrop_stops)
    return field(canvas * _light(stage)[..., None] * exposure + _glows(stage) * min(1.0, exposure + 0.4))


def _wall(stage: Stage) -> Field:
    texture = clouds(dice(stage.seed, "wall"), 256, 3, 3, 5)
    shape = smooth_resize(texture, stage.width, stage.height)
    _, y = grid(stage.width, stage.height)
    foot_shade = 1.0 - (0.0 if stage.surface == "sweep" else 0.16) * smoothstep(stage.edge - 0.07, stage.edge, y)
    tone = (1.0 + 0.025 * shape) * (0.94 + 0.10 * y) * foot_shade
    return field(linear(stage.wall) * tone[..., None])


def _ground(stage: Stage) -> Field:
    made = material(stage.surface)
    x, y = grid(stage.width, stage.height)
    depth = np.maximum(y - stage.horizon, 0.02)
    near = 1.0 - stage.horizon
    shape = stage.width / stage.height
    across = field((x - 0.5) * shape * near / depth * made.repeats * 0.62 + 0.37)
    along = field(near / depth * (near + 0.35) * made.repeats * 0.9)
    tile = made.paint(stage.seed)
    painted = sample(tile, field((across % 1.0) * TILE), field((along % 1.0) * TILE), wrap=True)
    far = smoothstep(0.10, 0.0, field(y - stage.edge))[..., None] * 0.6  # fine patterns would flicker far away
    tone = painted * (1 - far) + field(tile.mean(axis=(0, 1))) * far
    return field(linear(stage.ground) * tone)


def _light(stage: Stage) -> Field:
    """Return the light on the set: a pool round the lamp's side, falling off to the other, times its pattern."""
    width, height = _soft_size(stage)
    x, y = grid(width, height)
    lamp_x, lamp_y = 0.5 + 0.36 * stage.light_from, 0.26
    shape = width / height
    away = np.hypot((x - lamp_x) * max(0.8, shape), (y - lamp_y) * max(0.9, 1 / shape) * 0.8)
    strength = 2.0**stage.scene.light_stops
    pool = np.exp(-((away / 0.62) ** 2))
    floor_pool = np.exp(-(((x - stage.centre - 0.1 * stage.light_from) / 0.5) ** 2 + ((y - stage.foot) / 0.34) ** 2))
    light = 0.68 + strength * (0.52 * pool + 0.20 * floor_pool)
    front = smoothstep(0.86, 1.12, y) * 0.16
    if stage.scene.backlight > 0:
        light = light * (1 - 0.25 * stage.scene.backlight) + 0.8 * stage.scene.backlight * _halo(stage, x, y)
    if stage.scene.pattern:
        light = light * _pattern(stage, width, height)
    return smooth_resize(field(light * (1 - front)), stage.width, stage.height)


def _halo(stage: Stage, x: Field, y: Field) -> Field:
    shape = stage.width / stage.height
    return field(np.exp(-((((x - stage.centre) * shape) / 0.34) ** 2 + ((y - stage.foot + 0.25) / 0.3) ** 2)))


def _glows(stage: Stage) -> Field:
    """Coloured lamps, one on each side."""
    width, height = _soft_size(stage)
    total = np.zeros((height, width, 3), np.float32)
    x, y = grid(width, height)
    lamps = ((stage.scene.glow, -0.02), (stage.scene.second_glow, 1.02))
    for colour, place in lamps:
        if colour:
            pool = np.exp(-(((x - place) / 0.5) ** 2 + ((y - 0.42) / 0.62) ** 2))
            total += pool[..., None] * linear(colour) * 0.55
    return smooth_resize(field(total), stage.width, stage.height) if total.any() else field(0.0)


def _pattern(stage: Stage, width: int, height: int) -> Field:
    """The shape of a window or of leaves in the light, leaning away from where it comes."""
    mask = _window() if stage.scene.pattern == "window" else _leaves(stage.seed)
    side = 1.0 if stage.light_from <= 0 else -1.0
    lean = 0.42 * side
    scale_x, scale_y = width / 512 * 1.0, height / 512 * 1.02
    matrix = [
        [scale_x, lean * scale_y * 0.8, width * (-0.17 if side > 0 else 0.17)],
        [0.20 * side * scale_x, scale_y, -0.11 * side * height],
    ]
    softness = 3 + (1 - stage.scene.light_hardness) * 16
    seen = blur(warp(mask, matrix, width, height), softness * width / 512)
    if stage.scene.pattern == "window":
        return field(0.70 + 0.52 * seen)
    return field(1.08 - 0.42 * seen)


def _window() -> Field:
    panes = np.zeros((512, 512), np.float32)
    for column in range(2):
        for row in range(3):
            left, top = 150 + column * 112, 40 + row * 138
            panes[top : top + 122, left : left + 98] = 1.0
    return panes


def _leaves(seed: int) -> Field:
    chance = dice(seed, "leaves")
    mask = np.zeros((512, 512), np.float32)
    for stem in range(6):
        start = np.array([chance.uniform(-80, 470), chance.uniform(-60, 40) + 210 * (stem % 3 == 2)])
        heading = chance.uniform(0.35, 1.2)
        for step in range(15):
            turned = heading + step * 0.035
            along = start + step * 30 * np.array([np.cos(turned), np.sin(turned)])
            for turn in (-0.85, 0.85):
                _leaf(mask, along, float(np.degrees(turned + turn)), 96 - step * 4)
    return mask


def _leaf(mask: Field, root: np.ndarray[tuple[int, ...], np.dtype[np.float64]], angle: float, length: float) -> None:
    reach = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))]) * length * 0.5
    centre = tuple(int(part) for part in root + reach)
    cv2.ellipse(mask, centre, (int(length * 0.5), int(length * 0.10)), angle, 0, 360, 1.0, -1, cv2.LINE_AA)


def _with_set_piece(stage: Stage, wall: Field) -> Field:
    if stage.set_piece not in ("arch", "disc"):
        return wall
    width, height = stage.width, stage.height
    x, y = grid(width, height)
    reach = min(0.36 * width, 0.34 * height)
    across = (x - stage.centre) * width
    middle = stage.edge * height - reach * (0.75 if stage.set_piece == "arch" else 0.45)
    down = y * height - middle
    distance = np.hypot(across, down)
    if stage.set_piece == "arch":
        distance = np.where(down > 0, np.abs(across), distance)
    inside = smoothstep(1.5, -1.5, field(distance - reach))
    shade = smoothstep(reach * 0.10, 0.0, field(np.abs(distance - reach) + 0.0)) * 0.12
    light_side = np.clip(across / reach * -stage.light_from, -1, 1) * 0.06
    inner = linear(shaded(stage.wall, 1.16 if stage.set_piece == "disc" else 0.84, 1.15))
    piece = field(inner * (1.0 - shade + light_side)[..., None])
    return over(wall, piece, inside)


def _defocused(stage: Stage, canvas: Field) -> Field:
    """The farther behind the product, the softer."""
    _, y = grid(stage.width, stage.height)
    soft = blur(canvas, stage.scene.backdrop_blur * 0.012 * stage.height)
    return over(canvas, soft, smoothstep(stage.foot - 0.02, stage.edge - 0.02, y))


def _soft_size(stage: Stage) -> tuple[int, int]:
    scale = min(1.0, SOFT_EDGE / max(stage.width, stage.height))
    return max(8, round(stage.width * scale)), max(8, round(stage.height * scale))


def plinth(stage: Stage, canvas: Field, half_width: float) -> Field:
    """A round block under the product: its top is an ellipse at the product's foot."""
    width, height = stage.width, stage.height
    x, y = grid(width, height)
    across = (x - stage.centre) * width / half_width
    flat = half_width * 0.22
    down = (y - stage.foot) * height
    top = smoothstep(
        1.0 + 2.5 / half_width, 1.0 - 2.5 / half_width, field(np.hypot(across, (down + 0.1 * flat) / flat))
    )
    depth = 0.13 * height
    curve = flat * np.sqrt(np.clip(1 - across**2, 0, 1)) - 0.1 * flat
    wall_part = smoothstep(1.0 + 2 / half_width, 1.0 - 2 / half_width, field(np.abs(across)))
    body = wall_part * smoothstep(-1.5, 1.5, field(down)) * smoothstep(1.5, -1.5, field(down - depth - curve))
    round_light = 0.62 + 0.34 * np.sqrt(np.clip(1 - (across + 0.55 * -stage.light_from * -1) ** 2 / 2.4, 0, 1))
    colour = linear(blend(stage.ground, stage.wall, 0.5)) * 2.0**stage.scene.backdrop_stops
    pool = blur(smoothstep(1.12, 0.9, field(np.hypot(across, (down - depth) / (flat * 1.15)))), 0.012 * width)
    canvas = field(canvas * (1 - 0.5 * stage.scene.shadow * pool * (1 - 0.4))[..., None])
    canvas = over(canvas, field(colour * round_light[..., None]), field(body))
    return over(canvas, field(np.broadcast_to(colour * 1.08, canvas.shape)), top)
