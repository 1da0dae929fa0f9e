"""Probabilities of faults, and latencies. Every draw is a function of the seed, of its subject and of the number of
earlier draws for that subject: the same seed and the same calls give the same faults."""

import math
import random
from collections import Counter
from dataclasses import dataclass, fields
from enum import StrEnum
from statistics import NormalDist
from typing import Self

LATENCY_SPREAD = 0.5  # of the logarithm: one call in a hundred takes three times as long as the median
NEAREST_TO_CERTAIN = 1e-9


class CallFault(StrEnum):
    """A fault of one call. "Before" and "after" refer to the moment when the service accepts the work."""

    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    CLOSED_BEFORE = "closed_before"
    CLOSED_AFTER = "closed_after"
    SILENT_BEFORE = "silent_before"
    SILENT_AFTER = "silent_after"
    WRONG_SHAPE = "wrong_shape"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Faults:
    """Probabilities, 0 to 1. A call has at most one fault, so the probabilities of call faults add up to at most 1."""

    rate_limited: float = 0.0
    unavailable: float = 0.0
    closed_before: float = 0.0
    closed_after: float = 0.0
    silent_before: float = 0.0
    silent_after: float = 0.0
    wrong_shape: float = 0.0
    refused: float = 0.0
    fails: float = 0.0  # a prediction
    hangs: float = 0.0  # a prediction
    webhook_lost: float = 0.0
    webhook_doubled: float = 0.0

    def __post_init__(self) -> None:
        for name, share in ((field.name, getattr(self, field.name)) for field in fields(self)):
            if not 0 <= share <= 1:
                raise ValueError(f"{name}: a probability is between 0 and 1, not {share}")
        of_calls = math.fsum(self.share_of(fault) for fault in CallFault)
        if of_calls > 1:
            raise ValueError(f"{', '.join(CallFault)}: together 1 at most, not {of_calls}")

    @classmethod
    def flaky(cls) -> Self:
        """The faults of a real service on a bad day."""
        return cls(
            rate_limited=0.03,
            unavailable=0.03,
            closed_before=0.01,
            closed_after=0.01,
            silent_before=0.002,
            silent_after=0.002,
            wrong_shape=0.002,
            refused=0.003,
            fails=0.01,
            hangs=0.01,
            webhook_lost=0.1,
            webhook_doubled=0.1,
        )

    def share_of(self, fault: CallFault) -> float:
        share: float = getattr(self, fault.value)
        return share

    def of_call(self, roll: float) -> CallFault | None:
        """The fault for a number drawn between 0 and 1."""
        for fault in CallFault:
            if roll < self.share_of(fault):
                return fault
            roll -= self.share_of(fault)
        return None


@dataclass(frozen=True, slots=True)
class Latency:
    """Median latencies, and the duration of a prediction that hangs."""

    answer_seconds: float = 0.02
    image_seconds: float = 0.6
    video_seconds: float = 1.5
    hang_seconds: float = 30.0


class SeededRandom:
    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rolled: Counter[tuple[str, str]] = Counter()

    def draw(self, what: str, about: str) -> float:
        """Draw a number between 0 and 1."""
        self._rolled[what, about] += 1
        rng = random.Random(f"{self._seed}:{what}:{about}:{self._rolled[what, about]}")  # noqa: S311 - no secret
        return rng.random()

    def seconds(self, what: str, about: str, median: float) -> float:
        """Draw a latency: usually near the median, sometimes much longer."""
        roll = min(max(self.draw(what, about), NEAREST_TO_CERTAIN), 1 - NEAREST_TO_CERTAIN)
        return median * math.exp(LATENCY_SPREAD * NormalDist().inv_cdf(roll))
