"""Makes the OpenAPI document one that generators of clients read well.

JSON Schema allows more than typed clients can express. Each rule here is about a form that at least one of
openapi-python-client, openapi-generator, openapi-typescript and hey-api turns into a client that does not compile, or
into none; `tests/api/http/test_generated_clients.py` runs them all.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

from safelight.api.schemas.fields import Json

FILE: Json = {"type": "string", "format": "binary"}
ANY_FILE = "application/octet-stream"
EXAMPLES = ("example", "examples", "default")  # values, which no rule is about
NOTHING: tuple[Any, ...] = (None, "", [], False)
PLACE = "#/components/schemas/"
# Classes that every client of one of the generators has already.
TAKEN = {"ErrorContext", "FetchError", "Parameters", "RequestContext", "RequiredError", "ResponseContext", "Unset"}
FREE_NAME = "{}Data"


def simplify(document: Json) -> None:
    """Apply every rule to the document, in place."""
    for schema in list(_objects(document)):
        _one_value_is_its_type(schema)
        _nullable_has_a_type(schema)
        _reference_stands_alone(schema, document)
        _spellings_do_not_clash(schema)
        _defaults_are_told(schema)
    _names_do_not_clash(document)
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        operation["tags"] = operation["tags"][:1]  # one class of operations each: two would both export its types
        _files_are_bytes(operation)


def _one_value_is_its_type(schema: Json) -> None:
    """A `const` of a boolean or a number is written as its type: clients know no type of one such value."""
    if "const" in schema and not isinstance(schema["const"], str) and isinstance(schema.get("type"), str):
        del schema["const"]


def _nullable_has_a_type(schema: Json) -> None:
    """A property that is always null is a text that is null: clients know no type that only holds null."""
    for name, value in _fields(schema).items():
        if isinstance(value, dict) and value.get("type") == "null":
            schema["properties"][name] = {**value, "type": ["string", "null"]}


def _reference_stands_alone(schema: Json, document: Json) -> None:
    """A reference that allows only some of its values is written out: clients ignore what stands beside a reference."""
    if "$ref" in schema and ("enum" in schema or "const" in schema):
        name = schema.pop("$ref").removeprefix(PLACE)
        schema["type"] = document["components"]["schemas"][name]["type"]


def _spellings_do_not_clash(schema: Json) -> None:
    """Of two spellings of one name, clients get the first; the other one is a pattern, which they do not read."""
    seen: set[str] = set()
    for name in list(_fields(schema)):
        if _snake(name) in seen:
            schema.setdefault("patternProperties", {})[f"^{re.escape(name)}$"] = schema["properties"].pop(name)
            if name in schema.get("required", ()):
                schema["required"].remove(name)
        seen.add(_snake(name))


def _defaults_are_told(schema: Json) -> None:
    """A field's default is in its description: clients would take a field that has one for one that must be sent."""
    for value in _fields(schema).values():
        default = value.pop("default", None) if isinstance(value, dict) else None
        if default not in NOTHING and not isinstance(default, dict):
            value["description"] = f"{value.get('description', '')} Default: {json.dumps(default)}.".strip()


def _names_do_not_clash(document: Json) -> None:
    """A schema is not named as a class that clients have already, nor as one of its own fields."""
    schemas: Json = document["components"]["schemas"]
    clashing = {
        name for name, schema in schemas.items() if name in TAKEN or _snake(name) in map(_snake, _fields(schema))
    }
    document["components"]["schemas"] = {_free(name, clashing): schema for name, schema in schemas.items()}
    for name in clashing:
        schemas[name]["title"] = _free(name, clashing)
    for schema in _objects(document):
        if isinstance(schema.get("$ref"), str):
            schema["$ref"] = PLACE + _free(schema["$ref"].removeprefix(PLACE), clashing)


def _free(name: str, clashing: set[str]) -> str:
    return FREE_NAME.format(name) if name in clashing else name


def _files_are_bytes(operation: Json) -> None:
    """Files have a schema, and clients read and send them as bytes, whatever their media types."""
    for response in operation["responses"].values():
        if files := _files(response.get("content", {})):
            binary = {media_type: {"schema": dict(FILE)} for media_type in (ANY_FILE, *files)}
            response["content"] = response["content"] | binary
    body = operation.get("requestBody", {})
    if files := _files(body.get("content", {})):
        body["description"] = f"The bytes of the file: {', '.join(files)}."
        body["content"] = {ANY_FILE: {"schema": dict(FILE)}}


def _files(content: Json) -> list[str]:
    return [media_type for media_type in content if media_type.startswith(("image/", "video/"))]


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def _fields(schema: Json) -> Json:
    found = schema.get("properties", {})
    return found if isinstance(found, dict) else {}


def _objects(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
        for name, inner in value.items():
            if name not in EXAMPLES:
                yield from _objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _objects(inner)
