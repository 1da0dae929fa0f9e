"""What a rehearsal is judged by, as the tables have it."""

from collections.abc import Iterable

from psycopg import sql

from safelight.db.connection.database import Connection, Row, load_queries

_queries = load_queries(__file__)


async def name_workers(conn: Connection, names: Iterable[str]) -> None:
    """A role for each worker; from now on `held_by` knows them by it."""
    await _queries.name_registrations(conn)
    for name in names:
        await conn.execute(sql.SQL("create role {} superuser login").format(sql.Identifier(name)))


async def generations_now(conn: Connection) -> list[Row]:
    """Every generation: generation_id, status, mode, pass_id, lease_no."""
    return [row async for row in _queries.generations_now(conn)]


async def held_by(conn: Connection, name: str) -> list[Row]:
    """The unfinished generations a worker process is at: generation_id, lease_no."""
    return [row async for row in _queries.held_by(conn, name=name)]


async def ledger_errors(conn: Connection) -> list[str]:
    return [row["problem"] async for row in _queries.ledger_errors(conn)]


async def errors(conn: Connection) -> list[Row]:
    """code, times; the most frequent first."""
    return [row async for row in _queries.errors(conn)]


async def results_beside_refunds(conn: Connection) -> list[str]:
    return [row["generation_id"] async for row in _queries.results_beside_refunds(conn)]


async def recorded_double_starts(conn: Connection) -> set[tuple[str, str]]:
    """(generation id, the step as an attempt key names it: by number or by type)."""
    return {(row["generation_id"], row["step"]) async for row in _queries.recorded_double_starts(conn)}


async def outputs(conn: Connection) -> list[Row]:
    """Of each generation that is done: generation_id, key, sha256."""
    return [row async for row in _queries.outputs(conn)]
