"""Runs one generation's flow, step by step, so that it can stop anywhere and go on elsewhere.

The step rows are the checkpoints: a step whose row has ended is skipped and its output read back. Every write is
fenced by the lease's number; a worker that has lost the lease writes nothing more.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import replace
from functools import partial
from typing import Any, Literal, Self, TypeVar

from safelight import telemetry
from safelight.db.connection.database import TRANSIENT_ERRORS, Unwritable
from safelight.db.generations.runs import NO_USAGE, LeasedGeneration
from safelight.db.operations.ops_rows import OpsError
from safelight.domain.errors.base import (
    Cancelled,
    LeaseLost,
    SafelightError,
    StorageError,
    WorkerLost,
)
from safelight.domain.errors.codes import as_error, public_code
from safelight.domain.job_log import LogLine
from safelight.domain.orders import BaseOrder, Order, read_order
from safelight.domain.steps import StepType
from safelight.pipelines.engine.lines import StepLines
from safelight.pipelines.engine.operations import OperationRun
from safelight.pipelines.engine.operator_rows import operator_row, storage_away
from safelight.pipelines.engine.parallel import (
    TAKEOVERS_TOGETHER_MAX,
    Item,
    ItemResult,
    Value,
    check_items,
    side_by_side,
)
from safelight.pipelines.engine.plans import OperationPlan, Outcome, Plan
from safelight.pipelines.engine.retry import CALL_SECONDS_MAX, STEP_SECONDS_MAX, RetryPolicy
from safelight.pipelines.engine.run_store import RunStore
from safelight.pipelines.engine.sealing import NOTE, SEALED, Sealer, restored, sealed_parts
from safelight.pipelines.engine.snooze import Snooze, bounded
from safelight.pipelines.engine.step import MESSAGE_CHARS_MAX, TAKEOVERS_MAX, Step
from safelight.pipelines.engine.step_payload import StepError
from safelight.redaction import excerpt

Json = dict[str, Any]
Result = TypeVar("Result")
OrderKind = TypeVar("OrderKind", bound=BaseOrder)

STORAGE_AWAY_LINE = "Our storage is away for the moment; this goes on as soon as it is back."


class Run:
    """The verbs that a flow is written with, and what it may read: the order, the variables, the preferences.

    `current` is the step under way. `result` is the step that has made and stored the result: from then on it is
    delivered. A set that was reopened goes on with the steps from `first_step_no` on. `lines` says what the steps write
    into the job log. `_item_no` is the number of the one step that the run
    of an item of `each` has."""

    lines = StepLines()
    _position = 0
    _item_no: int | None = None

    def __init__(self, store: RunStore, policy: RetryPolicy, leased: LeasedGeneration) -> None:
        self.store = store
        self._payload: Json = leased.payload
        self._sealer: Sealer | None = None
        self.order: Order = read_order(self._payload["order"])
        self.policy = replace(policy, attempts_max=self.order.attempts_max or policy.attempts_max)
        self.generation_id = store.generation_id
        self.pipeline_version = leased.pipeline_version
        self.preferences: Json = leased.preferences
        self.request: Json = leased.request
        self.price_credits: int = leased.meta.get("cost", 0)
        self.meta: Json = leased.meta
        self.model: str | None = None
        self.current: Step | None = None
        self.round_no = len(leased.rounds)
        self.next_step_no = self.first_step_no = leased.first_step_no
        self.result = store.result
        self._unwritten: Json = {}

    def restore(self, sealer: Sealer | None) -> None:
        """Have the texts of the order, and what its steps were given and gave, as they were written, not as records
        show them. Raises ConfigError where another secret has sealed them."""
        self._sealer = sealer
        if sealed := self._payload.get(SEALED):
            self.order = read_order(restored(sealer, self._payload["order"], sealed))
        self.store.restore(sealer)

    def order_as(self, kind: type[OrderKind]) -> OrderKind:
        """The order, which the flow knows to be of this kind."""
        assert isinstance(self.order, kind)
        return self.order

    # --- the verbs ----------------------------------------------------------------------------------------------------

    async def step(self, step_type: StepType, plan: Callable[[], Awaitable[Plan]]) -> Json:
        """Run a step, unless its row has ended already. Returns its output."""
        step = self._enter(step_type)
        if step.has_ended:
            return self._leave(step)
        self.raise_if_cancelled()
        self.raise_if_deadly(step)
        try:
            planned = await plan()
        except StorageError as error:
            if self.result:  # which waits no longer for the next step than the retry table says
                self._open_attempt(step)
            raise await self.after(step, error) from error
        lines = self.begin(step, planned)
        if planned.effect:
            await self.store.write(step, lines, deadline_seconds=STEP_SECONDS_MAX)
            self.raise_if_cancelled()
            lines = []
        return await self._end(step, await self.attempt(step, planned.act(), seconds=planned.seconds_max), lines)

    async def operation(self, step_type: StepType, plan: Callable[[Json | None], Awaitable[OperationPlan]]) -> Json:
        """Start work at a provider, or look at what was started. Returns the step's output once there is one.

        Raises:
            Snooze: the provider is still at it. The handle is stored; the next run goes on from here.
        """
        step = self._enter(step_type)
        if step.has_ended:
            return self._leave(step)
        planned = await plan(step.committed_input)
        step.provider, step.model = planned.provider, planned.model
        step.adapter, step.vendor = planned.adapter, planned.vendor
        self.model = planned.model
        return await self._end(step, await OperationRun(self, step, planned).outcome(), [])

    async def each(
        self,
        step_type: StepType,
        items: Sequence[Item],
        make: Callable[[Self, Item], Awaitable[Value]],
        at_once: int,
    ) -> list[ItemResult[Item, Value]]:
        """Make one step for each item, at most `at_once` of them side by side. Returns the results in the order of the
        items; an item that fails does not stop the others.

        `make` gets a run of the item's own, on which it calls `step` or `operation` once, with this type. The position
        of the item gives the number of its step, by which it is found again if the run goes on elsewhere.

        Raises:
            Snooze: until the first of the items that wait is due; no other is under way.
            Cancelled: on request; items that had ended stay as they are, and those after the last that had begun have
                no step.
        """
        check_items(step_type, items, at_once)
        runs = [self._run_of_item(position) for position in range(len(items))]
        self.next_step_no += len(items)
        calls = [partial(run._item, step_type, item, make) for run, item in zip(runs, items, strict=True)]
        try:
            return await side_by_side(
                calls, at_once if self.store.takeovers < TAKEOVERS_TOGETHER_MAX else 1, self.store.clock
            )
        except Cancelled:
            for run in runs:
                await run._end_unbegun(step_type)
            self.next_step_no = self.store.next_step_no
            raise
        finally:
            self.model = self.model or next((run.model for run in runs if run.model), None)

    @property
    def imported(self) -> list[Json]:
        """The pictures of the order that were on other servers, with what came of it."""
        return self._payload.get("imported") or []

    @property
    def variables(self) -> Json:
        return self.store.variables

    def set(self, path: str, value: Any) -> None:
        """Set a variable; the next write stores it."""
        self.store.set(path, value)

    def log(self, emoji: str, text: str) -> None:
        """Say to operators what the run does."""
        telemetry.info(emoji, telemetry.Tag.GENERATION_PROCESSING, text, above=1, generation_id=self.generation_id)

    def log_warning(self, text: str) -> None:
        telemetry.warning(telemetry.Tag.GENERATION_PROCESSING, text, above=1, generation_id=self.generation_id)

    # --- a step begins and ends ---------------------------------------------------------------------------------------

    def _enter(self, step_type: StepType) -> Step:
        if self._item_no not in (None, self.next_step_no):
            raise SafelightError(f"item {self._position} has more than one step; {step_type} is one too many")
        self.current = self.store.step(self.next_step_no, step_type)
        self.current.is_open = False
        self.next_step_no += 1
        if self._item_no is not None:
            self.current.payload.item = self._position
        return self.current

    def _leave(self, step: Step) -> Json:
        self.current = None
        if step.is_result:
            self.result = step
        return step.payload.output

    def begin(self, step: Step, plan: Plan | OperationPlan) -> list[LogLine]:
        """Begin an attempt of the step. Returns the lines that say so to the customer."""
        step.provider, step.model, step.payload.input = plan.provider, plan.model, plan.input
        self._keep_as_written(step, "input")
        self._open_attempt(step)
        self.log("🔍", f"Step {step.number} {step.type} begins")
        is_first = len(step.payload.attempts) == 1
        usual = [LogLine("info", step.type, plan.begin_line)] if plan.begin_line and is_first else []
        return self.lines.begun(step, usual)

    def _open_attempt(self, step: Step) -> None:
        self.store.status = StepType(step.type).status
        step.payload.timing.started_at = step.payload.timing.started_at or step.clock.stamp()
        step.open_attempt()

    async def _end(self, step: Step, outcome: Outcome, lines: list[LogLine]) -> Json:
        failed = outcome.error
        step.end(outcome.output, step.map_error(failed) if failed else None)
        step.usage = outcome.usage
        self._keep_as_written(step, "output")
        if step.payload.storage_away:
            step.payload.storage_away.back_at = step.payload.timing.ended_at
        lines += [LogLine("warning", step.type, warning) for warning in outcome.warnings]
        if outcome.line:
            lines.append(LogLine("success", step.type, outcome.line))
        ops = self._item_row(step, failed, failed) if failed else None
        await self.store.write(step, self.lines.ended(step, lines), variables=outcome.variables, ops=ops)
        self.log("✅", f"Step {step.number} {step.type} ended in {step.payload.timing.duration_ms} ms")
        return self._leave(step)

    def _keep_as_written(self, step: Step, part: str) -> None:
        kept = sealed_parts(self._sealer, {part: getattr(step.payload, part)}, [part])
        if kept:
            step.payload.sealed = step.payload.sealed | kept[SEALED]
            step.payload.redacted = kept[NOTE]

    def raise_if_cancelled(self) -> None:
        if self.store.cancelling and self.result is None:
            raise Cancelled("stopped on request")

    def raise_if_deadly(self, step: Step) -> None:
        """Raises WorkerLost where this step has lost its worker too often, in whatever it was doing then."""
        if self.store.takeovers >= TAKEOVERS_MAX:
            raise WorkerLost(f"{self.store.takeovers} workers were lost in {step.type}")

    # --- attempts -----------------------------------------------------------------------------------------------------

    async def attempt(self, step: Step, call: Awaitable[Result], *, seconds: float | None = CALL_SECONDS_MAX) -> Result:
        """Await the call. A failure that may pass is noted in the step and the log, and tried again later.

        Raises:
            Snooze: until the next attempt.
            SafelightError: that was the last attempt.
        """
        try:
            return await bounded(call, seconds)
        except SafelightError as error:
            raise await self.after(step, error) from error

    async def after(self, step: Step, error: SafelightError) -> Exception:
        """Return the outcome of a failed call: a pause until the next attempt, which is noted, or the error itself."""
        if isinstance(error, StorageError) and self.result is None:
            return await self._await_storage(step, error)
        tries = step.tries
        delay = self.policy.delay(error, tries, key=f"{self.generation_id}:{step.type}")
        if delay is None or self.store.deadline_passed(step):
            return error
        text = f"That did not work yet; trying again (attempt {tries + 1} of {self.policy.attempts_max})."
        details = {"attempt": tries, "retry_seconds": round(delay, 2), "error": public_code(step.type, error)}
        return await self.pause(step, error, text, details, delay)

    async def pause(self, step: Step, error: SafelightError, text: str, details: Json, seconds: float) -> Snooze:
        """End the attempt with the error. Returns the pause until the next one."""
        step.end_attempt(error)
        step.note_retry(seconds)
        self.log_warning(f"{step.type}: {details}: {error}")
        usual = [LogLine("warning", step.type, text, details)]
        await self.store.write(step, self.lines.retried(step, error, seconds, usual))
        return Snooze(seconds)

    async def _await_storage(self, step: Step, error: StorageError) -> Exception:
        """A storage that is away is nobody's failure, and a result that a provider has made must not be lost to it: the
        step waits, for as long as providers keep results. Operators are told once."""
        if not step.may_have_stored:
            self.raise_if_cancelled()
        is_new = step.payload.storage_away is None
        tries, left = step.note_storage_away(error, self.policy.result_seconds)
        pause = self.policy.storage_pause(tries, left, key=f"{self.generation_id}:{step.type}")
        if pause is None:
            return error
        telemetry.warning(telemetry.Tag.STORAGE_FILE, f"{step.type}: {error}", generation_id=self.generation_id)
        await self.store.write(
            step,
            [LogLine("warning", step.type, STORAGE_AWAY_LINE)] if is_new else [],
            deadline_seconds=left + STEP_SECONDS_MAX,
            ops=self._storage_row(step, error) if is_new else None,
        )
        return Snooze(pause)

    # --- one item of `each` -------------------------------------------------------------------------------------------

    def _run_of_item(self, position: int) -> Self:
        run = copy(self)
        run.current, run._position = None, position
        run._item_no = run.next_step_no = self.next_step_no + position
        return run

    async def _item(
        self, step_type: StepType, item: Item, make: Callable[[Self, Item], Awaitable[Value]]
    ) -> ItemResult[Item, Value]:
        """Make the item's step. Returns its end.

        Raises:
            Snooze: the step waits, or another item woke the run before its next attempt is due.
            Cancelled, LeaseLost, TRANSIENT_ERRORS: the run is over, or cannot go on here.
        """
        step = self.store.step(self.next_step_no, step_type)
        error = step.payload.error
        if not error:
            if step.seconds_until_retry and not self.store.cancelling:
                raise Snooze(step.seconds_until_retry)
            [made] = await asyncio.gather(make(self, item), return_exceptions=True)
            if not isinstance(made, BaseException) and self.next_step_no == step.number:
                made = SafelightError(f"item {self._position} of {step_type} made no step")
            if not isinstance(made, BaseException):
                return ItemResult(item, self._position, made)
            if isinstance(made, (Snooze, LeaseLost, *TRANSIENT_ERRORS)) or not isinstance(made, Exception):
                raise made
            if isinstance(made, Cancelled) and not self.store.has_step(step.number):
                raise made
            error = await self._fail_item(step, step_type, made)
        if error.type == Cancelled.__name__:
            raise Cancelled("stopped on request")
        return ItemResult(item, self._position, error=error)

    async def _end_unbegun(self, step_type: StepType) -> None:
        """End the item's step as cancelled if it has no row, and one after it has: step numbers have no hole."""
        number = self._item_no or 0
        if number < self.store.next_step_no and not self.store.has_step(number):
            await self._fail_item(self.store.step(number, step_type), step_type, Cancelled("stopped on request"))

    async def _fail_item(self, step: Step, step_type: StepType, cause: Exception) -> StepError:
        """End the item's step with an error, unless it has ended. Returns the error."""
        if isinstance(cause, Unwritable):
            await self.forget_unwritten(cause)
        error = as_error(cause)
        has_ended = self.current is None and self.next_step_no != step.number
        step = step if has_ended else self.current or self._enter(step_type)
        row = self._item_row(step, error, cause)
        self.log_warning(f"{step.type}, item {self._position}: {error}")
        ended = step.map_error(error)
        if has_ended:
            await self.store.warn(row)
            return ended
        step.end({}, ended)
        lines = [] if isinstance(error, Cancelled) else [LogLine("warning", step.type, error.safe_message)]
        await self.store.write(step, self.lines.failed(step, error, lines), ops=row)
        self.current = None
        return ended

    def _item_row(self, step: Step, error: SafelightError, cause: Exception) -> OpsError:
        row = self.ops_row(error, step=step, cause=cause, level="warn", extra={"item": self._position})
        return replace(row, id=f"{self.generation_id}:{step.number}:item")

    # --- what cannot be written, and what operators are told ----------------------------------------------------------

    def note_engine(self, adapter: str, model: str) -> None:
        """Note the adapter and model of the current step before it begins: a failure from then on is theirs."""
        if self.current:
            self.current.provider, self.current.model = adapter, model

    async def forget_unwritten(self, error: Unwritable) -> None:
        """Go back to what is written of the variables and of the step: an end can always be written. Operators are told
        with the row that tells how it ended."""
        dropped = ["mg_mma_vars"]
        self._unwritten = {"message": excerpt(str(error), MESSAGE_CHARS_MAX), "dropped": dropped}
        await self.store.forget_unwritten()
        if self.current:
            dropped.append(f"step {self.current.number}")
            self.current.usage = NO_USAGE
            self.current.payload = (await self.store.written_step(self.current)).payload
            if self._item_no is not None:
                self.current.payload.item = self._position

    def ops_row(
        self,
        error: SafelightError,
        *,
        step: Step | None = None,
        cause: Exception | None = None,
        level: Literal["error", "warn"] = "error",
        extra: Json | None = None,
    ) -> OpsError:
        """The row of the ops plane for something that went wrong in a step of this run."""
        step = step or self.current
        more = ({"unwritten": self._unwritten} if self._unwritten else {}) | (extra or {})
        row = operator_row(error, cause or error, step, self.request, level=level, extra=more)
        return replace(
            row,
            pass_id=self.order.pass_id,
            generation_id=self.generation_id,
            retry={"attempt": step.tries if step else 1, "max": self.policy.attempts_max},
            at=self.store.clock.now(),
        )

    def _storage_row(self, step: Step, error: StorageError) -> OpsError:
        told, extra = storage_away(step, error)
        row = self.ops_row(told, step=step, cause=error, level="warn", extra=extra)
        return replace(row, id=f"{self.generation_id}:{step.number}:storage")
