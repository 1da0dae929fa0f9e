"""Steps that run side by side: one step for each item of a list, each with its own row, retries, deadline and end."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, Self, TypeVar

from safelight import telemetry
from safelight.db.connection.database import TRANSIENT_ERRORS, Unwritable
from safelight.db.generations.runs import StepRow
from safelight.domain.errors.base import Cancelled, InvalidInput, LeaseLost, SafelightError
from safelight.domain.job_log import LogLine
from safelight.domain.steps import LAST_LOOK_OF, StepType
from safelight.pipelines.engine import step_payload
from safelight.pipelines.engine.attempts import StepAttempts, as_error
from safelight.pipelines.engine.snooze import Snooze

Json = dict[str, Any]
Item = TypeVar("Item")
Value = TypeVar("Value")

ITEMS_MAX = 200  # of one list
STEPS_AT_ONCE_MAX = 16
# From so many lost workers on, items go one by one: one that kills its worker must not take the others down for good.
TAKEOVERS_TOGETHER_MAX = 2


@dataclass(frozen=True, slots=True)
class ItemResult(Generic[Item, Value]):
    """The end of the step of one item: with a value, or with the error that its row holds."""

    item: Item
    position: int
    value: Value | None = None
    error: Json | None = None


@dataclass(frozen=True, slots=True)
class _Snoozed:
    """An item that has nothing to do before this time."""

    until: datetime


class ParallelSteps(StepAttempts):
    """`item_no` is the number of the only step that a run of one item has."""

    item_no: int | None = None
    _position = 0

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
            Cancelled: on request; items that had ended stay as they are.
        """
        _check(step_type, items, at_once)
        first = self.next_step_no
        self.next_step_no += len(items)
        slots = asyncio.Semaphore(at_once if self.record.takeovers < TAKEOVERS_TOGETHER_MAX else 1)
        runs = [self._run_of_item(first, position) for position in range(len(items))]
        interruptions: list[Exception] = []
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(run._end_in(slots, interruptions, step_type, item, make))
                for run, item in zip(runs, items, strict=True)
            ]
        self.model = self.model or next((run.model for run in runs if run.model), None)
        return self._results([task.result() for task in tasks], interruptions)

    def _run_of_item(self, first: int, position: int) -> Self:
        run = copy(self)
        run.current, run.item_no, run.next_step_no, run._position = None, first + position, first + position, position
        return run

    def _results(self, ends: Sequence[Any], interruptions: Sequence[Exception]) -> list[ItemResult[Item, Value]]:
        for lost in sorted(interruptions, key=lambda error: not isinstance(error, LeaseLost)):
            raise lost
        if due := [end.until for end in ends if isinstance(end, _Snoozed)]:
            raise Snooze(max((min(due) - self.record.clock.now()).total_seconds(), 0.0))
        for end in ends:
            if isinstance(end, Cancelled):
                raise end
        return list(ends)

    # --- one item -----------------------------------------------------------------------------------------------------

    async def _end_in(
        self,
        slots: asyncio.Semaphore,
        interruptions: list[Exception],
        step_type: StepType,
        item: Item,
        make: Callable[[Self, Item], Awaitable[Value]],
    ) -> ItemResult[Item, Value] | _Snoozed | Cancelled | None:
        """The end of the item, once there is a slot; None if the whole run is interrupted."""
        async with slots:
            if interruptions:
                return None
            try:
                return await self._made(step_type, item, make)
            except Snooze as snooze:
                return _Snoozed(self.record.clock.now() + timedelta(seconds=snooze.seconds))
            except Cancelled as cancelled:
                return cancelled
            except (LeaseLost, *TRANSIENT_ERRORS) as error:
                interruptions.append(error)
                return None

    async def _made(
        self, step_type: StepType, item: Item, make: Callable[[Self, Item], Awaitable[Value]]
    ) -> ItemResult[Item, Value]:
        step = self._peek(step_type)
        if step.payload["error"]:
            return self._failed(item, step.payload["error"])
        self._await_retry(step)
        [made] = await asyncio.gather(make(self, item), return_exceptions=True)
        if not isinstance(made, BaseException) and self.next_step_no == self.item_no:
            made = SafelightError(f"item {self._position} of {step_type} made no step")
        if not isinstance(made, BaseException):
            return ItemResult(item, self._position, made)
        if isinstance(made, (Snooze, LeaseLost, *TRANSIENT_ERRORS)) or not isinstance(made, Exception):
            raise made
        return self._failed(item, await self._fail(step_type, made))

    def _failed(self, item: Item, error: Json) -> ItemResult[Item, Value]:
        if error["type"] == Cancelled.__name__:
            raise Cancelled("stopped on request")
        return ItemResult(item, self._position, error=error)

    def _peek(self, step_type: StepType) -> StepRow:
        assert self.item_no is not None
        return self.record.step(self.item_no, step_type)

    def _await_retry(self, step: StepRow) -> None:
        """Raises Snooze if another item woke the run before this one's next attempt is due."""
        seconds = 0.0 if step_payload.has_ended(step) else step_payload.seconds_until_retry(step)
        if seconds and not self.record.cancelling:
            raise Snooze(seconds)

    async def _fail(self, step_type: StepType, cause: Exception) -> Json:
        """End the item's step with an error, unless it has ended. Returns the error."""
        if isinstance(cause, Unwritable):
            await self.forget_unwritten(cause)
        error = as_error(cause)
        has_ended = self.current is None and self.next_step_no != self.item_no
        step = self._peek(step_type) if has_ended else self.current or self._enter(step_type)
        row = self.ops_row(error, step=step, cause=cause, level="warn", extra={"item": self._position})
        row = replace(row, id=f"{self.generation_id}:{step.number}:item")
        telemetry.warning(
            telemetry.Tag.GENERATION_PROCESSING,
            f"{step.type}, item {self._position}: {error}",
            generation_id=self.generation_id,
        )
        ended = step_payload.map_error(step, error)
        if has_ended:
            await self.record.warn(row)
            return ended
        step_payload.close(step, {}, ended)
        lines = [] if isinstance(error, Cancelled) else [LogLine("warning", step.type, error.safe_message)]
        await self.record.write(step, lines, ops=row)
        self.current = None
        return ended

    def _enter(self, step_type: StepType) -> StepRow:
        if self.item_no is None:
            return super()._enter(step_type)
        if self.next_step_no != self.item_no:
            raise SafelightError(f"item {self._position} has more than one step; {step_type} is one too many")
        step = super()._enter(step_type)
        step_payload.note_item(step, self._position)
        return step


def _check(step_type: StepType, items: Sequence[Any], at_once: int) -> None:
    if not 1 <= at_once <= STEPS_AT_ONCE_MAX:
        raise InvalidInput(f"at_once must be between 1 and {STEPS_AT_ONCE_MAX}, not {at_once}")
    if len(items) > ITEMS_MAX:
        raise InvalidInput(f"at most {ITEMS_MAX} items can be made side by side, not {len(items)}")
    if step_type in LAST_LOOK_OF:
        raise InvalidInput(f"{step_type} makes the one result of a generation, and is no step of many")
