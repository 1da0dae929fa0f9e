"""Copies of files on other servers, for routes that keep what a customer names."""

from dataclasses import dataclass

from safelight.storage.assets import AssetStore, StoredFile
from safelight.storage.fetch import GuardedFetcher
from safelight.storage.spool import Spool


@dataclass(frozen=True, slots=True)
class RemoteFiles:
    """Copies of files on other servers."""

    assets: AssetStore
    fetcher: GuardedFetcher
    spool: Spool

    async def copy(self, url: str, *, kind: str, customer: str | None) -> StoredFile:
        """Store a public copy of a file on another server, which is held on disk while it arrives.

        Raises:
            InvalidInput: also where it cannot be read.
        """
        return await self.assets.put_fetched(self.fetcher, self.spool, url, kind=kind, customer=customer)
