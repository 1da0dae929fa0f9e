"""A worker process: it heartbeats, takes jobs and reaps, until it is killed, and freezes now and then."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from safelight.db.connection.database import TRANSIENT_ERRORS
from safelight.domain.flows import Flow
from safelight.pipelines.engine.queue import Later, SnoozeRetryStrategy
from safelight.pipelines.engine.reaper import Reaper
from safelight.pipelines.engine.retry import RetryPolicy
from safelight.pipelines.engine.snooze import Snooze
from safelight.pipelines.worker import Worker
from tests.simulation import clock
from tests.simulation.seam import Silent
from tests.simulation.server import JOBS, Connection, Job, SimulatedDatabase, Tables, Transaction
from tests.simulation.service import Client
from tests.simulation.storage import Assets
from tests.simulation.story import parallel_story, story

if TYPE_CHECKING:
    from tests.simulation.scenario import World

MOMENT = 1e-6  # a timer that is due sooner is due now, and the time would stand still
HEARTBEAT_SECONDS = 5.0
POLL_SECONDS = 1.0
RETRY_BASE_SECONDS = 2.0


def _due(tables: Tables) -> list[Job]:
    return [job for job in tables.jobs.values() if job.worker is None and job.due_at <= clock.now()]


class Process:
    """Also the context of the flow. One that is `immortal` is an API process."""

    def __init__(self, world: "World", name: str, *, is_immortal: bool = False) -> None:
        self.world, self.name, self.weather = world, name, world.weather
        self._is_immortal = is_immortal
        self.is_dead = self.is_stopping = False
        self.paused_until = 0.0
        self.transactions: list[Transaction] = []
        self.db = SimulatedDatabase(world.server, self)
        self.sealer = None
        self.assets = Assets(world.files, self)
        self.client = Client(world.service, self)
        stories = {1: {Flow.STILL_CREATE: parallel_story if world.is_parallel else story}}
        self.worker = Worker(self, Silent(), RetryPolicy(RETRY_BASE_SECONDS), stories)  # type: ignore[arg-type]
        self.reaper = Reaper(self.db, self.worker.give_up, heartbeat_seconds=HEARTBEAT_SECONDS)
        self.running: set[asyncio.Task[None]] = set()
        self._registrations = 0

    # --- what befalls it ----------------------------------------------------------------------------------------------

    @property
    def is_worker(self) -> bool:
        return not self._is_immortal

    async def point(self, what: str | None) -> None:
        """A moment at which anything may happen to the process; a dead one never leaves it."""
        if what:
            self.say(what)
        if not self._is_immortal and not self.is_dead:
            self._meet_fate()
        await asyncio.sleep(self.weather.latency())
        while self.is_dead or clock.seconds() < self.paused_until:
            await self._stand_still()

    async def _stand_still(self) -> None:
        if self.is_dead:
            await asyncio.get_running_loop().create_future()
        await asyncio.sleep(max(self.paused_until - clock.seconds(), MOMENT))

    def _meet_fate(self) -> None:
        match self.weather.fate():
            case "kill":
                self.kill()
            case "pause":
                self.paused_until = clock.seconds() + self.weather.rng.choice((1.0, 20.0, 60.0, 300.0))
                self.say(f"PAUSED until {self.paused_until:.1f}")
            case "stop":
                self.stop()

    def kill(self) -> None:
        self.say("KILLED")
        self.is_dead = True
        for transaction in self.transactions:
            transaction.abort()

    def stop(self) -> None:
        self.say("STOPPING")
        self.is_stopping = True
        for task in self.running:
            task.cancel()

    def say(self, what: str) -> None:
        self.world.say(self.name, what)

    # --- what it does -------------------------------------------------------------------------------------------------

    @property
    def registration(self) -> str:
        return f"{self.name}.{self._registrations}"

    @property
    def is_gone(self) -> bool:
        return self.is_dead or (self.is_stopping and not self.running)

    async def live(self) -> None:
        reaping = self.world.spawn(self.reaper.run())
        while not self.is_gone:
            if not self.is_stopping and _due(self.world.server.tables):
                await self._take_a_job()
            await asyncio.sleep(POLL_SECONDS)
        if not self.is_dead:
            reaping.cancel()

    async def heartbeat(self) -> None:
        while not self.is_gone:
            if clock.seconds() >= self.paused_until and self.world.server.is_up:
                self.world.server.tables.workers[self.registration] = clock.now()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _take_a_job(self) -> None:
        try:
            async with self.db.connection() as conn:  # type: Connection
                job = await self._fetch(conn)
        except (
            TRANSIENT_ERRORS
        ):  # the queue's worker begins anew, under a new registration; a job it had got is taken back
            self._registrations += 1
            return
        if job:
            task = self.world.spawn(self._run(job))
            self.running.add(task)
            task.add_done_callback(self.running.discard)

    async def _fetch(self, conn: Connection) -> Job | None:
        def act(tables: Tables) -> Job | None:
            due = _due(tables)
            if self.is_stopping or not due:
                return None
            tables.jobs[due[0].number] = job = Job(due[0].number, self.registration, due[0].due_at)
            tables.workers[self.registration] = clock.now()
            return job

        return await conn.ask("fetch_job", act, writes=JOBS)

    async def _run(self, job: Job) -> None:
        decision = None
        try:
            await self.worker.run(self.world.generation_id)
        except (Snooze, asyncio.CancelledError, *TRANSIENT_ERRORS) as reason:
            if self.world.is_over:
                raise
            decision = SnoozeRetryStrategy().get_retry_decision(exception=reason, job=None)  # type: ignore[arg-type]
        await self.db.retry_transient(lambda conn: self._put_back(conn, job, decision), seconds=float("inf"))

    async def _put_back(self, conn: Connection, job: Job, decision: Later | None) -> None:
        """End the job, or schedule it again, unless it was taken over."""

        def act(tables: Tables) -> None:
            if tables.jobs.get(job.number) != job:
                return
            if decision is None:
                del tables.jobs[job.number]
            else:
                due_at = clock.now() + timedelta(seconds=decision.seconds)
                tables.jobs[job.number] = Job(job.number, None, due_at)

        await conn.ask("end_job" if decision is None else "retry_job", act, writes=JOBS)
