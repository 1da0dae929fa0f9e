"""The payload of a step's row: how attempts and paid starts are kept in it. Pure; nothing is written here."""

from datetime import datetime, timedelta
from typing import Any

from safelight.db.connection.clock import DatabaseClock
from safelight.db.generations.runs import StepRow
from safelight.domain.errors.base import SafelightError, WorkerLost
from safelight.domain.errors.codes import public_code
from safelight.domain.steps import LAST_LOOK_OF
from safelight.redaction import excerpt

Json = dict[str, Any]

MESSAGE_CHARS_MAX = 300
ERROR_MESSAGE_CHARS_MAX = 1000
TAKEOVERS_MAX = 5  # of one step: one that keeps killing its worker must not kill for ever

ASKED, ACCEPTED, UNKNOWN, REFUSED, NOT_ACCEPTED = "asked", "accepted", "unknown", "refused", "not_accepted"


def empty_step(number: int, step_type: str, clock: DatabaseClock) -> StepRow:
    timing = {"started_at": None, "ended_at": None, "duration_ms": None}
    payload: Json = {"input": {}, "output": {}, "timing": timing, "error": None, "attempts": []}
    return StepRow(number, step_type, payload, clock)


def has_ended(step: StepRow) -> bool:
    return bool(step.payload["timing"]["ended_at"])


def note_item(step: StepRow, position: int) -> None:
    """Mark the step as one of those that run side by side: it fails, is late and waits by itself."""
    step.payload["item"] = position


def is_item(step: StepRow) -> bool:
    return "item" in step.payload


def item_of(step: StepRow) -> Json:
    """The mark of an item, to be kept when its payload is replaced."""
    return {name: step.payload[name] for name in ("item",) if name in step.payload}


def note_deadline(step: StepRow, seconds: float | None) -> None:
    """Note the deadline of an item; another step's is the generation's."""
    if seconds is not None and is_item(step):
        step.payload["deadline_at"] = _stamp_after(step, seconds)


def deadline(step: StepRow) -> datetime | None:
    stated = step.payload.get("deadline_at")
    return datetime.fromisoformat(stated) if stated else None


def note_retry(step: StepRow, seconds: float) -> None:
    """Note when the attempt that has just failed is followed by another: the generation may go on before."""
    step.payload["attempts"][-1]["retry_at"] = _stamp_after(step, seconds)


def seconds_until_retry(step: StepRow) -> float:
    """Seconds until the next attempt is due; 0.0 if nothing holds it back."""
    stated = [attempt.get("retry_at") for attempt in step.payload["attempts"][-1:]]
    due = stated and stated[0] and datetime.fromisoformat(stated[0])
    return max((due - step.clock.now()).total_seconds(), 0.0) if due else 0.0


def add_attempt(step: StepRow) -> None:
    """Begin an attempt. One that is still open belonged to a worker that is no more."""
    attempts = step.payload["attempts"]
    if attempts and not attempts[-1]["ended_at"]:
        end_attempt(step, WorkerLost("the worker was lost in the middle of this attempt"))
    attempts.append({"attempt": len(attempts) + 1, "started_at": step.clock.stamp(), "ended_at": None, "error": None})


def end_attempt(step: StepRow, error: SafelightError) -> None:
    step.payload["attempts"][-1] |= {
        "ended_at": step.clock.stamp(),
        "error": type(error).__name__,
        "message": excerpt(str(error), MESSAGE_CHARS_MAX),
        "provider_http_status": getattr(error, "provider_http_status", None),
    }


def last_http_status(step: StepRow) -> int | None:
    """The last HTTP status that the provider answered with, if it did."""
    stated = [attempt.get("provider_http_status") for attempt in step.payload["attempts"]]
    return next((status for status in reversed(stated) if status), None)


def is_between_attempts(step: StepRow) -> bool:
    return bool(step.payload["attempts"][-1]["ended_at"])


def map_error(step: StepRow, error: SafelightError) -> Json:
    """The error as the payload of the step that it ended holds it."""
    return {
        "error_code": f"MMA_{public_code(step.type, error)}",
        "type": type(error).__name__,
        "message": excerpt(str(error), ERROR_MESSAGE_CHARS_MAX),
        "provider_http_status": getattr(error, "provider_http_status", None),
    }


def tries(step: StepRow) -> int:
    """Count the attempts for the retry table: a lost worker is nobody's failure."""
    return sum(attempt["error"] != WorkerLost.__name__ for attempt in step.payload["attempts"])


def add_start(step: StepRow, generation_id: str) -> str:
    """Note a paid start before it is made. Returns its attempt key, by which a provider can be asked about it."""
    starts = step.payload.setdefault("starts", [])
    key = f"{generation_id}:{step.number}:{len(starts) + 1}"
    starts.append({"attempt_key": key, "outcome": ASKED, "at": step.clock.stamp()})
    return key


def settle_start(step: StepRow, outcome: str, **more: str) -> None:
    step.payload["starts"][-1] |= {"outcome": outcome, **more}


def drop_start(step: StepRow) -> None:
    """The last start was not even noted: it was not admitted."""
    step.payload["starts"].pop()


def committed_input(step: StepRow) -> Json | None:
    """The input that a provider was given, or may have been; None if nothing holds us to it."""
    starts = step.payload.get("starts", [])
    is_free = "operation" not in step.payload and all(start["outcome"] == REFUSED for start in starts)
    return None if is_free else step.payload["input"]


def seconds_since_start(step: StepRow) -> float:
    """Seconds since the last start was noted."""
    return (step.clock.now() - noted_at(step.payload["starts"][-1])).total_seconds()


def noted_at(start: Json) -> datetime:
    """The time, by the database's clock, before which the provider can not have been asked for this start."""
    return datetime.fromisoformat(start["at"])


def given_up_starts(step: StepRow) -> list[Json]:
    """Starts of which the provider knew nothing when it was asked."""
    return [start for start in step.payload.get("starts", []) if start["outcome"] == NOT_ACCEPTED]


def was_refused(step: StepRow) -> bool:
    """True if the last start was refused, so that nothing is under way."""
    return bool(step.payload["starts"][-1]["outcome"] == REFUSED)


def is_awaited(step: StepRow, key: str) -> bool:
    """True if the holder of the generation counts on this start, or will look it up."""
    [outcome] = [start["outcome"] for start in step.payload["starts"] if start["attempt_key"] == key]
    return outcome == ACCEPTED or (outcome == ASKED and not has_ended(step))


def is_result(step: StepRow) -> bool:
    """True if the step has made the generation's result, and stored it."""
    return step.type in LAST_LOOK_OF and has_ended(step) and step.payload["error"] is None


def may_have_stored(step: StepRow) -> bool:
    """True if files of a result may lie in our storage by now: the provider had accepted the work."""
    return "operation" in step.payload


def count_look_up(step: StepRow) -> int:
    """Note a look-up of the last start that failed. Returns how many did."""
    start = step.payload["starts"][-1]
    start["look_ups_failed"] = start.get("look_ups_failed", 0) + 1
    return int(start["look_ups_failed"])


def unsettled_start(step: StepRow) -> str | None:
    """The key of a start that may have been accepted, without our knowing."""
    for start in step.payload.get("starts", [])[-1:]:
        if start["outcome"] in (ASKED, UNKNOWN):
            return str(start["attempt_key"])
    return None


def note_storage_away(step: StepRow, error: SafelightError, seconds: float) -> tuple[int, float]:
    """Note that the storage could not be reached. Returns how often that was, and the seconds until it is given up."""
    until = _stamp_after(step, seconds)
    since = step.clock.stamp()
    away = step.payload.setdefault("storage_away", {"since": since, "until": until, "tries": 0, "back_at": None})
    away |= {"tries": away["tries"] + 1, "error": excerpt(str(error), MESSAGE_CHARS_MAX)}
    return away["tries"], (datetime.fromisoformat(away["until"]) - step.clock.now()).total_seconds()


def awaits_storage(step: StepRow) -> bool:
    """True if an attempt is still open because the storage was away: it goes on."""
    return "storage_away" in step.payload and any(not one["ended_at"] for one in step.payload["attempts"][-1:])


def note_storage_back(step: StepRow) -> None:
    if "storage_away" in step.payload:
        step.payload["storage_away"]["back_at"] = step.clock.stamp()


def close(step: StepRow, output: Json, error: Json | None) -> None:
    """End a step's payload: output or error, timing, and the attempt that ends with it."""
    timing = step.payload["timing"]
    timing["started_at"] = timing["started_at"] or step.clock.stamp()
    timing["ended_at"] = step.clock.stamp()
    timing["duration_ms"] = _milliseconds_between(timing["started_at"], timing["ended_at"])
    step.payload["output"] = output
    step.payload["error"] = error
    for attempt in step.payload["attempts"][-1:]:
        attempt["ended_at"] = attempt["ended_at"] or timing["ended_at"]
        attempt["error"] = error["type"] if error else attempt["error"]
    if step.provider:
        step.latency_ms = timing["duration_ms"]


def degrade(step: StepRow, output: Json, error: SafelightError, details: Json) -> None:
    """End a step that no result depends on without an error; `degraded` says why its output is a stand-in."""
    for attempt in step.payload["attempts"][-1:]:
        if attempt["error"] is None:
            end_attempt(step, error)
    close(step, output, None)
    step.payload["degraded"] = details


def _stamp_after(step: StepRow, seconds: float) -> str:
    return (step.clock.now() + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def _milliseconds_between(started_at: str, ended_at: str) -> int:
    return round((datetime.fromisoformat(ended_at) - datetime.fromisoformat(started_at)).total_seconds() * 1000)
