"""The note of which input pictures of a generation are to be imported, and what came of it."""

from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, load_queries
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
    row = await _queries.pending_imports(conn, generation_key=generation_key(generation_id))
    if row is None:
        return None
    return PendingImports(
        row["mg_pass_id"],
        row["request_id"],
        row["order"],
        row["imports"]["pictures"],
        row["mg_takeovers"],
        row["cancelling"],
    )


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
