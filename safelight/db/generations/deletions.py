"""What customers delete of their history. A row stays, marked; ledger, steps and lines are not touched."""

from safelight.db.connection.database import Connection, Row, load_queries

_queries = load_queries(__file__)


async def lock(conn: Connection, record_id: str, pass_id: str) -> Row | None:
    """The customer's generation, feedback or session, locked. `record_id` is an `mg_id`, or a generation's id."""
    row: Row | None = await _queries.lock_record(conn, id=record_id, pass_id=pass_id)
    return row


async def mark(conn: Connection, record_id: str) -> int:
    """Mark the row as deleted. Returns how many rows that changed: none, if it was deleted before."""
    return int(await _queries.mark_deleted(conn, id=record_id))
