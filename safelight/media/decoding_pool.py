"""The few threads in which pictures and films are decoded, and the memory that this may take in one process."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

Result = TypeVar("Result")

THREADS = 2


class MemoryBudget:
    """Grants memory up to `bytes_max`, in the order of the requests. A request for more than that gets all of it."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._free = bytes_max
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, wanted: int) -> int:
        """Wait until the memory is free, and reserve it. Returns the number of bytes to give back."""
        wanted = min(wanted, self.bytes_max)
        if not self._waiting and wanted <= self._free:
            self._free -= wanted
            return wanted
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((wanted, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back(wanted)
            else:
                self._waiting.remove((wanted, turn))
                self._wake()
            raise
        return wanted

    def give_back(self, taken: int) -> None:
        self._free += taken
        self._wake()

    @asynccontextmanager
    async def room(self, wanted: int) -> AsyncIterator[None]:
        taken = await self.take(wanted)
        try:
            yield
        finally:
            self.give_back(taken)

    def _wake(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            wanted, turn = self._waiting.popleft()
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)


class MediaPool:
    """Runs the reading and decoding of whole files in threads. Memory stays reserved until the work has ended, even if
    its caller was cancelled."""

    def __init__(self, bytes_max: int) -> None:
        self._budget = MemoryBudget(bytes_max)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="media")

    def room(self, bytes_needed: int) -> AbstractAsyncContextManager[None]:
        """Reserve memory for several pieces of work. Inside the context call `do`, never `run`."""
        return self._budget.room(bytes_needed)

    async def do(self, work: Callable[[], Result]) -> Result:
        """Run `work` in a thread and return its result, inside a `room` of the caller. If cancelled, the caller still
        waits for the end of the thread."""
        future = asyncio.wrap_future(self._threads.submit(work))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    async def run(self, bytes_needed: int, work: Callable[[], Result]) -> Result:
        """Run `work` in a thread and return its result, once the memory that it needs is free."""
        taken = await self._budget.take(bytes_needed)
        loop = asyncio.get_running_loop()

        def give_back(_: Future[Result]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._budget.give_back, taken)

        future = self._threads.submit(work)
        future.add_done_callback(give_back)
        return await asyncio.wrap_future(future)
