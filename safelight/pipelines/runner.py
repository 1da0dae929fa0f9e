"""Runs one generation's story, step by step, so that it can stop anywhere and go on elsewhere.

The step rows are the checkpoints: a step whose row has ended is skipped and its output read back. Every write is
fenced by the lease's number; a worker that has lost the lease writes nothing more.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from safelight import telemetry
from safelight.db.database import Row
from safelight.db.ops_rows import OpsError
from safelight.db.runs import Ending, StepRow
from safelight.domain.codes import engine_of, public_code
from safelight.domain.errors import (
    Cancelled,
    DeadlineExceeded,
    LookUpUnsupported,
    OutcomeUnknown,
    ProviderError,
    ProviderTimeout,
    SafelightError,
)
from safelight.domain.lines import Level, Line
from safelight.domain.orders import Order
from safelight.domain.steps import StepType
from safelight.pipelines import step_rows
from safelight.pipelines.record import STEP_SECONDS_MAX, Record
from safelight.pipelines.retries import CALL_SECONDS_MAX, RetryPolicy
from safelight.providers.base import Operation, Pending, Stopping, Succeeded

Json = dict[str, Any]
Result = TypeVar("Result")

ERROR_MESSAGE_CHARS_MAX = 1000


class Snooze(Exception):
    """Not a failure: there is nothing to do before `seconds` have passed. No worker is held meanwhile."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"snooze {seconds:.1f} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step ends with. `variables` maps dotted paths of the variable map to their new values; `warnings` say
    what was asked for and not used."""

    output: Json
    variables: Json = field(default_factory=dict)
    line: str | None = None
    warnings: tuple[str, ...] = ()
    input_chars: int | None = None
    output_chars: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """A step about to begin. `effect` False: nothing outside our database happens, so one write records it all."""

    input: Json
    act: Callable[[], Awaitable[Outcome]]
    provider: str | None = None
    model: str | None = None
    begin_line: str | None = None
    effect: bool = True


@dataclass(frozen=True, slots=True)
class OperationPlan:
    """An operation about to begin, or to be looked at again. `start` and `find` take the key of one attempt;
    `seconds_max` is the model's deadline, from its start."""

    input: Json
    provider: str
    model: str
    seconds_max: float
    start: Callable[[str], Awaitable[Operation]]
    check: Callable[[Operation], Awaitable[Pending | Succeeded]]
    cancel: Callable[[Operation], Awaitable[Stopping]]
    find: Callable[[str], Awaitable[Operation | None]]
    complete: Callable[[Succeeded], Awaitable[Outcome]]
    begin_line: str | None = None


class Run:
    """The verbs a story is told with, and what it may read: the order, the variables, the preferences."""

    def __init__(self, record: Record, policy: RetryPolicy, leased: Row) -> None:
        self.record = record
        self.order = Order.model_validate(leased["mg_payload"]["order"])
        self.policy = replace(policy, attempts_max=self.order.attempts_max or policy.attempts_max)
        self.generation_id = record.generation_id
        self.preferences: Json = leased["mg_mma_preferences"]
        self.request: Json = leased["mg_meta"].get("request", {})
        self.price_credits: int = leased["mg_meta"].get("cost", 0)
        self.current: StepRow | None = None
        self.model: str | None = None
        self.next_step_no = 0
        self._is_open = False  # whether this run has opened an attempt of the current step

    @property
    def variables(self) -> Json:
        return self.record.variables

    # --- the verbs ------------------------------------------------------------------------------------------------

    async def step(self, step_type: StepType, plan: Callable[[], Awaitable[Plan]]) -> Json:
        """Run a step, unless its row has ended already. Returns its output."""
        step = self._enter(step_type)
        if step_rows.has_ended(step):
            return self._leave(step)
        self._stop_if_asked()
        planned = await plan()
        self._begin(step, planned.input, planned.provider, planned.model)
        begin = self._begin_lines(step, planned.begin_line)
        if planned.effect:
            await self.record.write(step, begin, deadline_seconds=STEP_SECONDS_MAX)
            self._stop_if_asked()
            begin = []
        outcome = await self._attempt(step, planned.act())
        return await self._end(step, outcome, begin)

    async def operation(self, step_type: StepType, plan: Callable[[Json | None], Awaitable[OperationPlan]]) -> Json:
        """Start work at a provider, or look at what was started. Returns the step's output once there is one.

        Raises:
            Snooze: the provider is still at it. The handle is stored; the next run goes on from here.
        """
        step = self._enter(step_type)
        if step_rows.has_ended(step):
            return self._leave(step)
        planned = await plan(step.payload["input"] or None)
        step.provider, step.model = planned.provider, planned.model
        self.model = planned.model
        operation = await self._operation_of(step, planned)
        answer = await self._attempt(step, planned.check(operation))
        if isinstance(answer, Pending):
            raise await self._wait(step, planned, operation, answer.check_after_seconds)
        self._say("🎯", f"{planned.provider} result received: {len(answer.outputs)} file(s)")
        outcome = await self._attempt(step, planned.complete(answer), seconds=None)
        return await self._end(step, outcome, [])

    def set(self, path: str, value: Any) -> None:
        """Set a variable; the next write stores it."""
        self.record.set(path, value)

    async def finish(self, ending: Ending) -> None:
        await self.record.finish(ending)

    def ops_row(
        self,
        error: SafelightError,
        *,
        step: StepRow | None = None,
        cause: Exception | None = None,
        level: Literal["error", "warn"] = "error",
        extra: Json | None = None,
    ) -> OpsError:
        """What the ops plane is told of something that went wrong in a step of this run."""
        step = step or self.current
        step_type, given = (step.type, step.payload["input"]) if step else (None, {})
        provider = step.provider if step else None
        return OpsError(
            category=error.category,
            code=f"MMA_{public_code(step_type, error)}",
            message=str(error)[:ERROR_MESSAGE_CHARS_MAX],
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
            retry={"attempt": step_rows.tries(step) if step else 1, "max": self.policy.attempts_max},
            stack="".join(traceback.format_exception(cause or error)),
            extra={"adapter": provider} | (extra or {}),
        )

    # --- steps --------------------------------------------------------------------------------------------------------

    def _enter(self, step_type: StepType) -> StepRow:
        self.current = self.record.step(self.next_step_no, step_type)
        self.next_step_no += 1
        self._is_open = False
        return self.current

    def _leave(self, step: StepRow) -> Json:
        self.current = None
        output: Json = step.payload["output"]
        return output

    def _begin(self, step: StepRow, given: Json, provider: str | None, model: str | None) -> None:
        self.record.status = StepType(step.type).status
        step.provider, step.model = provider, model
        step.payload["input"] = given
        step.payload["timing"]["started_at"] = step.payload["timing"]["started_at"] or step_rows.now()
        self._open_attempt(step)
        self._say("🔍", f"Step {step.number} {step.type} begins")

    def _open_attempt(self, step: StepRow) -> None:
        if not self._is_open:
            step_rows.add_attempt(step)
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
            return await _bounded(call, seconds)
        except SafelightError as error:
            raise await self._after(step, error) from error

    async def _after(self, step: StepRow, error: SafelightError) -> Exception:
        """What a failed call comes to: a pause until the next attempt, which is noted, or the error itself."""
        tries = step_rows.tries(step)
        delay = self.policy.delay(error, tries, key=f"{self.generation_id}:{step.type}")
        if delay is None or self.record.is_late():
            return error
        text = f"That did not work yet; trying again (attempt {tries + 1} of {self.policy.attempts_max})."
        await self._pause(step, error, text, {"attempt": tries, "retry_seconds": round(delay, 2), "error": error.code})
        return Snooze(delay)

    async def _pause(self, step: StepRow, error: SafelightError, text: str, details: Json) -> None:
        step_rows.end_attempt(step, error)
        telemetry.warning(
            telemetry.Tag.GENERATION_PROCESSING, f"{step.type}: {details}: {error}", generation_id=self.generation_id
        )
        await self.record.write(step, [Line("warning", step.type, text, details)])

    async def _end(self, step: StepRow, outcome: Outcome, begin: list[Line]) -> Json:
        step_rows.close(step, outcome.output, None)
        step.input_chars, step.output_chars = outcome.input_chars, outcome.output_chars
        step.input_tokens, step.output_tokens = outcome.input_tokens, outcome.output_tokens
        for path, value in outcome.variables.items():
            self.set(path, value)
        lines = begin + [self._line("warning", step, warning) for warning in outcome.warnings]
        if outcome.line:
            lines.append(self._line("success", step, outcome.line))
        await self.record.write(step, lines, with_variables=True)
        self._say("✅", f"Step {step.number} {step.type} ended in {step.payload['timing']['duration_ms']} ms")
        return self._leave(step)

    def _begin_lines(self, step: StepRow, text: str | None) -> list[Line]:
        is_first = len(step.payload["attempts"]) == 1
        return [self._line("info", step, text)] if text and is_first else []

    def _line(self, level: Level, step: StepRow, text: str) -> Line:
        return Line(level, step.type, text)

    def _stop_if_asked(self) -> None:
        if self.record.cancelling:
            raise Cancelled("stopped on request")

    # --- operations: a start that may cost money is never made twice without our knowing ------------------------------

    async def _operation_of(self, step: StepRow, planned: OperationPlan) -> Operation:
        """The operation under way: the one that is stored, the one that a lost answer told of, or a new one."""
        stored = step.payload.get("operation")
        if stored:
            if step_rows.is_between_attempts(step):
                self._open_attempt(step)
            operation = Operation(**stored)
        else:
            operation = await self._found(step, planned) or await self._started(step, planned)
        if self.record.cancelling and "stopping" not in step.payload:
            await self._stop(step, planned, operation, Cancelled("stopped on request"))
        elif not stored and operation.check_after_seconds > 0:
            raise Snooze(self._until_deadline(operation.check_after_seconds))
        return operation

    async def _found(self, step: StepRow, planned: OperationPlan) -> Operation | None:
        """What became of a start whose answer we never saw, because the answer or the worker was lost."""
        key = step_rows.unsettled_start(step)
        if key is None:
            return None
        try:
            operation = await self._look_up(step, planned, key)
        except LookUpUnsupported as error:
            await self._risk(step, key, error)
            return None
        if operation is None:
            step_rows.settle_start(step, step_rows.NOT_ACCEPTED)
            if step_rows.tries(step) >= self.policy.attempts_max:
                raise ProviderTimeout(
                    f"{planned.provider} got none of {self.policy.attempts_max} starts",
                    provider_http_status=step_rows.last_http_status(step),
                )
            return None
        self._say("🔄", f"{planned.provider} had accepted the start whose answer was lost")
        return await self._keep(step, planned, operation)

    async def _look_up(self, step: StepRow, planned: OperationPlan, key: str) -> Operation | None:
        """Raises LookUpUnsupported where the provider cannot say, or could not after several tries."""
        try:
            return await _bounded(planned.find(key), CALL_SECONDS_MAX)
        except LookUpUnsupported:
            raise
        except ProviderError as error:
            delay = self.policy.delay(error, step_rows.count_look_up(step), key=key)
            if delay is None:
                raise LookUpUnsupported(f"the look-up failed: {error}") from error
            await self.record.write(step, [])
            raise Snooze(delay) from error

    async def _risk(self, step: StepRow, key: str, error: SafelightError) -> None:
        """Allow a second start, once, and say so where operators look: the first may be paid too."""
        step_rows.settle_start(step, step_rows.UNKNOWN)
        self._stop_if_asked()
        if "possible_double_spend" in step.payload:
            raise OutcomeUnknown("two starts got no answer and cannot be looked up") from error
        at_risk = {"attempt_key": key, "provider": step.provider, "model": step.model, "at": step_rows.now()}
        step.payload["possible_double_spend"] = at_risk
        row = OutcomeUnknown(f"{key} may be paid for; it is started again", code="POSSIBLE_DOUBLE_START")
        line = Line("warning", step.type, "We could not tell whether it had begun, so it is begun again.")
        await self.record.write(
            step, [line], ops=self.ops_row(row, level="warn", extra={"possible_double_spend": at_risk})
        )

    async def _started(self, step: StepRow, planned: OperationPlan) -> Operation:
        self._stop_if_asked()
        self._begin(step, planned.input, planned.provider, planned.model)
        key = step_rows.add_start(step, self.generation_id)
        begin = self._begin_lines(step, planned.begin_line)
        await self.record.write(step, begin, deadline_seconds=STEP_SECONDS_MAX)
        self._say("🤖", f"Submitting to {planned.provider} ({planned.model})")
        try:
            operation = await _bounded(planned.start(key), CALL_SECONDS_MAX)
        except (OutcomeUnknown, ProviderTimeout) as error:
            step_rows.settle_start(step, step_rows.UNKNOWN)
            text = "The answer did not come; checking whether it has begun."
            await self._pause(step, error, text, {"error": error.code, "attempt_key": key})
            raise Snooze(self.policy.pause(step_rows.tries(step), key=key)) from error
        except SafelightError as error:
            step_rows.settle_start(step, step_rows.REFUSED)
            raise await self._after(step, error) from error
        return await self._keep(step, planned, operation)

    async def _keep(self, step: StepRow, planned: OperationPlan, operation: Operation) -> Operation:
        step_rows.settle_start(step, step_rows.ACCEPTED)
        step.payload["operation"] = {
            "handle": operation.handle,
            "check_after_seconds": operation.check_after_seconds,
            "warnings": list(operation.warnings),
        }
        await self.record.write(step, [], deadline_seconds=planned.seconds_max)
        return operation

    async def _wait(self, step: StepRow, planned: OperationPlan, operation: Operation, seconds: float) -> Snooze:
        """Until the operation is looked at again; past the model's deadline it is stopped instead."""
        if not self.record.is_late():
            return Snooze(self._until_deadline(seconds))
        if "stopping" not in step.payload:
            late = DeadlineExceeded(f"{planned.provider} was still at work after {planned.seconds_max:.0f} s")
            await self._stop(step, planned, operation, late)
            return Snooze(seconds)
        raise DeadlineExceeded(f"{planned.provider} had a result too late")

    def _until_deadline(self, seconds: float) -> float:
        left = self.record.seconds_left()
        return seconds if left is None else min(seconds, max(left, 0.0))

    async def _stop(self, step: StepRow, planned: OperationPlan, operation: Operation, reason: SafelightError) -> None:
        """Ask the provider to stop. Returns where it is too late for that: the result is there, or will be.

        Raises:
            SafelightError: the reason; the provider has stopped, or will not, and the run ends here.
        """
        try:
            stopping = await _bounded(planned.cancel(operation), CALL_SECONDS_MAX)
        except ProviderError as error:
            step.payload["stopping"] = {"answer": "failed", "message": str(error)[: step_rows.MESSAGE_CHARS_MAX]}
            raise reason from error
        step.payload["stopping"] = {"answer": stopping, "at": step_rows.now()}
        if stopping is not Stopping.TOO_LATE:
            raise reason
        await self.record.write(step, [Line("info", step.type, "It was too late to stop: the result is there.")])

    def _say(self, emoji: str, text: str) -> None:
        telemetry.info(emoji, telemetry.Tag.GENERATION_PROCESSING, text, generation_id=self.generation_id)


async def _bounded(call: Awaitable[Result], seconds: float | None) -> Result:
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError as error:
        raise ProviderTimeout(f"no answer within {seconds:.0f} s") from error


def _reference(given: Json, name: str) -> Json | None:
    if f"{name}_key" not in given:
        return None
    return {"key": given[f"{name}_key"], "version": given[f"{name}_version"], "id": given[f"{name}_id"]}
