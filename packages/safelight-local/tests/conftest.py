"""The renderer's tests draw on coarse ground: the demo and the README's commands, which are tests too, draw on fine one."""

from collections.abc import Iterator
from contextlib import ExitStack
from unittest.mock import patch

import pytest

from safelight_local.scene import backdrop, materials

TILE = 256  # the edge of a piece of stone, wood or linen


@pytest.fixture(autouse=True, scope="session")
def coarse_ground() -> Iterator[None]:
    with ExitStack() as stack:
        for module in (materials, backdrop):
            stack.enter_context(patch.object(module, "TILE", TILE))
        yield
