"""The one retry table: which failures are tried again, how often, and after how long.

Three attempts, 2 s then 4 s (then 8 s) apart, with jitter; a provider's Retry-After is honoured. What is wrong with the
request, and what a provider refuses to make, is never tried again. A start that got no answer may have been accepted
and paid: it is not tried again either.
"""

import zlib
from dataclasses import dataclass

from safelight.domain.errors import ProviderError, ProviderTimeout, SafelightError

ATTEMPTS_DEFAULT = 3
ATTEMPTS_MAX = 5
RETRY_AFTER_SECONDS_MAX = 120.0
CALL_SECONDS_MAX = 120.0
JITTER = 0.25


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    base_seconds: float
    attempts_max: int = ATTEMPTS_DEFAULT

    def delay(self, error: SafelightError, attempt: int, *, key: str, paid: bool) -> float | None:
        """Seconds until the next attempt after this one (from 1) failed; None: that was the last.

        `key` spreads the delays of many generations; `paid` marks a call that may cost money even unanswered.
        """
        if not error.retryable or attempt >= self.attempts_max or (paid and isinstance(error, ProviderTimeout)):
            return None
        stated = error.retry_after_seconds if isinstance(error, ProviderError) else None
        stated = min(stated or 0.0, RETRY_AFTER_SECONDS_MAX)
        pause = self.base_seconds * float(2 ** (attempt - 1)) * _jitter(f"{key}:{attempt}")
        return max(pause, stated)


def _jitter(key: str) -> float:
    """Between 1 − JITTER and 1 + JITTER, the same for the same key."""
    return 1 - JITTER + 2 * JITTER * zlib.crc32(key.encode()) / 2**32
