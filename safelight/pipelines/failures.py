"""What is written when a generation fails (seed 000 section 4): both planes, the refund and the last line, in one
transaction, with the variables kept as far as they had come."""

import traceback
from typing import Any, Literal

from safelight import telemetry
from safelight.db import ledger, ops_rows, runs
from safelight.db.database import Database
from safelight.db.ops_rows import OpsError
from safelight.db.runs import Ending, StepRow
from safelight.domain.errors import Category, ProviderError, SafelightError, type_name
from safelight.domain.lines import Line
from safelight.domain.statuses import Status
from safelight.pipelines.runner import Run, close, empty_step

Json = dict[str, Any]

REFUNDED = " Your credits were returned."
ERROR_MESSAGE_CHARS_MAX = 1000


async def fail(db: Database, run: Run, cause: Exception) -> None:
    """End the generation with an error.

    Raises:
        LeaseLost: another worker has it; nothing was written.
    """
    error = cause if isinstance(cause, SafelightError) else SafelightError(f"{type(cause).__name__}: {cause}")
    step = run.current or empty_step(run.next_step_no, "pipeline")
    close(step, {}, _step_error(step, error))
    ops = ops_error(run, error, step.provider, step.model, step.payload["input"], step_type=step.type, cause=cause)
    async with db.transaction() as conn:
        await runs.write_step(conn, run.lease, step, status=run.status, variables=None)
        refunded = await ledger.refund(conn, generation_id=run.generation_id)
        message = error.safe_message + (REFUNDED if refunded else "")
        lines = [Line("error", step.type, message)]
        run.remember(lines)
        await runs.finish(
            conn,
            run.lease,
            Ending(
                status=Status.ERROR,
                variables=run.variables,
                lines=lines,
                error=message,
                model=run.model,
                meta={"error": _public_error(run, step, error, cause, message)},
            ),
        )
        await ops_rows.insert(conn, ops)
    run.announce()
    _log(run, step, error, cause, refunded)


def ops_error(
    run: Run,
    error: SafelightError,
    provider: str | None,
    model: str | None,
    given: Json,
    *,
    step_type: str | None = None,
    cause: Exception | None = None,
    level: Literal["error", "warn"] = "error",
) -> OpsError:
    """The ops row of something that went wrong in a step of this run."""
    step_type = step_type or (run.current.type if run.current else None)
    return OpsError(
        category=error.category,
        code=f"MMA_{public_code(step_type, error)}",
        message=str(error)[:ERROR_MESSAGE_CHARS_MAX],
        level=level,
        action="mma.step",
        request_id=run.request.get("request_id", ""),
        route=run.request.get("route", "mma"),
        method=run.request.get("method", "POST"),
        http_status=error.http_status,
        pass_id=run.order.pass_id,
        generation_id=run.generation_id,
        step_type=step_type,
        provider=engine_of(step_type) or provider,
        model=model,
        provider_http_status=getattr(error, "provider_http_status", None),
        context=_reference(given, "ctx"),
        settings=_reference(given, "settings"),
        retry={"attempt": _attempt_of(run), "max": run.policy.attempts_max},
        stack="".join(traceback.format_exception(cause or error)),
        extra={"adapter": provider},
    )


def public_code(step_type: str | None, error: SafelightError) -> str:
    """E.g. SEEDREAM_TIMEOUT: who failed, and how. The ops plane puts MMA_ before it."""
    if error.category in (Category.CONFIG_ERROR, Category.API_ERROR):
        return error.code
    who = engine_of(step_type) or ("GPT" if isinstance(error, ProviderError) or error.code == "OUTPUT_SCHEMA" else "")
    return f"{who.upper()}_{error.code}" if who else error.code


def engine_of(step_type: str | None) -> str | None:
    """The engine name a step is of: the word before `_generate`."""
    name, found, _ = (step_type or "").partition("_generate")
    return name if found else None


def _public_error(run: Run, step: StepRow, error: SafelightError, cause: Exception, message: str) -> Json:
    """Seed 004's error context, as far as anybody who knows the generation may read it: no user, no stack."""
    return {
        "code": public_code(step.type, error),
        "message": message,
        "step": step.type,
        "provider": engine_of(step.type) or step.provider,
        "type": type_name(cause),
        "timestamp": step.payload["timing"]["ended_at"],
        "category": error.category.value,
        "httpStatus": error.http_status,
        "isRetryable": error.retryable,
    }


def _step_error(step: StepRow, error: SafelightError) -> Json:
    return {
        "error_code": f"MMA_{public_code(step.type, error)}",
        "type": type(error).__name__,
        "message": str(error)[:ERROR_MESSAGE_CHARS_MAX],
        "provider_http_status": getattr(error, "provider_http_status", None),
    }


def _reference(given: Json, name: str) -> Json | None:
    if f"{name}_key" not in given:
        return None
    return {"key": given[f"{name}_key"], "version": given[f"{name}_version"], "id": given[f"{name}_id"]}


def _attempt_of(run: Run) -> int:
    return len(run.current.payload["attempts"]) if run.current else 1


def _log(run: Run, step: StepRow, error: SafelightError, cause: Exception, refunded: int) -> None:
    tag, fields = (
        telemetry.Tag.GENERATION_PROCESSING,
        {"generation_id": run.generation_id, "step_type": step.type},
    )
    expected = isinstance(cause, SafelightError)
    telemetry.error(
        "❌",
        tag,
        f"{step.type} failed: {error}",
        None if expected else cause,
        category=error.category.value,
        **fields,
    )
    telemetry.info("🔄", tag, f"Marked generation {run.generation_id} as failed", **fields)
    if refunded:
        telemetry.info("💳", telemetry.Tag.CREDIT, f"Refunded {refunded} credits to {run.order.pass_id}", **fields)
