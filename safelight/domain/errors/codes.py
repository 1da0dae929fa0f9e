"""What a failure is called: who failed, and how, e.g. SEEDREAM_TIMEOUT. The ops plane puts MMA_ before it."""

from safelight.domain.errors.base import Cancelled, ProviderError, SafelightError
from safelight.domain.errors.categories import Category


def public_code(step_type: str | None, error: SafelightError) -> str:
    if error.category in (Category.CONFIG_ERROR, Category.API_ERROR) or isinstance(error, Cancelled):
        return error.code
    who = engine_of(step_type) or ("GPT" if isinstance(error, ProviderError) or error.code == "OUTPUT_SCHEMA" else "")
    return f"{who.upper()}_{error.code}" if who else error.code


def engine_of(step_type: str | None) -> str | None:
    """The engine name a step is of: the word before `_generate`."""
    name, found, _ = (step_type or "").partition("_generate")
    return name if found else None
