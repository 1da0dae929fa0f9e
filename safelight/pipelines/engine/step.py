"""A step under way: its number and type, its payload, its attempts and its paid starts. Nothing is written here."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from safelight.db.connection.clock import DatabaseClock
from safelight.db.generations.runs import NO_USAGE, StepRow, TextUsage
from safelight.domain.errors.base import SafelightError, WorkerLost
from safelight.domain.errors.codes import public_code
from safelight.domain.steps import RESULT_STEPS
from safelight.pipelines.engine.step_payload import (
    Attempt,
    Start,
    StartOutcome,
    StepError,
    StepPayload,
    StorageOutage,
)
from safelight.redaction import excerpt

Json = dict[str, Any]

MESSAGE_CHARS_MAX = 300
ERROR_MESSAGE_CHARS_MAX = 1000
TAKEOVERS_MAX = 5  # of one step: one that keeps killing its worker must not kill for ever


@dataclass(slots=True)
class Step:
    """`adapter` and `vendor` are who serves it; `is_open` says if this run has opened its last attempt."""

    number: int
    type: str
    clock: DatabaseClock
    payload: StepPayload = field(default_factory=StepPayload.new)
    provider: str | None = None
    adapter: str | None = None
    vendor: str | None = None
    model: str | None = None
    latency_ms: int | None = None
    usage: TextUsage = NO_USAGE
    is_open: bool = False

    def next_row(self) -> StepRow:
        """The row as the next write of the step makes it."""
        return StepRow(
            number=self.number,
            type=self.type,
            payload=self.payload.to_json() | {"writes": self.payload.writes + 1},
            status="failed" if self.payload.error else "succeeded" if self.has_ended else "processing",
            provider=self.provider,
            model=self.model,
            latency_ms=self.latency_ms,
            usage=self.usage,
        )

    # --- its state ----------------------------------------------------------------------------------------------------

    @property
    def has_ended(self) -> bool:
        return bool(self.payload.timing.ended_at)

    @property
    def is_item(self) -> bool:
        """True if it runs side by side with others: it fails, is late and waits by itself."""
        return self.payload.item is not None

    @property
    def is_result(self) -> bool:
        """True if the step has made the generation's result, and stored it."""
        return self.type in RESULT_STEPS and self.has_ended and self.payload.error is None

    @property
    def may_have_stored(self) -> bool:
        """True if files of a result may lie in our storage by now: the provider had accepted the work."""
        return self.payload.operation is not None

    @property
    def deadline(self) -> datetime | None:
        """The deadline of an item; another step's is the generation's."""
        return datetime.fromisoformat(self.payload.deadline_at) if self.payload.deadline_at else None

    def note_deadline(self, seconds: float | None) -> None:
        if seconds is not None and self.is_item:
            self.payload.deadline_at = self._stamp_after(seconds)

    # --- attempts -----------------------------------------------------------------------------------------------------

    @property
    def tries(self) -> int:
        """The number of attempts for the retry table: a lost worker is nobody's failure."""
        return sum(attempt.error != WorkerLost.__name__ for attempt in self.payload.attempts)

    @property
    def is_between_attempts(self) -> bool:
        return bool(self.payload.attempts[-1].ended_at)

    @property
    def last_http_status(self) -> int | None:
        """The last HTTP status that the provider answered with, if it did."""
        stated = [attempt.provider_http_status for attempt in self.payload.attempts]
        return next((status for status in reversed(stated) if status), None)

    def open_attempt(self) -> None:
        """Begin an attempt, unless one is open. An open one of another run belonged to a worker that is no more, unless
        it waits for the storage: that one goes on."""
        attempts = self.payload.attempts
        is_left = bool(attempts) and not self.is_between_attempts
        if self.is_open or (is_left and self.payload.storage_away):
            return
        if is_left:
            self.end_attempt(WorkerLost("the worker was lost in the middle of this attempt"))
        stamp = self.clock.stamp()
        new = Attempt(attempt=len(attempts) + 1, started_at=stamp, ended_at=None, error=None)
        self.payload.attempts = [*attempts, new]
        self.is_open = True

    def end_attempt(self, error: SafelightError) -> None:
        attempt = self.payload.attempts[-1]
        attempt.ended_at, attempt.error = self.clock.stamp(), type(error).__name__
        attempt.message = excerpt(str(error), MESSAGE_CHARS_MAX)
        attempt.provider_http_status = getattr(error, "provider_http_status", None)

    def note_retry(self, seconds: float) -> None:
        """Note when an item's attempt that has just failed is followed by another: the generation may go on before."""
        if self.is_item:
            self.payload.attempts[-1].retry_at = self._stamp_after(seconds)

    @property
    def seconds_until_retry(self) -> float:
        """Seconds until the next attempt is due; 0.0 if nothing holds it back."""
        due = self.payload.attempts[-1].retry_at if self.payload.attempts and not self.has_ended else None
        return max(self._seconds_until(due), 0.0) if due else 0.0

    # --- paid starts --------------------------------------------------------------------------------------------------

    @property
    def last_start(self) -> Start:
        return self.payload.starts[-1]

    def add_start(self, generation_id: str) -> str:
        """Note a paid start before it is made. Returns its attempt key."""
        starts = self.payload.starts
        key = f"{generation_id}:{self.number}:{len(starts) + 1}"
        self.payload.starts = [*starts, Start(attempt_key=key, outcome=StartOutcome.ASKED, at=self.clock.stamp())]
        return key

    def drop_start(self) -> None:
        """The last start was not even noted: it was not admitted."""
        self.payload.starts = self.payload.starts[:-1]

    @property
    def committed_input(self) -> Json | None:
        """The input that a provider was given, or may have been; None if nothing holds us to it."""
        all_refused = all(start.outcome == StartOutcome.REFUSED for start in self.payload.starts)
        return self.payload.input if self.may_have_stored or not all_refused else None

    @property
    def seconds_since_start(self) -> float:
        """Seconds since the last start was noted."""
        return -self._seconds_until(self.last_start.at)

    @property
    def unsettled_start(self) -> str | None:
        """The key of a start that may have been accepted, without our knowing."""
        for start in self.payload.starts[-1:]:
            if start.outcome in (StartOutcome.ASKED, StartOutcome.UNKNOWN):
                return start.attempt_key
        return None

    @property
    def given_up_starts(self) -> list[Start]:
        """Starts of which the provider knew nothing when it was asked."""
        return [start for start in self.payload.starts if start.outcome == StartOutcome.NOT_ACCEPTED]

    def awaits_start(self, key: str) -> bool:
        """True if the holder of the generation counts on this start, or will look it up."""
        [outcome] = [start.outcome for start in self.payload.starts if start.attempt_key == key]
        return outcome == StartOutcome.ACCEPTED or (outcome == StartOutcome.ASKED and not self.has_ended)

    # --- an outage of the storage -------------------------------------------------------------------------------------

    def note_storage_away(self, error: SafelightError, seconds: float) -> tuple[int, float]:
        """Note that the storage could not be reached. Returns how often that was, and the seconds until it is given
        up."""
        away = self.payload.storage_away or StorageOutage(
            since=self.clock.stamp(), until=self._stamp_after(seconds), tries=0, back_at=None
        )
        away.tries, away.error = away.tries + 1, excerpt(str(error), MESSAGE_CHARS_MAX)
        self.payload.storage_away = away
        return away.tries, self._seconds_until(away.until)

    # --- its end ------------------------------------------------------------------------------------------------------

    def map_error(self, error: SafelightError) -> StepError:
        """The error as the payload of the step that it ends holds it."""
        return StepError(
            error_code=f"MMA_{public_code(self.type, error)}",
            type=type(error).__name__,
            message=excerpt(str(error), ERROR_MESSAGE_CHARS_MAX),
            provider_http_status=getattr(error, "provider_http_status", None),
        )

    def end(self, output: Json, error: StepError | None = None) -> None:
        """End the step with its output or an error: timing, and the attempt that ends with it."""
        timing = self.payload.timing
        timing.ended_at = stamp = self.clock.stamp()
        timing.started_at = timing.started_at or stamp
        spent = datetime.fromisoformat(stamp) - datetime.fromisoformat(timing.started_at)
        timing.duration_ms = round(spent.total_seconds() * 1000)
        self.payload.output, self.payload.error = output, error
        for attempt in self.payload.attempts[-1:]:
            attempt.ended_at = attempt.ended_at or stamp
            attempt.error = error.type if error else attempt.error
        if self.provider:
            self.latency_ms = timing.duration_ms

    def degrade(self, output: Json, error: SafelightError) -> None:
        """End a step that no result depends on without an error; `degraded` says why its output is a stand-in."""
        for attempt in self.payload.attempts[-1:]:
            if attempt.error is None:
                self.end_attempt(error)
        self.end(output)
        self.payload.degraded = self.map_error(error).to_json()

    def _stamp_after(self, seconds: float) -> str:
        return (self.clock.now() + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")

    def _seconds_until(self, stamp: str) -> float:
        return (datetime.fromisoformat(stamp) - self.clock.now()).total_seconds()
