"""Finds what nobody would come back for: jobs of dead workers, jobs that hang, generations without a job, generations
that no worker began in time. Every worker runs one; it does not matter how many there are."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from safelight import telemetry
from safelight.db.connection.database import TRANSIENT_ERRORS, Database
from safelight.db.generations import jobs, queue_status
from safelight.db.operations.failures import StuckThresholds
from safelight.pipelines.engine.queue import IMPORTS, WORK
from safelight.process.tasks import run_periodically

HEARTBEATS_MISSED = 3
HUNG_AFTER_SECONDS = 300.0  # past its deadline a run ends by itself, unless it hangs
ADOPT_AFTER_SECONDS = 10.0  # longer than any transaction that accepts an order may take
ADOPTED_AT_ONCE = 1000
GIVEN_UP_AT_ONCE = 20
QUEUE_NAMES = (WORK.queue_name, IMPORTS.queue_name)
NO_WORKER = "no worker is alive"

GiveUp = Callable[[str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Reaped:
    """Generations by what became of them, and how many workers are alive to go on with them."""

    taken_back: list[str]
    adopted: list[str]
    expired_in_queue: list[str]
    workers_alive: int = field(default=1, compare=False)

    @property
    def warning(self) -> str:
        """The text after the number of generations that are queued again; empty if a worker is alive."""
        is_waiting = not self.workers_alive and (self.taken_back or self.adopted)
        return f"; {NO_WORKER}" if is_waiting else ""


def stuck_thresholds(heartbeat_seconds: float) -> StuckThresholds:
    return StuckThresholds(HEARTBEATS_MISSED * heartbeat_seconds, ADOPT_AFTER_SECONDS)


class Reaper:
    """`heartbeat_seconds` is how often a living worker says so; it counts as dead after HEARTBEATS_MISSED of them.
    `give_up` ends a generation that is too late to be begun. `places_max` is how many generations of one customer may
    be begun at once; 0 is no limit."""

    def __init__(self, db: Database, give_up: GiveUp, *, heartbeat_seconds: float, places_max: int = 0) -> None:
        self._db = db
        self._places_max = places_max
        self._give_up = give_up
        self._heartbeat_seconds = heartbeat_seconds
        self.thresholds = stuck_thresholds(heartbeat_seconds)

    async def run(self) -> None:
        """Reap at every heartbeat, until cancelled. While the database is away, the next heartbeat tries again."""

        def report(error: Exception) -> None:
            telemetry.warning(telemetry.Tag.DB_UPDATE, f"The reaper cannot reach the database and tries again: {error}")

        await run_periodically(
            self.reap, every_seconds=self._heartbeat_seconds, transient=TRANSIENT_ERRORS, report=report, wait_first=True
        )

    async def reap(self) -> Reaped:
        async with self._db.connection() as conn:
            taken_back = await jobs.requeue_stalled(
                conn,
                queue_names=list(QUEUE_NAMES),
                dead_after_seconds=self.thresholds.dead_after_seconds,
                hung_after_seconds=HUNG_AFTER_SECONDS,
            )
            adopted = await jobs.enqueue_orphaned(
                conn,
                work=WORK,
                imports=IMPORTS,
                older_than_seconds=self.thresholds.grace_seconds,
                limit=ADOPTED_AT_ONCE,
            )
            await jobs.release_forgotten(conn, places_max=self._places_max)
            expired_in_queue = await jobs.expired_in_queue(conn, limit=GIVEN_UP_AT_ONCE)
            alive = await queue_status.alive_workers(
                conn, queue_names=QUEUE_NAMES, dead_after_seconds=self.thresholds.dead_after_seconds
            )
        reaped = Reaped(taken_back, adopted, expired_in_queue, alive)
        for generation_id in taken_back:
            _say(_taken_back(generation_id, is_worker_alive=alive > 0), generation_id)
        for generation_id in adopted:
            _say(f"Generation {generation_id} had no job and was queued again{reaped.warning}", generation_id)
        for generation_id in expired_in_queue:
            _say(f"Generation {generation_id} was not started before its deadline and fails", generation_id)
            await self._give_up(generation_id)
        return reaped


def _taken_back(generation_id: str, *, is_worker_alive: bool) -> str:
    if is_worker_alive:
        return f"Taking generation {generation_id} over: its worker stopped answering or hangs"
    return f"Generation {generation_id} lost its worker and is queued again; {NO_WORKER}"


def _say(text: str, generation_id: str) -> None:
    telemetry.info("🔄", telemetry.Tag.GENERATION_PROCESSING, text, generation_id=generation_id)
