"""The steps of one run: how a step begins, how it is attempted, and how it ends."""

import traceback
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, Literal, TypeVar

from safelight import telemetry
from safelight.db.connection.database import Unwritable
from safelight.db.generations.runs import LeasedGeneration, StepRow
from safelight.db.operations.ops_rows import OpsError
from safelight.domain.errors.base import Cancelled, ProviderError, SafelightError, StorageError, WorkerLost
from safelight.domain.errors.codes import engine_of, public_code
from safelight.domain.job_log import Level, LogLine
from safelight.domain.orders import Order
from safelight.domain.steps import StepType
from safelight.pipelines.engine import step_payload
from safelight.pipelines.engine.as_written import SEALED, restored, sealed_parts
from safelight.pipelines.engine.plans import Outcome
from safelight.pipelines.engine.retry import CALL_SECONDS_MAX, RetryPolicy
from safelight.pipelines.engine.run_store import STEP_SECONDS_MAX, RunStore
from safelight.pipelines.engine.sealing import Sealer
from safelight.pipelines.engine.snooze import Snooze, bounded
from safelight.pipelines.engine.step_payload import ERROR_MESSAGE_CHARS_MAX
from safelight.redaction import excerpt

Json = dict[str, Any]
Result = TypeVar("Result")

STORAGE_AWAY_LINE = "Our storage is away for the moment; this goes on as soon as it is back."


class StepAttempts:
    def __init__(self, record: RunStore, policy: RetryPolicy, leased: LeasedGeneration) -> None:
        self.record = record
        self._payload: Json = leased.payload
        self._sealer: Sealer | None = None
        self.order = Order.model_validate(self._payload["order"])
        self.policy = replace(policy, attempts_max=self.order.attempts_max or policy.attempts_max)
        self.generation_id = record.generation_id
        self.preferences: Json = leased.preferences
        self.request: Json = leased.request
        self.price_credits: int = leased.meta.get("cost", 0)
        self.current: StepRow | None = None
        self._unwritten: Json = {}
        self.model: str | None = None
        self.next_step_no = 0
        self._is_open = False  # whether this run has opened an attempt of the current step
        self.result = record.result()  # the step that has made and stored it: from then on it is delivered

    def restore(self, sealer: Sealer | None) -> None:
        """Have the texts of the order, and what its steps were given and gave, as they were written, not as records
        show them. Raises ConfigError where another secret has sealed them."""
        self._sealer = sealer
        as_written = restored(sealer, self._payload["order"], self._payload.get(SEALED, {}))
        self.order = Order.model_validate(as_written)
        self.record.restore(sealer)

    @property
    def may_have_stored(self) -> bool:
        """True if files of a result may lie in our storage by now."""
        return self.record.may_have_stored or (self.current is not None and step_payload.may_have_stored(self.current))

    @property
    def variables(self) -> Json:
        return self.record.variables

    def deadline_passed(self) -> bool:
        """True if the time for what the run is doing is over."""
        return self.record.deadline_passed(self.current)

    def ops_row(
        self,
        error: SafelightError,
        *,
        step: StepRow | None = None,
        cause: Exception | None = None,
        level: Literal["error", "warn"] = "error",
        extra: Json | None = None,
    ) -> OpsError:
        """The row of the ops plane for something that went wrong in a step of this run."""
        step = step or self.current
        step_type, given = (step.type, step.payload["input"]) if step else (None, {})
        provider = step.provider if step else None
        return OpsError(
            category=error.category,
            code=f"MMA_{public_code(step_type, error)}",
            message=excerpt(str(error), ERROR_MESSAGE_CHARS_MAX),
            level=level,
            action="mma.step",
            request_id=self.request.get("request_id", ""),
            route=self.request.get("route", "mma"),
            method=self.request.get("method", "POST"),
            http_status=error.http_status,
            pass_id=self.order.pass_id,
            generation_id=self.generation_id,
            step_type=step_type,
            provider=engine_of(step_type) or provider,
            model=step.model if step else None,
            provider_http_status=getattr(error, "provider_http_status", None),
            context=_reference(given, "ctx"),
            settings=_reference(given, "settings"),
            retry={"attempt": step_payload.tries(step) if step else 1, "max": self.policy.attempts_max},
            stack="".join(traceback.format_exception(cause or error)),
            extra=_served_by(step) | self._unwritten_too() | _said_by_provider(cause or error) | (extra or {}),
            at=self.record.clock.now(),
        )

    def note_engine(self, adapter: str, model: str) -> None:
        """Note the adapter and model of the current step before it begins: a failure from then on is theirs."""
        if self.current:
            self.current.provider, self.current.model = adapter, model

    async def forget_unwritten(self, error: Unwritable) -> None:
        """Go back to what is written of the variables and of the step: an end can always be written. Operators are told
        with the row that tells how it ended."""
        self._unwritten = {"message": excerpt(str(error), step_payload.MESSAGE_CHARS_MAX), "dropped": ["mg_mma_vars"]}
        await self.record.forget_unwritten()
        step = self.current
        if step:
            self._unwritten["dropped"].append(f"step {step.number}")
            written = await self.record.written_step(step)
            step.payload, step.writes = written.payload | step_payload.item_of(step), written.writes
            step.input_chars = step.output_chars = step.input_tokens = step.output_tokens = None

    def _unwritten_too(self) -> Json:
        return {"unwritten": self._unwritten} if self._unwritten else {}

    # --- steps --------------------------------------------------------------------------------------------------------

    def _enter(self, step_type: StepType) -> StepRow:
        self.current = self.record.step(self.next_step_no, step_type)
        self.next_step_no += 1
        self._is_open = False
        return self.current

    def _leave(self, step: StepRow) -> Json:
        self.current = None
        if step_payload.is_result(step):
            self.result = step
        output: Json = step.payload["output"]
        return output

    def _begin(self, step: StepRow, given: Json, provider: str | None, model: str | None) -> None:
        self.record.status = StepType(step.type).status
        step.provider, step.model = provider, model
        step.payload["input"] = given
        self._keep_as_written(step, "input")
        step.payload["timing"]["started_at"] = step.payload["timing"]["started_at"] or step.clock.stamp()
        self._open_attempt(step)
        self._say("🔍", f"Step {step.number} {step.type} begins")

    def _must_not_kill_more(self, step: StepRow) -> None:
        """Raises WorkerLost where this step has lost its worker too often, in whatever it was doing then."""
        if self.record.takeovers >= step_payload.TAKEOVERS_MAX:
            raise WorkerLost(f"{self.record.takeovers} workers were lost in {step.type}")

    def _open_attempt(self, step: StepRow) -> None:
        if not self._is_open and not step_payload.awaits_storage(step):
            step_payload.add_attempt(step)
            self._is_open = True

    async def _attempt(
        self, step: StepRow, call: Awaitable[Result], *, seconds: float | None = CALL_SECONDS_MAX
    ) -> Result:
        """Await the call. A failure that may pass is noted in the step and the log, and tried again later.

        Raises:
            Snooze: until the next attempt.
            SafelightError: that was the last attempt.
        """
        try:
            return await bounded(call, seconds)
        except SafelightError as error:
            raise await self._after(step, error) from error

    async def _after(self, step: StepRow, error: SafelightError) -> Exception:
        """Return the outcome of a failed call: a pause until the next attempt, which is noted, or the error itself."""
        if isinstance(error, StorageError) and self.result is None:
            return await self._await_storage(step, error)
        tries = step_payload.tries(step)
        delay = self.policy.delay(error, tries, key=f"{self.generation_id}:{step.type}")
        if delay is None or self.record.deadline_passed(step):
            return error
        text = f"That did not work yet; trying again (attempt {tries + 1} of {self.policy.attempts_max})."
        details = {"attempt": tries, "retry_seconds": round(delay, 2), "error": public_code(step.type, error)}
        await self._pause(step, error, text, details, delay)
        return Snooze(delay)

    async def _cannot_begin(self, step: StepRow, error: StorageError) -> Exception:
        """Return the outcome of a step whose input cannot be read now. A result that is there already waits no longer
        for it than the retry table says."""
        if self.result is None:
            return await self._await_storage(step, error)
        self._begin(step, {}, None, None)
        return await self._after(step, error)

    async def _await_storage(self, step: StepRow, error: StorageError) -> Exception:
        """A storage that is away is nobody's failure, and a result that a provider has made must not be lost to it: the
        step waits, for as long as providers keep results. Operators are told once."""
        if "operation" not in step.payload:
            self._raise_if_cancelled()
        is_new = "storage_away" not in step.payload
        tries, left = step_payload.note_storage_away(step, error, self.policy.result_seconds)
        pause = self.policy.storage_pause(tries, left, key=f"{self.generation_id}:{step.type}")
        if pause is None:
            return error
        telemetry.warning(telemetry.Tag.STORAGE_FILE, f"{step.type}: {error}", generation_id=self.generation_id)
        lines = [self._line("warning", step, STORAGE_AWAY_LINE)] if is_new else []
        row = self._storage_row(step, error) if is_new else None
        await self.record.write(step, lines, deadline_seconds=left + STEP_SECONDS_MAX, ops=row)
        return Snooze(pause)

    def _storage_row(self, step: StepRow, error: StorageError) -> OpsError:
        away = step.payload["storage_away"]
        at_risk = "operation" in step.payload
        told = StorageError(
            f"{'The result is only at the provider' if at_risk else 'A file cannot be read'}, tried again until"
            f" {away['until']}: {error}",
            code="ASSET_AT_RISK" if at_risk else "STORAGE_AWAY",
        )
        row = self.ops_row(told, step=step, cause=error, level="warn", extra={"storage_away": away})
        return replace(row, id=f"{self.generation_id}:{step.number}:storage")

    async def _pause(self, step: StepRow, error: SafelightError, text: str, details: Json, seconds: float) -> None:
        step_payload.end_attempt(step, error)
        if step_payload.is_item(step):
            step_payload.note_retry(step, seconds)
        telemetry.warning(
            telemetry.Tag.GENERATION_PROCESSING, f"{step.type}: {details}: {error}", generation_id=self.generation_id
        )
        await self.record.write(step, [LogLine("warning", step.type, text, details)])

    async def _end(self, step: StepRow, outcome: Outcome, begin: list[LogLine]) -> Json:
        step_payload.close(step, outcome.output, None)
        self._keep_as_written(step, "output")
        step.input_chars, step.output_chars = outcome.input_chars, outcome.output_chars
        step.input_tokens, step.output_tokens = outcome.input_tokens, outcome.output_tokens
        step_payload.note_storage_back(step)
        lines = begin + [self._line("warning", step, warning) for warning in outcome.warnings]
        if outcome.line:
            lines.append(self._line("success", step, outcome.line))
        await self.record.write(step, lines, variables=outcome.variables)
        self._say("✅", f"Step {step.number} {step.type} ended in {step.payload['timing']['duration_ms']} ms")
        return self._leave(step)

    def _keep_as_written(self, step: StepRow, part: str) -> None:
        kept = sealed_parts(self._sealer, step.payload, [part])
        if kept:
            step.payload |= kept | {SEALED: step.payload.get(SEALED, {}) | kept[SEALED]}

    def _begin_lines(self, step: StepRow, text: str | None) -> list[LogLine]:
        is_first = len(step.payload["attempts"]) == 1
        return [self._line("info", step, text)] if text and is_first else []

    def _line(self, level: Level, step: StepRow, text: str) -> LogLine:
        return LogLine(level, step.type, text)

    def _raise_if_cancelled(self) -> None:
        if self.record.cancelling and self.result is None:
            raise Cancelled("stopped on request")

    def _say(self, emoji: str, text: str) -> None:
        telemetry.info(emoji, telemetry.Tag.GENERATION_PROCESSING, text, generation_id=self.generation_id)


def as_error(cause: Exception) -> SafelightError:
    """The cause as an error that every plane can name."""
    return cause if isinstance(cause, SafelightError) else SafelightError(f"{type(cause).__name__}: {cause}")


def _served_by(step: StepRow | None) -> Json:
    """The adapter, by the registry's name, and the service that it speaks to."""
    adapter = step and (step.adapter or step.payload["input"].get("adapter") or step.provider)
    return {"adapter": adapter, "vendor": (step and step.vendor) or adapter}


def _said_by_provider(error: Exception) -> Json:
    """The details by which errors of a provider are grouped, above all those that nobody has explained yet."""
    return {"provider_error": error.details} if isinstance(error, ProviderError) and error.details else {}


def _reference(given: Json, name: str) -> Json | None:
    if f"{name}_key" not in given:
        return None
    return {"key": given[f"{name}_key"], "version": given[f"{name}_version"], "id": given[f"{name}_id"]}
