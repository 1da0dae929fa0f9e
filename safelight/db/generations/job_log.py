"""The job log: lines a waiting person reads. `seq` counts from 1 without a hole within a job."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.typed_rows import rows_as, values_as
from safelight.domain.ids import generation_key, is_uuid
from safelight.domain.job_log import Level, LogLine
from safelight.domain.stages import NAMED_STEPS, OTHER_STAGE, Stage, steps_of

_queries = load_queries(__file__)

LINES_AT_ONCE = 500
SEQ_MAX = 2**31 - 1


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
class LineFilter:
    """A choice of lines: of one of these levels and stages, with this text in the message whatever its case. An empty
    field matches every line."""

    levels: Collection[Level] = ()
    stages: Collection[Stage] = ()
    text: str = ""

    def to_sql(self) -> Row:
        return {
            "levels": list(self.levels) or None,
            "steps": steps_of(self.stages) if self.stages else None,
            "named_steps": list(NAMED_STEPS) if OTHER_STAGE in self.stages else None,
            "text": self.text or None,
        }


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


async def append(conn: Connection, generation_id: str, line: LogLine) -> None:
    """Add a line from outside the engine: the database gives it the next number."""
    more = line.to_json() | {"details": Jsonb(line.details)}
    await _queries.append_line(conn, generation_key=generation_key(generation_id), **more)


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


async def page(
    conn: Connection, generation_id: str, wanted: LineFilter, *, cursor: int | None, newest_first: bool, limit: int
) -> list[StoredLine]:
    """The first `limit` lines beyond the one whose `seq` is `cursor`, in the given order."""
    if not is_uuid(generation_id):
        return []
    query = _queries.newest_lines if newest_first else _queries.oldest_lines
    at = cursor if cursor is not None else SEQ_MAX if newest_first else 0
    return await rows_as(StoredLine, query(conn, job_id=generation_id, cursor=at, limit=limit, **wanted.to_sql()))


async def add(
    conn: AsyncConnection[Any],
    *,
    job_id: UUID,
    user_id: UUID | None,
    level: Level,
    step: str,
    message: str,
    details: Row | None,
) -> int:
    """Add a line beside those of the engine, on a connection of whatever settings. The database numbers it and wakes
    those who follow the log. Returns its `seq`."""
    line = {"level": level, "step": step, "message": message, "details": None if details is None else Jsonb(details)}
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_queries.add_line.sql, line | {"job_id": job_id, "user_id": user_id})
        row = await cursor.fetchone()
    assert row is not None  # an insert that returns its number
    return int(row[0])
