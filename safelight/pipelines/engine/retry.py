"""The one retry table: which failures are tried again, how often, and after how long.

Three attempts, 2 s then 4 s (then 8 s) apart, with jitter; a provider's Retry-After is honoured. What is wrong with the
request, and what a provider refuses to make, is never tried again. A start that got no answer may have been accepted
and paid: the provider is asked about it first (`operations.py`), and that it knows of none counts once no start can
still be on its way to it.
"""

import zlib
from dataclasses import dataclass

from safelight.domain.errors.base import ProviderError, SafelightError

ATTEMPTS_DEFAULT = 3
ATTEMPTS_MAX = 5
RETRY_AFTER_SECONDS_MAX = 120.0
CALL_SECONDS_MAX = 120.0
# A step that asks a model: every attempt, every pause between them, and the copying of its result fit into this.
STEP_SECONDS_MAX = 1800.0
LOOK_AGAIN_SECONDS = 10.0  # for a start that the provider does not know of yet
RESULT_SECONDS = 3600.0  # how long a provider keeps a result
STORAGE_PAUSE_SECONDS_MAX = 30.0
STORAGE_PAUSES_DOUBLED = 6
LAST_TRY_SECONDS = 1.0
JITTER = 0.25
# Of the time in which a start must be made: the rest is for what the provider still has in hand.
ARRIVES_WITHIN = 1.25


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    base_seconds: float
    attempts_max: int = ATTEMPTS_DEFAULT
    start_seconds: float = CALL_SECONDS_MAX
    result_seconds: float = RESULT_SECONDS

    @property
    def arrival_seconds(self) -> float:
        """Seconds after it was noted in which a start may still reach its provider."""
        return self.start_seconds * ARRIVES_WITHIN

    def delay(self, error: SafelightError, attempt: int, *, key: str) -> float | None:
        """Seconds until the next attempt after this one (from 1) failed; None: that was the last. `key` spreads the
        delays of many generations."""
        if not error.retryable or attempt >= self.attempts_max:
            return None
        stated = error.retry_after_seconds if isinstance(error, ProviderError) else None
        return max(self.pause(attempt, key=key), min(stated or 0.0, RETRY_AFTER_SECONDS_MAX))

    def storage_pause(self, tries: int, seconds_left: float, *, key: str) -> float | None:
        """Seconds until a storage that was away is tried again: ever more often as the end comes near. None: there is
        no time left."""
        if seconds_left < min(LAST_TRY_SECONDS, self.base_seconds):
            return None
        pause = self.pause(min(tries, STORAGE_PAUSES_DOUBLED), key=key)
        return min(pause, STORAGE_PAUSE_SECONDS_MAX, seconds_left / 2)

    def pause(self, attempt: int, *, key: str) -> float:
        """Seconds after this attempt, each twice as long as the one before."""
        return self.base_seconds * float(2 ** (attempt - 1)) * _jitter(f"{key}:{attempt}")


def _jitter(key: str) -> float:
    """Between 1 − JITTER and 1 + JITTER, the same for the same key."""
    return 1 - JITTER + 2 * JITTER * zlib.crc32(key.encode()) / 2**32
