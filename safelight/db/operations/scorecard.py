"""The facts that a chaos run is judged by, read from the tables."""

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from safelight.db.connection.database import Connection, load_queries
from safelight.db.typed_rows import rows_as

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class GenerationNow:
    """The state of a generation at one moment."""

    generation_id: str
    status: str
    mode: str
    pass_id: str
    lease_no: int


@dataclass(frozen=True, slots=True)
class Output:
    """The file of a generation that is done, and the hash that it was stored with."""

    generation_id: str
    key: str | None
    sha256: str | None


async def name_workers(conn: Connection, names: Iterable[str]) -> None:
    """A role for each worker; from now on `held_by` knows them by it."""
    await _queries.name_registrations(conn)
    for name in names:
        await conn.execute(sql.SQL("create role {} superuser login").format(sql.Identifier(name)))


async def generations_now(conn: Connection) -> list[GenerationNow]:
    return await rows_as(GenerationNow, _queries.generations_now(conn))


async def held_by(conn: Connection, name: str) -> dict[str, int]:
    """The unfinished generations that a worker process has, each with the number of its lease."""
    return {row["generation_id"]: row["lease_no"] async for row in _queries.held_by(conn, name=name)}


async def ledger_errors(conn: Connection) -> list[str]:
    return [row["problem"] async for row in _queries.ledger_errors(conn)]


async def errors(conn: Connection) -> dict[str, int]:
    """The number of generations that ended with each error code, the most frequent first."""
    return {row["code"]: row["times"] async for row in _queries.errors(conn)}


async def results_beside_refunds(conn: Connection) -> list[str]:
    return [row["generation_id"] async for row in _queries.results_beside_refunds(conn)]


async def recorded_double_starts(conn: Connection) -> set[tuple[str, str]]:
    """(generation id, the step as an attempt key names it: by number or by type)."""
    return {(row["generation_id"], row["step"]) async for row in _queries.recorded_double_starts(conn)}


async def outputs(conn: Connection) -> list[Output]:
    return await rows_as(Output, _queries.outputs(conn))
