"""The shape and the length of a result, held against what was ordered."""

import re
from typing import Any

Json = dict[str, Any]

SHAPE_OFF_BY_MAX = 0.05  # services make sizes in steps; the nearest two of our ratios are 6 % apart
SECONDS_OFF_BY_MAX = 0.75
SECONDS_OFF_BY_SHARE = 0.1

_RATIO = re.compile(r"([1-9]\d{0,3}):([1-9]\d{0,3})")


def differences(ordered: Json, result: Json) -> list[str]:
    """A sentence for each way in which the result is not what the customer has ordered: its shape, its length."""
    found = [_of_shape(ordered.get("aspect_ratio"), result), _of_length(ordered.get("duration"), result)]
    return [one for one in found if one]


def _of_shape(ratio: Any, result: Json) -> str | None:
    parts = _RATIO.fullmatch(ratio) if isinstance(ratio, str) else None
    width, height = result["width"], result["height"]
    if parts is None or not width or not height:
        return None
    off_by = (width / height) / (int(parts[1]) / int(parts[2]))
    if max(off_by, 1 / off_by) - 1 <= SHAPE_OFF_BY_MAX:
        return None
    return f"{ratio} was ordered; the result is {_named(width, height)} ({width} x {height})."


def _named(width: int, height: int) -> str:
    """The shape as people say it, e.g. 16:9; else as a number to one."""
    for long, short in ((1, 1), (5, 4), (4, 3), (3, 2), (16, 9), (2, 1), (21, 9)):
        for wide, high in ((long, short), (short, long)):
            if abs((width / height) / (wide / high) - 1) <= 0.02:
                return f"{wide}:{high}"
    return f"{width / height:.2f}:1"


def _of_length(ordered: Any, result: Json) -> str | None:
    seconds = result["seconds"]
    if not isinstance(ordered, int | float) or isinstance(ordered, bool) or not seconds:
        return None
    if abs(seconds - ordered) <= max(SECONDS_OFF_BY_MAX, SECONDS_OFF_BY_SHARE * ordered):
        return None
    return f"{ordered:g} s were ordered; the result has {seconds:.1f} s."
