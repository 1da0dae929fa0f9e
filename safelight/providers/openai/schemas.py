"""Converts answer schemas for strict mode, which supports only a part of JSON Schema."""

import re
from collections.abc import Mapping
from typing import Any

from safelight.providers.base import Json

NAME_CHARS_MAX = 64
_KEPT = frozenset({
    "type", "description", "enum", "const", "pattern", "format", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "minItems", "maxItems",
})  # fmt: skip
_LENGTHS = frozenset({"minLength", "maxLength"})  # not supported by strict mode; the answer is checked for them later
_OF_OBJECTS = frozenset({"properties", "required", "additionalProperties"})
_SCALARS = ("string", "number", "integer", "boolean")


def answer_format(context_key: str, schema: Mapping[str, Any]) -> Json:
    """The `text.format` of a question; strict if the schema can be converted."""
    strict = strict_form(schema)
    return {
        "type": "json_schema",
        "name": re.sub(r"[^A-Za-z0-9_-]", "_", context_key)[:NAME_CHARS_MAX],
        "schema": dict(schema) if strict is None else strict,
        "strict": strict is not None,
    }


def strict_form(schema: Mapping[str, Any]) -> Json | None:
    """The schema with closed objects, and lengths stated in descriptions; None if strict mode does not accept it, for
    instance because a property is optional."""
    kept = {name: value for name, value in schema.items() if name in _KEPT}
    rest = set(schema) - _KEPT
    if schema.get("type") == "object" and rest <= _OF_OBJECTS:
        return _closed(schema, kept)
    if schema.get("type") == "array" and rest == {"items"}:
        items = strict_form(schema["items"])
        return None if items is None else kept | {"items": items}
    return kept | _described(schema) if schema.get("type") in _SCALARS and rest <= _LENGTHS else None


def _closed(schema: Mapping[str, Any], kept: Json) -> Json | None:
    parts = {name: strict_form(part) for name, part in schema.get("properties", {}).items()}
    is_open = schema.get("additionalProperties", False) is not False
    if is_open or None in parts.values() or set(schema.get("required", ())) != set(parts):
        return None
    return kept | {"properties": parts, "required": list(parts), "additionalProperties": False}


def _described(schema: Mapping[str, Any]) -> Json:
    """The description with the lengths, which strict mode cannot enforce."""
    if "maxLength" not in schema:
        return {}
    said = f"{schema['description']} " if "description" in schema else ""
    return {"description": f"{said}At most {schema['maxLength']} characters."}
