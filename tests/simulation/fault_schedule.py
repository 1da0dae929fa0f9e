"""The faults of one world, drawn from its seed. There are none after `calm_at`, so that every story must end."""

from dataclasses import dataclass, field
from random import Random

from tests.simulation import clock

ON_ITS_WAY_SECONDS_MAX = 25.0  # a start that takes longer to arrive is beyond what the runner waits for
MURDEROUS = 12
STATEMENTS = 40  # about as many as a story has where nothing goes wrong
STEPS_AT_ONCE = (1, 2, 4, 8, 8)
FATE_RATES = (0.005, 0.02, 0.08, 0.4)
FATAL = frozenset({"refused", "nonsense", "bug"})  # never tried again
BEFORE, AFTER = "before", "after"  # lost before its effect, or the effect is there and its answer is lost


@dataclass
class Weather:
    """`more` is what later questions are drawn from: the worlds of seeds that broke something once stay the same."""

    rng: Random
    more: Random
    cancel_at_statement: int | None = None
    calm_at: float = field(init=False)
    processes: int = field(init=False)

    def __post_init__(self) -> None:
        rng = self.rng
        self.processes = rng.choice((1, 2, 2, 3))
        self.calm_at = rng.uniform(10, 150)
        self.statement_fault_rate = rng.choice((0.0, 0.02, 0.05, 0.2))
        self.call_fault_rate = rng.choice((0.0, 0.05, 0.15, 0.3, 0.5))
        self.has_fatal_faults = rng.random() < 0.15
        self.looks_up = rng.random() < 0.6
        self.stops_on_request = rng.random() < 0.7
        self.will_fail = rng.random() < 0.15
        self.work_seconds = rng.choice((0.0, 3.0, 20.0, 60.0, 60.0, 5000.0)) * rng.uniform(0.5, 1.0)
        self.check_after_seconds = rng.choice((0.0, 2.0, 10.0)) if self.work_seconds < 1000 else 60.0
        self.kills_left, self.pauses_left, self.stops_left = (
            rng.choice((0, 0, 1, 3, MURDEROUS)),
            rng.choice((0, 1, 3)),
            rng.choice((0, 0, 1, 2)),
        )
        self.is_murderous = self.kills_left == MURDEROUS
        if self.is_murderous:
            self.calm_at *= 3  # time enough to lose worker after worker in one step
        self.fate_rate = rng.choice(FATE_RATES)
        self.outages = [(rng.uniform(0, 60), self._outage_seconds()) for _ in range(rng.choice((0, 0, 0, 1, 2)))]
        self.cancel_at = rng.uniform(0, 60) if rng.random() < 0.3 else None
        if self.cancel_at_statement is None and self.more.random() < 0.4:
            self.cancel_at_statement = self.more.randint(1, STATEMENTS)
        self.first_process_at = rng.choice((0.0, 0.0, 0.0, 30.0))
        self.start_within_seconds = rng.choice((600.0, 600.0, 600.0, 20.0))
        self.has_job = rng.random() < 0.9
        self.slow_arrivals = rng.choice(
            ((0.0,), (0.5, 5.0, ON_ITS_WAY_SECONDS_MAX), (5.0, ON_ITS_WAY_SECONDS_MAX, 300.0))
        )

        self.steps_at_once = self.more.choice(STEPS_AT_ONCE)

    def _outage_seconds(self) -> float:
        return 1000.0 if self.rng.random() < 0.05 else self.rng.uniform(0.5, 40)

    @property
    def asking_kills(self) -> bool:
        """In the worst worlds a question to a model takes its worker down, whoever asks."""
        return self.is_murderous and self.fate_rate == max(FATE_RATES) and not self.is_calm

    @property
    def is_calm(self) -> bool:
        return clock.seconds() >= self.calm_at

    def latency(self) -> float:
        """Mostly none but the scheduler's; now and then a slow network."""
        return 0.0 if self.rng.random() < 0.9 else self.rng.choice((0.01, 0.1, 1.0))

    def statement_fault(self) -> str | None:
        if self.is_calm or self.rng.random() >= self.statement_fault_rate:
            return None
        return self.rng.choice((BEFORE, AFTER))

    def call_fault(self, *kinds: str) -> str | None:
        """One of the ways in which this call can fail, or None."""
        if self.is_calm or self.rng.random() >= self.call_fault_rate:
            return None
        return self.rng.choice(kinds if self.has_fatal_faults else [kind for kind in kinds if kind not in FATAL])

    def on_its_way_seconds(self) -> float:
        """The time that a start needs to arrive and be accepted."""
        return 0.0 if self.is_calm or self.rng.random() < 0.6 else self.rng.choice(self.slow_arrivals)

    def storage_fault(self) -> bool:
        return not self.is_calm and self.more.random() < self.call_fault_rate

    def fate(self) -> str | None:
        """The fault of a process at one await."""
        if self.is_calm or self.rng.random() >= self.fate_rate:
            return None
        name = self.rng.choice(("kills_left", "pauses_left", "stops_left"))
        left = getattr(self, name)
        if not left:
            return None
        setattr(self, name, left - 1)
        return name.removesuffix("s_left")
