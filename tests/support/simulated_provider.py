"""A simulated provider for a test's database: the registry names it for every engine."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from unittest import mock

import psycopg
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safelight import serve
from safelight.providers.simulated import adapter
from safelight.providers.simulated.faults import Faults, Latency
from safelight.providers.simulated.server import HangUpProtocol, Simulation

USE_SIMULATION = """
insert into mega_admin (mg_id, mg_record_type, mg_key, mg_value)
select 'app_config:mma.provider.registry.v2', 'app_config', mg_key, jsonb_set(
  mg_value || '{"version": 2}', '{providers}',
  (select jsonb_agg((one - 'with_key') || jsonb_build_object(
     'adapter', 'simulated', 'deadline_seconds', %s::float, 'check_every_seconds', %s::float))
   from jsonb_array_elements(mg_value->'providers') one))
from mega_admin where mg_id = 'app_config:mma.provider.registry.v1'
"""


class Holding:
    """Holds back the answers to some requests: those whose `method path` begins so, after `after` others that do."""

    def __init__(self, begins: str, after: int = 0) -> None:
        self._begins, self._left = begins, after
        self.is_holding, self.released = asyncio.Event(), asyncio.Event()

    def before(self, application: ASGIApp) -> ASGIApp:
        async def held(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and f"{scope['method']} {scope['path']}".startswith(self._begins):
                self._left -= 1
                if self._left < 0:
                    self.is_holding.set()
                    await self.released.wait()
            await application(scope, receive, send)

        return held


@pytest.fixture
def looking_often() -> Iterator[None]:
    """Work at the provider is looked at so often that tests need not wait."""
    with mock.patch.object(adapter, "CHECK_AFTER_SECONDS", 0.02):
        yield


class Refusing:
    """Answers starts whose prompt holds a word of `words` with its status; each such answer is counted in `refused`."""

    def __init__(self, **words: int) -> None:
        self.words = words
        self.refused = 0

    def before(self, application: ASGIApp) -> ASGIApp:
        async def looked_at(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or f"{scope['method']} {scope['path']}" != "POST /predictions":
                await application(scope, receive, send)
                return
            body = await Request(scope, receive).body()
            status = next((status for word, status in self.words.items() if word.encode() in body), None)
            if status is None:
                await application(scope, _again(body), send)
                return
            self.refused += 1
            await JSONResponse({"detail": "refused"}, status)(scope, receive, send)

        return looked_at


def _again(body: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


@asynccontextmanager
async def simulating(
    dsn: str,
    *,
    seed: int = 1,
    pace: Latency | None = None,
    deadline_seconds: float = 600,
    check_every_seconds: float = 0,
    holding: "Holding | Refusing | None" = None,
    **more: Any,
) -> AsyncIterator[tuple[Simulation, dict[str, str]]]:
    """The simulation, and the settings that let a backend reach it. `more` are faults, `faulty` and `looks_up`."""
    options = {name: more.pop(name) for name in ("faulty", "looks_up") if name in more}
    simulation = Simulation(seed, Faults(**more), pace or Latency(0, 0, 0), **options)
    listening = serve.listen("127.0.0.1", 0)
    address = f"127.0.0.1:{listening.getsockname()[1]}"
    with psycopg.connect(dsn) as conn:
        conn.execute(USE_SIMULATION, [deadline_seconds, check_every_seconds])
    application = holding.before(simulation.app) if holding else simulation.app
    async with serve.answering(application, listening, HangUpProtocol):
        yield simulation, {"simulated_url": f"http://{address}", "fetch_allow_hosts": address}
