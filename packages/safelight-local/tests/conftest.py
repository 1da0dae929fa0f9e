"""The renderer's tests draw on coarse ground and cut each photo out once: the demo and the README's commands, which are
tests too, draw on fine one."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import lru_cache
from unittest.mock import patch

import numpy as np
import pytest

from safelight.media.decode import Pixels
from safelight_local.product import cutout
from safelight_local.raster import Field
from safelight_local.scene import backdrop, materials

TILE = 256  # the edge of a piece of stone, wood or linen
CUTS_KEPT_MAX = 64

_cut_out = cutout._grab


@lru_cache(CUTS_KEPT_MAX)
def _known(shape: tuple[int, ...], small: bytes, marks: bytes) -> Field:
    return _cut_out(
        np.frombuffer(small, np.uint8).reshape(shape), np.frombuffer(marks, np.uint8).reshape(shape[:2]).copy()
    )


def cut_out_once(small: Pixels, marks: Pixels) -> Field:
    return _known(small.shape, small.tobytes(), marks.tobytes()).copy()


@pytest.fixture(autouse=True, scope="session")
def quickly_drawn() -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(patch.object(cutout, "_grab", cut_out_once))
        for module in (materials, backdrop):
            stack.enter_context(patch.object(module, "TILE", TILE))
        yield
