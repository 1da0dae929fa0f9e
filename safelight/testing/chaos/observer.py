"""Looks at the database a few times a second: how far the generations are, and how long a take-over takes."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import psycopg

from safelight.db.connection.sessions import Connection, SessionConnection, connection_options
from safelight.db.operations import scorecard
from safelight.db.operations.scorecard import GenerationNow
from safelight.domain.statuses import Status

Result = TypeVar("Result")

LOOK_SECONDS = 0.2


@dataclass(slots=True)
class Takeover:
    """A generation whose worker was killed; `seconds` until another had it, or until it was final."""

    generation_id: str
    killed_at: float
    lease_no: int
    seconds: float | None = None


class Watch:
    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._conn: Connection | None = None
        self._asking = asyncio.Lock()
        self.generations: dict[str, GenerationNow] = {}
        self.takeovers: list[Takeover] = []

    async def close(self) -> None:
        if self._conn:
            await self._conn.close()

    async def look(self) -> None:
        rows = await self._asked(scorecard.generations_now)
        now = time.monotonic()
        self.generations = {row.generation_id: row for row in rows}
        for takeover in self.takeovers:
            if takeover.seconds is None and self._is_taken_over(takeover):
                takeover.seconds = now - takeover.killed_at

    async def note_kill(self, name: str) -> None:
        """Call it right after the kill: what the worker process held begins to wait for a take-over."""
        killed_at = time.monotonic()
        held = await self._asked(lambda conn: scorecard.held_by(conn, name))
        waiting = {one.generation_id for one in self.takeovers if one.seconds is None}
        self.takeovers += [
            Takeover(generation_id, killed_at, lease_no)
            for generation_id, lease_no in held.items()
            if generation_id not in waiting  # for the take-over from one that had this name before
        ]

    def is_final(self, generation_id: str) -> bool:
        row = self.generations.get(generation_id)
        return row is not None and Status(row.status).is_terminal

    def counts(self) -> Counter[str]:
        return Counter(row.status for row in self.generations.values())

    def done(self, pass_id: str, mode: str) -> list[str]:
        """Return the customer's generations that are done, the oldest first."""
        return sorted(
            row.generation_id
            for row in self.generations.values()
            if (row.pass_id, row.mode, row.status) == (pass_id, mode, Status.DONE)
        )

    def takeover_seconds(self, share: float) -> float | None:
        """The percentile over all take-overs, 0.5 for the median; None where there was none."""
        taken = sorted(one.seconds for one in self.takeovers if one.seconds is not None)
        return round(taken[math.ceil(share * len(taken)) - 1], 2) if taken else None

    def _is_taken_over(self, takeover: Takeover) -> bool:
        row = self.generations[takeover.generation_id]
        return row.lease_no > takeover.lease_no or Status(row.status).is_terminal

    async def _asked(self, question: Callable[[Connection], Awaitable[Result]]) -> Result:
        """The answer, on a connection of our own; an outage is waited out."""
        async with self._asking:
            while True:
                try:
                    if self._conn is None or self._conn.closed:
                        self._conn = await SessionConnection.connect(self._dsn, **connection_options())
                    return await question(self._conn)
                except psycopg.OperationalError:
                    await asyncio.sleep(LOOK_SECONDS)
