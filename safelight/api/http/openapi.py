"""The OpenAPI document: what the framework makes of the routes, put right where the framework cannot know better.

Errors are ours, in the shape that `manners.py` gives each route; an answer has the model that its route states, and an
example keeps its nulls. Where JSON is read, forms are read too; the document leaves them out, because a client that is
made of it would send one kind only, and that is JSON.
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
from safelight.api.schemas import responses
from safelight.api.schemas.examples import PLACE, SERVER

Json = dict[str, Any]

JSON = "application/json"
OF_THE_FRAMEWORK = ("HTTPValidationError", "ValidationError")
RETRY_AFTER: Json = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}


def install_openapi(app: FastAPI, server: Callable[[], str]) -> None:
    """The application shows this document from now on; its examples name files of this server."""

    def document() -> Json:
        if app.openapi_schema is None:
            found = _patch_schema(app, FastAPI.openapi(app))
            app.openapi_schema = json.loads(json.dumps(found).replace(SERVER, json.dumps(server())[1:-1]))
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def _patch_schema(app: FastAPI, document: Json) -> Json:
    schemas = document["components"]["schemas"]
    schemas |= _schemas(*error_responses.EXAMPLES, *responses.EVENTS.values())
    for model, example in error_responses.EXAMPLES.items():
        schemas[model.__name__]["examples"] = [example]
    for name in OF_THE_FRAMEWORK:
        schemas.pop(name, None)
    for route, method in _routes(app):
        _complete(document["paths"][route.path_format][method.lower()], route, f"{method} {route.path}")
    client_schemas.simplify(document)
    return document


def _routes(app: FastAPI) -> Iterator[tuple[RouteContext, str]]:
    for route in iter_route_contexts(app.routes):
        if isinstance(route.original_route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                yield route, method


def _complete(operation: Json, route: RouteContext, name: str) -> None:
    if 422 not in route.responses:
        operation["responses"].pop("422", None)
    for status, stated in {**error_responses.ANYWHERE, **route.responses}.items():
        response = operation["responses"].setdefault(str(status), {"description": stated.get("description", "")})
        if status >= 400:
            _refuse(response, stated, name, status)
        else:
            _answer(response, stated)
    if isinstance(route.original_route, StrictRoute) and JSON in operation.get("requestBody", {}).get("content", {}):
        refused = operation["responses"].setdefault("415", {"description": error_responses.MEANINGS[415]})
        _refuse(refused, {}, name, 415)


def _refuse(response: Json, stated: Json, name: str, status: int) -> None:
    response["content"] = stated.get("content") or {JSON: {"schema": _one_of(error_responses.models_of(name, status))}}
    if status in (429, 503):
        response["headers"] = RETRY_AFTER


def _answer(response: Json, stated: Json) -> None:
    """The framework adds to the stated model what the route's function returns: any object."""
    for media_type, media in response.get("content", {}).items():
        schema = media.get("schema", {})
        media.pop("itemSchema", None)  # of a stream; OpenAPI 3.1 does not know it
        media.update(stated.get("content", {}).get(media_type, {}))
        if "$ref" in schema or "anyOf" in schema:
            media["schema"] = {key: schema[key] for key in ("$ref", "anyOf") if key in schema}


def _one_of(models: tuple[type[BaseModel], ...]) -> Json:
    """Of objects that fix their keys, no two can hold."""
    found = [{"$ref": PLACE + model.__name__} for model in models]
    return found[0] if len(found) == 1 else {"anyOf": found}


def _schemas(*models: type[BaseModel]) -> Json:
    _, found = models_json_schema([(model, "serialization") for model in models], ref_template=PLACE + "{model}")
    return dict(found["$defs"])
