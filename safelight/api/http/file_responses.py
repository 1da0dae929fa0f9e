"""The answer that holds a stored file: whole, a part of it, or the word that the client has it already."""

import asyncio
import os
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import FileResponse
from starlette.staticfiles import NotModifiedResponse
from starlette.types import Receive, Scope, Send

from safelight.domain.errors.base import NotFound
from safelight.storage import keys

_FILES: dict[str, Any] = {media_type: {} for media_type in keys.EXTENSIONS}
_TEXT: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
FILE_RESPONSES: dict[int | str, Any] = {
    200: {"description": "The file.", "content": _FILES},
    206: {"description": "A part of it.", "content": _FILES},
    304: {"description": "The client has it: `If-None-Match` names it."},
    416: {"description": "The file has no such part.", "content": _TEXT},
}
FILE_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": _FILES}}


class StoredFileResponse(FileResponse):
    """Conditions and ranges as RFC 9110 has them: sections 13.1.2, 13.1.3 and 14.2. With `download_name` browsers save
    the file instead of showing it."""

    def __init__(self, path: Path, key: str, *, cache_control: str, download_name: str | None = None) -> None:
        headers = {"Cache-Control": cache_control, "X-Content-Type-Options": "nosniff"}
        super().__init__(path, media_type=keys.media_type_of_key(key), headers=headers, filename=download_name)
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.stat_result = await asyncio.to_thread(os.stat, self.path)
        except FileNotFoundError as error:
            raise NotFound(f"There is no file {self._key!r}.") from error
        self.set_stat_headers(self.stat_result)
        if self._is_known(Headers(scope=scope)):
            await NotModifiedResponse(self.headers)(scope, receive, send)
        else:
            await super().__call__(_without_unknown_range(scope), receive, send)

    def _is_known(self, asked: Headers) -> bool:
        """Return true if the client has this very file. `If-None-Match` goes before `If-Modified-Since`."""
        if (tags := asked.get("if-none-match")) is not None:
            known_tags = {tag.strip().removeprefix("W/") for tag in tags.split(",")}  # a weak one names the same file
            return tags.strip() == "*" or self.headers["etag"] in known_tags
        try:
            known = parsedate_to_datetime(asked.get("if-modified-since", ""))
            return parsedate_to_datetime(self.headers["last-modified"]) <= known
        except (ValueError, TypeError):  # no date; or one without a time zone, which cannot be compared
            return False


def _without_unknown_range(scope: Scope) -> Scope:
    """A range unit that is not known is ignored: the whole file is sent."""
    unit = Headers(scope=scope).get("range", "bytes=").partition("=")[0]
    if unit.strip().lower() == "bytes":
        return scope
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0].lower() != b"range"]}
