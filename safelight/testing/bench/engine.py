"""The engine's own speed: what leases, fences, the log and the queue cost."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from safelight.app import App
from safelight.db.connection.database import Database
from safelight.db.connection.notifications import Notifier
from safelight.domain.ids import generation_key, step_key
from safelight.domain.orders import Flow
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
from safelight.testing.bench import scratch
from safelight.testing.bench.scratch import CUSTOMER, ROUNDS, BenchResult

AT_ONCE = 10
AUDIT_BYTES = 1024
HOURS = WorkerOptions(concurrency=AT_ONCE, imports=1, poll_seconds=0.05, shutdown_seconds=0, heartbeat_seconds=5)
STEPS = (
    StepType.SCAN_PRODUCT,
    StepType.SCAN_LOGO,
    StepType.SCAN_INSPIRATION,
    StepType.LIKE_HISTORY,
    StepType.GPT_READER,
    StepType.SEEDREAM_GENERATE,
    StepType.POSTSCAN_OUTPUT_STILL,
)
AUDIT_ROW = {"audit": "x" * AUDIT_BYTES}


@dataclass(frozen=True, slots=True)
class EngineResult(BenchResult):
    """Pipelines per second (medians over the rounds), and what the engine keeps of the baseline's speed."""

    pipelines: int
    rounds: int
    at_once: int
    floor_per_second: float
    engine_per_second: float
    ratio: float


async def engine(app: App, pipelines: int) -> EngineResult:
    """Seven no-op steps with a 1 KB audit row each, ten pipelines at a time: the engine beside a hand-written
    loop that writes the same rows with plain psycopg, one transaction a step; pair by pair, each first in turn."""
    async with scratch.scratch_database(app), app.database(AT_ONCE + 2) as db:
        await scratch.give_credits(db, 2 * (ROUNDS + 1) * pipelines)
        rates = await scratch.compared(
            lambda: _timed(db, pipelines, _write_by_hand), lambda: _timed(db, pipelines, _run_with_engine)
        )
    return EngineResult(pipelines, ROUNDS, AT_ONCE, *rates)


async def _timed(db: Database, pipelines: int, run: Callable[[Database, list[str]], Awaitable[float]]) -> float:
    """Pipelines per second, from the moment all are accepted until all are done, which is when `run` says."""
    ids = await scratch.order_many(db, pipelines)
    started = time.perf_counter()
    return pipelines / (await run(db, ids) - started)


# --- the engine ------------------------------------------------------------------------------------------------------


async def _noop_story(_: PipelineContext, run: Run) -> None:
    for step_type in STEPS:
        await run.step(step_type, noop_plan)
    await end(run, Status.DONE, "Done.", prompt="bench")


async def noop_plan() -> Plan:
    """A step that is one write."""
    return Plan(input=AUDIT_ROW, act=_noop, begin_line="One step.", effect=False)


async def _noop() -> Outcome:
    return Outcome(output={"ok": True})


async def _run_with_engine(db: Database, ids: list[str]) -> float:
    notifier = Notifier(db)
    flows = {PIPELINE_VERSION: {Flow.STILL_CREATE: _noop_story}}
    done, waiting = asyncio.Event(), set(ids)

    async def handle(generation_id: str) -> None:
        await worker.run(generation_id)
        waiting.discard(generation_id)
        if not waiting:
            done.set()

    worker = Worker(empty_context(db), notifier, RetryPolicy(base_seconds=2), flows)
    queue = Queue(db, handle)
    await queue.open()
    working = asyncio.create_task(queue.work(HOURS))
    await done.wait()
    ended = time.perf_counter()
    queue.stop()
    await working
    await notifier.drain()
    await queue.close()
    return ended


def empty_context(db: Database) -> PipelineContext:
    """No-op steps touch nothing of it."""
    nothing: Any = None
    return PipelineContext(db, nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing)


# --- the baseline ---------------------------------------------------------------------------------------------------


async def _write_by_hand(db: Database, ids: list[str]) -> float:
    waiting = list(ids)

    async def work() -> None:
        while waiting:
            await _write_pipeline(db, waiting.pop())

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    ended = time.perf_counter()
    async with db.connection() as conn:
        await conn.execute("delete from procrastinate_jobs where queueing_lock = any(%s)", [ids])
    return ended


async def _write_pipeline(db: Database, generation_id: str) -> None:
    for number, step_type in enumerate(STEPS):
        async with db.transaction() as conn:
            await conn.execute(
                "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_pass_id,"
                " mg_mma_mode, mg_mma_status, mg_step_no, mg_step_type, mg_payload, mg_status)"
                " values (%s, 'mma_step', %s, %s, %s, 'still', %s, %s, %s, %s, 'succeeded')",
                [
                    step_key(generation_id, number),
                    generation_id,
                    generation_key(generation_id),
                    CUSTOMER,
                    step_type.status,
                    number,
                    step_type,
                    Jsonb({"input": AUDIT_ROW, "output": {"ok": True}, "timing": {}, "error": None}),
                ],
            )
            await _advance(conn, generation_id, step_type.status, step_type, number + 2)
    async with db.transaction() as conn:
        await _advance(conn, generation_id, Status.DONE, "completion", len(STEPS) + 2)


async def _advance(conn: Any, generation_id: str, status: Status, step: str, seq: int) -> None:
    """The generation's status and variables, and one line."""
    lines = [{"index": number, "text": "One step."} for number in range(seq)]
    await conn.execute(
        "update mega_generations set mg_mma_status = %s, mg_status = %s, mg_log_seq = %s,"
        " mg_mma_vars = jsonb_set(mg_mma_vars, '{userMessages,scan_lines}', %s) where mg_id = %s",
        [status, status.record_status, seq, Jsonb(lines), generation_key(generation_id)],
    )
    await conn.execute(
        "insert into image_generation_logs (job_id, level, step, message, seq) values (%s, 'info', %s, %s, %s)",
        [generation_id, step, "One step.", seq],
    )
