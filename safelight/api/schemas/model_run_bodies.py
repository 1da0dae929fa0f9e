"""The body of a request for a model run, and the order that it states."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from safelight.domain.errors.base import InvalidInput
from safelight.domain.ids import new_id
from safelight.domain.orders import ModelRun

ERRORS_SHOWN_MAX = 5
BODY_FIELDS = frozenset(
    {"model_id", "prompt", "negative_prompt", "reference_image_url", "parameters", "project_id", "name"}
)


def model_run_of(
    body: Mapping[str, Any], *, pass_id: str, session_id: str | None = None, platform: str = ""
) -> ModelRun:
    """The order that a request's body states. Raises InvalidInput, which names each wrong field and what is allowed."""
    unknown = sorted(set(body) - BODY_FIELDS)
    if unknown:
        raise InvalidInput(f"{unknown[0]}: there is no such field; allowed: {', '.join(sorted(BODY_FIELDS))}.")
    stated = {name: value for name, value in body.items() if value is not None}
    title = stated.pop("name", None) or str(stated.get("model_id", "")) or "Model run"
    fields = {"pass_id": pass_id, "session_id": session_id or new_id(), "platform": platform, "title": title}
    try:
        return ModelRun.model_validate(stated | fields)
    except ValidationError as error:
        raise InvalidInput(_said(error)) from error


def _said(error: ValidationError) -> str:
    errors = error.errors(include_url=False, include_input=False)[:ERRORS_SHOWN_MAX]
    return "; ".join(f"{'.'.join(map(str, one['loc'])).replace('title', 'name')}: {one['msg']}" for one in errors) + "."
