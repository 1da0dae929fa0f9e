"""The routes as the OpenAPI document has them: what is tried on each of them forgets no new one, and every answer that a
test sees is held against the document."""

import re
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
from jsonschema import Draft202012Validator, FormatChecker

from safelight.app import App
from safelight.config import Settings

Json = dict[str, Any]

METHODS = ("get", "put", "post", "patch", "delete")


@cache
def document() -> Json:
    with tempfile.TemporaryDirectory() as home:
        return App(Settings(home=Path(home), database_url="postgresql:///nowhere")).api().openapi()


@dataclass(frozen=True)
class Route:
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def operation(self) -> Json:
        return dict(document()["paths"][self.path][self.method.lower()])

    def parameters(self, place: str) -> list[Json]:
        return [one for one in self.operation.get("parameters", []) if one["in"] == place]

    def with_values(self, values: dict[str, str]) -> str:
        """The path, its parameters replaced. Raises KeyError where one has no value."""
        return self.path.format_map(values)

    @property
    def example_path(self) -> str:
        return self.with_values({one["name"]: "0" for one in self.parameters("path")})


ROUTES = [
    Route(method.upper(), path)
    for path, operations in document()["paths"].items()
    for method in operations
    if method in METHODS
]
# Those that fold a body into a model. Webhooks are read as they were signed; their schema is written out.
BODY_ROUTES = [route for route in ROUTES if "$ref" in str(route.operation.get("requestBody"))]


def body_schema(route: Route) -> Json:
    """Of bodies of several kinds, that of the first."""
    schema = route.operation["requestBody"]["content"]["application/json"]["schema"]
    return resolved(next(iter(schema.get("oneOf", [schema]))))


def resolved(schema: Json) -> Json:
    """Follows references, through what may also be null."""
    for part in [schema, *schema.get("allOf", []), *schema.get("anyOf", [])]:
        if "$ref" in part:
            return dict(document()["components"]["schemas"][part["$ref"].rsplit("/", 1)[-1]])
    return schema


def filled(schema: Json, value: Any) -> Any:
    """An object in which every field, at every depth, is `value`."""
    fields = schema.get("properties")
    return {name: filled(resolved(part), value) for name, part in fields.items()} if fields else value


# --- answers against the document -----------------------------------------------------------------------------------

FORMATS = FormatChecker(formats=["uuid"])


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


@FORMATS.checks("uri")
def is_uri(value: object) -> bool:
    return not isinstance(value, str) or bool(value.isascii() and urlsplit(value).scheme and urlsplit(value).netloc)


def validator(schema: Json) -> Draft202012Validator:
    whole = {"components": document()["components"], **schema}
    return Draft202012Validator(whole, format_checker=FORMATS)


def problems(schema: Json, value: Any) -> list[str]:
    return [f"{error.json_path}: {error.message[:500]}" for error in validator(schema).iter_errors(value)]


def route_of(method: str, path: str) -> Route | None:
    """The first that fits; a key may hold slashes."""
    for route in ROUTES:
        pattern = re.sub(r"\\{(\w+)\\}", lambda part: ".*" if part[1] == "key" else "[^/]*", re.escape(route.path))
        if route.method == method and re.fullmatch(pattern, path):
            return route
    return None


def holding(base_url: str) -> Callable[[httpx2.Response], Awaitable[None]]:
    """A hook of the tests' client: an answer of ours that the document does not say fails the test that asked."""

    async def hold(answer: httpx2.Response) -> None:
        route = route_of(answer.request.method, answer.request.url.path)
        if route is None or not str(answer.request.url).startswith(base_url):
            return
        stated = route.operation["responses"].get(str(answer.status_code))
        assert stated, f"{route}: the document says nothing of {answer.status_code}"
        media_type = answer.headers.get("content-type", "").partition(";")[0]
        if media_type in ("application/json", "application/problem+json"):
            await answer.aread()
            assert media_type in stated.get("content", {}), f"{route}: {answer.status_code} is JSON"
            found = problems(stated["content"][media_type]["schema"], answer.json())
            assert not found, f"{route} {answer.status_code}: {found} in {answer.text[:1000]}"

    return hold


def hold_event(name: str, data: Json) -> None:
    """The same of an event of a stream."""
    [stream] = [route for route in ROUTES if route.path == "/mma/stream/{generation_id}"]
    events = stream.operation["responses"]["200"]["content"]["text/event-stream"]["schema"]["oneOf"]
    fields = {event["properties"]["event"]["const"]: event["properties"] for event in events}
    found = problems(fields[name]["data"]["contentSchema"], data)
    assert not found, f"{name}: {found} in {data}"
