"""Looks for problems in a whole database, in one read-only transaction, and writes what a failure left unwritten."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.errors import UndefinedColumn, UndefinedTable
from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.schema import migrate, view_leaks
from safelight.db.schema.problems import OPS_FIELDS, PROBLEMS, Violation
from safelight.db.typed_rows import row_as, rows_as
from safelight.domain.errors.base import ConfigError
from safelight.domain.ids import generation_key, step_key
from safelight.domain.steps import PAID_STEPS

_queries = load_queries(__file__)

STATEMENT_SECONDS_MAX = 900
WORK_MEGABYTES = 256  # for each sort or hash of a statement
OVERDUE_SECONDS = 300.0  # after a deadline, for whoever watches deadlines
_INDEX = re.compile(
    r"^\s*\(?(?:\$\$|')?(create unique|create|drop) index (?:concurrently )?if (?:not )?exists (?:public\.)?(\w+)", re.M
)
_TRIGGER = re.compile(r"^\s*(create|drop) (?:or replace |constraint )*trigger (?:if exists )?(\w+)", re.M)
_ALWAYS = re.compile(r"^\s*enable always trigger (\w+)", re.M)


@dataclass(frozen=True, slots=True)
class ResultAtRisk:
    """A result that only its provider has, who forgets it at `lost_at`."""

    generation_id: str
    lost_at: datetime


@dataclass(frozen=True, slots=True)
class RefundedResult:
    """A generation that ended without a result, or was deleted, and may have left the files `keys`."""

    generation_id: str
    mode: str
    is_deleted: bool
    keys: list[str]


@dataclass(frozen=True, slots=True)
class StoredResult:
    """The file of a generation that is done, and the hash that it was stored with."""

    generation_id: str
    key: str
    sha256: str | None


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """All that is on record of a failed generation; the step is the one that failed, if there is one. `overpaid` are
    the credits that a set was charged beyond the positions that were made."""

    generation_id: str
    pass_id: str
    status: str
    message: str | None
    request: Row
    step_type: str | None
    provider: str | None
    model: str | None
    payload: Row | None
    read_at: datetime
    next_step_no: int
    has_ops_row: bool
    is_set: bool
    round_no: int
    overpaid: int


async def find(
    conn: Connection, *, examples: int, accepted_seconds: float, dead_after_seconds: float
) -> list[Violation]:
    """Every problem there is, with its first `examples` rows. A generation has its job `accepted_seconds` after it was
    made; a worker without a heartbeat for `dead_after_seconds` is dead.

    Raises:
        ConfigError: the database lacks tables or columns that migrations bring.
    """
    parameters: dict[str, Any] = {
        "examples": examples,
        "fields": list(OPS_FIELDS),
        "paid_types": list(PAID_STEPS),
        "accepted_seconds": accepted_seconds,
        "overdue_seconds": OVERDUE_SECONDS,
        "dead_after_seconds": dead_after_seconds,
    }
    try:
        async with conn.transaction():
            await _begin(conn)
            rows = [row for check in _CHECKS for row in await _first_of_each(conn, check, parameters)]
            rows += [row async for row in view_leaks.violations(conn, examples=examples)]
    except (UndefinedColumn, UndefinedTable) as error:
        raise ConfigError(f"the database is not up to date, run `safelight migrate`: {error}") from error
    return _violations(rows)


_CHECKS = (
    _queries.check_customers,
    _queries.check_generations,
    _queries.check_step_numbers,
    _queries.check_steps,
    _queries.check_starts,
    _queries.check_failures,
    _queries.check_unfinished,
    _queries.check_ops_rows,
    _queries.check_history,
)


async def _first_of_each(conn: Connection, check: Any, parameters: dict[str, Any]) -> list[Row]:
    found = f"({check.sql.rstrip().removesuffix(';')}) found"
    query = _queries.first_of_each.sql.replace("from found", f"from {found}")
    return await (await conn.execute(query, parameters)).fetchall()


async def _begin(conn: Connection) -> None:
    await _queries.begin_pass(conn)
    await _queries.bound_pass(
        conn,
        statement_timeout=f"{STATEMENT_SECONDS_MAX}s",
        work_mem=f"{WORK_MEGABYTES}MB",
    )


def _violations(rows: Sequence[Row]) -> list[Violation]:
    found = []
    for problem in PROBLEMS.values():
        mine = [row for row in rows if row["problem"] == problem.name]
        if mine:
            found.append(Violation(problem, mine[0]["total"], tuple(row["id"] for row in mine)))
    return found


async def schema_warnings(conn: Connection) -> list[str]:
    """Return a sentence for each thing that breaks no invariant yet and may let one break."""
    text = "\n".join(migration.text for migration in migrate.available())
    rows = _queries.schema_warnings(
        conn,
        indexes=_not_dropped(_INDEX.findall(text)),
        triggers=_not_dropped(_TRIGGER.findall(text)),
        always=sorted(set(_ALWAYS.findall(text))),
    )
    return [row["warning"] async for row in rows] + await _unapplied(conn)


def _not_dropped(named: list[tuple[str, str]]) -> list[str]:
    """Names that the last of their statements, (verb, name), did not drop."""
    return [name for name, verb in {name: verb for verb, name in named}.items() if verb != "drop"]


async def _unapplied(conn: Connection) -> list[str]:
    applied = set()
    if await _queries.migrations_are_recorded(conn):
        applied = {row["version"] async for row in _queries.applied_migrations(conn)}
    missing = [migration for migration in migrate.available() if migration.version not in applied]
    return [f"the migration {one.version}_{one.name} is not applied; run: safelight migrate" for one in missing]


async def results_at_risk(conn: Connection) -> list[ResultAtRisk]:
    """The results that only their provider has, the most urgent first."""
    return await rows_as(ResultAtRisk, _queries.results_at_risk(conn))


async def refunded_results(conn: Connection, limit: int, *, withdrawn: bool) -> list[RefundedResult]:
    """The newest generations that ended without a result and may have left files; with `withdrawn`, also those whose
    files were deleted before."""
    return await rows_as(RefundedResult, _queries.refunded_results(conn, limit=limit, withdrawn=withdrawn))


async def newest_files(conn: Connection, limit: int) -> list[StoredResult]:
    return await rows_as(StoredResult, _queries.newest_files(conn, limit=limit))


async def failure(conn: Connection, generation_id: str) -> FailureRecord | None:
    """The record of a failed generation, locked: who mends it at the same time waits. None: it did not fail."""
    await _queries.lock_generation(conn, generation_key=generation_key(generation_id))
    return row_as(FailureRecord, await _queries.failure(conn, generation_key=generation_key(generation_id)))


async def insert_failed_step(
    conn: Connection, generation_id: str, *, number: int, step_type: str, payload: dict[str, Any]
) -> None:
    await _queries.insert_failed_step(
        conn,
        generation_key=generation_key(generation_id),
        step_key=step_key(generation_id, number),
        step_no=number,
        step_type=step_type,
        payload=Jsonb(payload),
    )
