"""Failed, cancelled and stuck generations, as operators and owners ask for them."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.typed_rows import rows_as, values_as
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
class FailuresOfUser:
    """The number of a user's failures; `user_id` is the pass id of a customer who never signed in."""

    pass_id: str
    user_id: str
    display_name: str | None
    username: str | None
    email: str | None
    count: int
    failed: int
    stuck: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class FailedGeneration:
    """A generation that failed, was cancelled or, if it has a `liveness`, is stuck. `parameters` is its order, with
    `error` and `errorContext`."""

    id: str
    session_id: str | None
    user_id: str
    pass_id: str
    model_id: str | None
    prompt: str | None
    status: str
    parameters: Row
    created_at: datetime
    kind: str
    liveness: str | None
    age_minutes: int
    display_name: str | None
    username: str | None
    session_name: str | None
    project_id: str | None
    project_name: str | None


@dataclass(frozen=True, slots=True)
class Cause:
    """`code`, `step`, `message` and `model` are of the generation's latest row in the ops plane; `last_step` is the
    last one that began."""

    generation_id: str
    cancelled_by: str | None
    code: str | None
    step: str | None
    message: str | None
    model: str | None
    last_step: str | None


@dataclass(frozen=True, slots=True)
class UnfinishedCount:
    liveness: str
    is_stuck: bool
    count: int


@dataclass(frozen=True, slots=True)
class GenerationsOfUser:
    """The number of a user's generations among some."""

    user_id: str
    email: str | None
    count: int


@dataclass(frozen=True, slots=True)
class Found:
    """The counts, and the first USERS_SHOWN_MAX users, are of all that was asked for; `generations` is one page."""

    failed: int
    stuck: int
    cancelled: int
    by_user: tuple[FailuresOfUser, ...]
    generations: tuple[FailedGeneration, ...]
    next: Cursor | None

    @property
    def total(self) -> int:
        return self.failed + self.stuck + self.cancelled


async def read(conn: Connection, question: Question, thresholds: StuckThresholds) -> Found:
    row: Row = await _queries.read(
        conn,
        **asdict(question)
        | asdict(thresholds)
        | {"limit": question.limit + 1},  # one more than is shown tells whether there is another page
        before_at=question.before and question.before.created_at,
        before_id=question.before and question.before.generation_id,
        users_limit=USERS_SHOWN_MAX,
    )
    found = values_as(FailedGeneration, map(_with_time, row["generations"]))
    page = found[: question.limit]
    following = Cursor(page[-1].created_at, page[-1].id) if len(found) > len(page) else None
    users = values_as(FailuresOfUser, row["by_user"])
    return Found(row["failed"], row["stuck"], row["cancelled"], users, page, following)


async def stacks(conn: Connection, generation_ids: list[str]) -> dict[str, str]:
    """The stack of each generation's latest failure, from the ops plane: for operators only."""
    rows = _queries.stacks(conn, generation_ids=generation_ids)
    return {row["generation_id"]: row["stack"] async for row in rows}


async def causes(conn: Connection, generation_ids: list[str]) -> dict[str, Cause]:
    """The cause of each generation's end, for operators."""
    keys = [generation_key(one) for one in generation_ids]
    found = await rows_as(Cause, _queries.causes(conn, generation_keys=keys))
    return {cause.generation_id: cause for cause in found}


async def unfinished(conn: Connection, thresholds: StuckThresholds) -> list[UnfinishedCount]:
    """The unfinished generations, counted by their liveness."""
    return await rows_as(UnfinishedCount, _queries.unfinished(conn, **asdict(thresholds)))


async def owners(conn: Connection, generation_ids: list[str]) -> list[GenerationsOfUser]:
    return await rows_as(GenerationsOfUser, _queries.owners(conn, generation_ids=generation_ids))


def _with_time(generation: Row) -> Row:
    return generation | {"created_at": datetime.fromisoformat(generation["created_at"])}
