"""The queue: one Procrastinate job for each generation, put there in the transaction that accepts it."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import procrastinate
from procrastinate import BaseRetryStrategy, PsycopgConnector, RetryDecision
from procrastinate.exceptions import JobAborted
from procrastinate.jobs import DeleteJobCondition, Job
from procrastinate.worker import Worker
from psycopg import InterfaceError, OperationalError

from safelight.db.database import Connection, Database
from safelight.pipelines.runner import Snooze

TASK = "run_generation"
QUEUE_NAME = "generations"
DATABASE_RETRY_SECONDS = 2.0


class GoOnLater(BaseRetryStrategy):
    """A job that has more to do goes back into the queue; it keeps its row, so a generation has one job for life."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        match exception:
            case Snooze():
                return _in(exception.seconds)
            case JobAborted() | asyncio.CancelledError():  # the worker is shutting down
                return _in(0)
            case OperationalError() | InterfaceError():
                return _in(DATABASE_RETRY_SECONDS)
        return None


def _in(seconds: float) -> RetryDecision:
    return RetryDecision(retry_at=datetime.now(UTC) + timedelta(seconds=seconds))


class Queue:
    """`handler` is what a worker calls with a generation's id; the API process has none."""

    def __init__(self, db: Database, handler: Any = None) -> None:
        self.app = procrastinate.App(connector=PsycopgConnector())
        self._db = db

        @self.app.task(name=TASK, queue=QUEUE_NAME, retry=GoOnLater())
        async def run_generation(generation_id: str) -> None:
            await handler(generation_id)

        self._task = run_generation
        self._worker: Worker | None = None

    async def open(self) -> None:
        await self.app.open_async(self._db.pool)

    async def close(self) -> None:
        await self.app.close_async()

    async def defer(self, conn: Connection, generation_id: str) -> None:
        """Put the generation's job into the queue, in the transaction of `conn`."""
        await self._task.configure(queueing_lock=generation_id, connection=conn).defer_async(
            generation_id=generation_id
        )

    async def work(self, *, concurrency: int, poll_seconds: float, shutdown_seconds: float) -> None:
        """Take jobs until `stop`; then let those under way go on for `shutdown_seconds` and hand the rest back."""
        self._worker = Worker(
            app=self.app,
            queues=[QUEUE_NAME],
            concurrency=concurrency,
            fetch_job_polling_interval=poll_seconds,
            install_signal_handlers=False,
            delete_jobs=DeleteJobCondition.ALWAYS,
            shutdown_graceful_timeout=shutdown_seconds,
        )
        await self._worker.run()  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        if self._worker:
            self._worker.stop()  # type: ignore[no-untyped-call]
