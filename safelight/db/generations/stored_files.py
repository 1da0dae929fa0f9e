"""Stored files that no row names."""

from collections.abc import Mapping

from safelight.db.connection.database import Connection, load_queries

_queries = load_queries(__file__)


async def unnamed(conn: Connection, generation_of: Mapping[str, str]) -> set[str]:
    """Of these keys, each with the generation it would be of, those that nothing names and nobody is about to."""
    rows = _queries.unnamed_keys(conn, keys=list(generation_of), generation_ids=list(generation_of.values()))
    return {row["key"] async for row in rows}
