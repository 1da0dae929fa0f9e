"""The rows of the ops plane that steps write."""

import traceback
from typing import Any, Literal

from safelight.db.operations.ops_rows import OpsError
from safelight.domain.errors.base import ProviderError, SafelightError, StorageError
from safelight.domain.errors.codes import engine_of, public_code
from safelight.pipelines.engine.step import ERROR_MESSAGE_CHARS_MAX, Step
from safelight.redaction import excerpt

Json = dict[str, Any]


def operator_row(
    error: SafelightError,
    cause: Exception,
    step: Step | None,
    request: Json,
    *,
    level: Literal["error", "warn"],
    extra: Json,
) -> OpsError:
    """The row for an error of a step, or of a run that has none. `request` is what is known of the order's request."""
    step_type, given = (step.type, step.payload.input) if step else (None, {})
    adapter = step and (step.adapter or given.get("adapter") or step.provider)
    more: Json = {"adapter": adapter, "vendor": (step and step.vendor) or adapter}
    if isinstance(cause, ProviderError) and cause.details:  # by these, errors that nobody has explained are grouped
        more["provider_error"] = cause.details
    return OpsError(
        category=error.category,
        code=f"MMA_{public_code(step_type, error)}",
        message=excerpt(str(error), ERROR_MESSAGE_CHARS_MAX),
        level=level,
        action="mma.step",
        request_id=request.get("request_id", ""),
        route=request.get("route", "mma"),
        method=request.get("method", "POST"),
        http_status=error.http_status,
        step_type=step_type,
        provider=engine_of(step_type) or (step.provider if step else None),
        model=step.model if step else None,
        provider_http_status=getattr(error, "provider_http_status", None),
        context=_reference(given, "ctx"),
        settings=_reference(given, "settings"),
        stack="".join(traceback.format_exception(cause)),
        extra=more | extra,
    )


def storage_away(step: Step, error: StorageError) -> tuple[StorageError, Json]:
    """The error and the details of the row for a storage that the step waits for."""
    away = step.payload.storage_away
    assert away  # it was noted just now
    where = "The result is only at the provider" if step.may_have_stored else "A file cannot be read"
    code = "ASSET_AT_RISK" if step.may_have_stored else "STORAGE_AWAY"
    told = StorageError(f"{where}, tried again until {away.until}: {error}", code=code)
    return told, {"storage_away": away.to_json()}


def _reference(given: Json, name: str) -> Json | None:
    if f"{name}_key" not in given:
        return None
    return {"key": given[f"{name}_key"], "version": given[f"{name}_version"], "id": given[f"{name}_id"]}
