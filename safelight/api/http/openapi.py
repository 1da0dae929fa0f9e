"""The OpenAPI document: what the framework makes of the routes, put right where the framework cannot know better.

Errors are ours, in the shape that `error_formats.py` gives each route, and each answer has an example, made of those of
its fields. Where JSON is read, forms are read too; the document leaves them out, because a client that is made of it
would send one kind only, and that is JSON.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from safelight.api.http import client_schemas, error_responses
from safelight.api.http.bodies.json import StrictRoute
from safelight.api.http.client_schemas import PLACE
from safelight.api.schemas import generation_responses, stream_events
from safelight.api.schemas.examples import SERVER
from safelight.api.schemas.fields import Json

JSON = "application/json"
OF_THE_FRAMEWORK = ("HTTPValidationError", "ValidationError")
DESCRIPTION_OF_THE_FRAMEWORK, DESCRIPTION = "Successful Response", "Done."
RETRY_AFTER: Json = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
OF_TYPES: Json = {"boolean": False, "integer": 1, "number": 1, "string": "…", "null": None}


def install_openapi(app: FastAPI, server: Callable[[], str], is_anonymous: Callable[[APIRoute], bool]) -> None:
    """The application shows this document from now on; its examples name files of this server. `is_anonymous` says
    whether a route looks at nobody's identity."""

    def document() -> Json:
        if app.openapi_schema is None:
            found = _patch_schema(app, FastAPI.openapi(app), is_anonymous)
            app.openapi_schema = json.loads(json.dumps(found).replace(SERVER, json.dumps(server())[1:-1]))
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _patch_schema(app: FastAPI, document: Json, is_anonymous: Callable[[APIRoute], bool]) -> Json:
    schemas = document["components"]["schemas"]
    models: list[type[BaseModel]] = [
        *error_responses.MODELS,
        *generation_responses.EVENTS.values(),
        *stream_events.V1_EVENTS.values(),
    ]
    _, own = models_json_schema([(model, "serialization") for model in models], ref_template=PLACE + "{model}")
    schemas |= own["$defs"]
    for model in error_responses.MODELS:
        schemas[model.__name__]["examples"] = [example_of(schemas[model.__name__], schemas)]
    for name in OF_THE_FRAMEWORK:
        schemas.pop(name, None)
    for context, route, method in _routes(app):
        name = f"{method} {context.path}"
        operation = document["paths"][context.path_format][method.lower()]
        implied = error_responses.implied_responses(
            name, operation, is_anonymous=is_anonymous(route), is_strict=isinstance(route, StrictRoute)
        )
        _complete(operation, implied | context.responses, name, schemas)
    client_schemas.simplify(document)
    return document


def _routes(app: FastAPI) -> Iterator[tuple[RouteContext, APIRoute, str]]:
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and context.include_in_schema:
            yield from ((context, route, method) for method in context.methods or ())


def _complete(operation: Json, stated_responses: error_responses.Responses, name: str, schemas: Json) -> None:
    operation["responses"].pop("422", None)
    for status, stated in stated_responses.items():
        response = operation["responses"].setdefault(str(status), {"description": stated.get("description", "")})
        if int(status) >= 400:
            refs = [{"$ref": PLACE + model.__name__} for model in error_responses.models_of(name, int(status))]
            schema = refs[0] if len(refs) == 1 else {"anyOf": refs}  # of objects that fix their keys, no two can hold
            media_type = error_responses.media_type_of(name)
            response["content"] = stated.get("content") or {media_type: {"schema": schema}}
        if status in (429, 503):
            response["headers"] = RETRY_AFTER
    for status, response in operation["responses"].items():
        if int(status) < 400:
            _show(response, schemas)


def _show(response: Json, schemas: Json) -> None:
    """Add the example of an answer that is no error."""
    if response["description"] == DESCRIPTION_OF_THE_FRAMEWORK:
        response["description"] = DESCRIPTION
    for media_type, media in response.get("content", {}).items():
        media.pop("itemSchema", None)  # of a stream; OpenAPI 3.1 does not know it
        if media_type == JSON and media["schema"]:
            media["schema"].pop("title", None)
            media["example"] = example_of(media["schema"], schemas)


def example_of(schema: Json, schemas: Json) -> Any:
    """An example of a schema: the one at it, else made of those of its parts."""
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].removeprefix(PLACE)], schemas)
    if "const" in schema or "enum" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if "anyOf" in schema:
        return example_of(schema["anyOf"][0], schemas)
    match schema["type"]:
        case "object":
            required, fields = schema.get("required", ()), schema.get("properties", {})
            shown = {name: field for name, field in fields.items() if name in required or "examples" in field}
            return {name: example_of(field, schemas) for name, field in shown.items()}
        case "array":
            return [example_of(schema["items"], schemas)]
        case kind:
            return OF_TYPES[kind]
