"""The note of which input pictures of a generation are to be imported, and what came of it."""

from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, load_queries
from safelight.db.typed_rows import row_as
from safelight.domain.ids import generation_key

Json = dict[str, Any]

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class PendingImports:
    pass_id: str
    request_id: str | None
    order: Json
    pictures: list[Json]
    takeovers: int
    cancelling: bool


async def pending(conn: Connection, generation_id: str) -> PendingImports | None:
    """None: there is nothing to import, or not any more."""
    return row_as(PendingImports, await _queries.pending_imports(conn, generation_key=generation_key(generation_id)))


async def store(
    conn: Connection, generation_id: str, *, order: Json, variables: Json, imported: list[Json], message: str
) -> bool:
    """The order goes on with our copies. Returns whether it does so now: False where it did so before, or has ended."""
    row = await _queries.store_imports(
        conn,
        generation_key=generation_key(generation_id),
        order=Jsonb(order),
        variables=Jsonb(variables),
        imported=Jsonb(imported),
        message=message,
    )
    return row is not None
