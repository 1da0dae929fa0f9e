"""Limits of what is held at once, in sum and for one address: live streams, bytes of request bodies."""

from collections.abc import Iterator
from contextlib import contextmanager

from safelight.domain.errors.retries import Overloaded, TooManyRequests

RETRY_AFTER_SECONDS = 5.0


class InFlightLimit:
    """Counted by each process for itself. `what` is held, for the operators' message."""

    def __init__(self, what: str, *, total_max: int, per_address_max: int) -> None:
        self._what = what
        self._total_max = total_max
        self._per_address_max = per_address_max
        self._held: dict[str, int] = {}
        self.total = 0

    def acquire(self, address: str, amount: int = 1) -> None:
        """Raises TooManyRequests (this address) or Overloaded (all together), and then nothing is acquired."""
        held = self._held.get(address, 0) + amount
        if held > self._per_address_max:
            raise TooManyRequests(
                f"Too many {self._what} of one address.", retry_after_seconds=RETRY_AFTER_SECONDS, is_news=False
            )
        if self.total + amount > self._total_max:
            raise Overloaded(f"Too many {self._what}.", retry_after_seconds=RETRY_AFTER_SECONDS)
        self._held[address] = held
        self.total += amount

    def release(self, address: str, amount: int = 1) -> None:
        self.total -= amount
        self._held[address] -= amount
        if not self._held[address]:
            del self._held[address]

    @contextmanager
    def hold(self, address: str) -> Iterator[None]:
        self.acquire(address)
        try:
            yield
        finally:
            self.release(address)
