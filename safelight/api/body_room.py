"""The bodies of requests: kept on disk while they arrive, and in memory only as far as one process has room for all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import BinaryIO

from safelight.domain.errors import PayloadTooLarge, ServerBusy
from safelight.media_pool import MemoryBudget
from safelight.storage.spool import Spool

BODIES_BYTES_MAX = 128 * 1024 * 1024
COPIES = 4  # of a body: as it came, as text, as what it stands for, and as what is stored
SMALL_BYTES = 64 * 1024  # what is smaller waits for nothing
WAIT_SECONDS_MAX = 30.0
RETRY_SECONDS = 5.0


class BodyRoom:
    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._budget = MemoryBudget(BODIES_BYTES_MAX)

    @asynccontextmanager
    async def received(self, chunks: AsyncIterator[bytes], bytes_max: int) -> AsyncIterator[bytes]:
        """The whole body, for which there is room inside this context. Who sends slowly takes no room.

        Raises:
            PayloadTooLarge: it has more than `bytes_max` bytes.
            ServerBusy: there was no room for a while.
        """
        with self._spool.open() as file:
            size = await _received(chunks, file, bytes_max)
            if size <= SMALL_BYTES:
                yield file.read()
                return
            taken = await self._take(COPIES * size)
            try:
                yield await asyncio.to_thread(file.read)
            finally:
                self._budget.give_back(taken)

    async def _take(self, wanted: int) -> int:
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                return await self._budget.take(wanted)
        except TimeoutError as error:
            raise ServerBusy("no room for a request's body", retry_after_seconds=RETRY_SECONDS) from error


async def _received(chunks: AsyncIterator[bytes], file: BinaryIO, bytes_max: int) -> int:
    """How many bytes have arrived; the file is at its beginning then."""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > bytes_max:
            raise PayloadTooLarge(f"The body may have at most {bytes_max} bytes.")
        file.write(chunk)
    file.seek(0)
    return size
