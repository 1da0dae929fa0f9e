"""The routes as the OpenAPI document has them: what is tried on each of them forgets no new one."""

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

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
BODY_ROUTES = [
    route for route in ROUTES if "application/json" in route.operation.get("requestBody", {}).get("content", {})
]


def body_schema(route: Route) -> Json:
    return resolved(route.operation["requestBody"]["content"]["application/json"]["schema"])


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
