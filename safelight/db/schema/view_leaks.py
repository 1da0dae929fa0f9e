"""Views that show customers rows of others, because they read our tables as their owner."""

from collections.abc import AsyncIterator

from psycopg import sql

from safelight.db.connection.database import Connection, Row, load_queries

_queries = load_queries(__file__)

LOCK_SECONDS_MAX = 10


async def violations(conn: Connection, *, examples: int) -> AsyncIterator[Row]:
    """The first `examples` of them, as rows of the doctor."""
    found = [row async for row in _queries.leaking_views(conn)]
    for row in found[:examples]:
        yield {"problem": "view_shows_all_rows", "id": row["id"], "total": len(found)}


async def close(conn: Connection) -> int:
    """Let each such view read as whoever asks; take a materialized view, which cannot, from customers. Returns how many
    there were.

    Raises:
        InsufficientPrivilege: somebody else owns one.
    """
    async with conn.transaction():
        await _queries.bound_closing(conn, lock_timeout=f"{LOCK_SECONDS_MAX}s")
        found = [row async for row in _queries.leaking_views(conn)]
        for row in found:
            name = sql.Identifier(row["schema"], row["name"])
            if row["kind"] == "v":
                await conn.execute(sql.SQL("alter view {} set (security_invoker = true)").format(name))
                continue
            for reader in row["readers"]:
                role = sql.SQL("public") if reader is None else sql.Identifier(reader)
                await conn.execute(sql.SQL("revoke all on {} from {}").format(name, role))
    return len(found)
