"""The one row that holds what operators set while everything runs."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.typed_rows import row_as

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class StoredOverride:
    """The override, and by whom it was last changed."""

    override: Row | None
    updated_at: datetime | None
    updated_by: str | None


NOTHING_SET = StoredOverride(None, None, None)


async def read(conn: Connection) -> StoredOverride:
    return row_as(StoredOverride, await _queries.read(conn)) or NOTHING_SET


async def lock(conn: Connection) -> StoredOverride:
    """As `read`; whoever else would change it waits until the transaction ends."""
    await _queries.lock(conn)
    return await read(conn)


async def write(conn: Connection, override: Row, *, by: str) -> None:
    await _queries.write(conn, override=Jsonb(override), meta=Jsonb({"updated_by": by}))
