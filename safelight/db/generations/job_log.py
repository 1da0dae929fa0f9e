"""The job log: lines a waiting person reads. `seq` counts from 1 without a hole within a job."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.typed_rows import rows_as, values_as
from safelight.domain.ids import generation_key, is_uuid
from safelight.domain.job_log import LogLine

_queries = load_queries(__file__)

LINES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A line of the job log, with its time. MMA routes show no `details`."""

    seq: int
    level: str
    step: str
    message: str
    details: Row | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a generation's job log, and its status at the same moment; `error` is what its customer is told."""

    status: str
    error: Row | None
    last_seq: int
    lines: tuple[StoredLine, ...]


async def insert_first(conn: Connection, generation_id: str, user_id: UUID | None, line: LogLine) -> None:
    await _queries.insert_line(
        conn,
        job_id=generation_id,
        user_id=user_id,
        seq=1,
        **line.to_json() | {"details": Jsonb(line.details)},
    )


async def lines_after(conn: Connection, generation_id: str, after: int, limit: int = LINES_AT_ONCE) -> list[Row]:
    if not is_uuid(generation_id):
        return []
    return [row async for row in _queries.lines_after(conn, job_id=generation_id, after=after, limit=limit)]


async def lines(conn: Connection, generation_id: str) -> list[StoredLine]:
    """The first LINES_AT_ONCE lines of the generation."""
    if not is_uuid(generation_id):
        return []
    rows = _queries.lines_after(conn, job_id=generation_id, after=0, limit=LINES_AT_ONCE)
    return await rows_as(StoredLine, rows)


async def tail(conn: Connection, generation_id: str, after: int) -> Tail | None:
    """The lines after `after`, at most LINES_AT_ONCE. None: there is no such generation."""
    if not is_uuid(generation_id):
        return None
    row: Row | None = await _queries.tail(
        conn,
        job_id=generation_id,
        generation_key=generation_key(generation_id),
        after=after,
        limit=LINES_AT_ONCE,
    )
    return Tail(**row | {"lines": values_as(_line, row["lines"])}) if row else None


def _line(*, created_at: str, **more: Any) -> StoredLine:
    """A line whose time is a text, as JSON has it."""
    return StoredLine(created_at=datetime.fromisoformat(created_at), **more)
