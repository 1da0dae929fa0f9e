"""Watches the queues for one process, so that whoever asks is told at once what is known, and how old that is."""

import time

from safelight import telemetry
from safelight.db.connection.database import TRANSIENT_ERRORS, Database
from safelight.process.tasks import run_periodically
from safelight.reports import queue
from safelight.reports.queue import KnownStatus

READ_EVERY_SECONDS = 5.0


class QueueWatch:
    """A worker without a heartbeat for `dead_after_seconds` is dead."""

    def __init__(self, db: Database, *, dead_after_seconds: float) -> None:
        self._db = db
        self._dead_after_seconds = dead_after_seconds
        self.known: KnownStatus | None = None

    async def run(self) -> None:
        """Read the status every READ_EVERY_SECONDS, until cancelled. Without the database the last status stays."""

        def report(error: Exception) -> None:
            telemetry.warning(telemetry.Tag.DB_STATUS, f"The status of the queues could not be read: {error}")

        await run_periodically(self._read, every_seconds=READ_EVERY_SECONDS, transient=TRANSIENT_ERRORS, report=report)

    async def _read(self) -> None:
        async with self._db.connection() as conn:
            status = await queue.read(conn, self._dead_after_seconds)
        was_stalled = self.known is not None and self.known.status.is_stalled
        if status.alarm and not was_stalled:
            telemetry.error("🚨", telemetry.Tag.GENERATION_PROCESSING, status.alarm)
        self.known = KnownStatus(status, time.monotonic())


def why_not_ready(watch: QueueWatch, *, database_answers: bool) -> str | None:
    """None if orders are taken and worked on, as far as is known."""
    if not database_answers:
        return "the database does not answer"
    return watch.known.status.alarm if watch.known else None
