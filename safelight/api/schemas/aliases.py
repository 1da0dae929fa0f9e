"""Normalizes every accepted name of a field to one, at the edge, once.

Clients of several generations send the same thing under different names and places. A field lists its spellings
(`Alias`); the first that is not empty wins; unknown keys are ignored.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic.fields import FieldInfo

from safelight.storage.addresses import URL_CHARS_MAX, too_long
from safelight.storage.web_urls import web_url


@dataclass(frozen=True, slots=True)
class Alias:
    """Other names of a field; a dot reaches into an object. `joined`: lists are concatenated."""

    names: tuple[str, ...]
    joined: bool


def aliased(
    names: str, description: str, *, default: Any = None, joined: bool = False, example: Any = None, **rules: Any
) -> Any:
    """A field of an `AliasedModel`, and its other names, separated by `|`. `rules` are those of pydantic's `Field`;
    `default=...` makes it required."""
    others = tuple(names.split("|")) if names else ()
    more = f" Also accepted: {', '.join(f'`{name}`' for name in others)}." if others else ""
    examples = None if example is None else [example]
    field = Field(default, description=description + more, examples=examples, **rules)
    field.metadata.append(Alias(others, joined))
    return field


def clean_text(value: Any) -> Any:
    """Text is trimmed and blank text is absent; numbers and flags become text (docs/contract/http.md)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value.strip() if isinstance(value, str) else value


def clean_flag(value: Any) -> Any:
    return value.strip().lower() in ("true", "1", "yes", "on") if isinstance(value, str) else value


def clean_url(value: Any) -> Any:
    """As `clean_text`. Raises ValueError for one that is too long, with what to do instead."""
    cleaned = clean_text(value)
    if isinstance(cleaned, str) and len(cleaned) > URL_CHARS_MAX:
        raise ValueError(too_long(cleaned))
    return cleaned


# The length is a rule of the text, so it comes first: after a function it would be one of "items".
Short = Annotated[str, StringConstraints(max_length=200), BeforeValidator(clean_text)]
Long = Annotated[str, StringConstraints(max_length=8000), BeforeValidator(clean_text)]
Url = Annotated[str, StringConstraints(max_length=URL_CHARS_MAX), BeforeValidator(clean_url)]
WebUrl = Annotated[Url, AfterValidator(web_url)]
Flag = Annotated[bool, BeforeValidator(clean_flag)]


class AliasedModel(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def normalize(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            raise ValueError("must be a JSON object")
        normalized = {name: _normalized(given, name, field) for name, field in cls.model_fields.items()}
        return {name: value for name, value in normalized.items() if value is not None}


def _alias(field: FieldInfo) -> Alias:
    return next((item for item in field.metadata if isinstance(item, Alias)), Alias((), False))


def spellings(name: str, field: FieldInfo) -> list[str]:
    return [name, *_alias(field).names]


def _normalized(given: dict[str, Any], name: str, field: FieldInfo) -> Any:
    values = [value for path in spellings(name, field) if not is_absent(value := _at(given, path))]
    if not _alias(field).joined:
        return values[0] if values else None
    joined = [item for value in values for item in (value if isinstance(value, list) else [value])]
    if not all(isinstance(item, str) for item in joined):
        return joined
    return list(dict.fromkeys(item for item in joined if not is_absent(item)))


def _at(given: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(given, list) and part.isdigit():
            given = given[int(part)] if int(part) < len(given) else None
        elif isinstance(given, dict):
            given = given.get(part)
        else:
            return None
    return given


def is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
