"""Runs one generation's story, step by step, so that it can stop anywhere and go on elsewhere.

The step rows are the checkpoints: a step whose row has ended is skipped and its output read back. Every write is
fenced by the lease's number; a worker that has lost the lease writes nothing more.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from safelight.db.generations.runs import Ending, StepRow
from safelight.db.operations.ops_rows import OpsError
from safelight.domain.errors.base import (
    Cancelled,
    DeadlineExceeded,
    LeaseLost,
    LookupUnsupported,
    OutcomeUnknown,
    ProviderError,
    ProviderTimeout,
    SafelightError,
    StorageError,
    WorkerLost,
)
from safelight.domain.errors.codes import public_code
from safelight.domain.job_log import LogLine
from safelight.domain.steps import StepType
from safelight.pipelines.engine import step_payload
from safelight.pipelines.engine.parallel import ParallelSteps
from safelight.pipelines.engine.plans import OperationPlan, Outcome, Plan
from safelight.pipelines.engine.retry import CALL_SECONDS_MAX
from safelight.pipelines.engine.run_store import STEP_SECONDS_MAX
from safelight.pipelines.engine.snooze import Snooze, bounded
from safelight.providers.base import CancelResult, Operation, Pending
from safelight.redaction import excerpt

Json = dict[str, Any]

LOOK_AGAIN_SECONDS = 10.0


class Run(ParallelSteps):
    """The verbs a story is told with, and what it may read: the order, the variables, the preferences."""

    async def step(self, step_type: StepType, plan: Callable[[], Awaitable[Plan]]) -> Json:
        """Run a step, unless its row has ended already. Returns its output."""
        step = self._enter(step_type)
        if step_payload.has_ended(step):
            return self._leave(step)
        self._raise_if_cancelled()
        self._must_not_kill_more(step)
        try:
            planned = await plan()
        except StorageError as error:
            raise await self._cannot_begin(step, error) from error
        self._begin(step, planned.input, planned.provider, planned.model)
        begin = self._begin_lines(step, planned.begin_line)
        if planned.effect:
            await self.record.write(step, begin, deadline_seconds=STEP_SECONDS_MAX)
            self._raise_if_cancelled()
            begin = []
        outcome = await self._attempt(step, planned.act())
        return await self._end(step, outcome, begin)

    async def operation(self, step_type: StepType, plan: Callable[[Json | None], Awaitable[OperationPlan]]) -> Json:
        """Start work at a provider, or look at what was started. Returns the step's output once there is one.

        Raises:
            Snooze: the provider is still at it. The handle is stored; the next run goes on from here.
        """
        step = self._enter(step_type)
        if step_payload.has_ended(step):
            return self._leave(step)
        planned = await plan(step_payload.committed_input(step))
        step.provider, step.model = planned.provider, planned.model
        step.adapter, step.vendor = planned.adapter, planned.vendor
        self.model = planned.model
        try:
            outcome = await self._result_of(step, planned)
        except LeaseLost:
            raise
        except SafelightError:
            await self._recheck_abandoned_starts(step, planned)
            raise
        await self._recheck_abandoned_starts(step, planned)
        return await self._end(step, outcome, [])

    def set(self, path: str, value: Any) -> None:
        """Set a variable; the next write stores it."""
        self.record.set(path, value)

    async def finish(self, ending: Ending) -> None:
        await self.record.finish(ending)

    # --- operations: a start that may cost money is never made twice without our knowing ------------------------------

    async def _result_of(self, step: StepRow, planned: OperationPlan) -> Outcome:
        operation = await self._operation_of(step, planned)
        answer = await self._attempt(step, planned.check(operation))
        if isinstance(answer, Pending):
            raise await self._wait(step, planned, operation, answer.check_after_seconds)
        self._say("🎯", f"{planned.provider} result received: {len(answer.outputs)} file(s)")
        return await self._attempt(step, planned.complete(answer), seconds=None)

    async def _operation_of(self, step: StepRow, planned: OperationPlan) -> Operation:
        """The operation under way: the one that is stored, the one that a lost answer told of, or a new one."""
        stored = step.payload.get("operation")
        if stored:
            if step_payload.is_between_attempts(step):
                self._open_attempt(step)
            operation = Operation(**stored, under_way_seconds=step_payload.seconds_since_start(step))
            await self._let_go_if_deadly(step, planned, operation)
        else:
            operation = await self._found(step, planned) or await self._started(step, planned)
        if self.record.cancelling and "stopping" not in step.payload:
            await self._stop(step, planned, operation, Cancelled("stopped on request"))
        elif not stored and operation.check_after_seconds > 0:
            raise self._pause_of(planned, operation.check_after_seconds)
        return operation

    async def _let_go_if_deadly(self, step: StepRow, planned: OperationPlan, operation: Operation) -> None:
        """Stop the work at the provider before a step ends that keeps killing its worker."""
        try:
            self._must_not_kill_more(step)
        except WorkerLost:
            if "stopping" not in step.payload:
                step.payload["stopping"] = await self._cancel_at_provider(planned, operation)
            raise

    async def _found(self, step: StepRow, planned: OperationPlan) -> Operation | None:
        """Find out about a start whose answer we never saw, because the answer or the worker was lost."""
        key = step_payload.unsettled_start(step)
        if key is None:
            return None
        try:
            operation = await self._look_up(step, planned, key)
        except LookupUnsupported as error:
            await self._risk(step, key, error)
            return None
        if operation is None:
            self._give_up(step, planned)
            return None
        self._say("🔄", f"{planned.provider} had accepted the start whose answer was lost")
        return await self._keep(step, planned, operation)

    def _give_up(self, step: StepRow, planned: OperationPlan) -> None:
        """Settle a start that the provider does not know of, once it can no longer be on its way.

        Raises:
            Snooze: until it is looked up again.
            ProviderTimeout: that was the last attempt.
        """
        self._raise_if_cancelled()
        left = self.policy.arrival_seconds - step_payload.seconds_since_start(step)
        if left > 0:
            self._say("⏳", f"{planned.provider} does not know the start; it may still arrive within {left:.0f} s")
            raise Snooze(min(left, LOOK_AGAIN_SECONDS))
        step_payload.settle_start(step, step_payload.NOT_ACCEPTED)
        if step_payload.tries(step) >= self.policy.attempts_max:
            raise ProviderTimeout(
                f"{planned.provider} got none of {self.policy.attempts_max} starts",
                provider_http_status=step_payload.last_http_status(step),
            )

    async def _look_up(self, step: StepRow, planned: OperationPlan, key: str) -> Operation | None:
        """Raises LookupUnsupported where the provider cannot say, or could not after several tries."""
        try:
            return await bounded(
                planned.look_up(key, step_payload.noted_at(step.payload["starts"][-1])), CALL_SECONDS_MAX
            )
        except LookupUnsupported:
            raise
        except ProviderError as error:
            delay = self.policy.delay(error, step_payload.count_look_up(step), key=key)
            if delay is None:
                raise LookupUnsupported(f"the look-up failed: {error}") from error
            await self.record.write(step, [])
            raise Snooze(delay) from error

    async def _risk(self, step: StepRow, key: str, error: SafelightError) -> None:
        """Allow a second start, once, and say so where operators look: the first may be paid too."""
        step_payload.settle_start(step, step_payload.UNKNOWN)
        self._raise_if_cancelled()
        if "possible_double_spend" in step.payload:
            raise OutcomeUnknown("two starts got no answer and cannot be looked up") from error
        line = LogLine("warning", step.type, "We could not tell whether it had begun, so it is begun again.")
        row = self._double_charge_warning(step, key, f"{key} may be paid for; it is started again")
        await self.record.write(step, [line], ops=row)

    def _double_charge_warning(self, step: StepRow, key: str, text: str, stopping: Json | None = None) -> OpsError:
        """Note in the step that the start may be paid beside another. Returns what operators are told, once a key."""
        at_risk: Json = {"attempt_key": key, "provider": step.provider, "model": step.model, "at": step.clock.stamp()}
        at_risk |= {"stopping": stopping} if stopping else {}
        step.payload.setdefault("possible_double_spend", at_risk)
        error = OutcomeUnknown(text, code="POSSIBLE_DOUBLE_START")
        row = self.ops_row(error, step=step, level="warn", extra={"possible_double_spend": at_risk})
        return replace(row, id=key)

    async def _started(self, step: StepRow, planned: OperationPlan) -> Operation:
        self._raise_if_cancelled()
        self._must_not_kill_more(step)
        self._begin(step, planned.input, planned.provider, planned.model)
        key = step_payload.add_start(step, self.generation_id)
        begin = self._begin_lines(step, planned.begin_line)
        try:
            await self.record.write(step, begin, deadline_seconds=STEP_SECONDS_MAX, admit=planned.admit)
        except ProviderError:
            step_payload.drop_start(step)
            raise
        seconds = self.policy.start_seconds - step_payload.seconds_since_start(step)
        if seconds <= 0:  # held up so long that another worker may start it by now
            raise Snooze(0)
        self._say("🤖", f"Submitting to {planned.provider} ({planned.model})")
        try:
            return await self._ask(step, planned, key, seconds)
        except LeaseLost:
            await self._reconcile_after_lease_lost(step, planned, key)
            raise

    async def _ask(self, step: StepRow, planned: OperationPlan, key: str, seconds: float) -> Operation:
        try:
            operation = await bounded(planned.start(key), seconds, OutcomeUnknown)
        except OutcomeUnknown as error:
            step_payload.settle_start(step, step_payload.UNKNOWN)
            text = "The answer did not come; checking whether it has begun."
            pause = self.policy.pause(step_payload.tries(step), key=key)
            await self._pause(step, error, text, {"error": public_code(step.type, error), "attempt_key": key}, pause)
            raise Snooze(pause) from error
        except SafelightError as error:
            step_payload.settle_start(step, step_payload.REFUSED)
            raise await self._after(step, error) from error
        return await self._keep(step, planned, operation)

    async def _reconcile_after_lease_lost(self, step: StepRow, planned: OperationPlan, key: str) -> None:
        """We were taken over while we asked. A start that whoever goes on has given up may be paid all the same."""
        if step_payload.was_refused(step) or step_payload.is_awaited(await self.record.written_step(step), key):
            return
        accepted = step.payload.get("operation")
        if accepted:
            row = await self._cancel_orphaned_operation(step, planned, key, Operation(**accepted))
        else:
            row = self._double_charge_warning(
                step, key, f"{key} was asked for when it had been given up; its answer was lost"
            )
        await self.record.warn(row)

    async def _recheck_abandoned_starts(self, step: StepRow, planned: OperationPlan) -> None:
        """Before the step ends: has a start arrived after all that was given up?"""
        for start in step_payload.given_up_starts(step):
            key = start["attempt_key"]
            try:
                operation = await bounded(planned.look_up(key, step_payload.noted_at(start)), CALL_SECONDS_MAX)
            except ProviderError as error:
                text = f"The abandoned start {key} could not be looked up again: {error}"
                await self.record.write(step, [], ops=self._double_charge_warning(step, key, text))
                continue
            if operation:
                start["outcome"] = step_payload.ACCEPTED
                await self.record.write(
                    step, [], ops=await self._cancel_orphaned_operation(step, planned, key, operation)
                )

    async def _cancel_orphaned_operation(
        self, step: StepRow, planned: OperationPlan, key: str, operation: Operation
    ) -> OpsError:
        """Ask for work to be stopped that nobody waits for. Returns what operators are told."""
        stopping = await self._cancel_at_provider(planned, operation)
        text = f"{key} was accepted when it had been given up; asked to stop: {stopping['answer']}"
        return self._double_charge_warning(step, key, text, stopping)

    async def _keep(self, step: StepRow, planned: OperationPlan, operation: Operation) -> Operation:
        step_payload.settle_start(step, step_payload.ACCEPTED, usd=planned.usd)
        step.payload["operation"] = {
            "handle": operation.handle,
            "check_after_seconds": operation.check_after_seconds,
            "warnings": list(operation.warnings),
        }
        await self.record.write(step, [], deadline_seconds=planned.seconds_max)
        return operation

    async def _wait(self, step: StepRow, planned: OperationPlan, operation: Operation, seconds: float) -> Snooze:
        """Until the operation is looked at again; past the model's deadline it is stopped instead."""
        if not self.deadline_passed():
            return self._pause_of(planned, seconds)
        if "stopping" not in step.payload:
            late = DeadlineExceeded(f"{planned.provider} was still at work after {planned.seconds_max:.0f} s")
            await self._stop(step, planned, operation, late)
            return Snooze(seconds)
        raise DeadlineExceeded(f"{planned.provider} had a result too late")

    def _pause_of(self, planned: OperationPlan, seconds: float) -> Snooze:
        """Until the next look: the model's deadline is one too."""
        seconds, left = max(seconds, planned.check_every_seconds), self.record.seconds_left(self.current)
        return Snooze(seconds if left is None else min(seconds, max(left, 0.0)))

    async def _stop(self, step: StepRow, planned: OperationPlan, operation: Operation, reason: SafelightError) -> None:
        """Ask the provider to stop. Returns where it is too late for that: the result is there, or will be.

        Raises:
            SafelightError: the reason; the provider has stopped, or will not, and the run ends here.
        """
        step.payload["stopping"] = stopping = await self._cancel_at_provider(planned, operation)
        if stopping["answer"] != CancelResult.TOO_LATE:
            raise reason
        await self.record.write(step, [LogLine("info", step.type, "It was too late to stop: the result is there.")])

    async def _cancel_at_provider(self, planned: OperationPlan, operation: Operation) -> Json:
        """Ask the provider to stop. Returns its answer."""
        try:
            answer = await bounded(planned.cancel(operation), CALL_SECONDS_MAX)
        except ProviderError as error:
            return {
                "answer": "failed",
                "message": excerpt(str(error), step_payload.MESSAGE_CHARS_MAX),
                "at": self.record.clock.stamp(),
            }
        return {"answer": answer, "at": self.record.clock.stamp()}
