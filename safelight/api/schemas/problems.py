"""Error answers of `/api/v1`: problem details (RFC 9457), with our code, and one entry for each field that is wrong."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi.exceptions import RequestValidationError
from pydantic import MISSING, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from safelight.api.schemas import fields
from safelight.api.schemas.responses import ResponseModel
from safelight.domain.errors.base import InvalidInput
from safelight.redaction import DEFAULT_REDACTOR, excerpt

PREFIX = "/api/v1"
MEDIA_TYPE = "application/problem+json"
NO_TYPE = "about:blank"  # the code says which problem it is
ERRORS_SHOWN = 20
ALLOWED_SHOWN = 100
NAME_CHARS_MAX = 100
UNKNOWN = "unknown_field"
PATH_CHARS = "/:@!$&'()*+,;="  # of a path, beside letters and digits (RFC 3986)
PLACES = ("body", "query", "path", "header")
KINDS = ("still", "video", "image_job", "model_run")  # tags of bodies, which stand in the place of an error


class FieldProblem(ResponseModel):
    """A field or parameter that is wrong, and what is allowed there; `allowed` is empty if that is no list."""

    field: str = Field(examples=["aspect_ratio"])
    message: str = Field(examples=["'5:7' is not allowed."])
    allowed: list[str] = Field(examples=[["1:1", "4:5", "9:16"]])


class ProblemDetails(ResponseModel):
    """Every error answer of this API. `code` is stable; `retryable` says whether the same request may succeed later."""

    type: str = Field(
        description="`about:blank`: `code` says which problem it is.",
        json_schema_extra={"format": "uri-reference"},
        examples=[NO_TYPE],
    )
    title: str = Field(description="The meaning of the status.", examples=["Bad Request"])
    status: int = Field(examples=[400])
    detail: str = Field(examples=["aspect_ratio: '5:7' is not allowed."])
    instance: str = Field(
        description="The path that was asked for.",
        json_schema_extra={"format": "uri-reference"},
        examples=["/api/v1/generations"],
    )
    code: str = Field(examples=["VALIDATION_ERROR"])
    retryable: bool
    request_id: fields.RequestId
    errors: list[FieldProblem]
    retry_after_seconds: int | MISSING = Field(default=MISSING, ge=1, description="As the header `Retry-After`.")
    required_credits: int | MISSING = Field(default=MISSING, description="What the order costs, with status 402.")
    balance: int | MISSING = Field(default=MISSING, description="The credits that there are, with status 402.")


class ClosedModel(BaseModel):
    """A body of `/api/v1`: a field that it does not have is an error that names it, and those that there are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def know_every_field(cls, given: Any) -> Any:
        unknown = [name for name in given if name not in cls.model_fields] if isinstance(given, dict) else []
        if unknown:
            named = {"unknown": unknown[:ERRORS_SHOWN], "allowed": list(cls.model_fields)}
            raise PydanticCustomError(UNKNOWN, "is not a field", named)
        return given


def is_of_v1(path: str) -> bool:
    return path == PREFIX or path.startswith(f"{PREFIX}/")


def unknown_parameters(unknown: Collection[str], allowed: Sequence[str]) -> InvalidInput:
    """The error of query parameters that a route does not have."""
    found = [_unknown(name, allowed) for name in list(unknown)[:ERRORS_SHOWN]]
    return InvalidInput(_detail(found), code="UNKNOWN_PARAMETER", details={"errors": found})


def invalid(field: str, message: str, allowed: Sequence[str] = (), *, code: str | None = None) -> InvalidInput:
    """The error of one field."""
    found = FieldProblem(field=field, message=message, allowed=list(allowed)[:ALLOWED_SHOWN])
    return InvalidInput(_detail([found]), code=code, details={"errors": [found]})


def field_problems(error: Exception) -> list[FieldProblem]:
    """The fields that the error names."""
    if isinstance(error, RequestValidationError):
        return [found for problem in error.errors() for found in _of_validation(problem)][:ERRORS_SHOWN]
    stated = getattr(error, "details", {}).get("errors")
    return stated if isinstance(stated, list) else []


def detail_of(found: Sequence[FieldProblem], otherwise: str) -> str:
    return _detail(found) if found else otherwise


def problem(
    status: int, code: str, message: str, path: str, request_id: str, *, retryable: bool, error: Exception
) -> ProblemDetails:
    found = field_problems(error)
    return ProblemDetails(
        type=NO_TYPE,
        title=HTTPStatus(status).phrase,
        status=status,
        detail=DEFAULT_REDACTOR.text(detail_of(found, message)),
        instance=quote(DEFAULT_REDACTOR.text(path), safe=PATH_CHARS),
        code=code,
        retryable=retryable,
        request_id=request_id,
        errors=found,
    )


def _of_validation(problem: Mapping[str, Any]) -> Iterator[FieldProblem]:
    place = _place(problem["loc"])
    context = problem.get("ctx") or {}
    if problem["type"] == UNKNOWN:
        for name in context["unknown"]:
            yield _unknown(f"{place}.{name}" if place else name, context["allowed"])
        return
    message = str(problem["msg"]).removeprefix("Value error, ")
    yield FieldProblem(field=place or "body", message=excerpt(message, 500), allowed=_allowed(problem))


def _place(location: Sequence[Any]) -> str:
    """The path of a field. The tag that chose between kinds of bodies is no part of it."""
    parts = [str(part) for part in location]
    inner = parts[1:] if parts and parts[0] in PLACES else parts
    return ".".join(inner[1:] if inner and inner[0] in KINDS else inner)


def _allowed(problem: Mapping[str, Any]) -> list[str]:
    """The values that an enumeration takes."""
    context = problem.get("ctx") or {}
    match problem["type"]:
        case "literal_error" | "enum":
            return [one.strip().strip("'") for one in str(context["expected"]).replace(" or ", ", ").split(", ")]
        case "union_tag_invalid":
            return [one.strip().strip("'") for one in str(context["expected_tags"]).split(", ")]
    return []


def _unknown(name: str, allowed: Sequence[str]) -> FieldProblem:
    shown = DEFAULT_REDACTOR.text(excerpt(name, NAME_CHARS_MAX))
    return FieldProblem(field=shown, message="It is not known here.", allowed=list(allowed)[:ALLOWED_SHOWN])


def _detail(found: Sequence[FieldProblem]) -> str:
    return "; ".join(
        f"{one.field}: {one.message}" + (f" Allowed: {', '.join(one.allowed)}." if one.allowed else "") for one in found
    )
