"""A result that is stored is delivered and paid; what a failed run has stored is deleted. No customer gets both the
file and the refund.

The end of the generate step is the moment that decides: after it a cancel request is too late, and whatever fails is a
warning for operators.
"""

from collections.abc import Collection
from dataclasses import replace

from safelight import telemetry
from safelight.db.connection.database import Database, Unwritable
from safelight.db.generations import generations
from safelight.domain.errors.base import Cancelled, SafelightError, StorageError
from safelight.domain.errors.codes import as_error
from safelight.domain.statuses import Status
from safelight.domain.steps import LAST_LOOK_OF, StepType
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.run import Run
from safelight.pipelines.engine.step import Step
from safelight.pipelines.failures import fail
from safelight.pipelines.flows.media_steps import finish_done
from safelight.pipelines.flows.set_endings import made_slides
from safelight.redaction import excerpt
from safelight.storage import results
from safelight.storage.assets import AssetStore

STANDARD_CAPTION = "No description could be made of this result. It was asked for as: "
PROMPT_CHARS_MAX = 500


async def conclude(context: PipelineContext, run: Run, cause: Exception) -> None:
    """End a run that cannot go on: with its result where that is stored, else with an error or as cancelled.

    An end can always be written: what no database takes is left out of it, and operators are told.

    Raises:
        LeaseLost: another worker has it; nothing was written.
    """
    if isinstance(cause, Unwritable):
        await run.forget_unwritten(cause)
    try:
        await _conclude(context, run, cause)
    except Unwritable as error:
        await run.forget_unwritten(error)
        await _conclude(context, run, cause)


async def _conclude(context: PipelineContext, run: Run, cause: Exception) -> None:
    if run.result:
        await _deliver_anyway(run, run.result, cause)
        return
    await fail(run, cause)
    if not run.store.may_have_stored:
        return
    if not made_slides(run):
        await _withdraw_or_warn(context, run)
    elif isinstance(cause, Cancelled):
        await _delete_unnamed_or_warn(context, run)


async def lease_lost(context: PipelineContext, run: Run) -> None:
    """Another worker went on with the run. If it ended without a result, delete what this one has stored since."""
    if not run.store.may_have_stored:
        return
    async with context.db.connection() as conn:
        is_over = await generations.ended_without_result(conn, run.generation_id)
        status = (await generations.cancelling(conn, run.generation_id)).status
    if is_over:
        await _withdraw_or_warn(context, run)
    elif status == Status.CANCELLED:
        await _delete_unnamed_or_warn(context, run)


async def withdraw(
    db: Database, assets: AssetStore, generation_id: str, mode: str, named: Collection[str] = ()
) -> list[str]:
    """Delete what a generation that ended without a result has stored, `named` by its rows or not, and note that it is
    gone. Returns the keys.

    Raises:
        StorageError: files may be left; the doctor finds them.
    """
    found = await results.stored(assets, mode, generation_id, named)
    await results.delete(assets, found)
    async with db.connection() as conn:
        await generations.note_withdrawn(conn, generation_id)
    return found


async def _delete_unnamed_or_warn(context: PipelineContext, run: Run) -> None:
    """Delete what a set that was stopped has stored beside the positions that it keeps. What is left is an orphan."""
    try:
        found = await results.stored(context.assets, run.order.flow.mode, run.generation_id)
        async with context.db.connection() as conn:
            unnamed = await generations.unnamed_keys(conn, dict.fromkeys(found, run.generation_id))
        await results.delete(context.assets, sorted(unnamed))
    except StorageError as error:
        telemetry.warning(
            telemetry.Tag.STORAGE_FILE,
            f"Files beside the kept positions could not be deleted; safelight assets sweep does it: {error}",
            generation_id=run.generation_id,
        )


async def _withdraw_or_warn(context: PipelineContext, run: Run) -> None:
    try:
        await withdraw(context.db, context.assets, run.generation_id, run.order.flow.mode)
    except StorageError as error:
        telemetry.warning(
            telemetry.Tag.STORAGE_FILE,
            f"The result files of the failed run could not be deleted; safelight doctor --fix deletes them: {error}",
            generation_id=run.generation_id,
        )


async def _deliver_anyway(run: Run, result: Step, cause: Exception) -> None:
    """The step that did not end, or never began, ends with a standard caption; the generation is done."""
    error = as_error(cause)
    step = _open_last_look(run, result)
    row = run.ops_row(error, step=step or result, cause=cause, level="warn", extra={"delivered": True})
    row = replace(row, id=f"{run.generation_id}:{result.number + 1}:degraded")
    if step:
        await _end_without_caption(run, result, step, error)
    await run.store.warn(row)
    run.log_warning(f"The result is stored and delivered, in spite of an error after it: {error}")
    await finish_done(run)


def _open_last_look(run: Run, result: Step) -> Step | None:
    """The step after the result, as far as it has come; None where it has ended."""
    if run.current and run.current.number > result.number:
        return run.current
    step = run.store.step(result.number + 1, LAST_LOOK_OF[StepType(result.type)])
    return None if step.has_ended or run.next_step_no > step.number else step


async def _end_without_caption(run: Run, result: Step, step: Step, error: SafelightError) -> None:
    caption = STANDARD_CAPTION + excerpt(str(result.payload.input.get("prompt", "")), PROMPT_CHARS_MAX)
    step.degrade({"crt": caption}, error)
    run.set("scans.output_still_crt", caption)
    run.store.status = StepType(step.type).status
    await run.store.write(step, variables={})
