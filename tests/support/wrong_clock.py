"""A safelight process on a machine whose clock is wrong: `python -m tests.support.wrong_clock MINUTES[,MINUTES…] worker`. With several
errors, the clock jumps to the next one every second."""

import datetime
import runpy
import sys
import time
from typing import Any

import psycopg  # noqa: F401 - it tells apart times by their type, as it was before it is replaced here

JUMP_SECONDS = 1.0

_REAL = datetime.datetime
_TIME, _MONOTONIC = time.time, time.monotonic
_BEGAN = _MONOTONIC()


def set_wrong(errors: list[float]) -> None:
    def error() -> float:
        return errors[int((_MONOTONIC() - _BEGAN) / JUMP_SECONDS) % len(errors)] * 60

    class Kind(type):
        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, _REAL)

    class Wrong(_REAL, metaclass=Kind):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return _REAL.fromtimestamp(_TIME() + error(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return _REAL.fromtimestamp(_TIME() + error(), datetime.UTC).replace(tzinfo=None)

    datetime.datetime = Wrong  # type: ignore[misc]
    time.time = lambda: _TIME() + error()


if __name__ == "__main__":
    set_wrong([float(minutes) for minutes in sys.argv.pop(1).split(",")])
    sys.argv[0] = "safelight"
    from tests.support.drafts import drafts

    with drafts():
        runpy.run_module("safelight", run_name="__main__")
