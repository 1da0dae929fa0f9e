"""Foreign JSON, parsed into values that a database can hold."""

import json
import math
import re
from typing import Any

from safelight.domain.untrusted.text import storable

DEPTH_MAX = 100
NUMBER_CHARS_MAX = 40  # longer whole numbers become None

_OPENS = re.compile(r"[\[{]")


def parse_json(content: bytes | str) -> Any:
    """The parsed value. NUL and lone surrogates in texts are replaced; numbers that a database cannot hold become None:
    NaN, infinities, 1e400. Raises ValueError if it is no JSON, or is nested deeper than DEPTH_MAX."""
    text = text_of(content)
    try:
        value = json.loads(text, parse_constant=_nothing, parse_float=_finite, parse_int=_whole)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if len(_OPENS.findall(text)) > DEPTH_MAX and _is_deep(value):
        raise ValueError(f"it is nested deeper than {DEPTH_MAX}")
    return storable(value)


def text_of(content: bytes | str) -> str:
    """The bytes as UTF-8 text, whatever encoding was declared; invalid and unstorable characters are replaced."""
    decoded = content.decode("utf-8", "replace") if isinstance(content, bytes) else content
    return str(storable(decoded.removeprefix("\ufeff")))


def _nothing(_: str) -> None:
    return None


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _whole(digits: str) -> int | None:
    return int(digits) if len(digits) <= NUMBER_CHARS_MAX else None


def _is_deep(value: Any) -> bool:
    """Iterates level by level, without recursion."""
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        containers = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [item for items in containers for item in items]
        if not level:
            return False
    return True
