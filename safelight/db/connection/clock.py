"""The database's time, by which schedules, leases and deadlines are set and judged. A machine's may be hours off."""

import sys
import time
from datetime import datetime, timedelta

from safelight.db.connection.database import Connection, load_queries

_queries = load_queries(__file__)


def ticks() -> float:
    """Seconds that also pass while this machine is suspended, as far as its system counts them."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class DatabaseClock:
    """The time that the database stated, carried on by this machine's ticks. Answers are old by their way here, so it
    may lag; it is set by the newest of them and never goes back."""

    def __init__(self, now: datetime) -> None:
        self._now, self._ticks = now, ticks()

    def set(self, now: datetime) -> None:
        self._now, self._ticks = max(now, self.now()), ticks()

    def now(self) -> datetime:
        return self._now + timedelta(seconds=ticks() - self._ticks)

    def stamp(self) -> str:
        """The time as step payloads hold it."""
        return self.now().isoformat(timespec="milliseconds")


async def database_time(conn: Connection) -> datetime:
    found: datetime = await _queries.database_time(conn)
    return found
