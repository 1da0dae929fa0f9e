"""Brings the embedded server back when it dies while a process uses it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from safelight import telemetry
from safelight.db.embedded.errors import DatabaseDown
from safelight.db.embedded.server import PAUSED, Server

LOOK_SECONDS = 1.0
TRIES_MAX = 12
FIRST_PAUSE_SECONDS = 0.5
PAUSE_SECONDS_MAX = 30.0
STEADY_SECONDS = 60.0  # a server that ran for so long was well: what comes then is a new trouble


@dataclass(frozen=True, slots=True)
class Restarted:
    """The server is back. `reason` says how it was found, `tries` how many starts it took since it was well."""

    reason: str
    tries: int
    seconds: float


class Supervisor:
    """Looks after a server. `report` is called in a thread, by the one process that brought the server back."""

    def __init__(self, server: Server, report: Callable[[Restarted], None]) -> None:
        self._server = server
        self._report = report
        self._tries = 0
        self._well_since = time.monotonic()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set.

        Raises:
            DatabaseDown: too many starts in a row failed, or did not last.
        """
        while not stop.is_set():
            reason = await asyncio.to_thread(self._server.trouble)
            if reason is None:
                await _pause(stop, LOOK_SECONDS)
            else:
                await self._bring_back(reason, stop)

    async def _bring_back(self, reason: str, stop: asyncio.Event) -> None:
        began = time.monotonic()
        if began - self._well_since > STEADY_SECONDS:
            self._tries = 0
        self._tries += 1
        try:
            was_started = await asyncio.to_thread(self._server.heal)
        except (DatabaseDown, OSError) as error:
            telemetry.warning(telemetry.Tag.DB_STATUS, f"The embedded database did not start: {error}")
        else:
            self._well_since = time.monotonic()
            if was_started or reason == PAUSED:
                await asyncio.to_thread(self._report, Restarted(reason, self._tries, self._well_since - began))
        if self._tries >= TRIES_MAX:
            raise DatabaseDown(
                f"the embedded database did not come back in {self._tries} starts; see {self._server.log}"
            )
        await _pause(stop, min(FIRST_PAUSE_SECONDS * 2**self._tries, PAUSE_SECONDS_MAX))


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({stopping}, timeout=seconds)
    stopping.cancel()
