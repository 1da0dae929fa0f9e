"""The number of customers, which anybody may ask for."""

import asyncio
import time

from safelight.db.connection.database import Database
from safelight.db.operations import statistics

COUNT_SECONDS = 10.0  # anybody may ask, so the table is counted no more often than this


class CustomerCount:
    """The number of customers, for one process."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = asyncio.Lock()
        self._count, self._counted_at = 0, float("-inf")

    async def get(self) -> int:
        """At most COUNT_SECONDS old."""
        async with self._lock:
            if time.monotonic() - self._counted_at > COUNT_SECONDS:
                async with self._db.connection() as conn:
                    self._count = await statistics.customer_count(conn)
                self._counted_at = time.monotonic()
            return self._count
