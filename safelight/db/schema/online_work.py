"""Statements that a migration leaves to be run after it: those that no transaction allows, or that would hold a lock
for as long as they read a table.

Readers and writers continue meanwhile. A statement that was interrupted is run again by the next `migrate`.
"""

from typing import LiteralString, cast

import psycopg
from psycopg import sql

from safelight import telemetry
from safelight.db.connection.database import load_queries
from safelight.db.connection.sessions import Connection

_queries = load_queries(__file__)


async def finish(conn: Connection) -> None:
    """Run what is noted, in the order in which it was noted. The connection must be in no transaction."""
    for row in [row async for row in _queries.left_over(conn)]:
        await conn.execute(sql.SQL("drop index if exists " + cast(LiteralString, row["name"])))
    is_new = not await _queries.has_generations(conn)  # then it is done at once, and nothing need be said of it
    for row in [row async for row in _queries.noted(conn)]:
        if not is_new:
            telemetry.info("🔄", telemetry.Tag.DB_UPDATE, f"{row['reason']}: {row['statement']}")
        try:
            await conn.execute(sql.SQL(row["statement"]))
        except psycopg.errors.CheckViolation as error:  # old rows stay as they are, and the doctor names the check
            telemetry.warning(telemetry.Tag.DB_UPDATE, f"Some old rows do not meet a check; new rows must: {error}")
        await _queries.forget(conn, statement=row["statement"])
