"""Memory and threads for the bodies of requests, bounded by each API process for itself.

Small bodies are free: their number is that of the connections. What is larger is counted while its request lasts. Large
bodies are parsed and decoded in threads of their own, so that neither the event loop nor anybody else's threads wait.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from fastapi import Request

from safelight.api.in_flight import InFlightLimit
from safelight.domain.errors import Overloaded, PayloadTooLarge, TooManyRequests

FREE_BYTES = 64 * 1024  # of each body
READ_ON_LOOP_BYTES_MAX = 16 * 1024
THREADS = 2
ADDRESS_SHARE = 0.75  # of the memory, for one address

Content = TypeVar("Content", str, bytes, bytearray)
Result = TypeVar("Result")


class RequestBodies:
    def __init__(self, buffer_bytes: int, address_of: Callable[[Request], str]) -> None:
        share = int(buffer_bytes * ADDRESS_SHARE)
        self.limit = InFlightLimit("bytes of request bodies", total_max=buffer_bytes, per_address_max=share)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="request-bodies")
        self._address_of = address_of

    async def read(self, request: Request, bytes_max: int) -> bytearray:
        """The whole body.

        Raises:
            PayloadTooLarge: it has more than `bytes_max` bytes, or says so.
            Overloaded: there is no memory for it just now.
        """
        too_large = PayloadTooLarge(f"The body may have at most {bytes_max} bytes.")
        stated = request.headers.get("content-length", "")
        if stated.isdecimal() and int(stated) > bytes_max:
            raise too_large
        content = bytearray()
        async for chunk in request.stream():
            if len(content) + len(chunk) > bytes_max:
                raise too_large
            content += chunk
            self._hold(request, len(content) - FREE_BYTES)
        return content

    async def work(self, read: Callable[[Content], Result], content: Content) -> Result:
        """What `read` makes of a body: in a thread where that may take a while."""
        if len(content) <= READ_ON_LOOP_BYTES_MAX:
            return read(content)
        return await asyncio.get_running_loop().run_in_executor(self._threads, read, content)

    def release(self, request: Request) -> None:
        """What the request holds, at its end."""
        if held := getattr(request.state, "body_bytes_held", 0):
            self.limit.release(self._address_of(request), held)
            request.state.body_bytes_held = 0

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
