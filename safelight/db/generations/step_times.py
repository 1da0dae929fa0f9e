"""Durations of recent steps, and the state of one generation that an estimate of its remaining time begins with."""

from collections.abc import Iterable
from dataclasses import dataclass

from safelight.db.connection.database import Connection, load_queries
from safelight.db.typed_rows import rows_as, values_as
from safelight.domain.estimates.remaining_time import RunningStep, StepTimes

_queries = load_queries(__file__)

SAMPLES_MAX = 200  # of each type of step and model
STEPS_SCANNED_MAX = 1000  # of each type of step
BEGUN_MIN = 5
BEGUN_MAX = 100
BEGUN_SECONDS = 600.0
ROWS_SCANNED_MAX = 5000
AHEAD_MAX = 100_000


@dataclass(frozen=True, slots=True)
class GenerationWork:
    """`ahead` jobs are before that of the generation, if it is due. `ended` counts the steps that have ended by their
    type. A generation that `is_held` waits for another one of its customer."""

    ahead: int
    is_due: bool
    is_held: bool
    is_importing: bool
    ended: dict[str, int]
    running: tuple[RunningStep, ...]


@dataclass(frozen=True, slots=True)
class _Recent:
    step_type: str
    model: str | None
    seconds: list[float]
    newest_at: float


async def recent(conn: Connection, step_types: Iterable[str]) -> StepTimes:
    rows = await rows_as(
        _Recent,
        _queries.recent(conn, step_types=list(step_types), samples_max=SAMPLES_MAX, scanned_max=STEPS_SCANNED_MAX),
    )
    rows.sort(key=lambda row: row.newest_at)
    return StepTimes(
        {(row.step_type, row.model): tuple(row.seconds) for row in rows}, {row.step_type: row.model for row in rows}
    )


async def begun_per_second(conn: Connection) -> float | None:
    found = await _queries.begun_per_second(
        conn, begun_min=BEGUN_MIN, begun_max=BEGUN_MAX, seconds=BEGUN_SECONDS, scanned_max=ROWS_SCANNED_MAX
    )
    return None if found is None else float(found)


async def work_of(conn: Connection, generation_id: str, *, work_queue: str) -> GenerationWork:
    row = await _queries.under_way(conn, generation_id=generation_id, work_queue=work_queue, ahead_max=AHEAD_MAX)
    return GenerationWork(**row | {"running": values_as(RunningStep, row["running"])})
