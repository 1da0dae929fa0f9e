"""Converts our sizes and aspect ratios to those of the image models, with warnings about differences."""

import math
import re
from collections.abc import Mapping
from typing import Any

LONG_EDGE = {"1K": 1024, "2K": 2048, "4K": 3840}
DEFAULT_SIZE, DEFAULT_RATIO = "2K", "1:1"
MATCH_INPUT = "match_input_image"
# Limits of the reference (2026-11-21): edges in steps of 16, at most 3:1, and so many pixels.
STEP = 16
EDGE_MAX = 3840
RATIO_MAX = 3.0
PIXELS_MIN, PIXELS_MAX = 655_360, 8_294_400
OFF_BY_MAX = 0.02
_THREE_SIZES = ((1024, 1024), (1536, 1024), (1024, 1536))  # the only sizes of the first models
_FIRST_MODELS = ("gpt-image-1", "chatgpt-image-latest")

Size = tuple[float, float]


def size_for(model: str, settings: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The tool's `size`, and warnings about it."""
    if settings.get("aspect_ratio") == MATCH_INPUT:
        return "auto", []
    wanted, warnings = _wanted(settings)
    made = _nearest(wanted) if model.startswith(_FIRST_MODELS) else _fitting(wanted)
    name = f"{made[0]}x{made[1]}"
    if not _is_close(wanted, made):
        warnings.append(f"openai: {wanted[0]:.0f}x{wanted[1]:.0f} was asked for; {model} makes {name} of it")
    return name, warnings


def _wanted(settings: Mapping[str, Any]) -> tuple[Size, list[str]]:
    warnings: list[str] = []
    size = str(settings.get("size") or DEFAULT_SIZE)
    exact = re.fullmatch(r"(\d{2,5})x(\d{2,5})", size)
    if exact:
        return (float(exact[1]), float(exact[2])), warnings
    if size not in LONG_EDGE:
        warnings.append(f"openai: the size {size[:40]!r} is not known, made {DEFAULT_SIZE}")
    ratio = str(settings.get("aspect_ratio") or DEFAULT_RATIO)
    parts = re.fullmatch(r"([1-9]\d{0,2}):([1-9]\d{0,2})", ratio)
    if not parts:
        warnings.append(f"openai: the aspect ratio {ratio[:40]!r} is not known, made {DEFAULT_RATIO}")
    wide, high = (int(parts[1]), int(parts[2])) if parts else (1, 1)
    unit = LONG_EDGE.get(size, LONG_EDGE[DEFAULT_SIZE]) / max(wide, high)
    return (wide * unit, high * unit), warnings


def _nearest(wanted: Size) -> tuple[int, int]:
    return min(_THREE_SIZES, key=lambda size: abs(math.log(size[0] / size[1]) - math.log(wanted[0] / wanted[1])))


def _fitting(wanted: Size) -> tuple[int, int]:
    """The size of the same shape within the limits that is nearest to the wanted one."""
    ratio = min(max(wanted[0] / wanted[1], 1 / RATIO_MAX), RATIO_MAX)
    long = min(max(wanted), EDGE_MAX)
    short = long / max(ratio, 1 / ratio)
    grown = max(1.0, math.sqrt(PIXELS_MIN / (long * short)))
    shrunk = min(1.0, math.sqrt(PIXELS_MAX / (long * short)))
    rounding = math.ceil if grown > 1 else math.floor if shrunk < 1 else round
    edges = [STEP * rounding(edge * grown * shrunk / STEP) for edge in (long, short)]
    return (edges[0], edges[1]) if ratio >= 1 else (edges[1], edges[0])


def _is_close(wanted: Size, made: tuple[int, int]) -> bool:
    return all(abs(is_ / was - 1) <= OFF_BY_MAX for was, is_ in zip(wanted, made, strict=True))
