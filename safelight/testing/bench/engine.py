"""The engine's own speed: what leases, fences, the log and the queue cost."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Jsonb

from safelight.app import App
from safelight.db.connection.database import Database
from safelight.db.connection.notifications import Notifier
from safelight.domain.flows import Flow
from safelight.domain.ids import generation_key, step_key
from safelight.domain.statuses import Status
from safelight.domain.steps import StepType
from safelight.pipelines.accept import ACCEPTED_LINE, PIPELINE_VERSION
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.plans import Outcome, Plan
from safelight.pipelines.engine.queue import Queue, WorkerOptions
from safelight.pipelines.engine.retry import RetryPolicy
from safelight.pipelines.engine.run import Run
from safelight.pipelines.flows.media_steps import end
from safelight.pipelines.worker import Worker
from safelight.testing.bench import scratch
from safelight.testing.bench.scratch import CUSTOMER, PLATFORM, ROUNDS, SESSION, BenchResult

AT_ONCE = 10
AUDIT_BYTES = 1024
HOURS = WorkerOptions(concurrency=AT_ONCE, imports=1, poll_seconds=1, shutdown_seconds=0, heartbeat_seconds=3)
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
OUTPUT = {"ok": True}
STEP_LINE, FINAL_LINE, PROMPT = "One step.", "Done.", "bench"


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
            lambda: _timed(db, pipelines, write_by_hand), lambda: _timed(db, pipelines, run_with_engine)
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
    await end(run, Status.DONE, FINAL_LINE, prompt=PROMPT)


async def noop_plan() -> Plan:
    """A step that is one write."""
    return Plan(input=AUDIT_ROW, act=_noop, begin_line=STEP_LINE, effect=False)


async def _noop() -> Outcome:
    return Outcome(output=OUTPUT)


async def run_with_engine(db: Database, ids: list[str]) -> float:
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


async def write_by_hand(db: Database, ids: list[str]) -> float:
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
    """The rows that the engine leaves (a test compares them), but for those of the lease and the queue."""
    lines: list[dict[str, Any]] = [{"index": 0, "text": ACCEPTED_LINE}]
    for number, step_type in enumerate(STEPS):
        started_at = _stamp()
        async with db.transaction() as conn:
            await conn.execute(
                "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_parent_id, mg_pass_id,"
                " mg_session_id, mg_platform, mg_mma_mode, mg_mma_status, mg_step_no, mg_step_type, mg_payload,"
                " mg_status) values (%s, 'mma_step', %s, %s, %s, %s, %s, 'still', %s, %s, %s, %s, 'succeeded')",
                [
                    step_key(generation_id, number),
                    generation_id,
                    generation_key(generation_id),
                    CUSTOMER,
                    SESSION,
                    PLATFORM,
                    step_type.status,
                    number,
                    step_type,
                    Jsonb(_payload(started_at, _stamp())),
                ],
            )
            await conn.execute(
                "update mega_generations set mg_mma_status = %s, mg_status = 'processing', mg_log_seq = %s,"
                " mg_mma_vars = jsonb_set(mg_mma_vars, '{userMessages,scan_lines}', %s) where mg_id = %s",
                [step_type.status, *_with_line(lines, STEP_LINE), generation_key(generation_id)],
            )
            await _write_line(conn, generation_id, "info", step_type, lines)
    async with db.transaction() as conn:
        await conn.execute(
            "update mega_generations set mg_mma_status = 'done', mg_status = %s, mg_prompt = %s, mg_deadline_at = null,"
            " mg_latency_ms = (extract(epoch from now() - mg_created_at) * 1000)::integer, mg_log_seq = %s,"
            " mg_mma_vars = jsonb_set(jsonb_set(mg_mma_vars, '{userMessages,scan_lines}', %s),"
            " '{userMessages,final_line}', %s), mg_meta = mg_meta || %s where mg_id = %s",
            [
                Status.DONE.record_status,
                PROMPT,
                *_with_line(lines, FINAL_LINE),
                Jsonb(FINAL_LINE),
                Jsonb({"completed_at": datetime.now(UTC).isoformat()}),
                generation_key(generation_id),
            ],
        )
        await _write_line(conn, generation_id, "success", "completion", lines)


def _stamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _payload(started_at: str, ended_at: str) -> dict[str, Any]:
    return {
        "input": AUDIT_ROW,
        "output": OUTPUT,
        "timing": {"started_at": started_at, "ended_at": ended_at, "duration_ms": 0},
        "error": None,
        "attempts": [{"attempt": 1, "started_at": started_at, "ended_at": ended_at, "error": None}],
        "writes": 1,
    }


def _with_line(lines: list[dict[str, Any]], text: str) -> tuple[int, Jsonb]:
    """Add the line. Returns the length of the log, and the lines as the variable map has them."""
    lines.append({"index": len(lines), "text": text})
    return len(lines), Jsonb(lines)


async def _write_line(conn: Any, generation_id: str, level: str, step: str, lines: list[dict[str, Any]]) -> None:
    await conn.execute(
        "insert into image_generation_logs (job_id, level, step, message, seq) values (%s, %s, %s, %s, %s)",
        [generation_id, level, step, lines[-1]["text"], len(lines)],
    )
