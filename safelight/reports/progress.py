"""The progress of a generation, its place in the queue, and the time that it will take, as far as that is known."""

import time
from dataclasses import dataclass
from typing import Any

from safelight.db.connection.database import Connection
from safelight.db.generations import generations, step_times
from safelight.db.generations.step_times import GenerationWork
from safelight.domain.estimates import remaining_time as estimates
from safelight.domain.estimates.expected_steps import ExpectedStage, expected_stages, without_ended
from safelight.domain.estimates.remaining_time import Estimate, StepTimes, Wait
from safelight.domain.orders import BaseOrder, read_order
from safelight.domain.statuses import Status
from safelight.domain.steps import StepType
from safelight.pipelines.engine.queue import WORK
from safelight.reports.generation import GenerationReport

KEPT_SECONDS = 30.0
BASES_PERCENT = 30  # of a set; its positions are the rest


@dataclass(frozen=True, slots=True)
class ProgressReport:
    """`done` and `expected` count results. `eta_seconds` is the p80 of the remaining time, None if too little is known;
    `queue_position` is 1 for the job that is next, None once a worker has begun. `stalled`: the step under way takes
    longer than 99 of 100 recent ones."""

    percent: int
    done: int
    expected: int
    eta_seconds: float | None
    queue_position: int | None
    stalled: bool
    remaining: Estimate | None


@dataclass(frozen=True, slots=True)
class _Known:
    times: StepTimes
    begun_per_second: float | None
    read_at: float


class Estimates:
    """Estimates for one process, which reads the durations of recent steps once in KEPT_SECONDS."""

    def __init__(self) -> None:
        self._known: _Known | None = None

    async def expected(self, conn: Connection, order: BaseOrder) -> Estimate | None:
        """The time that an order would take if a worker began it now."""
        stages = expected_stages(order)
        known = await self._read(conn)
        return estimates.remaining_time(known.times, stages) if stages else None

    async def progress(self, conn: Connection, generation_id: str) -> ProgressReport | None:
        """None if there is no such generation, or an older backend made it without a pipeline."""
        row = await generations.get(conn, generation_id)
        report = GenerationReport(row) if row else None
        if report is None or report.status is None or "order" not in (report.generation.payload or {}):
            return None
        if report.status.is_terminal:
            return _progress(report, None, None, 0.0)
        work = await step_times.work_of(conn, generation_id, work_queue=WORK.queue_name)
        known = await self._read(conn)
        stages = expected_stages(read_order((report.generation.payload or {})["order"]))
        left = None if stages is None else without_ended(stages, work.ended)
        remaining = _remaining(known, left, work)
        share = 0.0 if not stages or left is None else 1 - _count(left) / _count(stages)
        stalled = any(estimates.is_stalled(known.times, step) for step in work.running)
        return _progress(report, work, remaining, share, stalled=stalled)

    async def _read(self, conn: Connection) -> _Known:
        if self._known is None or time.monotonic() - self._known.read_at > KEPT_SECONDS:
            times = await step_times.recent(conn, StepType)
            self._known = _Known(times, await step_times.begun_per_second(conn), time.monotonic())
        return self._known


def _remaining(known: _Known, left: tuple[ExpectedStage, ...] | None, work: GenerationWork) -> Estimate | None:
    """None also where it is not known when a worker begins: pictures are imported first, or another generation of the
    customer must end."""
    if not left or work.is_held or work.is_importing:
        return None
    wait = Wait(work.ahead, known.begun_per_second) if work.is_due and not work.ended and not work.running else None
    return estimates.remaining_time(known.times, left, running=work.running, wait=wait)


def _count(stages: tuple[ExpectedStage, ...]) -> int:
    return sum(stage.count for stage in stages)


def _progress(
    report: GenerationReport,
    work: GenerationWork | None,
    remaining: Estimate | None,
    share: float,
    *,
    stalled: bool = False,
) -> ProgressReport:
    done, expected = _results(report)
    is_waiting = work is not None and work.is_due and not work.ended and not work.running
    return ProgressReport(
        percent=_percent(report, share, done, expected),
        done=done,
        expected=expected,
        eta_seconds=remaining.p80 if remaining else None,
        queue_position=work.ahead + 1 if work and is_waiting else None,
        stalled=stalled,
        remaining=remaining,
    )


def _results(report: GenerationReport) -> tuple[int, int]:
    """The results that there are, and those that were ordered; a set counts its positions itself."""
    counted: dict[str, Any] = report.generation.variables.get("progress") or {}
    return int(counted.get("made", bool(report.outputs))), int(counted.get("expected", 1))


def final_percent(status: Status, done: int) -> int:
    """Only a result makes what is final whole."""
    return 100 if done or status.record_status == "succeeded" else 0


def _percent(report: GenerationReport, share: float, done: int, expected: int) -> int:
    """A set counts its bases and positions, others their steps."""
    if report.status and report.status.is_terminal:
        return final_percent(report.status, done)
    counted: dict[str, Any] = report.generation.variables.get("progress") or {}
    sources = len(((report.generation.payload or {}).get("order") or {}).get("sources") or ())
    if counted and sources:
        bases = BASES_PERCENT * int(counted.get("bases", 0)) // sources
        return min(99, bases + (100 - BASES_PERCENT) * done // max(expected, 1))
    return min(99, int(100 * share))
