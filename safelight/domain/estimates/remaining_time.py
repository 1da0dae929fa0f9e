"""Remaining time, estimated from the durations of recent steps. The percentiles are those of sums that are drawn from
recorded durations: those of single steps must not be added up.

There is no estimate without data: a step that was seen too seldom makes the whole estimate None.
"""

import heapq
import math
import random
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from safelight.domain.estimates.expected_steps import ExpectedStage

SAMPLES_MIN = 5
SAMPLES_TO_SAY_STALLED = 50  # fewer do not show a p99
DRAWS = 1000
DRAWN_STEPS_MAX = 50_000  # of one estimate: larger sets draw fewer times
DRAWS_MIN = 50
SEED = 11647  # the same state has the same estimate


@dataclass(frozen=True, slots=True)
class Estimate:
    """Seconds. The true time is below `p80` in 80 of 100 cases."""

    p50: float
    p80: float
    p99: float


@dataclass(frozen=True, slots=True)
class Wait:
    """The jobs that are ahead in the queue, and how many are begun in a second."""

    ahead: int
    begun_per_second: float | None


@dataclass(frozen=True, slots=True)
class StepTimes:
    """The durations of recent steps that succeeded, sorted, by step type and model, and the model that each type of
    step had last."""

    seconds: Mapping[tuple[str, str | None], Sequence[float]]
    newest_model: Mapping[str, str | None]

    def of(self, step_type: str, model: str | None = None) -> Sequence[float]:
        """The durations with this model, or with the one that is used now; empty if there are too few."""
        found = self.seconds.get((step_type, model or self.newest_model.get(step_type)), ())
        return found if len(found) >= SAMPLES_MIN else ()


@dataclass(frozen=True, slots=True)
class RunningStep:
    step_type: str
    model: str | None
    elapsed_seconds: float


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that the next sample of the same kind is below with this chance, as far as so few can tell."""
    rank = math.ceil((len(ordered) + 1) * share)
    return ordered[min(rank, len(ordered)) - 1]


def is_stalled(times: StepTimes, running: RunningStep) -> bool:
    """True if the step under way takes longer than 99 of 100 recent ones."""
    seconds = times.of(running.step_type, running.model)
    return len(seconds) >= SAMPLES_TO_SAY_STALLED and running.elapsed_seconds > percentile(seconds, 0.99)


def remaining_time(
    times: StepTimes, stages: Sequence[ExpectedStage], *, running: Iterable[RunningStep] = (), wait: Wait | None = None
) -> Estimate | None:
    """Estimate the time until all steps have ended: those of `stages`, some of which are `running`. None: too little
    is known of one of them, or a step under way takes longer than all recent ones."""
    under_way: dict[str, list[Sequence[float]]] = {}
    for step in running:
        under_way.setdefault(step.step_type, []).append(_left(times, step))
    sampled = [(stage, under_way.get(stage.step_type, []), times.of(stage.step_type)) for stage in stages]
    for stage, begun, seconds in sampled:
        if not all(begun) or (len(begun) < stage.count and not seconds):
            return None
    if wait and wait.ahead and not wait.begun_per_second:
        return None
    chance = random.Random(SEED)  # noqa: S311 - no secret
    steps = sum(stage.count for stage in stages)
    draws = max(DRAWS_MIN, min(DRAWS, DRAWN_STEPS_MAX // max(steps, 1)))
    drawn = sorted(_waited(chance, wait) + sum(_drawn(chance, *one) for one in sampled) for _ in range(draws))
    return Estimate(*(round(percentile(drawn, share), 1) for share in (0.5, 0.8, 0.99)))


def _left(times: StepTimes, step: RunningStep) -> Sequence[float]:
    """The times that recent steps which took at least so long had left then."""
    seconds = times.of(step.step_type, step.model)
    return [one - step.elapsed_seconds for one in seconds[bisect_right(seconds, step.elapsed_seconds) :]]


def _drawn(
    chance: random.Random, stage: ExpectedStage, begun: Sequence[Sequence[float]], seconds: Sequence[float]
) -> float:
    """A time that the stage may take: each step goes to the place that is free first."""
    lengths = [chance.choice(left) for left in begun[: stage.count]]
    lengths += [chance.choice(seconds) for _ in range(stage.count - len(lengths))]
    if stage.at_once == 1:
        return sum(lengths)
    places = [0.0] * min(stage.at_once, stage.count)
    for length in lengths:
        heapq.heapreplace(places, places[0] + length)
    return max(places)


def _waited(chance: random.Random, wait: Wait | None) -> float:
    if wait is None or not wait.ahead or not wait.begun_per_second:
        return 0.0
    return chance.gammavariate(wait.ahead, 1 / wait.begun_per_second)
