"""Takes a product out of its photo, and knows when it could not."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from safelight.media.decode import Pixels
from safelight_local.raster import Field, blur, field, resize, smoothstep

WORKING_EDGE = 256
SOURCE_EDGE_MAX = 1600
BORDER_NOISE_MAX = 14.0  # of 255: more, and the ground is not one colour
BACKDROP_DISTANCE = 11.0  # in Lab: how far from the ground's colour the product begins
AREA_SHARES = (0.03, 0.80)
BORDER_CONTACT_MAX = 0.03
SOLIDITY_MIN = 0.45
AGREEMENT_MIN = 0.90  # two cuts from different guesses must cover the same (intersection over union)
EDGE_CONTRAST_MIN = 12.0  # in Lab: the colours on the two sides of a true edge differ
GUESSED_EDGE_CONTRAST_MIN = 25.0  # a cut by colour models may follow the fur instead of the cat


Box = tuple[float, float, float, float]  # left, top, right, bottom as parts of the picture


@dataclass(frozen=True, slots=True)
class Subject:
    """A product alone. `tilt` is how much it was seen from above: 0 from the front, 1 straight down."""

    colour: Field
    cover: Field
    tilt: float
    is_print: bool = False


@dataclass(frozen=True, slots=True)
class Cut:
    """The area of the product in its photo: `cover` has the photo's size."""

    cover: Field
    is_clean: bool


def cut(pixels: Pixels, within: Box | None = None) -> Cut:
    """`within` tells where the product is, where that is known."""
    if float(np.mean(pixels[..., 3] < 128)) > 0.02:
        return _judged(field(pixels[..., 3] / 255.0), pixels, EDGE_CONTRAST_MIN)
    small, scale = _working_copy(pixels)
    if within:
        told = _largest_solid(_grab(small, _marks_in_box(small, within)))
        return _judged(_refined(told, pixels, scale), pixels, EDGE_CONTRAST_MIN)
    mask = _from_even_ground(small)
    if mask is not None:
        return _judged(_refined(_largest_solid(mask), pixels, scale), pixels, EDGE_CONTRAST_MIN)
    guessed, agreed = _from_colour_models(small)
    judged = _judged(_refined(_largest_solid(guessed), pixels, scale), pixels, GUESSED_EDGE_CONTRAST_MIN)
    return Cut(judged.cover, judged.is_clean and agreed)


def bounds(cover: Field, level: float = 0.5) -> tuple[int, int, int, int]:
    """left, top, right, bottom of what is covered."""
    rows, columns = np.where(np.any(cover > level, axis=1))[0], np.where(np.any(cover > level, axis=0))[0]
    if not len(rows):
        return 0, 0, cover.shape[1], cover.shape[0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def tilt_of(cover: Field) -> float:
    """Measure the bend of the lower edge: a saucer seen from above bends, a box seen from the front does not."""
    left, _, right, bottom = bounds(cover)
    width = right - left
    lower = _lower_edge(cover)
    near, far = lower[left + int(width * 0.45) : right - int(width * 0.45)], _flanks(lower, left, right)
    if width < 8 or not len(near) or not len(far):
        return 0.0
    drop = float(np.median(near) - np.median(far))
    # On an ellipse the edge has risen by 0.286 of its half height at 0.7 of its half width.
    return float(np.clip(drop / (0.286 * width / 2), 0.0, 1.0)) if bottom else 0.0


def bled(colour: Field, cover: Field) -> Field:
    """The product's own colours carried past its edge, so that nothing of the old ground shines through."""
    reach = max(1.2, 0.005 * max(cover.shape))
    depth = blur(cover, reach)
    core = field(depth > 0.96)
    inner = blur(field(colour * core[..., None]), 2 * reach) / np.maximum(blur(core, 2 * reach), 1e-3)[..., None]
    known = smoothstep(0.02, 0.2, blur(core, 2 * reach))
    trust = field(np.maximum(smoothstep(0.72, 0.97, depth), 1 - known))[..., None]
    return field(colour * trust + inner * (1 - trust))


def _flanks(lower: Field, left: int, right: int) -> Field:
    width = right - left
    one, other = left + int(width * 0.12), right - int(width * 0.18)
    return np.concatenate([lower[one : one + int(width * 0.06)], lower[other : other + int(width * 0.06)]])


def _lower_edge(cover: Field) -> Field:
    height = cover.shape[0]
    return field(height - np.argmax(cover[::-1] > 0.5, axis=0))


def _working_copy(pixels: Pixels) -> tuple[Pixels, float]:
    height, width = pixels.shape[:2]
    scale = min(1.0, WORKING_EDGE / max(height, width))
    size = max(8, round(width * scale)), max(8, round(height * scale))
    small = cv2.resize(np.ascontiguousarray(pixels[..., :3]), size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), scale


def _from_even_ground(small: Pixels) -> Field | None:
    """Everything that is not the one colour round the border, where there is such a colour."""
    lab = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2Lab), np.float32)
    rim = np.concatenate([lab[:3].reshape(-1, 3), lab[:, :3].reshape(-1, 3), lab[:, -3:].reshape(-1, 3)])
    ground = np.median(rim, axis=0)
    far = np.linalg.norm(rim - ground, axis=1)
    if float(np.percentile(far, 85)) > BORDER_NOISE_MAX:
        return None
    threshold = max(BACKDROP_DISTANCE, float(np.percentile(far, 90)) * 1.6)
    away = np.linalg.norm(cv2.GaussianBlur(lab, (0, 0), 0.8) - ground, axis=2)
    return _without_islands_of_ground(away <= threshold)


def _without_islands_of_ground(ground: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Field:
    """Ground is only what reaches the border: a white label on a white ground stays."""
    _, labels = cv2.connectedComponents(ground.astype(np.uint8))
    marks = np.asarray(labels)
    rim = np.unique(np.concatenate([marks[0], marks[-1], marks[:, 0], marks[:, -1]]))
    return field(~(np.isin(marks, rim) & ground))


def _from_colour_models(small: Pixels) -> tuple[Field, bool]:
    """Two cuts from a wide and a narrow first guess; they agree where there really is one object."""
    wide, narrow = (_grab(small, _marks_in_middle(small, *guess)) for guess in ((0.43, 0.15), (0.36, 0.10)))
    union = float(np.maximum(wide, narrow).sum())
    agreed = union > 0 and float(np.minimum(wide, narrow).sum()) / union >= AGREEMENT_MIN
    return wide, agreed


def _marks_in_middle(small: Pixels, reach: float, core: float) -> Pixels:
    height, width = small.shape[:2]
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot((x - width / 2) / width, (y - height / 2) / height)
    marks = np.full((height, width), cv2.GC_PR_BGD, np.uint8)
    marks[distance < reach] = cv2.GC_PR_FGD
    marks[distance < core] = cv2.GC_FGD
    edge = max(2, round(0.02 * width))
    marks[:edge], marks[-edge:], marks[:, :edge], marks[:, -edge:] = (cv2.GC_BGD,) * 4
    return marks


def _marks_in_box(small: Pixels, box: Box) -> Pixels:
    height, width = small.shape[:2]
    left, top, right, bottom = box
    y, x = np.mgrid[0:height, 0:width]
    across = np.abs(x / width - (left + right) / 2) / max(0.01, (right - left) / 2)
    down = np.abs(y / height - (top + bottom) / 2) / max(0.01, (bottom - top) / 2)
    marks = np.full((height, width), cv2.GC_BGD, np.uint8)
    marks[np.maximum(across, down) < 1.06] = cv2.GC_PR_BGD
    marks[np.hypot(across, down) < 1.04] = cv2.GC_PR_FGD
    marks[np.hypot(across, down) < 0.35] = cv2.GC_FGD
    return marks


def _grab(small: Pixels, marks: Pixels) -> Field:
    cv2.setRNGSeed(7)
    bgr = np.ascontiguousarray(small[..., ::-1])
    cv2.grabCut(bgr, marks, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    return field((marks == cv2.GC_FGD) | (marks == cv2.GC_PR_FGD))


def _largest_solid(mask: Field) -> Field:
    round_brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))
    closed = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, round_brush)
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        return field(opened)
    biggest = 1 + int(np.argmax(np.asarray(stats)[1:, cv2.CC_STAT_AREA]))
    return _small_holes_filled(np.asarray(labels) == biggest)


def _small_holes_filled(solid: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Field:
    _, labels, stats, _ = cv2.connectedComponentsWithStats((~solid).astype(np.uint8))
    areas = np.asarray(stats)[:, cv2.CC_STAT_AREA]
    small = np.where(areas < 0.004 * solid.size)[0]
    return field(solid | (np.isin(np.asarray(labels), small) & ~solid))


def _refined(mask: Field, pixels: Pixels, scale: float) -> Field:
    """The rough mask at full size: its outline smoothed, then drawn to the photo's own edges."""
    height, width = pixels.shape[:2]
    soft = blur(smoothstep(0.35, 0.65, blur(mask, 3.0)), 1.2)
    full = resize(soft, width, height)
    guide = field(cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2GRAY)) / 255.0
    guided = _guided(guide, smoothstep(0.3, 0.7, full), max(2, round(1.5 / scale)))
    near_edge = smoothstep(0.02, 0.3, full) * (1 - smoothstep(0.75, 0.98, full))
    drawn = full * (1 - 0.5 * near_edge) + guided * 0.5 * near_edge
    return smoothstep(0.42, 0.72, drawn)


def _guided(guide: Field, mask: Field, radius: int, epsilon: float = 1e-3) -> Field:
    def mean(values: Field) -> Field:
        return field(cv2.boxFilter(values, -1, (2 * radius + 1, 2 * radius + 1)))

    mean_guide, mean_mask = mean(guide), mean(mask)
    slope = (mean(guide * mask) - mean_guide * mean_mask) / (mean(guide * guide) - mean_guide**2 + epsilon)
    return field(np.clip(mean(field(slope)) * guide + mean(field(mean_mask - slope * mean_guide)), 0, 1))


def _judged(cover: Field, pixels: Pixels, contrast_min: float) -> Cut:
    solid = (cover > 0.5).astype(np.uint8)
    share = float(solid.mean())
    rim = np.concatenate([solid[0], solid[-1], solid[:, 0], solid[:, -1]])
    clean = (
        AREA_SHARES[0] <= share <= AREA_SHARES[1]
        and float(rim.mean()) <= BORDER_CONTACT_MAX
        and _solidity(solid) >= SOLIDITY_MIN
        and _edge_contrast(solid, pixels) >= contrast_min
    )
    return Cut(cover, clean)


def _solidity(solid: Pixels) -> float:
    contours = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    if not contours:
        return 0.0
    outline = max(contours, key=cv2.contourArea)
    hull = cv2.contourArea(cv2.convexHull(outline))
    return float(cv2.contourArea(outline) / hull) if hull else 0.0


def _edge_contrast(solid: Pixels, pixels: Pixels) -> float:
    """The weaker quarter of the colour differences between just inside and just outside of the outline."""
    lab = np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2Lab), np.float32)
    step = max(2, round(0.008 * max(solid.shape)))
    brush = np.ones((2 * step + 1, 2 * step + 1), np.uint8)
    inside, outside = solid - cv2.erode(solid, brush), cv2.dilate(solid, brush) - solid
    inner, outer = _mean_near(lab, inside, step), _mean_near(lab, outside, step)
    edge = np.asarray(cv2.morphologyEx(solid, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))) > 0
    if not edge.any():
        return 0.0
    return float(np.percentile(np.linalg.norm(inner[edge] - outer[edge], axis=-1), 25))


def _mean_near(values: Field, where: Any, radius: int) -> Field:
    weight = field(where)
    size = (4 * radius + 1, 4 * radius + 1)
    summed = field(cv2.boxFilter(values * weight[..., None], -1, size))
    return field(summed / np.maximum(cv2.boxFilter(weight, -1, size), 1e-4)[..., None])
