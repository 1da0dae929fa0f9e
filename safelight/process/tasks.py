"""Background tasks: periodic ones, and their end."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

Report = Callable[[Exception], None]


async def run_periodically(
    act: Callable[[], Awaitable[object]],
    *,
    every_seconds: float,
    transient: tuple[type[Exception], ...] = (),
    report: Report | None = None,
    wait_first: bool = False,
) -> None:
    """Call `act` again and again, with a pause after each call, until cancelled. An error of the types `transient` goes
    to `report`, and the loop goes on; any other error ends it. With `wait_first` the first call comes after a pause."""
    if wait_first:
        await asyncio.sleep(every_seconds)
    while True:
        try:
            await act()
        except transient as error:
            if report is None:
                raise
            report(error)
        await asyncio.sleep(every_seconds)


async def end_tasks(*tasks: asyncio.Task[Any], seconds: float) -> bool:
    """Cancel the tasks and wait for their ends, `seconds` at most. Returns True if all have ended."""
    for task in tasks:
        task.cancel()
    _, pending = await asyncio.wait(tasks, timeout=seconds)
    return not pending
