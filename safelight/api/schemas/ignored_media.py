"""Reference videos and sounds that a request names: no pipeline uses one, and whoever sends one is told so."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

DEPTH_MAX = 4
ITEMS_READ_MAX = 500
WARNINGS_MAX = 10
PATH_CHARS_MAX = 120

_NAME = re.compile(r"video|audio|music|sound|voice|song|speech|clip|film|footage", re.IGNORECASE)
_PICTURE = re.compile(r"image|img|photo|frame_?url|thumbnail|poster", re.IGNORECASE)
_SOUND = re.compile(r"audio|music|sound|voice|song|speech", re.IGNORECASE)
_VIDEO_FILE = re.compile(r"\.(?:mp4|mov|m4v|webm|mkv|avi|mpe?g)$", re.IGNORECASE)
_SOUND_FILE = re.compile(r"\.(?:mp3|wav|m4a|aac|ogg|oga|opus|flac)$", re.IGNORECASE)
_URL = re.compile(r"(?:https?://|data:(?:video|audio)/)", re.IGNORECASE)


def ignored_media(body: Any) -> dict[str, str]:
    """Return, by its URL, the warning about each reference video or sound in the body, WARNINGS_MAX of them at most."""
    found = {}
    for path, name, text in _texts(body, "", DEPTH_MAX):
        kind = _kind(name, text) if _URL.match(text) else None
        if kind:
            found[text] = f"{path[:PATH_CHARS_MAX]}: a reference {kind} cannot be used and was left out."
        if len(found) >= WARNINGS_MAX:
            break
    return found


def _kind(name: str, url: str) -> str | None:
    path = "" if url[:5].lower() == "data:" else _path(url)
    if _SOUND_FILE.search(path) or url[:11].lower() == "data:audio/":
        return "audio"
    if _VIDEO_FILE.search(path) or url[:11].lower() == "data:video/":
        return None if _PICTURE.search(name) else "video"
    if not _NAME.search(name) or _PICTURE.search(name):
        return None
    return "audio" if _SOUND.search(name) else "video"


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _texts(value: Any, path: str, depth: int, name: str = "") -> Iterator[tuple[str, str, str]]:
    """Path, name (with that of the object it is in) and text of the values that may be URLs."""
    if isinstance(value, str):
        yield path, name, value.strip()
    elif depth and isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for (key, item), _ in zip(items, range(ITEMS_READ_MAX), strict=False):
            own = f"{name.rpartition('.')[2]}.{key}" if isinstance(value, dict) else name
            yield from _texts(item, f"{path}.{key}" if path else str(key), depth - 1, own)
