"""The steps of one generation per second: one after the other, and side by side."""

import time
from dataclasses import dataclass
from typing import Any

from safelight.app import App
from safelight.db.connection.database import Database
from safelight.db.connection.notifications import Notifier
from safelight.domain.flows import Flow
from safelight.domain.statuses import Status
from safelight.domain.steps import StepType
from safelight.pipelines.accept import PIPELINE_VERSION
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.retry import RetryPolicy
from safelight.pipelines.engine.run import Run
from safelight.pipelines.flows.media_steps import end
from safelight.pipelines.worker import Worker
from safelight.testing.bench.engine import empty_context, noop_plan
from safelight.testing.bench.scratch import ROUNDS, BenchResult, compared, give_credits, order_many, scratch_database

STEPS_OF_GENERATION = 64
GENERATIONS = 4  # a round, one at a time
CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class ParallelResult(BenchResult):
    """Steps per second (medians over the rounds), and what running them side by side gains."""

    steps: int
    rounds: int
    at_once: int
    sequential_per_second: float
    parallel_per_second: float
    ratio: float


async def parallel(app: App, at_once: int) -> ParallelResult:
    """Generations of 64 no-op steps with a 1 KB audit row each, one generation at a time; in turn, round by round."""

    async def one_by_one(_: PipelineContext, run: Run) -> None:
        for _no in range(STEPS_OF_GENERATION):
            await run.step(StepType.SCAN_INSPIRATION, noop_plan)
        await end(run, Status.DONE, "Done.", prompt="bench")

    async def side_by_side(_: PipelineContext, run: Run) -> None:
        await run.each(StepType.SCAN_INSPIRATION, range(STEPS_OF_GENERATION), _step, at_once)
        await end(run, Status.DONE, "Done.", prompt="bench")

    async with scratch_database(app), app.database(CONNECTIONS) as db:
        await give_credits(db, 2 * (ROUNDS + 1) * GENERATIONS)
        rates = await compared(lambda: _timed(db, one_by_one), lambda: _timed(db, side_by_side))
    return ParallelResult(STEPS_OF_GENERATION, ROUNDS, at_once, *rates)


async def _step(run: Run, _: int) -> None:
    await run.step(StepType.SCAN_INSPIRATION, noop_plan)


async def _timed(db: Database, flow: Any) -> float:
    """Steps per second, from the lease of each generation to its end."""
    ids = await order_many(db, GENERATIONS)
    notifier = Notifier(db)
    worker = Worker(
        empty_context(db), notifier, RetryPolicy(base_seconds=2), {PIPELINE_VERSION: {Flow.STILL_CREATE: flow}}
    )
    started = time.perf_counter()
    for generation_id in ids:
        await worker.run(generation_id)
    seconds = time.perf_counter() - started
    await notifier.drain()
    return GENERATIONS * STEPS_OF_GENERATION / seconds
