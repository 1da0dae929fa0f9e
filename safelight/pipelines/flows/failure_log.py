"""The log lines about a generation that fails, in the words and the order of docs/contract/log-lines.md."""

from typing import Any

from safelight import telemetry
from safelight.domain.errors.base import SafelightError
from safelight.domain.errors.codes import public_code
from safelight.pipelines.engine.run import Run
from safelight.pipelines.engine.step import Step


def log_failure(run: Run, step: Step, error: SafelightError, cause: Exception) -> None:
    """The generation is about to be marked as failed."""
    tag, fields = telemetry.Tag.GENERATION_PROCESSING, fields_of(run, step, error)
    text = f"Critical error processing generation {run.generation_id}: {step.type} failed: {error}"
    telemetry.error("❌", tag, text, **fields)
    telemetry.error("💥", tag, f"Full traceback provided: {type(cause).__name__}", cause, **fields)
    telemetry.info("🔄", tag, f"Marking generation {run.generation_id} as failed", **fields)


def fields_of(run: Run, step: Step, error: SafelightError) -> dict[str, Any]:
    return {
        "generation_id": run.generation_id,
        "step_type": step.type,
        "error_code": f"MMA_{public_code(step.type, error)}",
        "category": error.category.value,
    }
