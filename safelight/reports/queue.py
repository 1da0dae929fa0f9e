"""The queues and their workers, as commands, metrics and the readiness check show them: who serves, what is due, and
how long the oldest has waited."""

import time
from dataclasses import dataclass

from safelight.db.connection.database import Connection
from safelight.db.generations import queue_status
from safelight.db.generations.queue_status import QueueStatus
from safelight.pipelines.engine.reaper import QUEUE_NAMES


@dataclass(frozen=True, slots=True)
class KnownStatus:
    """A status, and when it was read."""

    status: QueueStatus
    read_at: float

    @property
    def age_seconds(self) -> float:
        return time.monotonic() - self.read_at


async def read(conn: Connection, dead_after_seconds: float) -> QueueStatus:
    """A worker without a heartbeat for `dead_after_seconds` is dead."""
    return await queue_status.read(conn, queue_names=QUEUE_NAMES, dead_after_seconds=dead_after_seconds)
