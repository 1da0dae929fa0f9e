"""Counts of what is free, by day and for all processes together."""

from safelight.db.connection.database import Connection, Row, load_queries

FORGOTTEN_AT_ONCE = 1000

_queries = load_queries(__file__)


async def take(conn: Connection, purpose: str, key: str, *, limit: int) -> bool:
    """Count one use by `key` today, unless `limit` were counted already; 0 is no limit. Returns true if it was allowed.

    It is undone with the transaction, and until that ends, others with the same key wait.
    """
    if not limit:
        return True
    row: Row | None = await _queries.take(conn, purpose=purpose, key=key, limit=limit)
    if row is not None and row["uses"] == 1:
        await _queries.forget_old_days(conn, limit=FORGOTTEN_AT_ONCE)
    return row is not None


async def seconds_left(conn: Connection) -> float:
    """Return the seconds until today (UTC) ends."""
    return float(await _queries.seconds_left(conn))
