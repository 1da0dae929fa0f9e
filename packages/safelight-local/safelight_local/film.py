"""Films a still: the camera's path over it, light that wanders, steam that rises, one frame after the other."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from safelight.domain.untrusted.json import parse_json
from safelight.media import decode
from safelight.media.decode import Pixels
from safelight.media.mp4 import FRAMES_PER_SECOND, encode_mp4
from safelight_local.motion import LOOP_REACH, PUSH, Move, Pose, asks_for_orbit, pose, progress, read_move, widest_zoom
from safelight_local.picture import SUBJECT_BOX, SUBJECT_OUTLINE, Rendered, VideoOrder
from safelight_local.product import outline
from safelight_local.product.cutout import Box, bounds, cut
from safelight_local.raster import Field, blur, dice, field, grid, noise, resize, smoothstep, yuv_planes

LONG_EDGE = {"standard": 960, "std": 960, "pro": 1280}
DURATION_RANGE = (1.0, 10.0)
DEPTH_SHIFT = 0.014  # of the width: more, and the eye sees that there are just two planes
HOP = 0.05  # of the height: what comes to light below must not be much
END_BEGINS = 0.55
LIGHT_MIDDLE, LIGHT_REACH = 0.625, 2.35  # where the band is halfway, and how far it goes at speed 1
STEAM_TURN_SECONDS = 2.5
ORBIT_IS_A_SLIDE = "local: an orbit is filmed as a slide past the subject: one picture shows one side only"
LIGHT_EDGE = 240
CROP_SHARE_MIN = 0.62
FILL_SCALE = 4  # what is behind the subject is filled in at a quarter of the size: it has no detail
FILL_MARGIN = 9  # of the filled picture: the subject's soft edge and the shadow's darkest part
EXTENDED_EDGE_MAX = 2560
STEAM_PLACE = (0.5, 0.42, 0.16)  # where no subject is found: a little above the middle


@dataclass(frozen=True, slots=True)
class Plate:
    """A still made ready for the camera: larger than the frame by the nearest zoom, so that it is never enlarged.
    `cover` is the subject's place where it can stand apart from what is behind it."""

    pixels: Pixels
    behind: Pixels | None
    cover: Pixels | None


@dataclass(frozen=True, slots=True)
class Shot:
    move: Move
    width: int
    height: int
    frames: int
    plate: Plate
    end: Pixels | None
    veil: Field | None  # a steam texture that repeats downwards
    mouth: tuple[float, float, float]  # where steam leaves: x, y and half its width, parts of the frame


def film(order: VideoOrder) -> Rendered:
    still = decode.decode_image(order.start)
    move = read_move(order.prompt, str(order.settings.get("negative_prompt") or ""))
    width, height, warnings = _size(order.settings, still)
    shot = _prepared(order, move, _cropped(still, width / height), width, height)
    unused = [f"local: not used in a video: {role}" for role in order.unused_roles]
    if asks_for_orbit(order.prompt):
        unused.append(ORBIT_IS_A_SLIDE)
    content = encode_mp4(_frames(shot), width=width, height=height, to_planes=yuv_planes)
    return Rendered(content, "video/mp4", width, height, (*warnings, *unused))


def _prepared(order: VideoOrder, move: Move, still: Pixels, width: int, height: int) -> Shot:
    parts = bool(move.depth or move.swell or move.drop)
    subject = _subject(order.start, still) if parts or move.steam else None
    if subject is None:
        move = _as_a_whole(move)
    plate = _plate(still, subject if parts else None, move, width, height)
    end = None
    if order.end is not None:
        end = _fitted(_cropped(decode.decode_image(order.end), width / height), width, height)
    veil = _veil(order.seed) if move.steam > 0 else None
    mouth = _mouth(subject) if subject is not None else STEAM_PLACE
    return Shot(move, width, height, _frame_count(order.settings), plate, end, veil, mouth)


def _subject(start: bytes, still: Pixels) -> Field | None:
    """Return the subject's area if it can be told from its ground. Our own stills state it, or the box to look in."""
    height, width = still.shape[:2]
    facts = decode.probe_image(start)
    texts = decode.image_texts(start) if (facts.width, facts.height) == (width, height) else {}
    told = outline.from_text(texts.get(SUBJECT_OUTLINE, ""), width, height)
    if told is not None:
        return told
    found = cut(still, _told_box(texts))
    return found.cover if found.is_clean else None


def _told_box(texts: Mapping[str, str]) -> Box | None:
    try:
        box = tuple(float(part) for part in parse_json(texts.get(SUBJECT_BOX, "[]")))
    except (ValueError, TypeError):
        return None
    return box if len(box) == 4 and 0 <= box[0] < box[2] <= 1 and 0 <= box[1] < box[3] <= 1 else None


def _as_a_whole(move: Move) -> Move:
    """Give the movement of a single object to the camera, for pictures in which no object was found."""
    if not (move.swell or move.drop):
        return move
    return replace(move, push=move.push or PUSH, swell=0.0, drop=0.0)


def _frames(shot: Shot) -> Iterator[Pixels]:
    held = _camera(shot, 0.0) if shot.move.is_still else None
    for number in range(shot.frames):
        t = number / (shot.frames - 1)
        frame = _camera(shot, t) if held is None else held
        if shot.move.melt:
            frame = _melted(frame, shot.move, t)
        if shot.move.light or shot.veil is not None:
            frame = _alive(frame, shot, t)
        yield _towards_end(frame, shot.end, t) if shot.end is not None else frame


# --- camera --------------------------------------------------------------------------------------------------------


def _camera(shot: Shot, t: float) -> Pixels:
    at = pose(shot.move, t)
    if shot.plate.cover is None or shot.plate.behind is None:
        return _seen(shot.plate.pixels, _matrix(shot, at), shot)
    behind = _seen(shot.plate.behind, _matrix(shot, at), shot)
    nearer = _matrix(shot, _subject_pose(shot.move, at, t))
    colour, cover = _seen(shot.plate.pixels, nearer, shot), _seen(shot.plate.cover, nearer, shot)
    share = cover[..., None].astype(np.uint16)
    return np.asarray((colour * share + behind * (255 - share) + 127) // 255, np.uint8)


def _subject_pose(move: Move, at: Pose, t: float) -> Pose:
    """The subject is nearer than what is behind it, so that it moves a little more."""
    swing = LOOP_REACH * math.sin(2 * math.pi * t) if move.loop else 2 * progress(move, t) - 1
    swell = 1 + move.swell * move.speed * progress(move, t)
    fall = -_bounce(t) * HOP * min(1.0, move.speed) if move.drop else 0.0
    x = at.x + move.depth * move.speed * DEPTH_SHIFT * swing
    return Pose(at.zoom * swell, x, at.y - fall, at.turn)


def _bounce(t: float) -> float:
    """Return the height at time `t`: the object is lifted until 0.3, falls until 0.48 and then settles."""
    if t < 0.3:
        return 0.5 - 0.5 * math.cos(math.pi * t / 0.3)
    if t < 0.48:
        return 1 - ((t - 0.3) / 0.18) ** 2
    since = (t - 0.48) / 0.16
    return 0.22 * abs(math.sin(math.pi * since)) * math.exp(-1.6 * since)


def _matrix(shot: Shot, at: Pose) -> Any:
    """From the plate to the frame."""
    high, wide = shot.plate.pixels.shape[:2]
    scale = at.zoom * shot.width / wide
    turn = cv2.getRotationMatrix2D((wide / 2, high / 2), at.turn, scale)
    turn[0, 2] += shot.width / 2 - wide / 2 - at.x * shot.width
    turn[1, 2] += shot.height / 2 - high / 2 - at.y * shot.height
    return turn


def _seen(plate: Pixels, matrix: Any, shot: Shot) -> Pixels:
    border = cv2.BORDER_REPLICATE if plate.ndim == 3 else cv2.BORDER_CONSTANT
    size = shot.width, shot.height
    return np.asarray(cv2.warpAffine(plate, matrix, size, flags=cv2.INTER_CUBIC, borderMode=border), np.uint8)


def _plate(still: Pixels, cover: Field | None, move: Move, width: int, height: int) -> Plate:
    zoom = widest_zoom(move)
    size = round(width * zoom), round(height * zoom)
    pixels = _fitted(still, *size)
    if cover is None:
        return Plate(pixels, None, None)
    spread = np.clip(resize(cover, *size), 0, 1)
    return Plate(pixels, _filled_in(pixels, field(spread)), np.asarray(np.rint(spread * 255), np.uint8))


def _filled_in(pixels: Pixels, cover: Field) -> Pixels:
    """The surroundings carried on behind the subject, row by row: where the wall meets the table stays straight."""
    height, width = cover.shape
    small_size = max(8, width // FILL_SCALE), max(8, height // FILL_SCALE)
    small = field(cv2.resize(pixels, small_size, interpolation=cv2.INTER_AREA))
    hole = cv2.resize(cover, small_size, interpolation=cv2.INTER_AREA)
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (FILL_MARGIN, FILL_MARGIN))
    mask = cv2.dilate((np.asarray(hole) > 0.02).astype(np.uint8), brush)
    filled = field(cv2.resize(_bridged(small, mask > 0), (width, height), interpolation=cv2.INTER_CUBIC))
    share = blur(field(cv2.resize(mask, (width, height))), FILL_SCALE)[..., None]
    return np.asarray(np.rint(np.clip(pixels * (1 - share) + filled * share, 0, 255)), np.uint8)


def _bridged(small: Field, hole: Any) -> Field:
    """Each row's hole filled from its two sides; a row without sides takes after the nearest one that has some."""
    open_rows = np.flatnonzero(~hole.all(axis=1))
    if not len(open_rows):
        return small
    known = (~hole).astype(np.float32)
    spread = np.maximum(cv2.GaussianBlur(known, (0, 0), sigmaX=4, sigmaY=0.01), 1e-3)[..., None]
    sides = cv2.GaussianBlur(small * known[..., None], (0, 0), sigmaX=4, sigmaY=0.01) / spread
    filled, columns = small.copy(), np.arange(small.shape[1])
    for row in range(len(small)):
        source = open_rows[np.argmin(np.abs(open_rows - row))]
        beside, behind = columns[~hole[source]], columns[hole[row]]
        for channel in range(small.shape[2]):
            filled[row, behind, channel] = np.interp(behind, beside, sides[source, beside, channel])
    return field(filled)


# --- what moves besides the camera ---------------------------------------------------------------------------------


def _alive(frame: Pixels, shot: Shot, t: float) -> Pixels:
    width, height = _light_size(shot)
    gain = np.ones((height, width), np.float32)
    if shot.move.light:
        gain = gain + shot.move.light * _sweep(width, height, t, shot.move)
    bright = cv2.resize(np.clip(gain * 0.5, 0, 1), (shot.width, shot.height), interpolation=cv2.INTER_LINEAR)
    lit = frame.astype(np.float32) * (2.0 * np.asarray(bright))[..., None]
    if shot.veil is not None:
        steam = _steam(shot, width, height, t) * shot.move.steam
        veil = np.asarray(cv2.resize(steam, (shot.width, shot.height), interpolation=cv2.INTER_LINEAR))[..., None]
        lit = lit + (246.0 - lit) * veil
    return np.asarray(np.clip(np.rint(lit), 0, 255), np.uint8)


def _light_size(shot: Shot) -> tuple[int, int]:
    scale = LIGHT_EDGE / max(shot.width, shot.height)
    return max(8, round(shot.width * scale)), max(8, round(shot.height * scale))


def _sweep(width: int, height: int, t: float, move: Move) -> Field:
    """A soft band of light that crosses the picture; in a loop it goes to and fro."""
    x, y = grid(width, height)
    along = x * 0.8 + y * 0.45
    reach = LIGHT_REACH * move.speed
    place = LIGHT_MIDDLE + reach * (math.sin(2 * math.pi * t) / (2 * math.pi) if move.loop else t - 0.5)
    breath = 0.03 * move.speed * math.sin(2 * math.pi * t)
    return field(0.20 * np.exp(-(((along - place) / 0.24) ** 2)) + breath)


def _veil(seed: int) -> Field:
    chance = dice(seed, "veil")
    return field(noise(chance, 256, 256, 6, 3) + 0.5 * noise(chance, 256, 256, 12, 6))


def _steam(shot: Shot, width: int, height: int, t: float) -> Field:
    assert shot.veil is not None
    x, y = grid(width, height)
    left, foot, half = shot.mouth
    rise = shot.frames / FRAMES_PER_SECOND / STEAM_TURN_SECONDS * shot.move.speed
    if shot.move.loop:
        rise = max(1.0, float(math.floor(rise)))  # whole turns: the veil ends as it began
    sway = 0.02 * np.sin(2 * np.pi * (y * 2.2 + t * rise)) * np.clip(foot - y, 0, 1) * 3
    at_x = field(((x + sway - left) * 1.4 % 1.0) * 256)
    at_y = field(((y * 0.9 + t * rise) % 1.0) * 256)
    wisps = field(cv2.remap(shot.veil, at_x, at_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))
    spread = half * 0.55 + 0.16 * np.clip(foot - y, 0, 1)
    column = np.exp(-(((x + sway - left) / spread) ** 2))
    tall = smoothstep(foot + 0.01, foot - 0.08, y) * smoothstep(foot - 0.5, foot - 0.12, y)
    return field(np.clip(smoothstep(-0.15, 1.2, wisps) * column * tall * 0.8, 0, 0.8))


def _mouth(cover: Field) -> tuple[float, float, float]:
    left, top, right, bottom = bounds(cover)
    height, width = cover.shape
    return (left + right) / 2 / width, (top + 0.22 * (bottom - top)) / height, (right - left) / 2 / width


def _melted(frame: Pixels, move: Move, t: float) -> Pixels:
    height, width = frame.shape[:2]
    x, y = grid(width, height)
    strength = move.melt * move.speed * progress(move, t) * 0.035 * height
    wave = np.sin(2 * np.pi * (x * 3.1 + 0.3 * np.sin(2 * np.pi * x))) * 0.5 + 0.5
    at_y = y * height - 0.5 - strength * wave * (0.35 + y) * 1.2
    at_x = x * width - 0.5 + 0.25 * strength * np.sin(2 * np.pi * (y * 2.0 + t))
    border = cv2.BORDER_REFLECT_101
    return np.asarray(cv2.remap(frame, field(at_x), field(at_y), cv2.INTER_LINEAR, borderMode=border), np.uint8)


def _towards_end(frame: Pixels, end: Pixels, t: float) -> Pixels:
    """Dissolves into the end frame, which still comes a little nearer while it arrives."""
    share = float(smoothstep(END_BEGINS, 1.0, field(t)))
    if share <= 0:
        return frame
    height, width = frame.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 0, 1.0 + 0.06 * (1 - share))
    arriving = cv2.warpAffine(end, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.addWeighted(frame, 1 - share, arriving, share, 0), np.uint8)


# --- sizes ---------------------------------------------------------------------------------------------------------


def _size(settings: Any, still: Pixels) -> tuple[int, int, list[str]]:
    mode, warnings = str(settings.get("mode") or "standard"), []
    if mode not in LONG_EDGE:
        warnings.append(f"local: mode {mode!r} is not known, filmed as standard")
    edge = LONG_EDGE.get(mode, LONG_EDGE["standard"])
    ratio, unknown = _ratio(settings.get("aspect_ratio"), still)
    wide, high = (edge, edge / ratio) if ratio >= 1 else (edge * ratio, edge)
    return max(64, round(wide / 2) * 2), max(64, round(high / 2) * 2), warnings + unknown


def _ratio(stated: Any, still: Pixels) -> tuple[float, list[str]]:
    own = float(np.clip(still.shape[1] / still.shape[0], 0.25, 4.0))
    if not stated or str(stated) in ("auto", "match_input_image"):
        return own, []
    wide, _, high = str(stated).partition(":")
    if not (wide.isdecimal() and high.isdecimal() and int(wide) and int(high)):
        return own, [f"local: aspect ratio {stated!r} is not known, filmed as the start frame is"]
    return float(np.clip(int(wide) / int(high), 0.25, 4.0)), []


def _frame_count(settings: Any) -> int:
    low, high = DURATION_RANGE
    return round(min(high, max(low, float(settings.get("duration") or 5))) * FRAMES_PER_SECOND)


def _cropped(pixels: Pixels, ratio: float) -> Pixels:
    """The middle of the picture in this ratio; where too much would be lost, all of it, extended."""
    flat = _flattened(pixels)
    height, width = flat.shape[:2]
    wide, high = max(1, min(width, round(height * ratio))), max(1, min(height, round(width / ratio)))
    left, top = (width - wide) // 2, (height - high) // 2
    middle = np.ascontiguousarray(flat[top : top + high, left : left + wide])
    if wide * high >= CROP_SHARE_MIN * width * height:
        return middle
    return _extended(flat, ratio)


def _extended(flat: Pixels, ratio: float) -> Pixels:
    """The picture's edges carried on and blurred: walls and tables go on like that."""
    height, width = flat.shape[:2]
    wide, high = max(width, round(height * ratio)), max(height, round(width / ratio))
    scale = min(1.0, EXTENDED_EDGE_MAX / max(wide, high))
    wide, high, width, height = (max(2, round(edge * scale)) for edge in (wide, high, width, height))
    left, top = (wide - width) // 2, (high - height) // 2
    photo = _fitted(flat, width, height)
    edges = top, high - height - top, left, wide - width - left
    ground = field(cv2.copyMakeBorder(photo, *edges, cv2.BORDER_REPLICATE))
    inside = np.zeros((high, wide), np.float32)
    inside[top : top + height, left : left + width] = 1.0
    seam = 0.02 * max(wide, high)
    share = smoothstep(0.5, 1.0, blur(inside, seam))[..., None]
    mixed = blur(ground, seam) * (1 - share) + ground * share
    whole = np.asarray(np.rint(np.clip(mixed, 0, 255)), np.uint8)
    return np.concatenate([whole, np.full((high, wide, 1), 255, np.uint8)], axis=2)


def _flattened(pixels: Pixels) -> Pixels:
    """On white, where it was transparent."""
    share = pixels[..., 3:4].astype(np.uint16)
    flat = (pixels[..., :3] * share + 255 * (255 - share) + 127) // 255
    return np.concatenate([flat.astype(np.uint8), np.full_like(pixels[..., 3:4], 255)], axis=2)


def _fitted(pixels: Pixels, width: int, height: int) -> Pixels:
    shrinks = width * height < pixels.shape[0] * pixels.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LANCZOS4
    return np.asarray(cv2.resize(np.ascontiguousarray(pixels[..., :3]), (width, height), interpolation=how), np.uint8)
