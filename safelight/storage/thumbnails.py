"""Small pictures of stored files (256, 512 and 1024 pixels, WebP): made when first asked for, then kept."""

import asyncio

from safelight import media
from safelight.domain.errors import InvalidInput, NotFound
from safelight.storage import keys
from safelight.storage.assets import AssetStore

FOLDER = keys.THUMBNAILS
SIZES = (256, 512, 1024)
QUALITY = 85
ORIGINAL_BYTES_MAX = 50 * 1024 * 1024  # of a picture; of a film only the first frame is read


def thumbnail_key(key: str, size: int) -> str:
    return f"{FOLDER}/{size}/{key}.webp"


def original_of(key: str) -> str:
    return key.split("/", 2)[2].removesuffix(".webp")


async def thumbnail(assets: AssetStore, key: str, size: int) -> str:
    """The key of the small picture of a public file.

    Raises:
        NotFound: no picture or film has this key.
        InvalidInput: no such size is made, or the picture is too large to read.
        AssetUnreadable: the file is no picture.
    """
    if size not in SIZES:
        raise InvalidInput(f"size: one of {', '.join(map(str, SIZES))} is allowed, not {size}.")
    if not keys.is_valid_key(key) or key.startswith(f"{FOLDER}/"):
        raise NotFound(f"There is no file {key!r}.")
    small = thumbnail_key(key, size)
    try:
        await assets.public.entry(small)
    except NotFound:
        content = await asyncio.to_thread(media.thumbnail, await _picture(assets, key), size, QUALITY)
        await assets.put(small, content, "image/webp")
    return small


async def _picture(assets: AssetStore, key: str) -> bytes:
    if keys.media_type_of_key(key).startswith("video/"):
        return await assets.use(key, lambda film: media.frame_at(film, 0.0))
    entry = await assets.public.entry(key)
    if entry.bytes > ORIGINAL_BYTES_MAX:
        raise InvalidInput(f"The picture has {entry.bytes} bytes; small ones are made of at most {ORIGINAL_BYTES_MAX}.")
    return await assets.read(key)
