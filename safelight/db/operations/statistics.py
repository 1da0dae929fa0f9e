"""Totals over all customers and generations."""

import asyncio
import time

from safelight.db.connection.database import Connection, Database, Row, load_queries

_queries = load_queries(__file__)

CUSTOMERS_MAX = 500
COUNT_SECONDS = 10.0  # anybody may ask, so the table is counted no more often than this


class CustomerCount:
    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = asyncio.Lock()
        self._count, self._counted_at = 0, float("-inf")

    async def get(self) -> int:
        """At most COUNT_SECONDS old."""
        async with self._lock:
            if time.monotonic() - self._counted_at > COUNT_SECONDS:
                async with self._db.connection() as conn:
                    self._count = int(await _queries.customer_count(conn))
                self._counted_at = time.monotonic()
            return self._count


async def summary(conn: Connection) -> Row:
    """`totalCustomers`, `totalCredits` and `autoTopupOn`."""
    return dict(await _queries.summary(conn))


async def customers(conn: Connection) -> list[Row]:
    return [row async for row in _queries.customers(conn, most=CUSTOMERS_MAX)]


async def rows_of_tables(conn: Connection) -> Row:
    return dict(await _queries.rows_of_tables(conn))
