"""Disk, memory and threads for the bodies of requests, bounded by each API process for itself.

A body arrives on disk, so that who sends slowly takes no memory. When it is whole it waits for its room in memory.
Small bodies are free: their number is that of the connections. Large ones are parsed and decoded in threads of their
own, so that neither the event loop nor anybody else's threads wait.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, TypeVar

from fastapi import Request

from safelight.api.http.bodies.in_flight import InFlightLimit
from safelight.domain.errors.base import PayloadTooLarge
from safelight.domain.errors.retries import Overloaded, TooManyRequests
from safelight.media.decoding_pool import MemoryBudget
from safelight.storage.spool import Spool

FREE_BYTES = 64 * 1024  # of each body
READ_ON_LOOP_BYTES_MAX = 16 * 1024
THREADS = 2
ADDRESS_SHARE = 0.75  # of what may arrive at once, for one address
MEMORY_BYTES_MAX = 128 * 1024 * 1024
COPIES = 4  # of a body in memory: as it came, as text, as what it stands for, and as what is stored
MEMORY_WAIT_SECONDS_MAX = 30.0
RETRY_SECONDS = 5.0

Content = TypeVar("Content", str, bytes, bytearray)
Result = TypeVar("Result")


class RequestBodies:
    """`arriving_bytes_max` is how much of larger bodies may arrive, or be at work on, at once."""

    def __init__(self, arriving_bytes_max: int, address_of: Callable[[Request], str], spool: Spool) -> None:
        share = int(arriving_bytes_max * ADDRESS_SHARE)
        self.limit = InFlightLimit("bytes of request bodies", total_max=arriving_bytes_max, per_address_max=share)
        self._memory = MemoryBudget(MEMORY_BYTES_MAX)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="request-bodies")
        self._address_of = address_of
        self._spool = spool

    async def read(self, request: Request, bytes_max: int) -> bytes:
        """The whole body. What it takes is given back by `release`.

        Raises:
            PayloadTooLarge: it has more than `bytes_max` bytes, or says so.
            Overloaded: too much arrives already, or there was no memory for it for a while.
        """
        with self._spool.open() as file:
            size = await self._receive(request, file, bytes_max)
            if size <= FREE_BYTES:
                return file.read()
            await self._take_memory(request, COPIES * size)
            return await asyncio.get_running_loop().run_in_executor(self._threads, file.read)

    async def _receive(self, request: Request, file: BinaryIO, bytes_max: int) -> int:
        """Return how many bytes have arrived; the file is at its beginning then."""
        too_large = PayloadTooLarge(f"The body may have at most {bytes_max} bytes.")
        stated = request.headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > bytes_max:
            raise too_large
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > bytes_max:
                raise too_large
            self._hold(request, size - FREE_BYTES)
            file.write(chunk)
        file.seek(0)
        return size

    async def work(self, read: Callable[[Content], Result], content: Content) -> Result:
        """Return what `read` makes of a body: in a thread if that may take a while."""
        if len(content) <= READ_ON_LOOP_BYTES_MAX:
            return read(content)
        return await asyncio.get_running_loop().run_in_executor(self._threads, read, content)

    def release(self, request: Request) -> None:
        """Give back what the request's body holds: when it is no longer needed, at the end of the request at last."""
        if held := getattr(request.state, "body_bytes_held", 0):
            self.limit.release(self._address_of(request), held)
            request.state.body_bytes_held = 0
        if taken := getattr(request.state, "body_memory_taken", 0):
            self._memory.give_back(taken)
            request.state.body_memory_taken = 0

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _hold(self, request: Request, wanted: int) -> None:
        held = getattr(request.state, "body_bytes_held", 0)
        if wanted > held:
            try:
                self.limit.acquire(self._address_of(request), wanted - held)
            except TooManyRequests as error:
                raise Overloaded(str(error), retry_after_seconds=error.retry_after_seconds) from error
            request.state.body_bytes_held = wanted

    async def _take_memory(self, request: Request, wanted: int) -> None:
        try:
            async with asyncio.timeout(MEMORY_WAIT_SECONDS_MAX):
                request.state.body_memory_taken = await self._memory.take(wanted)
        except TimeoutError as error:
            raise Overloaded("no memory for a request's body", retry_after_seconds=RETRY_SECONDS) from error
