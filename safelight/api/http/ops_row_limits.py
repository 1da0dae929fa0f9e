"""Bounds on how many ops rows one API process writes a minute: a flood of bad requests must not become a flood of rows.

Each kind of row has an allowance of its own, and within it each status, code and route: what is cheap to cause cannot
crowd out what matters.
"""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

Clock = Callable[[], float]


class Allowance:
    """At most `in_sum` rows a minute, and at most `of_one` that are alike."""

    def __init__(self, in_sum: int = 60, of_one: int = 60, clock: Clock = time.monotonic) -> None:
        self._in_sum = in_sum
        self._of_one = of_one
        self._clock = clock
        self._minute = 0
        self._used: Counter[str] = Counter()

    def take(self, alike: str = "") -> bool:
        """False where no more rows that are `alike` may be written this minute."""
        minute = int(self._clock() // 60)
        if minute != self._minute:
            self._minute = minute
            self._used.clear()
        if self._used.total() >= self._in_sum or self._used[alike] >= self._of_one:
            return False
        self._used[alike] += 1
        return True


@dataclass(frozen=True, slots=True)
class Allowances:
    """`failures` are answers of 5xx, `unavailable` those that pass by themselves, `refusals` 401, 403 and 429."""

    failures: Allowance = field(default_factory=lambda: Allowance(in_sum=600, of_one=60))
    unavailable: Allowance = field(default_factory=lambda: Allowance(of_one=20))
    refusals: Allowance = field(default_factory=lambda: Allowance(of_one=20))
    wrong_admin_tokens: Allowance = field(default_factory=Allowance)
    invalid: Allowance = field(default_factory=lambda: Allowance(of_one=20))
    client_errors: Allowance = field(default_factory=Allowance)
