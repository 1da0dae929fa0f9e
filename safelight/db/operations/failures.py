"""What went wrong, as operators and owners ask for it: failed, cancelled and stuck generations."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.domain.ids import generation_key

_queries = load_queries(__file__)

LIMIT_DEFAULT = 50
LIMIT_MAX = 200
HOURS_DEFAULT = 24
HOURS_MAX = 8760
USERS_SHOWN_MAX = 200


class Kind(StrEnum):
    ALL = "all"
    FAILED = "failed"
    STUCK = "stuck"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class StuckThresholds:
    """For how long a generation without a living worker, and one without a job yet, is not stuck."""

    dead_after_seconds: float
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last generation of the page before."""

    created_at: datetime
    generation_id: str


@dataclass(frozen=True, slots=True)
class Question:
    """`user_id` is a user's or a pass id; `pass_id` is exactly that. What is stuck shows however old it is."""

    kind: Kind = Kind.ALL
    hours: int = HOURS_DEFAULT
    limit: int = LIMIT_DEFAULT
    user_id: str | None = None
    pass_id: str | None = None
    session_id: str | None = None
    before: Cursor | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """The counts, and the first USERS_SHOWN_MAX users, are of all that was asked for; `generations` is one page."""

    failed: int
    stuck: int
    cancelled: int
    by_user: list[Row]
    generations: list[Row]
    next: Cursor | None

    @property
    def total(self) -> int:
        return self.failed + self.stuck + self.cancelled


async def read(conn: Connection, question: Question, patience: StuckThresholds) -> Found:
    row: Row = await _queries.read(
        conn,
        kind=question.kind,
        hours=question.hours,
        user_id=question.user_id,
        pass_id=question.pass_id,
        session_id=question.session_id,
        before_at=question.before and question.before.created_at,
        before_id=question.before and question.before.generation_id,
        dead_after_seconds=patience.dead_after_seconds,
        grace_seconds=patience.grace_seconds,
        users_most=USERS_SHOWN_MAX,
        most=question.limit + 1,  # one more than is shown tells whether there is another page
    )
    found = [_with_time(generation) for generation in row["generations"]]
    page = found[: question.limit]
    following = Cursor(page[-1]["created_at"], page[-1]["id"]) if len(found) > len(page) else None
    return Found(row["failed"], row["stuck"], row["cancelled"], row["by_user"], page, following)


async def stacks(conn: Connection, generation_ids: list[str]) -> dict[str, str]:
    """The stack of each generation's latest failure, from the ops plane: for operators only."""
    rows = _queries.stacks(conn, generation_ids=generation_ids)
    return {row["generation_id"]: row["stack"] async for row in rows}


async def causes(conn: Connection, generation_ids: list[str]) -> dict[str, Row]:
    """By generation, what operators are told of it: code, step, message and model of its latest row in the ops plane,
    who asked to cancel it, and the last step that began."""
    keys = [generation_key(one) for one in generation_ids]
    return {row["generation_id"]: row async for row in _queries.causes(conn, generation_keys=keys)}


async def unfinished(conn: Connection, patience: StuckThresholds) -> list[Row]:
    """How many unfinished generations there are of each liveness, and whether that is stuck."""
    rows = _queries.unfinished(
        conn, dead_after_seconds=patience.dead_after_seconds, grace_seconds=patience.grace_seconds
    )
    return [row async for row in rows]


async def owners(conn: Connection, generation_ids: list[str]) -> list[Row]:
    """Whose generations these are, and how many each: user_id, email, count."""
    return [row async for row in _queries.owners(conn, generation_ids=generation_ids)]


def _with_time(generation: Row) -> Row:
    return generation | {"created_at": datetime.fromisoformat(generation["created_at"])}
