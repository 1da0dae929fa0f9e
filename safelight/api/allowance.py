"""A bound on how many ops rows one API process writes."""

import time

OPS_ROWS_PER_MINUTE = 60


class Allowance:
    """At most so many rows a minute: a flood of bad requests must not become a flood of rows."""

    def __init__(self) -> None:
        self._minute = 0
        self._used = 0

    def take(self) -> bool:
        minute = int(time.monotonic() // 60)
        if minute != self._minute:
            self._minute, self._used = minute, 0
        self._used += 1
        return self._used <= OPS_ROWS_PER_MINUTE
