"""Writes the end of a generation that fails or is cancelled (docs/contract/errors.md): both planes, the refund and the
last line, in one transaction, with the variables kept as far as they had come."""

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
from safelight.domain.job_log import LogLine
from safelight.domain.statuses import Status
from safelight.pipelines.engine.run import Run
from safelight.pipelines.engine.step import Step
from safelight.pipelines.flows.failure_log import fields_of, log_failure
from safelight.pipelines.flows.public_errors import public_error
from safelight.pipelines.flows.set_endings import end_set

Json = dict[str, Any]

REFUNDED = " Your credits were returned."


async def fail(run: Run, cause: Exception) -> None:
    """End the generation with an error, or as cancelled; a set with what was made of it.

    Raises:
        LeaseLost: another worker has it; nothing was written.
    """
    if run.order.flow.is_set:
        await end_set(run, cause)
        return
    error = as_error(cause)
    number = max(run.next_step_no, run.store.next_step_no)
    step = run.current or Step(number, "pipeline", run.store.clock)
    step.end({}, step.map_error(error))
    ops = run.ops_row(error, step=step, cause=cause, level="warn" if isinstance(error, Cancelled) else "error")
    ending = _ending(run, step, error, cause)

    async def write(conn: Connection) -> WriteOutcome:
        async with conn.transaction():
            return await _write(conn, run, step, ending, ops)

    if not isinstance(error, Cancelled):
        log_failure(run, step, error, cause)
    await run.store.end(write, ending)
    _log_after(run, step, error)


def _ending(run: Run, step: Step, error: SafelightError, cause: Exception) -> Ending:
    message = error.safe_message + (REFUNDED if run.price_credits else "")
    is_cancelled = isinstance(error, Cancelled)
    return Ending(
        status=Status.CANCELLED if is_cancelled else Status.ERROR,
        lines=[LogLine("info" if is_cancelled else "error", step.type, message)],
        error=message,
        model=step.model or run.model,
        meta={"error": public_error(step, error, cause, message)},
    )


async def _write(conn: Connection, run: Run, step: Step, ending: Ending, ops: OpsError) -> WriteOutcome:
    store = run.store
    await runs.write_steps(conn, store.lease, [step.next_row()], status=store.status, variables=None)
    await ledger.refund(conn, generation_id=run.generation_id)
    await ops_rows.insert(conn, ops)
    return await runs.finish(conn, store.lease, ending, variables=store.with_lines(ending.lines))


def _log_after(run: Run, step: Step, error: SafelightError) -> None:
    fields = fields_of(run, step, error)
    if isinstance(error, Cancelled):
        text = f"{step.type} was cancelled: {error}"
        telemetry.info("🛑", telemetry.Tag.GENERATION_PROCESSING, text, **fields)
    if run.price_credits:
        text = f"Refunded {run.price_credits} credits to {run.order.pass_id}"
        telemetry.info("💳", telemetry.Tag.CREDIT, text, **fields)
