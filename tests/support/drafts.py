"""Backends of tests draw small pictures: no test depends on their content, and drawing them was most of the work.

The renderer itself is tested at the sizes customers get, as are the demo, the README and every command that a test runs
as a process: only backends that live in the process of a test are told to draw drafts.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from unittest.mock import patch

import numpy as np

from safelight.media.decode import Pixels
from safelight_local import film, sight, still
from safelight_local.product import cutout
from safelight_local.raster import Field
from safelight_local.scene import backdrop, materials

# The long edge by the size that an order names. 4K stays as it is: tests order it where a step shall take its time.
STILLS = {"1K": 256, "2K": 320}
FILMS = {"standard": 160, "std": 160}
CUT_OUT_EDGE = 64  # of the copy on which the product is told from its ground
LOOKING_EDGE = 192  # of the copy that is described in words
TILE = 128  # the edge of a piece of stone, wood or linen
CUTS_KEPT_MAX = 64

_cut_out = cutout._grab


@lru_cache(CUTS_KEPT_MAX)
def _known(shape: tuple[int, ...], small: bytes, marks: bytes) -> Field:
    return _cut_out(
        np.frombuffer(small, np.uint8).reshape(shape), np.frombuffer(marks, np.uint8).reshape(shape[:2]).copy()
    )


def _cut_out_once(small: Pixels, marks: Pixels) -> Field:
    """The same photo is ordered in hundreds of tests; telling its product from the ground takes longer than the still."""
    return _known(small.shape, small.tobytes(), marks.tobytes()).copy()


@contextmanager
def drafts() -> Iterator[None]:
    """Stills and videos are drawn small inside this context; contexts may be nested."""
    with ExitStack() as stack:
        stack.enter_context(patch.dict(still.LONG_EDGE, STILLS))
        stack.enter_context(patch.dict(film.LONG_EDGE, FILMS))
        stack.enter_context(patch.object(cutout, "WORKING_EDGE", CUT_OUT_EDGE))
        stack.enter_context(patch.object(cutout, "_grab", _cut_out_once))
        stack.enter_context(patch.object(sight, "LOOKING_EDGE", LOOKING_EDGE))
        for module in (materials, backdrop):
            stack.enter_context(patch.object(module, "TILE", TILE))
        yield
