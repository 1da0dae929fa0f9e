"""Public error codes: the engine that failed and the kind of failure, e.g. SEEDREAM_TIMEOUT. The ops plane puts MMA_
before it."""

from safelight.domain.errors.base import Cancelled, ProviderError, ProviderRateLimited, SafelightError
from safelight.domain.errors.categories import Category
from safelight.domain.steps import GENERATE_STEPS


def public_code(step_type: str | None, error: SafelightError) -> str:
    if error.category in (Category.CONFIG_ERROR, Category.API_ERROR) or isinstance(error, Cancelled):
        return error.code
    who = engine_of(step_type) or ("GPT" if isinstance(error, ProviderError) or error.code == "OUTPUT_SCHEMA" else "")
    return f"{who.upper()}_{error.code}" if who else error.code


def engine_of(step_type: str | None) -> str | None:
    """The engine whose result the step stores; None for every other step."""
    return GENERATE_STEPS.get(step_type or "")


# Queries and alerts of operators look for this name (docs/contract/failures-in-sql.md).
_TYPE_NAMES: dict[type[Exception], str] = {ProviderRateLimited: "RateLimitError"}


def type_name(error: Exception) -> str:
    """The name of the error in `errorContext.type` of a failed generation."""
    return _TYPE_NAMES.get(type(error), type(error).__name__)


def as_error(cause: Exception) -> SafelightError:
    """The cause as an error that every plane can name."""
    return cause if isinstance(cause, SafelightError) else SafelightError(f"{type(cause).__name__}: {cause}")
