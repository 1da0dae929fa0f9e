"""Backends that check access tokens."""

from collections.abc import AsyncIterator

import pytest

from tests.conftest import Backend, StartBackend, running
from tests.support.callers import ADMIN
from tests.support.sign_in import (
    SIGNED_BY_SECRET,
)


@pytest.fixture
async def idle(start: StartBackend) -> Backend:
    return await start(worker=False, **SIGNED_BY_SECRET, **ADMIN)


@pytest.fixture(scope="module")
async def by_secret(module_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Backend]:
    async with running(module_dsn, tmp_path_factory.mktemp("home"), worker=False, **SIGNED_BY_SECRET) as backend:
        yield backend
