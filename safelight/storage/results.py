"""The files of one generation's result: found by their folder, and deleted with their thumbnails."""

from collections.abc import Collection

from safelight.storage import keys, thumbnails
from safelight.storage.assets import AssetStore


async def stored(assets: AssetStore, mode: str, generation_id: str, named: Collection[str] = ()) -> list[str]:
    """The keys of the files that are there: all in the generation's folder, and those of `named` that are its own.
    Raises StorageError if the files cannot be listed."""
    folder = assets.names.result_folder(mode, generation_id)
    found = [entry.key async for entries in assets.public.entries(folder) for entry in entries]
    others = [key for key in named if keys.generation_of_result(key) == generation_id and key not in found]
    return found + [key for key in others if await assets.public.has(key)]


async def delete(assets: AssetStore, found: Collection[str]) -> None:
    """Delete the files and their thumbnails. Raises StorageError if one may be left."""
    small = [thumbnails.thumbnail_key(key, size) for key in found for size in thumbnails.SIZES]
    await assets.public.delete([*found, *small])
