"""Escapes foreign text for output: control characters, line ends, and characters that cannot be stored."""

import json
import math
import re
from typing import Any

REPLACEMENT = "\ufffd"
TRACE_INDENT = "    "

# Control characters (C0, DEL, C1), line and paragraph separators, marks that change the direction of text, characters
# without width, and halves of surrogate pairs.
_ACTIVE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_MAY_BE_UNSTORABLE = (r"\u0000", r"\ud", "NaN", "Infinity")  # in JSON; most JSON has none and is not traversed


def printable(text: str) -> str:
    r"""The text on one line, with every control character escaped: a newline as `\n`, ESC as `\x1b`."""
    return _ACTIVE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def printable_lines(text: str, indent: str = "") -> str:
    """As `printable`, for text of several lines, such as a traceback. Lines are indented, so that none can be taken for
    a log line."""
    return "\n".join(indent + printable(line) for line in text.rstrip("\n").split("\n"))


def json_text(value: Any, **options: Any) -> str:
    r"""The value as JSON with control characters as `\u` escapes; NaN and infinities become null. `options` are those
    of `json.dumps`."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, **options)
    except ValueError:  # NaN or an infinity
        text = json.dumps(storable(value), ensure_ascii=False, **options)
    # Outside of strings the only such characters in JSON are the newlines between lines.
    return _ACTIVE.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text)


def storable(value: Any) -> Any:
    """The value as a database accepts it, at any depth: NUL and lone surrogates in texts are replaced; NaN and
    infinities become None."""
    match value:
        case str():
            return _UNSTORABLE.sub(REPLACEMENT, value)
        case float() if not math.isfinite(value):
            return None
        case dict():
            return {storable(key): storable(item) for key, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
    return value


def storable_json(value: Any) -> str:
    """JSON that a database accepts: see `storable`."""
    text = json.dumps(value)
    return json.dumps(storable(value)) if any(sign in text for sign in _MAY_BE_UNSTORABLE) else text
