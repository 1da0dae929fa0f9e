"""The input pictures of a request as OpenAI can read them: by URL if it is public, else inside the request."""

import base64
import ipaddress
from urllib.parse import urlsplit

from safelight.domain.errors.base import ProviderRejected
from safelight.media import decode
from safelight.media.decoding_pool import MediaPool
from safelight.providers.base import Json, ReadImage, ReferenceImage

INLINE_BYTES_MAX = 50_000_000  # of all pictures of one request together
PICTURE_BYTES_MAX = 4 * 1024 * 1024
_READABLE = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_HOME_NAMES = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".test")


class Pictures:
    def __init__(self, read_image: ReadImage, pool: MediaPool | None = None) -> None:
        self._read = read_image
        self._pool = pool or MediaPool(decode.DECODE_BYTES_MAX)

    async def of(self, images: tuple[ReferenceImage, ...]) -> list[Json]:
        """Each picture after a line that names its role, in the request's order."""
        parts: list[Json] = []
        inline_bytes = 0
        for number, image in enumerate(images, 1):
            url = await self._url(image)
            inline_bytes += len(url) if url.startswith("data:") else 0
            if inline_bytes > INLINE_BYTES_MAX * 4 // 3:
                raise ProviderRejected(f"openai: pictures have at most {INLINE_BYTES_MAX} bytes", code="TOO_LARGE")
            parts.append({"type": "input_text", "text": f"Picture {number}: {image.role.replace('_', ' ')}"})
            parts.append({"type": "input_image", "image_url": url, "detail": "auto"})
        return parts

    async def _url(self, image: ReferenceImage) -> str:
        if image.content is None and is_readable_from_outside(image.url):
            return image.url
        content = image.content if image.content is not None else await self._read(image.url)
        return await self._pool.run(decode.bytes_to_decode(content), lambda: _data_url(content))


def is_readable_from_outside(url: str) -> bool:
    """False for loopback, private addresses and names of local networks."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith(_HOME_NAMES)


def _data_url(content: bytes) -> str:
    """The picture as a data URL; formats that OpenAI does not read, such as AVIF, become PNG, and large pictures are
    reduced. Raises AssetUnreadable if it is not a picture."""
    content = decode.reduced(content, bytes_max=PICTURE_BYTES_MAX)
    media_type = _READABLE.get(decode.probe_image(content).format)
    if media_type is None:
        content, media_type = decode.encode_png(decode.decode_image(content)), "image/png"
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
