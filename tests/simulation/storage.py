"""The storage as a model: it keeps what was put there, and does not always answer."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from safelight.domain.errors.base import StorageError
from safelight.security.signing import Signer
from safelight.storage.buckets import FileEntry
from safelight.storage.keys import KeyNames
from tests.simulation import clock

ADDRESS = "https://files/"


class Bucket:
    """One process's way to the files that all share."""

    def __init__(self, files: set[str], process: Any) -> None:
        self._files, self._process = files, process

    async def put(self, key: str) -> None:
        self._files.add(key)
        self._process.say(f"STORED {key[-12:]}")

    async def has(self, key: str) -> bool:
        await self._answer("has")
        return key in self._files

    async def entries(self, prefix: str) -> AsyncIterator[list[FileEntry]]:
        await self._answer("list")
        found = sorted(key for key in self._files if key.startswith(f"{prefix}/"))
        if found:
            yield [FileEntry(key, 3, clock.now()) for key in found]

    async def delete(self, keys: Sequence[str]) -> None:
        await self._answer("delete")
        self._files.difference_update(keys)
        self._process.say("DELETED")

    async def _answer(self, name: str) -> None:
        await self._process.point(f"storage: {name}")
        if self._process.weather.storage_fault():
            raise StorageError("the storage is down")


class Assets:
    def __init__(self, files: set[str], process: Any) -> None:
        self.names = KeyNames(Signer(b"of the simulation"))
        self.public = Bucket(files, process)
