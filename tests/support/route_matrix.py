"""Writes docs/route-matrix.md from the routes that are served and the contract that the golden tests hold them to.

python -m tests.support.route_matrix
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from safelight.api.app import create_api
from tests.support.legacy_routes import ROUTES, Anything, Failure, Or, Route

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "route-matrix.md"
HEAD = """# Route compatibility matrix

The legacy routes, who answers them, and what the golden tests (`tests/api/legacy/test_legacy_routes.py`) hold each answer against. Written by
`python -m tests.support.route_matrix`; a test fails when this file is stale. Keys of an object are in braces, `[…]` is a list, `|` separates
forms of an answer. An error is its status and its code; `{error}` alone is the older envelope, a sentence without a code.

| # | route | handler | keys of the answer | errors | tested |
|---|---|---|---|---|---|
"""


def matrix() -> str:
    served = _handlers(create_api(None, cors_origins=[]))  # type: ignore[arg-type]
    return HEAD + "".join(_line(route, served.get(route.name)) for route in ROUTES)


def _handlers(app: FastAPI) -> dict[str, str]:
    """Route → module and function that answer it."""
    return {
        f"{method} {route.path}": f"{route.endpoint.__module__.removeprefix('safelight.api.')}.{route.endpoint.__name__}"
        for route in api_routes(app.routes)
        for method in route.methods
    }


def api_routes(found: Iterable[Any]) -> Iterator[APIRoute]:
    """Those of included routers too, which the application holds whole; none has a prefix."""
    for each in found:
        if isinstance(each, APIRoute):
            yield each
        elif router := getattr(each, "original_router", None):
            yield from api_routes(router.routes)


def _line(route: Route, handler: str | None) -> str:
    cells = [
        str(route.number),
        f"`{route.name}`",
        f"`{handler}`" if handler else "not served yet",
        route.shape if isinstance(route.shape, str) else f"`{_keys(route.shape)}`",
        "<br>".join(_error(failure) for failure in route.failures),
        "yes",
    ]
    return f"| {' | '.join(cells)} |\n"


def _error(failure: Failure) -> str:
    if failure.cannot:
        return f"{failure.status} `{failure.name}`: cannot happen, {failure.cannot}"
    said = "{error}" if "error" in failure.shape and "message" not in failure.shape else failure.name
    return f"{failure.status} `{said}`" + (f" ({failure.name})" if said != failure.name else "")


def _keys(shape: Any) -> str:
    match shape:
        case Or():
            forms = [_keys(each) for each in shape.shapes]
            return " \\| ".join(dict.fromkeys(form for form in forms if form))
        case Anything():
            return "{…}"
        case dict():
            named = [f"{name}{':' if inner else ''}{inner}" for name, each in shape.items() for inner in [_keys(each)]]
            return f"{{{', '.join(named)}}}"
        case list():
            return f"[{_keys(shape[0])}]"
        case _:
            return ""


if __name__ == "__main__":
    FILE.write_text(matrix())
