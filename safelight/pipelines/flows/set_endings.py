"""The end of a set of positions: done, in part, with nothing, or stopped. Each position that was made is kept and paid;
the refund of the others, the last step and both planes are written in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from safelight import telemetry
from safelight.db.connection.database import Connection
from safelight.db.generations import runs
from safelight.db.generations.runs import Ending, WriteOutcome
from safelight.db.money import ledger
from safelight.db.operations import ops_rows
from safelight.db.operations.ops_rows import OpsError
from safelight.domain.errors.base import Cancelled, SafelightError
from safelight.domain.errors.codes import as_error
from safelight.domain.errors.results import PositionsMissing
from safelight.domain.job_log import Level, LogLine
from safelight.domain.orders import ImageJob, Order
from safelight.domain.sets.image_jobs import Slide
from safelight.domain.statuses import Status
from safelight.domain.steps import PAID_STEPS, POSITION_STEPS, StepType
from safelight.pipelines.engine.run import Run
from safelight.pipelines.engine.step import Step
from safelight.pipelines.engine.write_log import Delivered
from safelight.pipelines.flows.failure_log import log_failure
from safelight.pipelines.flows.image_job_lines import failure_counts, failure_details, no_sources_line
from safelight.pipelines.flows.public_errors import public_error

Json = dict[str, Any]

_LEVELS: dict[Status, Level] = {
    Status.DONE: "success",
    Status.PARTIAL: "warning",
    Status.ERROR: "error",
    Status.CANCELLED: "info",
}


def made_slides(run: Run, *, before: int | None = None) -> list[Slide]:
    """The pictures that were made, each position once, by the steps before this number."""
    steps = run.store.ended(*POSITION_STEPS, before=before)
    slides = [Slide.read(slide) for step in steps for slide in step.payload.output.get("slides", ())]
    return list({slide.position: slide for slide in slides}.values())


def must_have_made(run: Run) -> None:
    """Raises PositionsMissing if not one position was made: then nothing of what is stored is kept."""
    if not made_slides(run):
        raise PositionsMissing(0, run.order.positions, _causes(run))


def _causes(run: Run) -> dict[str, int]:
    return failure_counts(run.store.ended(*PAID_STEPS, *POSITION_STEPS, first=run.first_step_no))


@dataclass(frozen=True, slots=True)
class SetResult:
    """The state of a set when it ends; `cause` is what ended it, if it did not come to its own end."""

    made: int
    expected: int
    cause: Exception | None
    causes: Json

    @property
    def status(self) -> Status:
        if self.made == self.expected:
            return Status.DONE
        if isinstance(self.cause, Cancelled):
            return Status.CANCELLED
        return Status.PARTIAL if self.made else Status.ERROR

    @property
    def missing(self) -> int:
        return self.expected - self.made

    @property
    def error(self) -> SafelightError | None:
        if self.status is Status.DONE:
            return None
        return as_error(self.cause) if self.cause else PositionsMissing(self.made, self.expected, self.causes)


async def end_set(run: Run, cause: Exception | None = None) -> Status:
    """Give the set its final status, and give back what was charged for positions that were not made. Returns the
    status.

    Raises:
        LeaseLost: another worker has it; nothing was written.
    """
    slides = made_slides(run)
    result = SetResult(len(slides), run.order.positions, cause, _causes(run))
    step = _last_step(run, result)
    refund = result.missing * int(run.meta.get("price_each", 0))
    ops = _ops_row(run, step, result)
    ending = _ending(run, step, result, refund)

    async def write(conn: Connection) -> WriteOutcome:
        async with conn.transaction():
            await runs.write_steps(conn, run.store.lease, [step.next_row()], status=run.store.status, variables=None)
            await ledger.refund_part(conn, generation_id=run.generation_id, round_no=run.round_no, credits=refund)
            if ops:
                await ops_rows.insert(conn, ops)
            return await runs.finish(conn, run.store.lease, ending, variables=run.store.with_lines(ending.lines))

    _log_before(run, step, result)
    await run.store.end(write, ending, _delivered(slides))
    _log_after(run, result, refund)
    return result.status


def _delivered(slides: Sequence[Slide]) -> Delivered | None:
    if not slides:
        return None
    records = [slide.record for slide in slides]
    return Delivered(records[0]["url"], sum(record["bytes"] for record in records))


def _last_step(run: Run, result: SetResult) -> Step:
    """The step in which the set ends: the one under way, if that failed, else a step of its own. That has the error
    where no other step has: a source that could not be read fails none."""
    number = max(run.next_step_no, run.store.next_step_no)
    step = run.current or Step(number, StepType.COMPLETION, run.store.clock)
    is_failed = result.cause is not None or result.made == 0 or not result.causes
    error = step.map_error(result.error) if result.error and is_failed else None
    counts = {"status": result.status, "made": result.made, "expected": result.expected}
    step.end(counts if step.type == StepType.COMPLETION else {}, error)
    run.store.status = StepType.COMPLETION.status
    return step


def _ending(run: Run, step: Step, result: SetResult, refund: int) -> Ending:
    message = _message(run.order, result, refund)
    run.set("progress.made", result.made)
    run.set("userMessages.final_line", message)
    meta: Json = {"completed_at": step.payload.timing.ended_at, "warnings": list(run.order.warnings)}
    if result.error:
        meta["error"] = public_error(step, result.error, result.cause or result.error, message)
        meta["error"]["causes"] = result.causes
    failed = result.status in (Status.ERROR, Status.CANCELLED)
    lines = _lines(run, step, result, refund, message)
    return Ending(result.status, lines, error=message if failed else None, model=run.model, meta=meta)


def _message(order: Order, result: SetResult, refund: int) -> str:
    noun = "video" if order.makes == "video" else "picture"
    returned = f" {refund} credits were returned." if refund else ""
    match result.status:
        case Status.DONE:
            return f"Your {noun} is ready." if result.made == 1 else f"All {result.made} {noun}s are ready."
        case Status.PARTIAL:
            return f"{result.made} of {result.expected} {noun}s are ready; {result.missing} are missing.{returned}"
        case _ if result.error:
            kept = f" {result.made} of {result.expected} {noun}s were made and are kept." if result.made else ""
            return f"{result.error.safe_message}{kept}{returned}"
    return ""


def _lines(run: Run, step: Step, result: SetResult, refund: int, message: str) -> list[LogLine]:
    order = run.order
    details: Json = {"generatedCount": result.made, "totalExpected": result.expected}
    if isinstance(order, ImageJob):
        bases = [step for step in run.store.ended(StepType.BASE_GENERATION) if step.payload.error is None]
        details |= {
            "variantCount": order.variants,
            "baseImagesGenerated": len(bases),
            "baseImagesExpected": len(order.sources),
        }
    details |= {"status": result.status, "refundedCredits": refund}
    last = LogLine(_LEVELS[result.status], StepType.COMPLETION, message, details)
    return [*_lines_of_cause(run, step, result), last]


def _lines_of_cause(run: Run, step: Step, result: SetResult) -> list[LogLine]:
    if result.error is None or result.cause is None or isinstance(result.cause, Cancelled | PositionsMissing):
        return []
    if isinstance(run.order, ImageJob) and run.current and run.current.type == StepType.VALIDATION:
        return [no_sources_line(run, step, result.error)]
    text = f"The job cannot go on: {result.error.safe_message}"
    return [LogLine("error", "processing", text, failure_details(step, result.error))]


def _ops_row(run: Run, step: Step, result: SetResult) -> OpsError | None:
    error = result.error or (as_error(result.cause) if result.cause else None)
    if error is None:
        return None
    is_warning = result.status in (Status.DONE, Status.CANCELLED)
    missing = {"made": result.made, "expected": result.expected, "causes": result.causes}
    row = run.ops_row(
        error, step=step, cause=result.cause, level="warn" if is_warning else "error", extra={"positions": missing}
    )
    return replace(row, id=f"{run.generation_id}:round:{run.round_no}")


def _log_before(run: Run, step: Step, result: SetResult) -> None:
    if result.status is Status.ERROR and result.error:
        log_failure(run, step, result.error, result.cause or result.error)


def _log_after(run: Run, result: SetResult, refund: int) -> None:
    fields: Json = {"generation_id": run.generation_id}
    text = f"Generation {run.generation_id} is {result.status}: {result.made} of {result.expected} pictures"
    if result.status is Status.DONE:
        telemetry.info("🎉", telemetry.Tag.GENERATION_PROCESSING, text, **fields)
    else:
        telemetry.info("🛑", telemetry.Tag.GENERATION_PROCESSING, f"{text}: {result.error}", **fields)
    if refund:
        telemetry.info("💳", telemetry.Tag.CREDIT, f"Refunded {refund} credits to {run.order.pass_id}", **fields)
