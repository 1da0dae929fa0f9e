"""The path and the query of a request, checked before anything looks at them."""

import re
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

from safelight.domain.errors.base import InvalidInput

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_target(scope: Scope) -> None:
    """Raises InvalidInput for control characters and for what is not UTF-8, written out or percent-encoded."""
    _check("path", scope.get("raw_path") or scope["path"].encode())
    for pair in scope.get("query_string", b"").split(b"&"):
        name, _, value = pair.partition(b"=")
        _check(f"query.{_check('query', name)}", value)


def _check(field: str, encoded: bytes) -> str:
    """The text."""
    try:
        text = unquote_to_bytes(encoded).decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{field}: it must be UTF-8 text, percent-encoded.") from error
    if found := _CONTROL.search(text):
        raise InvalidInput(f"{field}: control characters (here U+{ord(found[0]):04X}) are not allowed.")
    return text
