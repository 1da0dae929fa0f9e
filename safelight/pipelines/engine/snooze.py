"""Waiting: for an answer, within a bound, or until later, without holding a worker."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from safelight.domain.errors.base import ProviderError, ProviderTimeout

Result = TypeVar("Result")


class Snooze(Exception):
    """Not a failure: there is nothing to do before `seconds` have passed. No worker is held meanwhile."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"snooze {seconds:.1f} s")
        self.seconds = seconds


async def bounded(
    call: Awaitable[Result], seconds: float | None, late: type[ProviderError] = ProviderTimeout
) -> Result:
    """Raises `late` when the time is over."""
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError as error:
        raise late(f"no answer within {seconds:.0f} s") from error
