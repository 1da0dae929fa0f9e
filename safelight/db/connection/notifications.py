"""Tells whoever waits for a job's lines that there are new ones: one LISTEN connection a process, fanned out in memory.

A wake-up is a hint, never the truth: it is sent outside the writing transaction (inside, it would serialise all
commits), many are sent at once, and one that is lost costs a listener at most its own polling interval.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psycopg

from safelight import telemetry
from safelight.db.connection.database import Database
from safelight.db.connection.sessions import connected
from safelight.process.tasks import run_periodically

CHANNEL = "safelight_lines"
GATHER_SECONDS = 0.02
RECONNECT_SECONDS = 1.0


class Notifier:
    """Sends wake-ups, gathered for a few milliseconds into one statement."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._waiting: set[str] = set()
        self._sending: asyncio.Task[None] | None = None

    def notify(self, generation_id: str) -> None:
        self._waiting.add(generation_id)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send())

    async def drain(self) -> None:
        if self._sending is not None:
            await self._sending

    async def _send(self) -> None:
        while self._waiting:
            await asyncio.sleep(GATHER_SECONDS)
            ids, self._waiting = list(self._waiting), set()
            try:
                async with self._db.connection() as conn:
                    await conn.execute("select pg_notify(%s, id) from unnest(%s::text[]) as id", [CHANNEL, ids])
            except psycopg.Error as error:
                telemetry.warning(
                    telemetry.Tag.DB_UPDATE, f"A notification could not be sent; listeners poll instead: {error}"
                )


class Listener:
    """Receives wake-ups for this process. `subscribe(id)` gives an event that is set whenever the job has news."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._subscribers: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._task: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def open(self) -> None:
        self._task = asyncio.create_task(self._listen_for_ever())
        await self._ready.wait()

    async def close(self) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    @asynccontextmanager
    async def subscribe(self, generation_id: str) -> AsyncIterator[asyncio.Event]:
        event = asyncio.Event()
        self._subscribers[generation_id].add(event)
        try:
            yield event
        finally:
            self._subscribers[generation_id].discard(event)
            if not self._subscribers[generation_id]:
                del self._subscribers[generation_id]

    async def _listen_for_ever(self) -> None:

        def report(error: Exception) -> None:
            telemetry.warning(telemetry.Tag.API, f"The connection for notifications was lost; reconnecting: {error}")

        await run_periodically(self._listen, every_seconds=RECONNECT_SECONDS, transient=(psycopg.Error,), report=report)

    async def _listen(self) -> None:
        async with connected(self._dsn) as conn:
            await conn.execute(f"listen {CHANNEL}")
            self._ready.set()
            self._wake(None)  # what was announced while nobody listened
            async for notice in conn.notifies():
                self._wake(notice.payload)

    def _wake(self, generation_id: str | None) -> None:
        ids = list(self._subscribers) if generation_id is None else [generation_id]
        for one in ids:
            for event in self._subscribers.get(one, ()):
                event.set()
