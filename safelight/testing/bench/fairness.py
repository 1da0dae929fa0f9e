"""The wait of customers with one order each, while another customer's orders fill the queue."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import quantiles

from safelight.app import App
from safelight.db.connection.database import Database, load_queries
from safelight.db.connection.notifications import Notifier
from safelight.db.money import customers, ledger
from safelight.domain.errors.base import SafelightError
from safelight.domain.flows import Flow
from safelight.domain.ids import new_id, step_key
from safelight.domain.statuses import Status
from safelight.domain.steps import StepType
from safelight.pipelines.accept import PIPELINE_VERSION
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.plans import Outcome, Plan
from safelight.pipelines.engine.queue import Queue, WorkerOptions
from safelight.pipelines.engine.retry import RetryPolicy
from safelight.pipelines.engine.run import Run
from safelight.pipelines.flows.media_steps import end
from safelight.pipelines.worker import Worker
from safelight.testing.bench.engine import AUDIT_ROW, empty_context
from safelight.testing.bench.scratch import BenchResult, give_credits, order_many, scratch_database

PLACES = 8
PLACES_OF_CUSTOMER = 6  # where the bound is measured
STEP_SECONDS = (0.1, 0.4)  # that a generation holds a place: from, to
CUSTOMERS = 40
SECONDS_MAX = 60.0  # for one order
OPTIONS = WorkerOptions(concurrency=PLACES, imports=1, poll_seconds=1.0, shutdown_seconds=0, heartbeat_seconds=5)
SETTLE_SECONDS = 2.0  # until the other customer's orders are under way

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds, p95 of the customers: until a worker began, and until the result was there."""

    begun: float
    done: float


@dataclass(frozen=True, slots=True)
class FairnessResult(BenchResult):
    """`bounded` is measured with a bound of the work in progress per customer."""

    orders: int
    customers: int
    idle: Waits
    behind: Waits
    bounded: Waits
    ratio: float
    ratio_bounded: float


async def fairness(app: App, orders: int) -> FairnessResult:
    """Customers with one order each, one after the other: first alone, then while one customer has so many orders in
    the queue, without and with a bound of the work in progress per customer."""
    async with scratch_database(app), app.database(PLACES + 4) as db:
        async with _working(db, 0):
            idle = await _waits(db)
        await give_credits(db, 1)
        await order_many(db, 1)
        async with db.connection() as conn:
            await _queries.fill(conn, orders=orders)
        async with _working(db, 0):
            await asyncio.sleep(SETTLE_SECONDS)
            behind = await _waits(db)
        async with db.connection() as conn:
            await _queries.hold(conn, held=orders - PLACES_OF_CUSTOMER)
        async with _working(db, PLACES_OF_CUSTOMER):
            await asyncio.sleep(SETTLE_SECONDS)
            bounded = await _waits(db)
    ratios = (round(one.done / idle.done, 2) for one in (behind, bounded))
    return FairnessResult(orders, CUSTOMERS, idle, behind, bounded, *ratios)


@asynccontextmanager
async def _working(db: Database, places_max: int) -> AsyncIterator[None]:
    notifier = Notifier(db)
    flows = {PIPELINE_VERSION: {Flow.STILL_CREATE: _one_step}}
    worker = Worker(empty_context(db), notifier, RetryPolicy(base_seconds=2), flows)
    queue = Queue(db, worker.run, places_max=places_max)
    await queue.open()
    working = asyncio.create_task(queue.work(OPTIONS))
    try:
        yield
    finally:
        queue.stop()
        await working
        await notifier.drain()
        await queue.close()


async def _one_step(_: PipelineContext, run: Run) -> None:
    await run.step(StepType.SCAN_INSPIRATION, _plan)
    await end(run, Status.DONE, "Done.", prompt="bench")


async def _plan() -> Plan:
    return Plan(input=AUDIT_ROW, act=_act, begin_line="One step.", effect=False)


async def _act() -> Outcome:
    await asyncio.sleep(random.uniform(*STEP_SECONDS))  # noqa: S311 - no secret
    return Outcome(output={"ok": True})


async def _waits(db: Database) -> Waits:
    found = [await _wait(db) for _ in range(CUSTOMERS)]
    return Waits(*(round(quantiles(seconds, n=20)[-1], 3) for seconds in zip(*found, strict=True)))


async def _wait(db: Database) -> tuple[float, float]:
    """Order as a new customer. Returns the seconds until the order was begun, and until it was done."""
    pass_id = f"pass:anon:{new_id()}"
    async with db.transaction() as conn:
        await customers.ensure(conn, pass_id)
        await ledger.adjust(conn, pass_id, 1, ledger.Origin("bench", "system", ("bench", pass_id)))
    [generation_id] = await order_many(db, 1, pass_id)
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            await asyncio.sleep(0.02)
            async with db.connection() as conn:
                row = await _queries.waited(conn, generation_id=generation_id, first_step=step_key(generation_id, 0))
            if row["status"] == Status.DONE:
                return float(row["begun"]), float(row["done"])
            if Status(row["status"]).is_terminal:
                raise SafelightError(f"generation {generation_id} ended as {row['status']}")
