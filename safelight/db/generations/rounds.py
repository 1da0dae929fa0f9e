"""The rounds of a set: after the first, each makes what the ones before it left out."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.typed_rows import row_as
from safelight.domain.ids import generation_key

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class LockedSet:
    """A generation that may be reopened, locked until the transaction ends."""

    pass_id: str
    status: str | None
    payload: Row | None
    meta: Row
    lease_no: int
    is_deleted: bool
    user_id: UUID | None

    @property
    def rounds(self) -> list[Row]:
        return self.meta.get("rounds") or []

    @property
    def price_each(self) -> int:
        return int(self.meta.get("price_each") or 0)


@dataclass(frozen=True, slots=True)
class SetProgress:
    """The number of positions that were made, and the number after that of the last step."""

    made: int
    next_step_no: int


async def lock(conn: Connection, generation_id: str) -> LockedSet | None:
    return row_as(LockedSet, await _queries.lock(conn, generation_key=generation_key(generation_id)))


async def progress(conn: Connection, generation_id: str) -> SetProgress:
    return SetProgress(**await _queries.progress(conn, generation_id=generation_id))


async def reopen(
    conn: Connection,
    generation_id: str,
    user_id: UUID | None,
    *,
    noted: dict[str, Any],
    message: str,
    details: dict[str, Any],
    start_within_seconds: float,
) -> None:
    """Begin a round of a set that ended in part, which is locked. `noted` is kept with the generation."""
    await _queries.reopen(
        conn,
        generation_key=generation_key(generation_id),
        user_id=user_id,
        round=Jsonb(noted),
        message=message,
        details=Jsonb(details),
        start_within_seconds=start_within_seconds,
    )


async def unbegun_lease_no(conn: Connection, generation_id: str) -> int:
    """The number that the generation's lease has while no worker has begun its current round; 0 in the first."""
    return int(await _queries.unbegun_lease_no(conn, generation_key=generation_key(generation_id)) or 0)
