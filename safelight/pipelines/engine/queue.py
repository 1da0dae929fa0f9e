"""The queues: one Procrastinate job for each generation, put there in the transaction that accepts it. Where pictures
are to be imported first, it begins in a queue of its own."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import procrastinate
import psycopg
from procrastinate import BaseRetryStrategy, PsycopgConnector, RetryDecision
from procrastinate.exceptions import ConnectorException, JobAborted
from procrastinate.job_context import JobContext, JobResult
from procrastinate.jobs import DeleteJobCondition, Job, Status
from procrastinate.worker import Worker

from safelight import telemetry
from safelight.db.connection.database import TRANSIENT_ERRORS, Connection, Database
from safelight.db.generations import jobs
from safelight.db.generations.jobs import QueuedTask, Turn
from safelight.pipelines.engine.snooze import Snooze

WORK = QueuedTask("generations", "run_generation")
IMPORTS = QueuedTask("inputs", "import_inputs")
DATABASE_RETRY_SECONDS = 2.0
# A paused worker keeps its registration, so that it can go on when it wakes; takeover does not wait for this.
STALLED_WORKER_SECONDS = 86_400.0
HELD_UNTIL = datetime(9000, 1, 1, tzinfo=UTC)  # a job that is held is due when it is released


class Later(RetryDecision):
    """The job is due again after so many seconds of the database's clock: ours may be hours off."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class SnoozeRetryStrategy(BaseRetryStrategy):
    """A job that has more to do goes back into the queue; it keeps its row, so a generation has one job for life."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> Later | None:
        match exception:
            case Snooze():
                return Later(exception.seconds)
            case JobAborted() | asyncio.CancelledError():  # the worker is shutting down
                return Later(0)
        return Later(DATABASE_RETRY_SECONDS) if isinstance(exception, TRANSIENT_ERRORS) else None


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The bounds and intervals of a worker: how many jobs and imports side by side, how often it looks, how it stops,
    how it shows that it lives."""

    concurrency: int
    imports: int
    poll_seconds: float
    shutdown_seconds: float
    heartbeat_seconds: float


class _PersistentWorker(Worker):
    """Writes a job's end down through a database outage, and lets go of a job that was taken over; one that is to stop
    does not wait for the database, since its jobs get taken over."""

    def __init__(self, db: Database, places_max: int, **more: Any) -> None:
        super().__init__(**more)
        self._db = db
        self._places_max = places_max

    async def _persist_job_status(
        self,
        job: Job,
        status: Status,
        retry_decision: RetryDecision | None,
        context: JobContext,
        job_result: JobResult | None,
    ) -> None:
        while True:
            try:
                if isinstance(retry_decision, Later):
                    await self._put_back(job, retry_decision.seconds)
                else:
                    await super()._persist_job_status(job, status, retry_decision, context, job_result)
                    await self._release(job.task_kwargs)
            except (ConnectorException, psycopg.Error) as error:
                cause = error.__cause__ if isinstance(error, ConnectorException) else error
                if isinstance(cause, TRANSIENT_ERRORS) and not self._stop_event.is_set():
                    await asyncio.sleep(DATABASE_RETRY_SECONDS)
                    continue
                telemetry.warning(
                    telemetry.Tag.GENERATION_PROCESSING,
                    f"The status of a job could not be written; another worker will continue it: {cause}",
                )
            return

    async def _release(self, arguments: Mapping[str, Any]) -> None:
        """Let the next job of the customer be begun, if this one took one of a bounded number of places."""
        if self._places_max and (customer := arguments.get("customer")):
            async with self._db.connection() as conn:
                await jobs.release(conn, customer, places_max=self._places_max)

    async def _put_back(self, job: Job, seconds: float) -> None:
        assert job.id is not None  # it was fetched
        async with self._db.connection() as conn:
            await jobs.put_back(conn, job.id, seconds=seconds)
        self._job_ids_to_abort.pop(job.id, None)


class Queue:
    """`handler` and `importer` are what a worker calls with a generation's id; the API process has none. The importer
    also gets what puts the generation's job into the queue of the workers. `places_max` is how many generations of one
    customer may be begun at once; 0 is no limit."""

    def __init__(self, db: Database, handler: Any = None, importer: Any = None, *, places_max: int = 0) -> None:
        self.app = procrastinate.App(connector=PsycopgConnector())
        self._db = db
        self._places_max = places_max

        @self.app.task(name=WORK.task_name, queue=WORK.queue_name, retry=SnoozeRetryStrategy())
        async def run_generation(generation_id: str, customer: str | None = None) -> None:
            await handler(generation_id)

        @self.app.task(name=IMPORTS.task_name, queue=IMPORTS.queue_name, retry=SnoozeRetryStrategy(), pass_context=True)
        async def import_inputs(context: JobContext, generation_id: str) -> None:
            await importer(generation_id, partial(self.defer, priority=context.job.priority))

        self._task, self._import_task = run_generation, import_inputs
        self._workers: dict[str, Worker] = {}
        self._stopping = False

    async def open(self) -> None:
        await self.app.open_async(self._db.pool)

    async def close(self) -> None:
        await self.app.close_async()

    async def turn(self, conn: Connection, generation_id: str, customer: str) -> Turn:
        """The place of the customer's next job, as `defer` takes it. Needs a transaction."""
        return await jobs.turn(conn, generation_id, customer=customer, places_max=self._places_max)

    async def defer(
        self,
        conn: Connection,
        generation_id: str,
        *,
        customer: str | None = None,
        turn: Turn | None = None,
        priority: int | None = None,
    ) -> None:
        """Put the generation's job into the queue, in the transaction of `conn`. The database's errors are its own.
        Customers take turns; a customer with all places taken waits for one of these. `priority` is that of a job
        which this one goes on from."""
        if self._places_max and customer is None:
            customer = await jobs.customer_of(conn, generation_id)
        turn = turn or await jobs.turn(conn, generation_id, customer=customer, places_max=self._places_max)
        held = {"lock": f"held:{customer}", "schedule_at": HELD_UNTIL} if turn.is_held else {}
        more = {"customer": customer} if self._places_max else {}
        priority = turn.priority if priority is None else priority
        await self._defer(self._task, conn, generation_id, more, priority=priority, **held)

    async def defer_import(self, conn: Connection, generation_id: str, *, lock: str, turn: Turn) -> None:
        """As `defer`, where pictures are to be imported first. Imports that share a lock are done one by one."""
        await self._defer(self._import_task, conn, generation_id, {}, priority=turn.priority, lock=lock)

    async def _defer(
        self, task: Any, conn: Connection, generation_id: str, more: Mapping[str, Any], **options: Any
    ) -> None:
        try:
            await task.configure(queueing_lock=generation_id, connection=conn, **options).defer_async(
                generation_id=generation_id, **more
            )
        except ConnectorException as error:
            raise error.__cause__ or error from error

    async def work(self, options: WorkerOptions) -> None:
        """Take jobs until `stop`; then let those under way go on for a while and hand the rest back."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._work(WORK.queue_name, options.concurrency, options))
            group.create_task(self._work(IMPORTS.queue_name, options.imports, options))

    async def _work(self, queue_name: str, concurrency: int, options: WorkerOptions) -> None:
        """A worker that trouble with the database has ended begins anew, under a new registration. The old one is
        withdrawn: what that worker had is taken back, and no generation is blamed for its end."""
        old_registration: int | None = None
        while not self._stopping:
            worker = self._workers[queue_name] = _PersistentWorker(
                self._db,
                self._places_max,
                app=self.app,
                queues=[queue_name],
                concurrency=concurrency,
                fetch_job_polling_interval=options.poll_seconds,
                install_signal_handlers=False,
                delete_jobs=DeleteJobCondition.ALWAYS,
                shutdown_graceful_timeout=options.shutdown_seconds,
                update_heartbeat_interval=options.heartbeat_seconds,
                stalled_worker_timeout=STALLED_WORKER_SECONDS,
            )
            try:
                if old_registration is not None:
                    await self.app.job_manager.unregister_worker(old_registration)
                    old_registration = None
                await worker.run()  # type: ignore[no-untyped-call]
            except ConnectorException as error:
                telemetry.warning(
                    telemetry.Tag.GENERATION_PROCESSING,
                    f"The worker cannot reach the database and tries again: {error.__cause__ or error}",
                )
            old_registration = old_registration or worker.worker_id
            if not self._stopping:
                await asyncio.sleep(DATABASE_RETRY_SECONDS)

    def stop(self) -> None:
        self._stopping = True
        for worker in self._workers.values():
            worker.stop()  # type: ignore[no-untyped-call]
