"""Homes for the tests of the embedded database."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from safelight.db import embedded
from tests.conftest import memory_folder
from tests.support.embedded_homes import connect


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A home whose server the tests of this file share; each leaves it as it likes, and starts it first."""
    with tempfile.TemporaryDirectory(prefix="sl", dir=memory_folder()) as folder:
        home = Path(folder) / "home"
        with connect(home) as conn:
            conn.execute("create table kept (value int)")
            conn.execute("insert into kept values (7)")
        yield home
        embedded.stop(home)


@pytest.fixture
def place() -> Iterator[Path]:
    """An empty folder with a short path, for a home that is soon gone."""
    with tempfile.TemporaryDirectory(prefix="sl", dir=memory_folder()) as folder:
        yield Path(folder)
