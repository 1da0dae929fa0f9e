"""Checks of URLs that clients state and we store: http and https only, so that showing or following one runs no code.

A field that is a URL is refused by `web_url`. In an object whose keys the client chose, a text is checked where its key
names a URL (`imageUrl`, `href`, `src`, …), and wherever it is a URL that runs or embeds something.
"""

import re
from collections.abc import Iterator
from typing import Any

from safelight.domain.errors.base import RemoteUrlInvalid
from safelight.storage.addresses import URL_CHARS_MAX, mended_url, plain_url

ALLOWED = (
    f"it must begin with http:// or https://, name a host, hold no password and have at most {URL_CHARS_MAX} characters"
)
_URL_NAME = re.compile(r"(?:ur[li]s?|href|src|links?)$", re.IGNORECASE)
# Browsers remove these before they read the scheme.
_LEFT_OUT = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_RUNS = re.compile(r"(?:javascript|vbscript|livescript)\s*:", re.IGNORECASE)
_EMBEDS = re.compile(r"data:[\w/+.;=-]*,|(?:file|ftp|filesystem):/|blob:\w", re.IGNORECASE)


def is_web_url(text: str) -> bool:
    try:
        plain_url(text)
    except RemoteUrlInvalid:
        return False
    return True


def is_web_reference(text: str) -> bool:
    """True for an http or https URL, or a relative one that cannot choose another host."""
    bare = _bare(text)
    if _SCHEME.match(bare):
        return is_web_url(text.strip())
    return not (bare.startswith("//") or "\\" in bare or _RUNS.match(bare))


def web_url(text: str) -> str:
    """The URL, corrected as browsers do. Raises ValueError, for the models of request bodies."""
    try:
        return mended_url(text)
    except RemoteUrlInvalid as error:
        raise ValueError(ALLOWED) from error


def unsafe_urls(value: Any, path: str, name: str = "") -> Iterator[str]:
    """The paths of unsafe URLs in a JSON value."""
    match value:
        case str() if is_unsafe(name, value):
            yield path
        case dict():
            for key, item in value.items():
                yield from unsafe_urls(item, f"{path}.{key}", key)
        case list():
            for number, item in enumerate(value):
                yield from unsafe_urls(item, f"{path}.{number}", name)


def without_unsafe_urls(value: Any, name: str = "", *, anywhere: bool = True) -> Any:
    """The JSON value with null for each unsafe URL; without `anywhere`, only for those whose key names a URL."""
    match value:
        case str():
            return None if (is_unsafe(name, value) if anywhere else _is_no_reference(name, value)) else value
        case dict():
            return {key: without_unsafe_urls(item, key, anywhere=anywhere) for key, item in value.items()}
        case list():
            return [without_unsafe_urls(item, name, anywhere=anywhere) for item in value]
    return value


def is_unsafe(name: str, text: str) -> bool:
    bare = _bare(text)
    return _is_no_reference(name, text) or bool(_RUNS.match(bare) or _EMBEDS.match(bare))


def _is_no_reference(name: str, text: str) -> bool:
    return bool(_URL_NAME.search(name)) and not is_web_reference(text)


def _bare(text: str) -> str:
    return _LEFT_OUT.sub("", text).strip()
