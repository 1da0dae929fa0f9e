"""Locks by which the processes of one home know of each other. The kernel gives them back however their holder ends."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safelight.db.embedded.errors import DatabaseDown
from safelight.private_files import open_private

LOOK_SECONDS = 0.05
HELD_SECONDS_MAX = 150.0  # whoever holds a lock may wait for a recovery or for an orderly stop


def share(path: Path) -> int:
    """Take the lock together with others. Returns the descriptor that holds it until it is closed."""
    return _insist(path, fcntl.LOCK_SH)


def seize(path: Path, seconds: float = 0.0) -> int | None:
    """As `share`, but alone; None if others still hold the lock after so many seconds."""
    return _take(path, fcntl.LOCK_EX, seconds)


@contextmanager
def held(path: Path) -> Iterator[int]:
    descriptor = _insist(path, fcntl.LOCK_EX)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _insist(path: Path, kind: int) -> int:
    descriptor = _take(path, kind, HELD_SECONDS_MAX)
    if descriptor is None:
        raise DatabaseDown(f"another process of this home has held {path} for {HELD_SECONDS_MAX:.0f} s: end it first")
    return descriptor


def _take(path: Path, kind: int, seconds: float) -> int | None:
    descriptor = open_private(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                os.close(descriptor)
                return None
            time.sleep(LOOK_SECONDS)
        else:
            return descriptor
