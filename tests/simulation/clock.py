"""Time that jumps to the next timer when nothing is ready, and a scheduler whose order is the seed's."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random
from types import SimpleNamespace
from typing import Any

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class NothingLeft(Exception):
    """Every task waits for another: no timer is set and nothing is ready."""


class VirtualLoop(asyncio.BaseEventLoop):
    def __init__(self, rng: Random) -> None:
        super().__init__()
        self._rng = rng
        self._seconds = 0.0
        self._clock_resolution = 1e-9
        self._selector = self

    def time(self) -> float:
        return self._seconds

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise NothingLeft
        self._seconds += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        if len(self._ready) > 1:
            self._rng.shuffle(self._ready)

    def _write_to_self(self) -> None:
        """There is no other thread that could have to wake this one."""


def seconds() -> float:
    return asyncio.get_running_loop().time()


def now() -> datetime:
    return EPOCH + timedelta(seconds=seconds())


# How wrong the clocks of machines are, each for a minute: nothing may be decided by them.
CLOCK_ERRORS = tuple(timedelta(minutes=minutes) for minutes in (40, -180, 120, -40))


class VirtualDatetime(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return now() + CLOCK_ERRORS[int(seconds() // 60) % len(CLOCK_ERRORS)]


virtual_time = SimpleNamespace(monotonic=seconds)
