"""The error of a generation as customers may read it."""

from typing import Any

from safelight.domain.errors.base import SafelightError
from safelight.domain.errors.codes import engine_of, public_code, type_name
from safelight.pipelines.engine.step import Step
from safelight.pipelines.flows.text_steps import TEXT_ENGINE

Json = dict[str, Any]


def public_error(step: Step, error: SafelightError, cause: Exception, message: str) -> Json:
    """The error context (docs/contract/failures-in-sql.md) without user and stack, as customers may read it."""
    return {
        "code": public_code(step.type, error),
        "message": message,
        "step": step.type,
        "provider": engine_of(step.type) or (step.provider and TEXT_ENGINE),  # never who serves it
        "type": type_name(cause),
        "timestamp": step.payload.timing.ended_at,
        "category": error.category.value,
        "httpStatus": error.http_status,
        "isRetryable": error.retryable,
    }
