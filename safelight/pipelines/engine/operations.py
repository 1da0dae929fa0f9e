"""Operations at a provider: a start that may cost money is never made twice without our knowing (docs/states.md)."""

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

from safelight.db.operations.ops_rows import OpsError
from safelight.domain.errors.base import (
    Cancelled,
    ContentRefused,
    DeadlineExceeded,
    LeaseLost,
    LookupUnsupported,
    OutcomeUnknown,
    ProviderError,
    ProviderRejected,
    ProviderTimeout,
    SafelightError,
    WorkerLost,
)
from safelight.domain.errors.codes import public_code
from safelight.domain.job_log import LogLine
from safelight.pipelines.engine.plans import OperationPlan, Outcome
from safelight.pipelines.engine.retry import CALL_SECONDS_MAX, LOOK_AGAIN_SECONDS, STEP_SECONDS_MAX
from safelight.pipelines.engine.snooze import Snooze, bounded
from safelight.pipelines.engine.step import MESSAGE_CHARS_MAX, Step
from safelight.pipelines.engine.step_payload import StartOutcome, StepPayload, StopAnswer, StoredOperation
from safelight.providers.base import CancelResult, Operation, Pending
from safelight.redaction import excerpt

if TYPE_CHECKING:
    from safelight.pipelines.engine.run import Run

Json = dict[str, Any]


class OperationRun:
    """One step of a run that has a provider at work."""

    def __init__(self, run: "Run", step: Step, plan: OperationPlan) -> None:
        self._run, self._step, self._plan = run, step, plan
        self._store, self._policy = run.store, run.policy

    @property
    def _payload(self) -> StepPayload:
        return self._step.payload

    async def outcome(self) -> Outcome:
        """Start the work, or look at what was started. Returns the outcome once there is one.

        Raises:
            Snooze: the provider is still at it.
        """
        try:
            outcome = await self._outcome()
        except LeaseLost:
            raise
        except SafelightError:
            await self._recheck_abandoned_starts()
            raise
        await self._recheck_abandoned_starts()
        return outcome

    async def _outcome(self) -> Outcome:
        operation = await self._operation()
        try:
            answer = await self._run.attempt(self._step, self._plan.check(operation))
        except (ProviderRejected, ContentRefused):
            self._run.log("🎯", f"{self._plan.service} result received: status=failed")
            raise
        if isinstance(answer, Pending):
            raise await self._wait(operation, answer.check_after_seconds)
        self._run.log("🎯", f"{self._plan.service} result received: status=completed ({len(answer.outputs)} files)")
        return await self._run.attempt(self._step, self._plan.complete(answer), seconds=None)

    async def _operation(self) -> Operation:
        """The operation under way: the one that is stored, the one that a lost answer told of, or a new one."""
        stored = self._payload.operation
        if stored:
            if self._step.is_between_attempts:
                self._step.open_attempt()
            under_way = self._step.seconds_since_start
            operation = Operation(stored.handle, stored.check_after_seconds, stored.warnings, under_way)
            await self._stop_if_deadly(operation)
        else:
            operation = await self._reconcile_lost_start() or await self._start()
        if self._store.cancelling and not self._payload.stopping:
            await self._stop(operation, Cancelled("stopped on request"))
        elif not stored and operation.check_after_seconds > 0:
            raise self._until_next_look(operation.check_after_seconds)
        return operation

    # --- starts -------------------------------------------------------------------------------------------------------

    async def _start(self) -> Operation:
        self._run.raise_if_cancelled()
        self._run.raise_if_deadly(self._step)
        begin = self._run.begin(self._step, self._plan)
        key = self._step.add_start(self._run.generation_id)
        try:
            await self._store.write(self._step, begin, deadline_seconds=STEP_SECONDS_MAX, admit=self._plan.admit)
        except ProviderError:
            self._step.drop_start()
            raise
        seconds = self._policy.start_seconds - self._step.seconds_since_start
        if seconds <= 0:  # held up so long that another worker may start it by now
            raise Snooze(0)
        self._run.log("🤖", f"Submitting to {self._plan.service} service ({self._plan.model})")
        try:
            return await self._ask(key, seconds)
        except LeaseLost:
            await self._reconcile_after_lease_lost(key)
            raise

    async def _ask(self, key: str, seconds: float) -> Operation:
        start = self._step.last_start
        try:
            operation = await bounded(self._plan.start(key), seconds, OutcomeUnknown)
        except OutcomeUnknown as error:
            start.outcome = StartOutcome.UNKNOWN
            text = "The answer did not come; checking whether it has begun."
            details = {"error": public_code(self._step.type, error), "attempt_key": key}
            pause = self._policy.pause(self._step.tries, key=key)
            raise await self._run.pause(self._step, error, text, details, pause) from error
        except SafelightError as error:
            start.outcome = StartOutcome.REFUSED
            raise await self._run.after(self._step, error) from error
        return await self._save_operation(operation)

    async def _save_operation(self, operation: Operation) -> Operation:
        start = self._step.last_start
        start.outcome, start.usd = StartOutcome.ACCEPTED, self._plan.usd
        self._payload.operation = StoredOperation(
            handle=operation.handle, check_after_seconds=operation.check_after_seconds, warnings=operation.warnings
        )
        await self._store.write(self._step, deadline_seconds=self._plan.seconds_max)
        return operation

    async def _reconcile_lost_start(self) -> Operation | None:
        """Find out about a start whose answer we never saw, because the answer or the worker was lost."""
        key = self._step.unsettled_start
        if key is None:
            return None
        try:
            operation = await self._look_up(key)
        except LookupUnsupported as error:
            await self._allow_duplicate_start(key, error)
            return None
        if operation is None:
            self._mark_not_accepted()
            return None
        self._run.log("🔄", f"{self._plan.provider} had accepted the start whose answer was lost")
        return await self._save_operation(operation)

    async def _look_up(self, key: str) -> Operation | None:
        """Raises LookupUnsupported where the provider cannot say, or could not after several tries."""
        start = self._step.last_start
        try:
            return await bounded(self._plan.look_up(key, start.noted_at), CALL_SECONDS_MAX)
        except LookupUnsupported:
            raise
        except ProviderError as error:
            start.look_ups_failed += 1
            delay = self._policy.delay(error, start.look_ups_failed, key=key)
            if delay is None:
                raise LookupUnsupported(f"the look-up failed: {error}") from error
            await self._store.write(self._step)
            raise Snooze(delay) from error

    def _mark_not_accepted(self) -> None:
        """Settle a start that the provider does not know of, once it can no longer be on its way.

        Raises:
            Snooze: until it is looked up again.
            ProviderTimeout: that was the last attempt.
        """
        self._run.raise_if_cancelled()
        left = self._policy.arrival_seconds - self._step.seconds_since_start
        if left > 0:
            self._run.log(
                "⏳", f"{self._plan.provider} does not know the start; it may still arrive within {left:.0f} s"
            )
            raise Snooze(min(left, LOOK_AGAIN_SECONDS))
        self._step.last_start.outcome = StartOutcome.NOT_ACCEPTED
        if self._step.tries >= self._policy.attempts_max:
            raise ProviderTimeout(
                f"{self._plan.provider} got none of {self._policy.attempts_max} starts",
                provider_http_status=self._step.last_http_status,
            )

    async def _allow_duplicate_start(self, key: str, error: SafelightError) -> None:
        """Allow a second start, once, and say so where operators look: the first may be paid too."""
        self._step.last_start.outcome = StartOutcome.UNKNOWN
        self._run.raise_if_cancelled()
        if self._payload.possible_double_spend:
            raise OutcomeUnknown("two starts got no answer and cannot be looked up") from error
        line = LogLine("warning", self._step.type, "We could not tell whether it had begun, so it is begun again.")
        row = self._double_charge_warning(key, f"{key} may be paid for; it is started again")
        await self._store.write(self._step, [line], ops=row)

    def _double_charge_warning(self, key: str, text: str, stopping: StopAnswer | None = None) -> OpsError:
        """Note in the step that the start may be paid beside another. Returns what operators are told, once a key."""
        step = self._step
        at_risk: Json = {"attempt_key": key, "provider": step.provider, "model": step.model, "at": step.clock.stamp()}
        at_risk |= {"stopping": stopping.to_json()} if stopping else {}
        self._payload.possible_double_spend = self._payload.possible_double_spend or at_risk
        error = OutcomeUnknown(text, code="POSSIBLE_DOUBLE_START")
        row = self._run.ops_row(error, step=step, level="warn", extra={"possible_double_spend": at_risk})
        return replace(row, id=key)

    # --- starts that had been given up --------------------------------------------------------------------------------

    async def _reconcile_after_lease_lost(self, key: str) -> None:
        """The lease was lost during `start`. If the new owner wrote this start off, cancel it and report a possible
        double charge."""
        if self._step.last_start.outcome == StartOutcome.REFUSED:
            return
        if (await self._store.written_step(self._step)).awaits_start(key):
            return
        accepted = self._payload.operation
        if accepted:
            row = await self._cancel_orphaned_operation(key, Operation(accepted.handle))
        else:
            row = self._double_charge_warning(
                key, f"{key} was asked for when it had been given up; its answer was lost"
            )
        await self._store.warn(row)

    async def _recheck_abandoned_starts(self) -> None:
        """Look up abandoned starts once more; cancel and report any that the provider accepted late."""
        for start in self._step.given_up_starts:
            key = start.attempt_key
            try:
                operation = await bounded(self._plan.look_up(key, start.noted_at), CALL_SECONDS_MAX)
            except ProviderError as error:
                text = f"The abandoned start {key} could not be looked up again: {error}"
                await self._store.write(self._step, ops=self._double_charge_warning(key, text))
                continue
            if operation:
                start.outcome = StartOutcome.ACCEPTED
                row = await self._cancel_orphaned_operation(key, operation)
                await self._store.write(self._step, ops=row)

    async def _cancel_orphaned_operation(self, key: str, operation: Operation) -> OpsError:
        """Ask for work to be stopped that nobody waits for. Returns what operators are told."""
        stopping = await self._cancel_at_provider(operation)
        text = f"{key} was accepted when it had been given up; asked to stop: {stopping.answer}"
        return self._double_charge_warning(key, text, stopping)

    # --- waiting and stopping -----------------------------------------------------------------------------------------

    async def _wait(self, operation: Operation, seconds: float) -> Exception:
        """Until the operation is looked at again; past the deadline of the attempt, or of the model, it is stopped
        instead."""
        if self._attempt_seconds_left <= 0:
            return await self._stop_attempt(operation)
        if not self._store.deadline_passed(self._step):
            return self._until_next_look(seconds)
        if not self._payload.stopping:
            text = f"{self._plan.provider} was still at work after {self._plan.seconds_max:.0f} s"
            await self._stop(operation, DeadlineExceeded(text))
            return Snooze(seconds)
        raise DeadlineExceeded(f"{self._plan.provider} had a result too late")

    def _until_next_look(self, seconds: float) -> Snooze:
        """The pause until the next look: the model's deadline is one too."""
        seconds = max(seconds, self._plan.check_every_seconds)
        left = min(self._store.seconds_left(self._step) or inf, self._attempt_seconds_left)
        return Snooze(min(seconds, max(left, 0.0)))

    @property
    def _attempt_seconds_left(self) -> float:
        """Seconds until the attempt has taken as long as it may; infinite where it cannot be stopped."""
        if self._plan.attempt_seconds is None or self._payload.late_attempt:
            return inf
        return self._plan.attempt_seconds - self._step.seconds_since_start

    async def _stop_attempt(self, operation: Operation) -> Exception:
        """Stop an attempt that takes too long. Where the provider has stopped it, the next one may begin; else it goes
        on until the model's deadline, since another start would be paid beside it."""
        stopping = await self._cancel_at_provider(operation)
        if stopping.answer != CancelResult.STOPPED:
            self._payload.late_attempt = stopping
            await self._store.write(self._step)
            return Snooze(0)
        self._step.last_start.outcome, self._payload.operation = StartOutcome.STOPPED, None
        text = f"{self._plan.provider} was still at work after {self._plan.attempt_seconds:.0f} s"
        return await self._run.after(self._step, ProviderTimeout(text))

    async def _stop_if_deadly(self, operation: Operation) -> None:
        """Stop the work at the provider before a step ends that keeps killing its worker."""
        try:
            self._run.raise_if_deadly(self._step)
        except WorkerLost:
            self._payload.stopping = self._payload.stopping or await self._cancel_at_provider(operation)
            raise

    async def _stop(self, operation: Operation, reason: SafelightError) -> None:
        """Ask the provider to stop. Returns where it is too late for that: the result is there, or will be.

        Raises:
            SafelightError: the reason; the provider has stopped, or will not, and the run ends here.
        """
        self._payload.stopping = stopping = await self._cancel_at_provider(operation)
        if stopping.answer != CancelResult.TOO_LATE:
            raise reason
        line = LogLine("info", self._step.type, "It was too late to stop: the result is there.")
        await self._store.write(self._step, [line])

    async def _cancel_at_provider(self, operation: Operation) -> StopAnswer:
        """Ask the provider to stop. Returns its answer."""
        try:
            answer = await bounded(self._plan.cancel(operation), CALL_SECONDS_MAX)
        except ProviderError as error:
            message = excerpt(str(error), MESSAGE_CHARS_MAX)
            return StopAnswer(answer="failed", message=message, at=self._store.clock.stamp())
        return StopAnswer(answer=answer, at=self._store.clock.stamp())
