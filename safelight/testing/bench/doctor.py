"""The time that the doctor needs for a large database."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from psycopg import sql
from psycopg.types.json import Jsonb

from safelight.app import App
from safelight.db.connection.database import Connection, load_queries
from safelight.db.connection.sessions import connected
from safelight.db.operations.ops_rows import OpsError
from safelight.domain.errors.categories import Category
from safelight.domain.steps import StepType
from safelight.testing.bench.scratch import BenchResult, scratch_database

FILLED_AT_ONCE = 5_000
FILLERS = 2
LINES = 12
GENERATIONS_A_CUSTOMER = 100
FAILURE = OpsError(
    category=Category.TIMEOUT,
    code="MMA_SEEDREAM_TIMEOUT",
    message="bench",
    request_id="bench",
    route="/mma/still/create",
    method="POST",
    http_status=504,
    step_type=StepType.SEEDREAM_GENERATE,
)

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class DoctorResult(BenchResult):
    """One pass of the doctor over a database of this size; `violations` shows that it was sound."""

    generations: int
    rows: int
    database_bytes: int
    fill_seconds: float
    seconds: float
    rows_per_second: int
    violations: int


async def doctor(app: App, generations: int) -> DoctorResult:
    """Ten steps and twelve lines a generation; every fiftieth failed and was refunded."""
    async with scratch_database(app), app.database(FILLERS) as db:
        started = time.perf_counter()
        await _fill(app, generations)
        filled = time.perf_counter()
        findings = await app.on(db).doctor.check()
        async with db.connection() as conn:
            size = await _queries.size(conn)
    return DoctorResult(
        generations,
        size["rows"],
        size["bytes"],
        round(filled - started, 1),
        round(findings.seconds, 2),
        round(size["rows"] / findings.seconds),
        sum(found.count for found in findings.violations),
    )


async def _fill(app: App, generations: int) -> None:
    """Rows first, then the indexes, then what autovacuum does in the course of days."""
    chunks = list(reversed(range(1, generations + 1, FILLED_AT_ONCE)))
    shape = {
        "customers": -(-generations // GENERATIONS_A_CUSTOMER),
        "lines": LINES,
        "detail": Jsonb(FAILURE.detail()),
    }
    async with _filler(app) as conn:
        indexes = [row async for row in _queries.droppable_indexes(conn)]
        for index in indexes:
            await conn.execute(sql.SQL("drop index {}").format(sql.Identifier(index["name"])))
        await _queries.insert_customers(conn, **shape)
        await asyncio.gather(*(_insert_chunks(app, chunks, generations, shape) for _ in range(FILLERS)))
        await _queries.insert_grants(conn)
        for index in indexes:
            await conn.execute(index["definition"])
        await conn.execute("vacuum (analyze)")


async def _insert_chunks(app: App, chunks: list[int], generations: int, shape: dict[str, Any]) -> None:
    async with _filler(app) as conn:
        while chunks:
            first = chunks.pop()
            chunk = shape | {"first": first, "last": min(first + FILLED_AT_ONCE - 1, generations)}
            await _queries.insert_generations(conn, **chunk)
            await _queries.insert_steps(conn, **chunk)
            await _queries.insert_ledger(conn, **chunk)
            await _queries.insert_lines(conn, **chunk)
            await _queries.insert_ops_rows(conn, **chunk)


@asynccontextmanager
async def _filler(app: App) -> AsyncIterator[Connection]:
    """A connection that loads quickly: no triggers, no waiting for the disk."""
    async with connected(app.dsn) as conn:
        await conn.execute("set session_replication_role = replica")
        await conn.execute("set synchronous_commit = off")
        await conn.execute("set maintenance_work_mem = '1GB'")
        yield conn
