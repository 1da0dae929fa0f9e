"""Deletions by customers, of rows of their history. A row stays, marked; ledger, steps and lines are not touched."""

from dataclasses import dataclass

from safelight.db.connection.database import Connection, load_queries
from safelight.db.typed_rows import row_as

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Deletable:
    """A row of a customer's history. `is_ours`: no older backend made it; `is_withdrawn`: its files are gone already;
    `is_needed`: something unfinished is made from it."""

    id: str
    record_type: str
    generation_id: str
    mode: str
    status: str | None
    url: str | None
    key: str | None
    is_ours: bool
    is_withdrawn: bool
    is_needed: bool


async def lock(conn: Connection, record_id: str, pass_id: str) -> Deletable | None:
    """The customer's generation, feedback or session, locked. `record_id` is an `mg_id`, or a generation's id."""
    return row_as(Deletable, await _queries.lock_record(conn, id=record_id, pass_id=pass_id))


async def mark(conn: Connection, record_id: str) -> int:
    """Mark the row as deleted. Returns how many rows that changed: none, if it was deleted before."""
    return int(await _queries.mark_deleted(conn, id=record_id))
