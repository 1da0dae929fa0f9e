"""Folds every spelling of a field into one, at the edge, once.

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
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from safelight.storage.addresses import URL_CHARS_MAX, too_long
from safelight.storage.web_urls import web_url


@dataclass(frozen=True, slots=True)
class Alias:
    """Other names of a field, separated by `|`; a dot reaches into an object. `joined`: lists are concatenated."""

    names: str
    description: str
    joined: bool = False
    example: Any = None

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(schema)
        more = f" Also accepted: {', '.join(f'`{name}`' for name in self.names.split('|'))}." if self.names else ""
        described["description"] = self.description + more
        if self.example is not None:
            described["examples"] = [self.example]
        return described


def aliased(
    names: str, description: str, *, default: Any = None, joined: bool = False, example: Any = None, **rules: Any
) -> Any:
    """A field of an `AliasedModel`. `rules` are those of pydantic's `Field`; `default=...` makes it required."""
    field = Field(default, **rules)
    field.metadata.append(Alias(names, description, joined, example))
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
    def fold(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            raise ValueError("must be a JSON object")
        folded = {name: _folded(given, name, field) for name, field in cls.model_fields.items()}
        return {name: value for name, value in folded.items() if value is not None}


def spellings(name: str, field: FieldInfo) -> list[str]:
    found = [name]
    for item in field.metadata:
        if isinstance(item, Alias) and item.names:
            found += item.names.split("|")
    return found


def _folded(given: dict[str, Any], name: str, field: FieldInfo) -> Any:
    values = [value for path in spellings(name, field) if not is_absent(value := _at(given, path))]
    if any(isinstance(item, Alias) and item.joined for item in field.metadata):
        joined = [item for value in values for item in (value if isinstance(value, list) else [value])]
        return list(dict.fromkeys(item for item in joined if not is_absent(item))) if _are_texts(joined) else joined
    return values[0] if values else None


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


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
