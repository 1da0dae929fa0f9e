"""Backends of tests, and the commands that are forked for them, draw small pictures: no test depends on their content,
and drawing them was most of the work.

The renderer itself is tested at the sizes customers get, as are the demo and the README.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from unittest.mock import patch

import numpy as np

from safelight.media.decode import Pixels
from safelight_local import film, sight, still
from safelight_local.picture import Rendered, StillOrder
from safelight_local.product import cutout
from safelight_local.raster import Field
from safelight_local.scene import backdrop, materials

# The long edge by the size that an order names.
STILLS = {"1K": 128, "2K": 160, "4K": 160}
FILMS = {"standard": 128, "std": 128}
CUT_OUT_EDGE = 64  # of the copy on which the product is told from its ground
LOOKING_EDGE = 96  # of the copy that is described in words
TILE = 64  # the edge of a piece of stone, wood or linen
CUTS_KEPT_MAX = 64
# Tests order a still of this size if its step shall keep a worker at work: it takes its time, but no processor.
SLOW_SIZE, SLOW_SECONDS = "4K", 3.0

_cut_out = cutout._grab
_compose = still.compose


@lru_cache(CUTS_KEPT_MAX)
def _known(shape: tuple[int, ...], small: bytes, marks: bytes) -> Field:
    return _cut_out(
        np.frombuffer(small, np.uint8).reshape(shape), np.frombuffer(marks, np.uint8).reshape(shape[:2]).copy()
    )


def cut_out_once(small: Pixels, marks: Pixels) -> Field:
    """The same photo is ordered in hundreds of tests; telling its product from the ground takes longer than the still."""
    return _known(small.shape, small.tobytes(), marks.tobytes()).copy()


def _compose_slowly(order: StillOrder) -> Rendered:
    if order.settings.get("size") == SLOW_SIZE:
        time.sleep(SLOW_SECONDS)
    return _compose(order)


@contextmanager
def drafts() -> Iterator[None]:
    """Stills and videos are drawn small inside this context; contexts may be nested."""
    with ExitStack() as stack:
        stack.enter_context(patch.dict(still.LONG_EDGE, STILLS))
        stack.enter_context(patch.dict(film.LONG_EDGE, FILMS))
        stack.enter_context(patch.object(still, "compose", _compose_slowly))
        stack.enter_context(patch.object(cutout, "WORKING_EDGE", CUT_OUT_EDGE))
        stack.enter_context(patch.object(cutout, "_grab", cut_out_once))
        stack.enter_context(patch.object(sight, "LOOKING_EDGE", LOOKING_EDGE))
        for module in (materials, backdrop):
            stack.enter_context(patch.object(module, "TILE", TILE))
        yield
