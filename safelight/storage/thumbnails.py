"""Thumbnails of stored files (256, 512 and 1024 pixels, WebP): made on first request, then kept."""

from safelight.domain.errors.base import InvalidInput, NotFound
from safelight.media import decode
from safelight.storage import keys
from safelight.storage.assets import AssetStore

FOLDER = keys.THUMBNAILS
SIZES = (256, 512, 1024)
QUALITY = 85


def thumbnail_key(key: str, size: int) -> str:
    return f"{FOLDER}/{size}/{key}.webp"


def original_of(key: str) -> str:
    return key.split("/", 2)[2].removesuffix(".webp")


async def thumbnail(assets: AssetStore, key: str, size: int) -> str:
    """The key of the thumbnail of a public file.

    Raises:
        NotFound: no picture or video has this key.
        InvalidInput: the size is not allowed, or the picture is too large to read.
        AssetUnreadable: the file is not a picture.
    """
    if size not in SIZES:
        raise InvalidInput(f"size: one of {', '.join(map(str, SIZES))} is allowed, not {size}.")
    if not keys.is_valid_key(key) or key.startswith(f"{FOLDER}/"):
        raise NotFound(f"There is no file {key!r}.")
    small = thumbnail_key(key, size)
    try:
        await assets.public.entry(small)
    except NotFound:
        await assets.put(small, await _small(assets, key, size), "image/webp")
    return small


async def _small(assets: AssetStore, key: str, size: int) -> bytes:
    if keys.media_type_of_key(key).startswith("video/"):
        return await assets.use_film(key, lambda film: decode.thumbnail(decode.frame_at(film, 0.0), size, QUALITY))
    return await assets.read_whole(assets.public, key, lambda content: decode.thumbnail(content, size, QUALITY))
