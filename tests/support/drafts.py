"""Backends of tests draw small pictures: no test depends on their content, and drawing them was most of the work.

The renderer itself is tested at the sizes customers get, as are the demo, the README and every command that a test runs
as a process: only backends that live in the process of a test are told to draw drafts.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

from safelight_local import film, still
from safelight_local.product import cutout

# The long edge by the size that an order names. 4K stays as it is: tests order it where a step shall take its time.
STILLS = {"1K": 256, "2K": 320}
FILMS = {"standard": 160, "std": 160}
CUT_OUT_EDGE = 96  # of the copy on which the product is told from its ground


@contextmanager
def drafts() -> Iterator[None]:
    """Stills and videos are drawn small inside this context; contexts may be nested."""
    with ExitStack() as stack:
        stack.enter_context(patch.dict(still.LONG_EDGE, STILLS))
        stack.enter_context(patch.dict(film.LONG_EDGE, FILMS))
        stack.enter_context(patch.object(cutout, "WORKING_EDGE", CUT_OUT_EDGE))
        yield
