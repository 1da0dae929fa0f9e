"""Copies of files on other servers, for routes that keep what a customer names."""

from dataclasses import dataclass

from safelight.storage.assets import UPLOAD_BYTES_MAX, AssetStore, StoredFile
from safelight.storage.fetch import GuardedFetcher
from safelight.storage.spool import Spool

FETCH_SECONDS = 60.0  # for a foreign file that a request waits for


@dataclass(frozen=True, slots=True)
class RemoteFiles:
    assets: AssetStore
    fetcher: GuardedFetcher
    spool: Spool

    async def copy(self, url: str, *, kind: str, customer: str | None) -> StoredFile:
        """Store a public copy of a file on another server, which is held on disk while it arrives. Raises InvalidInput
        also if it cannot be read."""
        async with self.fetcher.stream(url, bytes_max=UPLOAD_BYTES_MAX, seconds_max=FETCH_SECONDS) as chunks:
            file = await self.spool.receive(chunks)
        with file:
            name = url.split("?", 1)[0].rsplit("/", 1)[-1]
            return await self.assets.put_received(file, kind=kind, customer=customer, name=name)
