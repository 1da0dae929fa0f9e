"""Plans that a flow hands to its run: the work of a step, and its outcome."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from safelight.db.connection.database import Connection
from safelight.db.generations.runs import NO_USAGE, TextUsage
from safelight.domain.errors.base import SafelightError
from safelight.pipelines.engine.retry import CALL_SECONDS_MAX
from safelight.providers.base import CancelResult, Operation, Pending, Succeeded

Json = dict[str, Any]

SERVICE_NAMES = {"fal": "FAL.ai", "replicate": "Replicate", "openai": "OpenAI"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a step. `variables` maps dotted paths of the variable map to their new values; `warnings` say
    what was asked for and not used. With an `error`, an item's step has failed, and has made what its output says."""

    output: Json
    variables: Json = field(default_factory=dict)
    line: str | None = None
    warnings: tuple[str, ...] = ()
    usage: TextUsage = NO_USAGE
    error: SafelightError | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A step about to begin. `effect` False: nothing outside our database happens, so one write records it all. Its
    attempts may take `seconds_max` each."""

    input: Json
    act: Callable[[], Awaitable[Outcome]]
    provider: str | None = None
    model: str | None = None
    begin_line: str | None = None
    effect: bool = True
    seconds_max: float = CALL_SECONDS_MAX


@dataclass(frozen=True, slots=True)
class OperationPlan:
    """An operation about to begin, or to be looked at again. `provider` is the engine's name, `adapter` and `vendor`
    are who serves it. `start` and `look_up` take the key of one attempt, `look_up` also the time before which it was
    not sent; `seconds_max` is the model's deadline, from its start; it is looked at every `check_every_seconds`, or
    less often where the provider says so. An attempt that is not at its end after `attempt_seconds` is stopped, and
    begun again if the provider has stopped it. `admit` returns where a start may be made now, and raises where it may
    not; `usd` is what an accepted one costs."""

    input: Json
    provider: str
    model: str
    seconds_max: float
    start: Callable[[str], Awaitable[Operation]]
    check: Callable[[Operation], Awaitable[Pending | Succeeded]]
    cancel: Callable[[Operation], Awaitable[CancelResult]]
    look_up: Callable[[str, datetime], Awaitable[Operation | None]]
    complete: Callable[[Succeeded], Awaitable[Outcome]]
    begin_line: str | None = None
    check_every_seconds: float = 0.0
    admit: Callable[[Connection], Awaitable[None]] | None = None
    usd: str = "0"
    attempt_seconds: float | None = None
    adapter: str | None = None
    vendor: str | None = None

    @property
    def service(self) -> str:
        """The name of who serves it, for operators."""
        name = self.vendor or self.provider
        return SERVICE_NAMES.get(name, name)
