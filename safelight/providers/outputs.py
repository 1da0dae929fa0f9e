"""Finds the files in a vendor's answer of any shape: a URL or a data URI, a list, or objects with one under a usual
name. A file that the vendor's filter has withheld does not count, even if there is a placeholder picture."""

import base64
import binascii
import mimetypes
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from safelight.domain.errors.base import ContentRefused, ProviderContractBroken, ProviderError
from safelight.providers.base import Json, Kind, OutputFile, Succeeded
from safelight.providers.errors import WITHHELD, VendorError, map_error, table
from safelight.redaction import excerpt

FILES_MAX = 20
TEXTS_READ_MAX = 50
TEXT_CHARS_READ = 500

# Names under which a file is expected, those of the ordered kind first.
_OF_KIND = {
    "image": ("images", "image", "image_url", "image_urls", "imageurl", "generated_images"),
    "video": ("videos", "video", "video_url", "video_urls", "videourl", "generated_videos"),
}
_OF_ANY = (
    "output", "outputs", "output_url", "url", "urls", "uri", "uris", "href", "src", "file", "files", "file_url",
    "fileurl", "download_url", "media", "media_url", "result", "results", "result_url", "sample", "samples",
    "artifact", "artifacts", "asset", "assets", "data", "content", "b64_json", "base64", "image_base64",
)  # fmt: skip
_AS_BASE64 = frozenset({"b64_json", "base64", "image_base64", "bytesbase64encoded"})
# Inputs and descriptions in the answer are not results.
_NOT_A_RESULT = frozenset({
    "input", "inputs", "request", "arguments", "params", "parameters", "prompt", "logs", "metrics", "timings",
    "webhook", "thumbnail", "thumbnails", "preview", "mask", "error", "detail",
})  # fmt: skip
_USUAL = {"image": "image/jpeg", "video": "video/mp4"}
_DATA_URI = re.compile(r"data:([^,;\s]{0,200})((?:;[^,;]{0,200}){0,8}),", re.IGNORECASE)
_SPACE = re.compile(rb"\s+")


@dataclass(frozen=True, slots=True)
class _Found:
    file: OutputFile
    is_withheld: bool = False


def succeeded(output: Any, kind: Kind, vendor: str, response: Json, warnings: tuple[str, ...]) -> Succeeded:
    """The files of a vendor's answer.

    Raises:
        ContentRefused: its filter has withheld them all, or it says in words why there is none.
        ProviderContractBroken: there is no file.
    """
    found = _files(output, kind)[:FILES_MAX]
    given = tuple(one.file for one in found if not one.is_withheld)
    if found and not given:
        raise map_error(VendorError(vendor, "result", 0, "its filter has withheld the result", frozenset({WITHHELD})))
    if not given:
        raise _error_without_file(output, vendor)
    withheld = len(found) - len(given)
    said = (f"{withheld} of {len(found)} results were withheld by the service's content filter.",) if withheld else ()
    return Succeeded(given, response, (*warnings, *said))


def _files(value: Any, kind: Kind, name: str = "") -> list[_Found]:
    match value:
        case str():
            file = _file(value, kind, name)
            return [_Found(file)] if file else []
        case list():
            return [found for one in value for found in _files(one, kind, name)]
        case dict():
            return _without_withheld(_files_under_names(value, kind), value)
    return []


def _files_under_names(given: Json, kind: Kind) -> list[_Found]:
    by_name = {str(key).lower(): item for key, item in given.items()}
    for name in (*_OF_KIND[kind], *_OF_ANY, *(name for names in _OF_KIND.values() for name in names)):
        if found := _files(by_name.get(name), kind, name):
            return found
    wrapped = (item for key, item in by_name.items() if isinstance(item, dict | list) and key not in _NOT_A_RESULT)
    return next((found for item in wrapped if (found := _files_in_objects(item, kind))), [])


def _files_in_objects(value: Any, kind: Kind) -> list[_Found]:
    """As `_files`, but a text counts as a file only under a known name."""
    items = value if isinstance(value, list) else [value]
    return [found for one in items if isinstance(one, dict | list) for found in _one_object(one, kind)]


def _one_object(value: Any, kind: Kind) -> list[_Found]:
    return _files_in_objects(value, kind) if isinstance(value, list) else _files(value, kind)


# --- one file --------------------------------------------------------------------------------------------------------


def _file(text: str, kind: Kind, name: str) -> OutputFile | None:
    text = text.strip()
    if text[:8].lower().startswith(("http://", "https://")):
        return OutputFile(mimetypes.guess_type(text.split("?")[0])[0] or _USUAL[kind], url=text)
    if text[:5].lower() == "data:":
        return _file_of_data_uri(text, kind)
    content = _from_base64(text.encode()) if name in _AS_BASE64 else None
    return OutputFile(_USUAL[kind], content=content) if content else None


def content_of(text: str) -> bytes | None:
    """The bytes of a data URI or of plain base64; None for other text."""
    file = _file(text, "image", "base64")
    return file.content if file else None


def _file_of_data_uri(text: str, kind: Kind) -> OutputFile | None:
    """None if the text is not a data URI. Its media type is only the vendor's claim."""
    head = _DATA_URI.match(text)
    if head is None:
        return None
    content: bytes | None = unquote_to_bytes(text[head.end() :])
    if head[2].lower().replace(" ", "").endswith(";base64"):
        content = _from_base64(content or b"")
    return OutputFile(head[1].lower() or _USUAL[kind], content=content) if content else None


def _from_base64(encoded: bytes) -> bytes | None:
    """Decode base64, also in its URL-safe form, with line breaks, or without padding. None for other text."""
    letters = _SPACE.sub(b"", encoded).rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
    try:
        return base64.b64decode(letters + b"=" * (-len(letters) % 4), validate=True)
    except binascii.Error:
        return None


# --- what is withheld ------------------------------------------------------------------------------------------------


def _without_withheld(found: list[_Found], given: Json) -> list[_Found]:
    """The files of an object that its flags do not withhold: one flag for all, or one for each file in order."""
    for name, value in given.items():
        if not table().is_flag(str(name)):
            continue
        flags = value if isinstance(value, list) else [value] * len(found)
        if len(flags) != len(found):
            flags = [any(_is_set(flag) for flag in flags)] * len(found)
        found = [_Found(one.file, one.is_withheld or _is_set(flag)) for one, flag in zip(found, flags, strict=True)]
    return found


def _is_set(flag: Any) -> bool:
    return flag is True or (isinstance(flag, str) and flag.strip().lower() in ("true", "yes"))


def _error_without_file(output: Any, vendor: str) -> ProviderError:
    """The error that a successful answer without files states in words."""
    texts = [text for text, _ in zip(_texts(output), range(TEXTS_READ_MAX), strict=False)]
    said = map_error(VendorError(vendor, "result", 0, "; ".join(texts)))
    if isinstance(said, ContentRefused):
        return said
    return ProviderContractBroken(f"{vendor}: no URL in the output {excerpt(str(output), 200)!r}", code="NO_URL")


def _texts(value: Any, name: str = "") -> Iterator[str]:
    match value:
        case str():
            yield f"{name}: {value[:TEXT_CHARS_READ]}" if name else value[:TEXT_CHARS_READ]
        case bool() if value and table().is_flag(name):
            yield f"{name}: {WITHHELD}"
        case list():
            for one in value:
                yield from _texts(one, name)
        case dict():
            for key, item in value.items():
                if str(key).lower() not in _NOT_A_RESULT - {"error", "detail", "logs"}:
                    yield from _texts(item, str(key))
