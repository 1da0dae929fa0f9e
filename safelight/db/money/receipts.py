"""The moves of credits of one generation, and what its steps cost."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from safelight.db.connection.database import Connection, load_queries
from safelight.db.typed_rows import rows_as

_queries = load_queries(__file__)

STEPS_MAX = 2000


@dataclass(frozen=True, slots=True)
class MovedCredits:
    at: datetime
    credits: int
    ref_type: str
    reference: str


@dataclass(frozen=True, slots=True)
class PaidStep:
    """`positions` is how many results of a set it made. `usd` was paid to the provider; `possible_usd` may have been,
    since the answer to a start was lost."""

    number: int
    type: str
    status: str
    attempts: int
    seconds: float | None
    error_code: str | None
    positions: int
    provider: str | None
    model: str | None
    usd: Decimal
    possible_usd: Decimal


async def entries(conn: Connection, generation_id: str) -> list[MovedCredits]:
    return await rows_as(MovedCredits, _queries.entries(conn, generation_id=generation_id))


async def steps(conn: Connection, generation_id: str) -> list[PaidStep]:
    """The steps in their order, STEPS_MAX at most."""
    return await rows_as(PaidStep, _queries.steps(conn, generation_id=generation_id, limit=STEPS_MAX))
