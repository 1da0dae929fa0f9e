"""Likes and free-text feedback: one row each. A row without a comment is a like."""

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries

_queries = load_queries(__file__)

COUNTED_MAX = 50


async def insert(conn: Connection, row: Row) -> None:
    """Doing it twice is doing it once. `row` names the columns of the statement."""
    await _queries.insert_feedback(conn, **row | {"meta": Jsonb(row["meta"])})


async def count(conn: Connection, pass_id: str) -> int:
    """Count the customer's likes and comments, up to COUNTED_MAX."""
    return int(await _queries.count_feedback(conn, pass_id=pass_id, limit=COUNTED_MAX))
