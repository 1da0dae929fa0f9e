"""Calls side by side, each of which may end, wait for later, be cancelled, or lose the whole run."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from safelight.db.connection.clock import DatabaseClock
from safelight.db.connection.database import TRANSIENT_ERRORS
from safelight.domain.errors.base import Cancelled, InvalidInput, LeaseLost
from safelight.domain.steps import RESULT_STEPS, StepType
from safelight.pipelines.engine.snooze import Snooze
from safelight.pipelines.engine.step_payload import StepError

Item = TypeVar("Item")
Value = TypeVar("Value")

ITEMS_MAX = 500  # of one list
STEPS_AT_ONCE_MAX = 16
# From so many lost workers on, items go one by one: one that kills its worker must not take the others down for good.
TAKEOVERS_TOGETHER_MAX = 2


@dataclass(frozen=True, slots=True)
class ItemResult(Generic[Item, Value]):
    """The end of the step of one item: with a value, or with the error that its row holds."""

    item: Item
    position: int
    value: Value | None = None
    error: StepError | None = None


def check_items(step_type: StepType, items: Sequence[Any], at_once: int) -> None:
    """Raises InvalidInput: such steps cannot run side by side."""
    if not 1 <= at_once <= STEPS_AT_ONCE_MAX:
        raise InvalidInput(f"at_once must be between 1 and {STEPS_AT_ONCE_MAX}, not {at_once}")
    if len(items) > ITEMS_MAX:
        raise InvalidInput(f"at most {ITEMS_MAX} items can be made side by side, not {len(items)}")
    if step_type in RESULT_STEPS:
        raise InvalidInput(f"{step_type} makes the one result of a generation, and is no step of many")


async def side_by_side(
    calls: Sequence[Callable[[], Awaitable[Value]]], at_once: int, clock: DatabaseClock
) -> list[Value]:
    """Make the calls, at most `at_once` of them at a time. Returns their values in order.

    Raises:
        LeaseLost, TRANSIENT_ERRORS: the run cannot go on here; calls under way have ended, and no other was begun.
        Snooze: until the first of the calls that wait is due; all others have ended.
        Cancelled: by one of them; all others have ended.
    """
    slots = asyncio.Semaphore(at_once)
    interruptions: list[Exception] = []
    wake_ups: list[datetime] = []
    cancelled: list[Cancelled] = []

    async def end(call: Callable[[], Awaitable[Value]]) -> list[Value]:
        async with slots:
            if interruptions:
                return []
            try:
                return [await call()]
            except Snooze as snooze:
                wake_ups.append(clock.now() + timedelta(seconds=snooze.seconds))
            except Cancelled as error:
                cancelled.append(error)
            except (LeaseLost, *TRANSIENT_ERRORS) as error:
                interruptions.append(error)
            return []

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(end(call)) for call in calls]
    for lost in sorted(interruptions, key=lambda error: not isinstance(error, LeaseLost)):
        raise lost
    if wake_ups:
        raise Snooze(max((min(wake_ups) - clock.now()).total_seconds(), 0.0))
    for error in cancelled:
        raise error
    return [value for task in tasks for value in task.result()]
