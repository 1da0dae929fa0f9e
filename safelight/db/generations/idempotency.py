"""Writes that were done under an idempotency key, with the answers they had."""

from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, load_queries
from safelight.db.typed_rows import row_as

_queries = load_queries(__file__)

KEPT_HOURS = 24
FORGOTTEN_AT_ONCE_MAX = 20


@dataclass(frozen=True, slots=True)
class Earlier:
    """The same key before. `answer` is None while somebody is at work on it."""

    request_hash: str
    answer: Any


async def claim(conn: Connection, key_hash: str, request_hash: str, *, busy_seconds: float = 0) -> Earlier | None:
    """Take the key, where nobody has it: None. Whoever takes it at the same moment waits until this transaction ends.
    With `busy_seconds` the work goes on after the transaction; then somebody else may take over."""
    claimed = await _queries.claim(
        conn, key_hash=key_hash, request_hash=request_hash, hours=KEPT_HOURS, busy_seconds=busy_seconds
    )
    if claimed:
        await _queries.forget(conn, hours=KEPT_HOURS, limit=FORGOTTEN_AT_ONCE_MAX)
        return None
    earlier = row_as(Earlier, await _queries.earlier(conn, key_hash=key_hash))
    return earlier or Earlier(request_hash, None)  # just given up


async def keep(conn: Connection, key_hash: str, answer: Any) -> None:
    await _queries.keep(conn, key_hash=key_hash, answer=Jsonb(answer))


async def release(conn: Connection, key_hash: str) -> None:
    """The work came to nothing: the key is free again."""
    await _queries.release(conn, key_hash=key_hash)
