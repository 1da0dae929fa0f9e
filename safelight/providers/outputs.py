"""The files in a vendor's answer, whatever its shape: a URL, a list, or an object with one under a usual name."""

import mimetypes
from typing import Any, Literal

from safelight.domain.errors import ProviderContractBroken
from safelight.providers.base import OutputFile
from safelight.redaction import excerpt

NAMES = ("url", "output", "video", "image", "images", "videos")
FILES_MAX = 20
_USUAL = {"image": "image/jpeg", "video": "video/mp4"}


def files_in(output: Any, kind: Literal["image", "video"], vendor: str) -> tuple[OutputFile, ...]:
    """Raises ProviderContractBroken where there is none."""
    urls = _urls(output)[:FILES_MAX]
    if not urls:
        raise ProviderContractBroken(f"{vendor}: no URL in the output {excerpt(str(output), 200)!r}", code="NO_URL")
    return tuple(OutputFile(mimetypes.guess_type(url.split("?")[0])[0] or _USUAL[kind], url=url) for url in urls)


def _urls(output: Any) -> list[str]:
    match output:
        case str() if output.startswith(("http://", "https://")):
            return [output]
        case list():
            return [url for one in output for url in _urls(one)]
        case dict():
            return next((found for name in NAMES if (found := _urls(output.get(name)))), [])
    return []
