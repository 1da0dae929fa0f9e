"""The job log: lines a waiting person reads. `seq` counts from 1 without a hole within a job."""

from uuid import UUID

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.domain.ids import generation_key, is_uuid
from safelight.domain.job_log import LogLine

_queries = load_queries(__file__)

LINES_AT_ONCE = 500


async def insert_first(conn: Connection, generation_id: str, user_id: UUID | None, line: LogLine) -> None:
    await _queries.insert_line(
        conn,
        job_id=generation_id,
        user_id=user_id,
        seq=1,
        **line.to_json() | {"details": Jsonb(line.details)},
    )


async def lines_after(conn: Connection, generation_id: str, after: int, most: int = LINES_AT_ONCE) -> list[Row]:
    if not is_uuid(generation_id):
        return []
    return [row async for row in _queries.lines_after(conn, job_id=generation_id, after=after, most=most)]


async def tail(conn: Connection, generation_id: str, after: int) -> Row | None:
    """Status, last seq and the lines after `after` (at most LINES_AT_ONCE), all of one moment. None: unknown."""
    if not is_uuid(generation_id):
        return None
    row: Row | None = await _queries.tail(
        conn,
        job_id=generation_id,
        generation_key=generation_key(generation_id),
        after=after,
        most=LINES_AT_ONCE,
    )
    return row
