"""The one row that holds what operators set while everything runs."""

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries

_queries = load_queries(__file__)


async def read(conn: Connection) -> Row | None:
    """`override`, `updated_at` and `updated_by`; None where nothing was ever set."""
    row: Row | None = await _queries.read(conn)
    return row


async def lock(conn: Connection) -> Row | None:
    """As `read`; whoever else would change it waits until the transaction ends."""
    await _queries.lock(conn)
    return await read(conn)


async def write(conn: Connection, override: Row, *, by: str) -> None:
    await _queries.write(conn, override=Jsonb(override), meta=Jsonb({"updated_by": by}))
