"""Cancels a generation. The request is noted. If no worker has begun the generation, it is ended and refunded at once,
also while no worker is alive. Else its job is made due; the worker that has it stops at its next write, asks the
provider to stop, refunds and ends it. Where the result is there already, it is delivered: once the generate step has
ended, every request is too late, and is told so at once."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

from safelight.db.connection.database import Database
from safelight.db.connection.notifications import Notifier
from safelight.db.generations import generations, jobs, rounds, runs
from safelight.db.operations import audit
from safelight.db.operations.audit import Operator
from safelight.domain.errors.base import Cancelled, LeaseLost, NotFound
from safelight.domain.identities import ActingCustomer
from safelight.domain.statuses import Status
from safelight.domain.steps import RESULT_STEPS
from safelight.pipelines.engine.retry import RetryPolicy
from safelight.pipelines.engine.run import Run
from safelight.pipelines.engine.run_store import RunStore
from safelight.pipelines.failures import fail
from safelight.pipelines.worker import FLOWS

ANSWER_SECONDS_MAX = 10.0
LOOK_SECONDS = 0.2
PRIORITY = 100  # a cancelled generation needs a worker for a moment only, and somebody is waiting
OPERATOR = "operator"
NO_RETRY = RetryPolicy(base_seconds=0.0, attempts_max=1)


@dataclass(frozen=True, slots=True)
class CancelOutcome:
    """The outcome of the request: `too_late` where the generation ended in another way or has its result, None while it
    is not known."""

    status: Status
    too_late: bool | None
    refunded_credits: int
    balance: int | None


async def cancel(db: Database, generation_id: str, by: ActingCustomer | Operator) -> CancelOutcome:
    """Ask for the generation to be stopped, and wait a little for the outcome. A customer must be its owner.

    Raises:
        NotFound: there is no such generation, or it is somebody else's.
    """
    pass_id = by.pass_id if isinstance(by, ActingCustomer) else None
    async with db.transaction() as conn:
        if not await generations.request_cancelling(conn, generation_id, pass_id=pass_id, by=pass_id or OPERATOR):
            raise NotFound(f"There is no generation {generation_id!r}.")
        await jobs.wake(conn, generation_id, priority=PRIORITY)
        if isinstance(by, Operator):
            before = {"status": (await generations.cancelling(conn, generation_id)).status}
            after = {"asked": True}
            await audit.record(conn, by, "generations.cancel", target=generation_id, before=before, after=after)
    give_up = time.monotonic() + ANSWER_SECONDS_MAX
    with suppress(TimeoutError):  # the database is away: a worker ends it later
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            await _end_unbegun(db, generation_id)
    while True:
        now = await _state(db, generation_id)
        if now.too_late is not None or time.monotonic() > give_up:
            return now
        await asyncio.sleep(LOOK_SECONDS)


async def _end_unbegun(db: Database, generation_id: str) -> None:
    """End the generation as cancelled, refunded, if no worker has begun it. The lease keeps a worker that begins it at
    this moment, and this process, from both writing."""
    async with db.connection() as conn:
        lease_no = await rounds.unbegun_lease_no(conn, generation_id)
        leased = await runs.take_lease(conn, generation_id, FLOWS, if_lease_no=lease_no)
        if leased is None:
            return
        steps = await runs.checkpoints(conn, generation_id, RESULT_STEPS)
    notifier = Notifier(db)
    store = RunStore(db, notifier, leased, steps)
    with suppress(LeaseLost):  # a worker took the generation over, and has seen the request
        await fail(Run(store, NO_RETRY, leased), Cancelled("stopped on request, before it began"))
    await notifier.drain()


async def _state(db: Database, generation_id: str) -> CancelOutcome:
    async with db.connection() as conn:
        row = await generations.cancelling(conn, generation_id)
    status = Status(row.status)
    cancelled = status is Status.CANCELLED
    return CancelOutcome(
        status=status,
        too_late=not cancelled if status.is_terminal or row.has_result else None,
        refunded_credits=row.refunded if cancelled else 0,
        balance=row.balance,
    )
