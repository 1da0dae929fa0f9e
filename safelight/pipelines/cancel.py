"""Cancels a generation. The request is noted and the job made due at once; the worker that has the generation stops at
its next write, asks the provider to stop, refunds and ends it. Where the result is there already, it is delivered: once
the generate step has ended, every request is too late, and is told so at once."""

import asyncio
import time
from dataclasses import dataclass

from safelight.db import audit, generations, jobs
from safelight.db.audit import Operator
from safelight.db.database import Database
from safelight.domain.errors import NotFound
from safelight.domain.statuses import Status

ANSWER_SECONDS_MAX = 10.0
LOOK_SECONDS = 0.2
PRIORITY = 100  # a cancelled generation needs a worker for a moment only, and somebody is waiting
OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Cancelling:
    """What became of the request: `too_late` where the generation ended in another way or has its result, None while it
    is not known."""

    status: Status
    too_late: bool | None
    refunded_credits: int
    balance: int | None


async def cancel(
    db: Database, generation_id: str, *, pass_id: str | None, operator: Operator | None = None
) -> Cancelling:
    """Ask for the generation to be stopped, and wait a little for the outcome. `pass_id` is its owner who asks; None is
    an operator.

    Raises:
        NotFound: there is no such generation, or it is somebody else's.
    """
    async with db.transaction() as conn:
        if not await generations.request_cancelling(conn, generation_id, pass_id=pass_id, by=pass_id or OPERATOR):
            raise NotFound(f"There is no generation {generation_id!r}.")
        await jobs.wake(conn, generation_id, priority=PRIORITY)
        if operator:
            before, after = (
                {"status": (await generations.get(conn, generation_id) or {})["mg_mma_status"]},
                {"asked": True},
            )
            await audit.record(conn, operator, "generations.cancel", target=generation_id, before=before, after=after)
    give_up = time.monotonic() + ANSWER_SECONDS_MAX
    while True:
        now = await _state(db, generation_id)
        if now.too_late is not None or time.monotonic() > give_up:
            return now
        await asyncio.sleep(LOOK_SECONDS)


async def _state(db: Database, generation_id: str) -> Cancelling:
    async with db.connection() as conn:
        row = await generations.cancelling(conn, generation_id)
    status = Status(row["status"])
    cancelled = status is Status.CANCELLED
    return Cancelling(
        status=status,
        too_late=not cancelled if status.is_terminal or row["has_result"] else None,
        refunded_credits=row["cost"] or 0 if cancelled else 0,
        balance=row["balance"],
    )
