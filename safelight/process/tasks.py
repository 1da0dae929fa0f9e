"""Ending of background tasks."""

import asyncio
from typing import Any


async def end_tasks(*tasks: asyncio.Task[Any], seconds: float) -> bool:
    """Cancel the tasks and wait for their ends, `seconds` at most. Returns whether all have ended."""
    for task in tasks:
        task.cancel()
    _, pending = await asyncio.wait(tasks, timeout=seconds)
    return not pending
