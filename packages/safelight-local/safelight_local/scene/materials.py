"""Surfaces a product can stand on. Each is a square tile that repeats, as factors on the surface's own colour."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from safelight_local.colours import Rgb
from safelight_local.raster import Field, blur, clouds, dice, field, grid, noise, smoothstep

TILE = 1024


@dataclass(frozen=True, slots=True)
class Material:
    """`gloss` is how much it mirrors by itself; `tinted` how far it takes on the wall's colour."""

    colour: Rgb
    gloss: float
    tinted: float
    paint: Callable[[int], Field]
    repeats: float = 1.0


def material(name: str) -> Material:
    return MATERIALS.get(name, MATERIALS["sweep"])


def _in_colour(values: Field) -> Field:
    return field(np.repeat(values[..., None], 3, axis=2))


def _plain(seed: int) -> Field:
    return _in_colour(1.0 + 0.012 * clouds(dice(seed, "plain"), TILE, 6, 6, 4))


def _marble(seed: int) -> Field:
    chance = dice(seed, "marble")
    x, y = grid(TILE, TILE)
    bend_x, bend_y = clouds(chance, TILE, 3, 3), clouds(chance, TILE, 3, 3)
    tone = 1.0 + 0.05 * clouds(chance, TILE, 2, 2, 4)
    for cells, width, depth in ((2, 0.05, 0.42), (4, 0.035, 0.22), (8, 0.05, 0.08)):
        flow = noise(chance, TILE, TILE, cells, cells)
        at_x, at_y = field((x + 0.10 * bend_x) * TILE), field((y + 0.10 * bend_y) * TILE)
        bent = field(cv2.remap(flow, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))
        vein = np.exp(-np.abs(bent) / width) * (0.55 + 0.45 * noise(chance, TILE, TILE, 5, 5))
        tone = tone * (1.0 - depth * np.clip(vein, 0, 1))
    return field(tone[..., None] * (1.0 + (1.0 - tone[..., None]) * np.array([0.02, 0.0, -0.05], np.float32)))


def _wood(seed: int) -> Field:
    chance = dice(seed, "wood")
    x, y = grid(TILE, TILE)
    planks = 4
    board = np.floor(y * planks).astype(int) % planks
    shade = chance.uniform(0.88, 1.1, planks)[board]
    slide = chance.uniform(0, 1, planks)[board]
    wave = noise(chance, TILE, TILE, 3, 9)
    at_x, at_y = field(((x + slide) % 1.0) * TILE), field((y + 0.012 * wave) * TILE)
    rings = noise(chance, TILE, TILE, 2, 46)
    fibres = noise(chance, TILE, TILE, 10, 300)
    grain = field(cv2.remap(rings, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))
    seam = np.abs((y * planks) % 1.0 - 0.5) > 0.5 - 0.006
    tone = shade * (1.0 + 0.17 * grain + 0.07 * fibres) * np.where(seam, 0.45, 1.0)
    warm = np.stack([0.9 + 0.1 * tone, tone**1.05, tone**1.25], axis=-1)
    return field(tone[..., None] * warm / np.maximum(warm.mean(), 1e-3))


def _linen(seed: int) -> Field:
    chance = dice(seed, "linen")
    across, along = noise(chance, TILE, TILE, 260, 9), noise(chance, TILE, TILE, 9, 260)
    folds = clouds(chance, TILE, 2, 1, 3)
    return _in_colour(field(1.0 + 0.075 * across + 0.075 * along + 0.09 * folds))


def _stone(seed: int) -> Field:
    chance = dice(seed, "stone")
    large, layers = clouds(chance, TILE, 3, 4, 6), clouds(chance, TILE, 2, 22, 4)
    pits = smoothstep(0.55, 0.9, noise(chance, TILE, TILE, 60, 170) * smoothstep(-0.1, 0.5, layers))
    specks = noise(chance, TILE, TILE, 420, 420)
    return _in_colour(field((1.0 + 0.05 * large + 0.055 * layers + 0.03 * specks) * (1.0 - 0.25 * pits)))


def _concrete(seed: int) -> Field:
    chance = dice(seed, "concrete")
    pores = smoothstep(0.8, 0.9, noise(chance, TILE, TILE, 90, 90))
    return _in_colour(field((1.0 + 0.07 * clouds(chance, TILE, 3, 3, 6)) * (1.0 - 0.3 * pores)))


def _sand(seed: int) -> Field:
    chance = dice(seed, "sand")
    _, y = grid(TILE, TILE)
    ripples = np.sin(
        2 * np.pi * (y * 16 + 0.5 * noise(chance, TILE, TILE, 3, 3) + 0.2 * noise(chance, TILE, TILE, 7, 7))
    )
    specks = noise(chance, TILE, TILE, 500, 500)
    return _in_colour(field(1.0 + 0.07 * ripples + 0.06 * specks + 0.04 * clouds(chance, TILE, 4, 4, 3)))


def _water(seed: int) -> Field:
    chance = dice(seed, "water")
    waves = noise(chance, TILE, TILE, 10, 22) + 0.6 * noise(chance, TILE, TILE, 20, 44)
    crests = np.exp(-np.abs(waves) / 0.16)
    return _in_colour(field(0.86 + 0.34 * crests + 0.05 * waves))


def _terrazzo(seed: int) -> Field:
    chance = dice(seed, "terrazzo")
    tile = np.full((TILE, TILE, 3), 1.0, np.float32)
    chips = np.array([[0.55, 0.42, 0.34], [0.8, 0.6, 0.48], [0.45, 0.47, 0.5], [0.72, 0.72, 0.66]], np.float32)
    for _ in range(420):
        centre = chance.uniform(0, TILE, 2)
        angles = np.sort(chance.uniform(0, 2 * np.pi, 6))
        reach = chance.uniform(5, 22) * chance.uniform(0.6, 1.0, 6)
        corners = np.stack([centre[0] + reach * np.cos(angles), centre[1] + reach * np.sin(angles)], axis=-1)
        colour = chips[int(chance.integers(len(chips)))]
        cv2.fillPoly(tile, [np.rint(corners).astype(np.int32)], [float(part) for part in colour], cv2.LINE_AA)
    return blur(tile, 0.7)


MATERIALS = {
    "sweep": Material((0, 0, 0), 0.10, 1.0, _plain),
    "marble": Material((224, 221, 216), 0.24, 0.0, _marble, 1.1),
    "wood": Material((168, 116, 74), 0.08, 0.0, _wood, 1.2),
    "linen": Material((226, 216, 200), 0.0, 0.25, _linen, 1.6),
    "stone": Material((214, 203, 188), 0.10, 0.15, _stone, 1.2),
    "concrete": Material((158, 156, 152), 0.08, 0.1, _concrete, 1.0),
    "sand": Material((222, 196, 156), 0.0, 0.1, _sand, 1.6),
    "water": Material((120, 168, 184), 0.5, 0.45, _water, 1.4),
    "acrylic": Material((0, 0, 0), 0.45, 1.0, _plain),
    "terrazzo": Material((226, 220, 210), 0.16, 0.0, _terrazzo, 1.4),
}
