"""A still life of spheres, blocks and a pebble for briefs without a product."""

import numpy as np

from safelight_local.colours import Rgb, blend, shaded
from safelight_local.product.placing import FLAT_TILT, Placed, reflected, shadowed
from safelight_local.raster import Field, dice, field, grid, linear, over, smoothstep
from safelight_local.scene.backdrop import Stage, plinth


def arranged(canvas: Field, stage: Stage) -> Field:
    chance = dice(stage.seed, "shapes")
    tones = _tones(stage)
    side = -1.0 if chance.uniform() < 0.5 else 1.0
    canvas = plinth(stage, canvas, 0.20 * stage.width * stage.scene.zoom)
    balls = [
        (0.0, -0.012, 0.135, tones[0]),
        (side * 0.27, 0.075, 0.075, tones[1]),
        (-side * 0.235, 0.115, 0.045, tones[2]),
    ]
    for x, y, radius, tone in balls:
        canvas = _with_ball(canvas, stage, stage.centre + x, stage.foot + y, radius * stage.scene.zoom, tone)
    return canvas


def _tones(stage: Stage) -> tuple[Rgb, Rgb, Rgb]:
    return (
        shaded(stage.wall, 0.72, 1.5),
        blend(shaded(stage.wall, 1.2, 0.6), (250, 244, 236), 0.5),
        shaded(stage.wall, 0.45, 1.2),
    )


def _with_ball(canvas: Field, stage: Stage, centre: float, foot: float, radius: float, tone: Rgb) -> Field:
    width, height = stage.width, stage.height
    reach = radius * min(width, height)
    x, y = grid(width, height)
    across, up = (x - centre) * width / reach, (y * height - (foot * height - reach)) / reach
    distance = np.hypot(across, up)
    cover = smoothstep(1 + 1.2 / reach, 1 - 1.2 / reach, field(distance))
    facing = np.sqrt(np.clip(1 - distance**2, 0, 1))
    towards = np.array([0.62 * stage.light_from / 0.7, -0.55, 0.62])
    towards = towards / np.linalg.norm(towards)
    shade = np.clip(across * towards[0] + up * towards[1] + facing * towards[2], 0, 1)
    bounce = 0.16 * np.clip(up, 0, 1) + 0.20
    shine = np.clip(shade, 0, 1) ** 26 * 0.20
    colour = field(linear(tone) * (bounce + 0.95 * shade)[..., None] + shine[..., None])
    left, top = round(centre * width - reach), round(foot * height - 2 * reach)
    box = (left, top, left + round(2 * reach), top + round(2 * reach))
    placed = Placed(field(colour * (cover > 0)[..., None]), cover, box, FLAT_TILT / 2)
    canvas = reflected(canvas, placed, placed.colour, stage)
    return over(shadowed(canvas, placed, stage), colour, cover)
