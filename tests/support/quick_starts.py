"""Thousands of apps start and stop in a pytest process: what libraries do anew for each app, or while they wait for a
tick, is done once, or at a quicker tick.

None of it changes what an app answers. Processes that tests start are not touched.
"""

import asyncio
import importlib.metadata
import sys
from collections.abc import Callable
from functools import lru_cache
from types import ModuleType
from typing import Any

import uvicorn.server
from fastapi import routing

TICK_SECONDS = 0.005  # of a server that looks whether it shall end; its own one is 0.1
_entry_points: Callable[..., Any] = importlib.metadata.entry_points
_from_api_route: Callable[..., Any] = routing._EffectiveRouteContext.from_api_route
_routes: dict[tuple[int, int, str], Any] = {}


def install() -> None:
    """Make apps of this process start and stop quickly."""
    importlib.metadata.entry_points = lambda **wanted: _entry_points_on(tuple(sys.path), **wanted)  # type: ignore[assignment]
    routing._EffectiveRouteContext.from_api_route = _shared_route  # type: ignore[method-assign, assignment]
    uvicorn.server.asyncio = _quick_asyncio()  # type: ignore[attr-defined]


@lru_cache
def _entry_points_on(path: tuple[str, ...], **wanted: Any) -> Any:
    """Each App looks for installed adapters: to read the metadata of all packages takes a third of its start."""
    return _entry_points(**wanted)


def _shared_route(*, original_route: routing.APIRoute, include_context: Any) -> Any:
    """Each app looks at the parameters of all functions again, although the routers are the same in each. A route lives
    as long as what was found out about it, which refers to it."""
    key = id(include_context.included_router), id(original_route), include_context.path_for(original_route)
    if key not in _routes:
        _routes[key] = _from_api_route(original_route=original_route, include_context=include_context)
    return _routes[key]


def _quick_asyncio() -> ModuleType:
    """The module as the server sees it."""
    module = ModuleType("asyncio")
    vars(module).update(vars(asyncio))
    vars(module)["sleep"] = lambda seconds: asyncio.sleep(min(seconds, TICK_SECONDS))
    return module
