"""A server with low limits, and raw connections to it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import Backend, running
from tests.support.raw_connections import (
    HOME,
    QUICK,
    Client,
    Connect,
)


@pytest.fixture(scope="module")
async def guarded(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with running(module_dsn, tmp_path_factory.mktemp("home"), worker=False, **QUICK) as backend:
        yield backend


@pytest.fixture
async def connect(guarded: Backend) -> AsyncIterator[Connect]:
    made: list[Client] = []

    async def one(address: str = HOME, content: bytes = b"", **more: Any) -> Client:
        port = guarded.app.settings.port
        pair = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0), **more)
        made.append(Client(*pair))
        await made[-1].send(content)
        return made[-1]

    yield one
    for client in made:
        client.close()
