"""The job log, as clients read it: page by page, or whole as JSON lines or CSV. Every kind of generation has the same
eight stages."""

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from safelight.db.connection.database import Database
from safelight.db.generations import job_log
from safelight.db.generations.job_log import LINES_AT_ONCE, LineFilter, StoredLine
from safelight.domain.stages import Stage, shown_details, stage_of

EXPORTED_LINES_MAX = 100_000
COLUMNS = ("seq", "created_at", "level", "step", "message", "details")
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet runs a cell that begins with one of these


@dataclass(frozen=True, slots=True)
class Entry:
    """A line; `details` name the step's own type where the stage does not."""

    seq: int
    created_at: str
    level: str
    step: Stage
    message: str
    details: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class LogQuery:
    """The lines of one generation that are wanted, beyond the one whose `seq` is `cursor`. `internal` adds the details
    that are for operators."""

    generation_id: str
    wanted: LineFilter
    cursor: int | None = None
    newest_first: bool = False
    internal: bool = False


@dataclass(frozen=True, slots=True)
class LogPage:
    """`next_cursor` is None if there are no more lines now."""

    entries: list[Entry]
    next_cursor: int | None


def entry(line: StoredLine, *, internal: bool) -> Entry:
    return Entry(
        seq=line.seq,
        created_at=_milliseconds(line.created_at),
        level=line.level,
        step=stage_of(line.step),
        message=line.message,
        details=shown_details(line.step, line.details, internal=internal),
    )


def _milliseconds(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def page(db: Database, query: LogQuery, limit: int) -> LogPage:
    async with db.connection() as conn:
        lines = await job_log.page(
            conn,
            query.generation_id,
            query.wanted,
            cursor=query.cursor,
            newest_first=query.newest_first,
            limit=limit + 1,
        )
    shown = [entry(line, internal=query.internal) for line in lines[:limit]]
    return LogPage(shown, shown[-1].seq if len(lines) > limit else None)


async def _pages(db: Database, query: LogQuery) -> AsyncIterator[list[Entry]]:
    """All lines, at most EXPORTED_LINES_MAX. No connection is held while the caller works."""
    cursor, left = query.cursor, EXPORTED_LINES_MAX
    while left > 0:
        async with db.connection() as conn:
            lines = await job_log.page(
                conn,
                query.generation_id,
                query.wanted,
                cursor=cursor,
                newest_first=query.newest_first,
                limit=min(left, LINES_AT_ONCE),
            )
        if not lines:
            return
        yield [entry(line, internal=query.internal) for line in lines]
        cursor, left = lines[-1].seq, left - len(lines)


async def as_jsonl(db: Database, query: LogQuery) -> AsyncIterator[str]:
    """One JSON object a line."""
    async for entries in _pages(db, query):
        yield "".join(json.dumps(asdict(one), ensure_ascii=False) + "\n" for one in entries)


async def as_csv(db: Database, query: LogQuery) -> AsyncIterator[str]:
    """The columns COLUMNS, `details` as JSON."""
    yield _csv_lines([COLUMNS])
    async for entries in _pages(db, query):
        yield _csv_lines(_cells(one) for one in entries)


def _cells(one: Entry) -> tuple[Any, ...]:
    details = "" if one.details is None else json.dumps(one.details, ensure_ascii=False)
    return (one.seq, *map(_cell, (one.created_at, one.level, one.step, one.message, details)))


def _cell(text: str) -> str:
    """The text of a cell, which no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(FORMULA_SIGNS) else text


def _csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()
