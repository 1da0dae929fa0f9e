"""Files as we store them: decoded whole, in a format that browsers and vendors take, without personal metadata."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from safelight.domain.errors.base import AssetUnreadable
from safelight.media import decode, inspection, strip_metadata
from safelight.media.formats import EXIF_HEAD, HEAD_BYTES, MediaFacts, sniff
from safelight.media.strip_metadata import PartsUnclear

CONVERTED_SIDE_MAX = 4096
CONVERTED_QUALITY = 92
REMADE_QUALITY = 95

# The types that uploads are converted to, if browsers or vendors do not support their own.
UPLOADED_AS: Mapping[str, str] = {
    "image/avif": "image/webp",
    "image/heic": "image/jpeg",
    "image/heif": "image/jpeg",
    "image/tiff": "image/png",
    "image/bmp": "image/png",
}
# The same for results of vendors.
DELIVERED_AS: Mapping[str, str] = {**UPLOADED_AS, "image/heic": "image/webp", "image/heif": "image/webp"}

_PILLOW_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
_NAMES = {"image/avif": "AVIF", "image/heic": "HEIC", "image/tiff": "TIFF", "image/bmp": "BMP"}
_NAMES |= {"image/png": "PNG", "image/webp": "WebP", "image/jpeg": "JPEG"}


@dataclass(frozen=True, slots=True)
class Published:
    """`converted_from` is the original media type, if the file was converted."""

    content: bytes
    facts: MediaFacts
    converted_from: str | None = None

    @property
    def media_type(self) -> str:
        return self.facts.media_type


def converted_into(media_type: str | None) -> Mapping[str, str]:
    """The media type that uploads are converted to, for a place that takes this type."""
    return dict.fromkeys(UPLOADED_AS, media_type) if media_type in _PILLOW_FORMATS else UPLOADED_AS


def converted_text(before: str, after: str) -> str:
    """A sentence for customers about a conversion."""
    return f"The file came as {_NAMES[before]} and was converted to {_NAMES[after]}."


def bytes_to_publish(head: bytes) -> int:
    """Memory that `published` may take beside the file, by the beginning of the file."""
    is_converted = sniff(head[:HEAD_BYTES]) in UPLOADED_AS
    return decode.DECODE_BYTES_MAX if is_converted else inspection.bytes_to_inspect(head)


def published(content: bytes, stored_as: Mapping[str, str] = UPLOADED_AS) -> Published:
    """The file as it is stored, after it was decoded to its end. Raises AssetUnreadable if it is not a picture or
    video, is truncated, or is larger than we decode."""
    media_type = sniff(content[:HEAD_BYTES]) or ""
    if media_type in stored_as:
        return converted(content, stored_as[media_type])
    if media_type.startswith("video/"):
        return Published(strip_metadata.published(content, media_type), inspection.inspect_film(content))
    facts = inspection.inspect_picture(content)
    try:
        return Published(strip_metadata.published(content, media_type), facts)
    except PartsUnclear:
        return Published(_remade(content, media_type), facts)


def converted(content: bytes, media_type: str) -> Published:
    """Convert to this type: upright, in sRGB, no side longer than CONVERTED_SIDE_MAX. Raises AssetUnreadable."""
    before = sniff(content[:HEAD_BYTES])
    image = decode.open_picture(content)
    longest = max(image.size)
    small = decode.upright(content, image, math.ceil(longest / math.ceil(longest / CONVERTED_SIDE_MAX)))
    del image
    shown = _without_alpha(small) if media_type == "image/jpeg" or _is_opaque(small) else small
    facts = MediaFacts(media_type, *shown.size)
    return Published(_saved(shown, media_type, CONVERTED_QUALITY), facts, before)


def _is_opaque(image: Image.Image) -> bool:
    return image.getchannel("A").getextrema() == (255, 255)


def _without_alpha(image: Image.Image) -> Image.Image:
    """The picture on a white background."""
    if _is_opaque(image):
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(image)
    return white.convert("RGB")


def _remade(content: bytes, media_type: str) -> bytes:
    """The same pixels encoded again, with nothing beside them but the colour profile and the orientation."""
    image = decode.open_picture(content)
    if not isinstance(image, Image.Image) or media_type not in _PILLOW_FORMATS or getattr(image, "is_animated", False):
        raise AssetUnreadable("its parts cannot be told apart")
    try:
        image.load()
    except decode.DECODE_ERRORS as error:
        raise AssetUnreadable(f"the picture is not whole: {error!r}") from error
    profile, orientation = image.info.get("icc_profile"), decode.orientation_of(content, image)
    image.info = {name: value for name, value in image.info.items() if name == "transparency"}
    exif = EXIF_HEAD + strip_metadata.orientation_only(orientation) if orientation != 1 else b""
    return strip_metadata.published(
        _saved(image, media_type, REMADE_QUALITY, icc_profile=profile or b"", exif=exif), media_type
    )


def _saved(image: Image.Image, media_type: str, quality: int, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, _PILLOW_FORMATS[media_type], quality=quality, **options)
    return out.getvalue()
