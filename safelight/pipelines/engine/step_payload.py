"""The payload of a step's row (docs/contract/rows.md) as types. Times are ISO 8601 by the database's clock.

A field that was never set is not stored, and keys of other versions, which are not known here, are kept.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

Json = dict[str, Any]


class StartOutcome(StrEnum):
    """The outcome of a paid start, as far as it is known (docs/states.md)."""

    ASKED = "asked"
    ACCEPTED = "accepted"
    STOPPED = "stopped"  # accepted, and stopped since it took too long
    UNKNOWN = "unknown"
    REFUSED = "refused"
    NOT_ACCEPTED = "not_accepted"


class StoredPart(BaseModel):
    """A part of a payload."""

    model_config = ConfigDict(extra="allow")

    def to_json(self) -> Json:
        return self.model_dump(exclude_unset=True)


class Timing(StoredPart):
    started_at: str | None = None
    ended_at: str | None = None
    duration_ms: int | None = None


class StepError(StoredPart):
    """The error that ended a step."""

    error_code: str = ""
    type: str = ""
    message: str = ""
    provider_http_status: int | None = None


class Attempt(StoredPart):
    """One try; `error` is the name of the error's type. `retry_at` is when an item's next attempt is due."""

    attempt: int
    started_at: str
    ended_at: str | None = None
    error: str | None = None
    message: str | None = None
    provider_http_status: int | None = None
    retry_at: str | None = None


class Start(StoredPart):
    """A paid start, noted before it is made under its attempt key, by which a provider can be asked about it."""

    attempt_key: str
    outcome: StartOutcome
    at: str
    usd: str = "0"
    look_ups_failed: int = 0

    @property
    def noted_at(self) -> datetime:
        """The time, by the database's clock, before which the provider can not have been asked for this start."""
        return datetime.fromisoformat(self.at)


class StoredOperation(StoredPart):
    """The provider's handle of the work under way."""

    handle: Json
    check_after_seconds: float = 0.0
    warnings: tuple[str, ...] = ()


class StopAnswer(StoredPart):
    """The answer of a provider that was asked to stop."""

    answer: str
    at: str
    message: str = ""


class StorageOutage(StoredPart):
    """An outage of the storage that the step has waited out, or waits out."""

    since: str
    until: str
    tries: int = 0
    back_at: str | None = None
    error: str = ""


class StepPayload(StoredPart):
    """`writes` counts how often the row was written; `item` is the position of a step that runs side by side with
    others; `deadline_at` is its own deadline. `late_attempt` is what the provider answered when an
    attempt was to be stopped that took too long. `sealed` holds what `redacted` says is not shown."""

    input: Json = Field(default_factory=dict)
    output: Json = Field(default_factory=dict)
    timing: Timing
    error: StepError | None = None
    attempts: list[Attempt] = Field(default_factory=list)
    writes: int = 0
    item: int | None = None
    deadline_at: str | None = None
    starts: list[Start] = Field(default_factory=list)
    operation: StoredOperation | None = None
    stopping: StopAnswer | None = None
    late_attempt: StopAnswer | None = None
    possible_double_spend: Json | None = None
    storage_away: StorageOutage | None = None
    degraded: Json | None = None
    sealed: dict[str, str] = Field(default_factory=dict)
    redacted: str = ""

    @classmethod
    def new(cls) -> Self:
        timing = Timing(started_at=None, ended_at=None, duration_ms=None)
        return cls(input={}, output={}, timing=timing, error=None, attempts=[])

    @classmethod
    def read(cls, stored: Json) -> Self:
        return cls.model_validate(stored)

    def to_json(self) -> Json:
        """As it is stored. Input and output are JSON as they are, however deep."""
        parts = {name: getattr(self, name) for name in ("input", "output") if name in self.model_fields_set}
        return parts | self.model_dump(exclude_unset=True, exclude={"input", "output"})
