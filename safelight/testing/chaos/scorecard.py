"""The result of a chaos run: the counts that must be zero, the speed of take-overs, and the faults injected."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from safelight.db.connection.database import Connection
from safelight.db.operations import scorecard
from safelight.domain.errors.base import NotFound
from safelight.providers.simulated.predictions import Prediction
from safelight.storage.assets import AssetStore

TAKEOVER_SECONDS_TO_REACH = 30.0


@dataclass(frozen=True, slots=True)
class InjectedFaults:
    kills: int = 0
    pauses: int = 0
    database_restarts: int = 0
    processes_ended_by_themselves: int = 0


@dataclass(frozen=True, slots=True)
class Takeovers:
    """`never` counts those that nobody had taken over by the end."""

    measured: int
    never: int
    p50_seconds: float | None
    p99_seconds: float | None


@dataclass(frozen=True, slots=True)
class Scorecard:
    """The lists name generations, or say the problem; each must be empty but `recorded_double_payments`.
    `accepted_twice` are generations that nobody was promised: another one answered the same key."""

    seed: int
    seconds: float
    ordered: int
    accepted: int
    statuses: Mapping[str, int]
    errors: Mapping[str, int]
    lost: list[str]
    accepted_twice: list[str]
    stuck: list[str]
    silent_double_payments: list[str]
    ledger_errors: list[str]
    unreadable_outputs: list[str]
    results_beside_refunds: list[str]
    cancelled_in_vain: list[str]  # told that it was stopped, or too late for that, and then it was not so
    broken_invariants: list[str]  # in the doctor's words
    recorded_double_payments: list[str]
    predictions: int
    takeovers: Takeovers
    injected: InjectedFaults

    @property
    def must_be_empty(self) -> dict[str, list[str]]:
        return {
            "lost": self.lost,
            "accepted twice": self.accepted_twice,
            "stuck": self.stuck,
            "silent double payments": self.silent_double_payments,
            "ledger errors": self.ledger_errors,
            "unreadable outputs": self.unreadable_outputs,
            "results beside refunds": self.results_beside_refunds,
            "wrong answers to cancelling": self.cancelled_in_vain,
            "broken invariants": self.broken_invariants,
        }

    @property
    def is_clean(self) -> bool:
        return self.accepted == self.ordered and not any(self.must_be_empty.values())

    def as_json(self) -> dict[str, Any]:
        return {"clean": self.is_clean, **asdict(self)}


async def unreadable_outputs(conn: Connection, assets: AssetStore) -> list[str]:
    """Generations that are done and whose file is not there, or not the one that was stored."""
    outputs = await scorecard.outputs(conn)
    return [one.generation_id for one in outputs if await _sha256(assets, one.key) != (one.sha256 or "none")]


async def _sha256(assets: AssetStore, key: str | None) -> str | None:
    try:
        return (await assets.public.received(key or "")).sha256
    except NotFound:
        return None


async def double_payments(conn: Connection, record: Mapping[str, Iterable[Prediction]]) -> tuple[list[str], list[str]]:
    """The steps for which the service was paid more than once, as it says itself: silent ones, and those on record."""
    on_record = await scorecard.recorded_double_starts(conn)
    paid: dict[tuple[str, str], int] = {}
    for attempt_key, predictions in record.items():
        generation_id, step = attempt_key.split(":")[:2]
        kept = sum(one.cancelled_at is None for one in predictions)
        paid[generation_id, step] = paid.get((generation_id, step), 0) + kept
    doubled = {each for each, times in paid.items() if times > 1}
    return _named(doubled - on_record), _named(doubled & on_record)


def _named(steps: set[tuple[str, str]]) -> list[str]:
    return sorted(f"{generation_id} step {step}" for generation_id, step in steps)
