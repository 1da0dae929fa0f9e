"""Runs one generation's story, step by step, so that it can stop anywhere and go on elsewhere.

The step rows are the checkpoints: a step whose row has ended is skipped and its output read back. Every write is
fenced by the lease's number; a worker that has lost the lease writes nothing more.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from safelight import telemetry
from safelight.db import runs
from safelight.db.database import Database, Row
from safelight.db.runs import Ending, Lease, StepRow
from safelight.db.wakeups import Announcer
from safelight.domain import variables as variable_map
from safelight.domain.errors import ProviderTimeout, SafelightError
from safelight.domain.lines import Level, Line
from safelight.domain.orders import Order
from safelight.domain.statuses import Status
from safelight.domain.steps import StepType
from safelight.pipelines.retries import CALL_SECONDS_MAX, RetryPolicy
from safelight.providers.base import Operation, Pending, Succeeded

Json = dict[str, Any]
Result = TypeVar("Result")


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
    """An operation about to begin, or to be looked at again."""

    input: Json
    provider: str
    model: str
    start: Callable[[], Awaitable[Operation]]
    check: Callable[[Operation], Awaitable[Pending | Succeeded]]
    complete: Callable[[Succeeded], Awaitable[Outcome]]
    begin_line: str | None = None


class Run:
    """The verbs a story is told with, and what it may read: the order, the variables, the preferences."""

    def __init__(
        self,
        db: Database,
        announcer: Announcer,
        policy: RetryPolicy,
        leased: Row,
        steps: list[Row],
        said: list[Row],
    ) -> None:
        self.policy = replace(
            policy, attempts_max=leased["mg_payload"]["order"].get("attempts_max") or policy.attempts_max
        )
        self.order = Order.model_validate(leased["mg_payload"]["order"])
        self.generation_id: str = leased["mg_generation_id"]
        self.preferences: Json = leased["mg_mma_preferences"]
        self.request: Json = leased["mg_meta"].get("request", {})
        self.variables: Json = leased["mg_mma_vars"]
        self.lease = Lease(self.generation_id, leased["mg_lease_no"], leased["mg_user_id"])
        self.status = Status(leased["mg_mma_status"])
        self.current: StepRow | None = None
        self.model: str | None = None
        self._db = db
        self._announcer = announcer
        self._written = {row["mg_step_no"]: row for row in steps}
        self.next_step_no = 0
        self._scan_lines = [{"index": line["seq"] - 1, "text": line["message"]} for line in said]

    # --- the verbs ------------------------------------------------------------------------------------------------

    async def step(self, step_type: StepType, plan: Callable[[], Awaitable[Plan]]) -> Json:
        """Run a step, unless its row has ended already. Returns its output."""
        step = self._enter(step_type)
        if step.payload["timing"]["ended_at"]:
            return self._leave(step)
        planned = await plan()
        self._begin(step, planned.input, planned.provider, planned.model)
        begin = self._begin_lines(step, planned.begin_line)
        if planned.effect:
            await self._write(step, begin)
            begin = []
        outcome = await self._attempt(step, planned.act())
        return await self._end(step, outcome, begin)

    async def operation(self, step_type: StepType, plan: Callable[[Json | None], Awaitable[OperationPlan]]) -> Json:
        """Start work at a provider, or look at what was started. Returns the step's output once there is one.

        Raises:
            Snooze: the provider is still at it. The handle is stored; the next run goes on from here.
        """
        step = self._enter(step_type)
        if step.payload["timing"]["ended_at"]:
            return self._leave(step)
        planned = await plan(step.payload["input"] or None)
        step.provider, step.model = planned.provider, planned.model
        self.model = planned.model
        stored = step.payload.get("operation")
        operation = self._resume(step, stored) if stored else await self._start(step, planned)
        answer = await self._attempt(step, planned.check(operation))
        if isinstance(answer, Pending):
            raise Snooze(answer.check_after_seconds)
        telemetry.info(
            "🎯",
            telemetry.Tag.GENERATION_PROCESSING,
            f"{planned.provider} result received: {len(answer.outputs)} file(s)",
            generation_id=self.generation_id,
        )
        outcome = await self._attempt(step, planned.complete(answer), seconds=None)
        return await self._end(step, outcome, [])

    def set(self, path: str, value: Any) -> None:
        """Set a variable; the next write stores it."""
        variable_map.assign(self.variables, path, value)

    async def finish(self, ending: Ending) -> None:
        async with self._db.connection() as conn:
            await runs.finish(conn, self.lease, ending)
        self.announce()

    def announce(self) -> None:
        self._announcer.announce(self.generation_id)

    def remember(self, lines: list[Line]) -> None:
        """Note lines about to be written, so that the variable map tells them too."""
        first = len(self._scan_lines)
        self._scan_lines += [
            {"index": first + offset, "text": line.to_json()["message"]} for offset, line in enumerate(lines)
        ]
        self.variables["userMessages"]["scan_lines"] = self._scan_lines

    # --- how a step is written ---------------------------------------------------------------------------------------

    def _enter(self, step_type: StepType) -> StepRow:
        number = self.next_step_no
        self.next_step_no += 1
        written = self._written.get(number)
        if written is None:
            self.current = empty_step(number, step_type)
        elif written["mg_step_type"] == step_type:
            self.current = StepRow(number, step_type, written["mg_payload"])
        else:
            raise SafelightError(
                f"step {number} is {written['mg_step_type']!r} in the record, {step_type!r} in the story"
            )
        return self.current

    def _leave(self, step: StepRow) -> Json:
        self.current = None
        output: Json = step.payload["output"]
        return output

    def _begin(self, step: StepRow, given: Json, provider: str | None, model: str | None) -> None:
        self.status = StepType(step.type).status
        step.provider, step.model = provider, model
        step.payload["input"] = given
        step.payload["timing"]["started_at"] = step.payload["timing"]["started_at"] or _now()
        _add_attempt(step)
        telemetry.info(
            "🔍",
            telemetry.Tag.GENERATION_PROCESSING,
            f"Step {step.number} {step.type} begins",
            generation_id=self.generation_id,
        )

    async def _start(self, step: StepRow, planned: OperationPlan) -> Operation:
        self._begin(step, planned.input, planned.provider, planned.model)
        await self._write(step, self._begin_lines(step, planned.begin_line))
        telemetry.info(
            "🤖",
            telemetry.Tag.GENERATION_PROCESSING,
            f"Submitting to {planned.provider} ({planned.model})",
            generation_id=self.generation_id,
        )
        operation = await self._attempt(step, planned.start(), paid=True)
        step.payload["operation"] = {
            "handle": operation.handle,
            "check_after_seconds": operation.check_after_seconds,
            "warnings": list(operation.warnings),
        }
        await self._write(step, [])
        if operation.check_after_seconds > 0:
            raise Snooze(operation.check_after_seconds)
        return operation

    def _resume(self, step: StepRow, stored: Json) -> Operation:
        if step.payload["attempts"][-1]["ended_at"]:
            _add_attempt(step)
        return Operation(**stored)

    async def _attempt(
        self, step: StepRow, call: Awaitable[Result], *, paid: bool = False, seconds: float | None = CALL_SECONDS_MAX
    ) -> Result:
        """Await the call. A failure that may pass is noted in the step and the log, and tried again later.

        Raises:
            Snooze: until the next attempt.
            SafelightError: that was the last attempt.
        """
        try:
            return await _bounded(call, seconds)
        except SafelightError as error:
            attempt = len(step.payload["attempts"])
            delay = self.policy.delay(error, attempt, key=f"{self.generation_id}:{step.type}", paid=paid)
            if delay is None:
                raise
            await self._note_retry(step, error, attempt, delay)
            raise Snooze(delay) from error

    async def _note_retry(self, step: StepRow, error: SafelightError, attempt: int, delay: float) -> None:
        step.payload["attempts"][-1] |= {"ended_at": _now(), "error": type(error).__name__, "message": str(error)[:300]}
        text = f"That did not work yet; trying again (attempt {attempt + 1} of {self.policy.attempts_max})."
        details = {"attempt": attempt, "retry_seconds": round(delay, 2), "error": error.code}
        telemetry.warning(
            telemetry.Tag.GENERATION_PROCESSING,
            f"{step.type}: attempt {attempt} failed, next in {delay:.1f} s: {error}",
            generation_id=self.generation_id,
        )
        await self._write(step, [Line("warning", step.type, text, details)])

    async def _end(self, step: StepRow, outcome: Outcome, begin: list[Line]) -> Json:
        close(step, outcome.output, None)
        step.input_chars, step.output_chars = outcome.input_chars, outcome.output_chars
        step.input_tokens, step.output_tokens = outcome.input_tokens, outcome.output_tokens
        for path, value in outcome.variables.items():
            self.set(path, value)
        lines = begin + [self._line("warning", step, warning) for warning in outcome.warnings]
        if outcome.line:
            lines.append(self._line("success", step, outcome.line))
        await self._write(step, lines, with_variables=True)
        telemetry.info(
            "✅",
            telemetry.Tag.GENERATION_PROCESSING,
            f"Step {step.number} {step.type} ended in {step.payload['timing']['duration_ms']} ms",
            generation_id=self.generation_id,
        )
        return self._leave(step)

    async def _write(self, step: StepRow, lines: list[Line], *, with_variables: bool = False) -> None:
        self.remember(lines)
        variables = self.variables if with_variables else None
        async with self._db.connection() as conn:
            await runs.write_step(conn, self.lease, step, status=self.status, variables=variables, lines=lines)
        self.announce()

    def _begin_lines(self, step: StepRow, text: str | None) -> list[Line]:
        is_first = len(step.payload["attempts"]) == 1
        return [self._line("info", step, text)] if text and is_first else []

    def _line(self, level: Level, step: StepRow, text: str) -> Line:
        return Line(level, step.type, text)


async def _bounded(call: Awaitable[Result], seconds: float | None) -> Result:
    try:
        async with asyncio.timeout(seconds):
            return await call
    except TimeoutError as error:
        raise ProviderTimeout(f"no answer within {seconds:.0f} s") from error


def _add_attempt(step: StepRow) -> None:
    attempts = step.payload["attempts"]
    attempts.append({"attempt": len(attempts) + 1, "started_at": _now(), "ended_at": None, "error": None})


def close(step: StepRow, output: Json, error: Json | None) -> None:
    """End a step's payload: output or error, timing, and the attempt that ends with it."""
    timing = step.payload["timing"]
    timing["started_at"] = timing["started_at"] or _now()
    timing["ended_at"] = _now()
    timing["duration_ms"] = _milliseconds_between(timing["started_at"], timing["ended_at"])
    step.payload["output"] = output
    step.payload["error"] = error
    for attempt in step.payload["attempts"][-1:]:
        attempt["ended_at"] = timing["ended_at"]
        attempt["error"] = error and error["type"]
    if step.provider:
        step.latency_ms = timing["duration_ms"]


def empty_step(number: int, step_type: str) -> StepRow:
    timing = {"started_at": None, "ended_at": None, "duration_ms": None}
    return StepRow(number, step_type, {"input": {}, "output": {}, "timing": timing, "error": None, "attempts": []})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _milliseconds_between(started_at: str, ended_at: str) -> int:
    return round((datetime.fromisoformat(ended_at) - datetime.fromisoformat(started_at)).total_seconds() * 1000)
