"""A worker process that kills itself, without a last word, at a chosen statement."""

import asyncio
import os
import signal
import time
from typing import Any

import psycopg

from safelight.app import App
from safelight.config import Settings
from safelight.domain.flows import Flow
from safelight.pipelines.worker import FLOWS
from safelight.providers.simulated import adapter

FINAL = "select mg_mma_status in ('done', 'error', 'suggested') from mega_generations where mg_id = %s"
SECONDS_MAX = 60


class Countdown:
    """Kills the process before or after the statement with this number, from 1."""

    def __init__(self, fatal: int, moment: str) -> None:
        self._fatal = fatal
        self._moment = moment
        self._begun = 0

    def before(self) -> int:
        self._begun += 1
        self._strike(self._begun, "before")
        return self._begun

    def after(self, number: int) -> None:
        self._strike(number, "after")

    def _strike(self, number: int, moment: str) -> None:
        if (number, moment) == (self._fatal, self._moment):
            os.kill(os.getpid(), signal.SIGKILL)


def count_statements(countdown: Countdown) -> None:
    """Every statement of this process, and the commands that begin and end its transactions."""
    execute, command = psycopg.AsyncCursor.execute, psycopg.AsyncConnection._exec_command

    async def counted_execute(self: Any, *arguments: Any, **more: Any) -> Any:
        number = countdown.before()
        result = await execute(self, *arguments, **more)
        countdown.after(number)
        return result

    def counted_command(self: Any, *arguments: Any, **more: Any) -> Any:
        number = countdown.before()
        result = yield from command(self, *arguments, **more)
        countdown.after(number)
        return result

    psycopg.AsyncCursor.execute = counted_execute  # type: ignore[method-assign,assignment]
    psycopg.AsyncConnection._exec_command = counted_command  # type: ignore[method-assign]


def work(settings: dict[str, Any], generation_id: str, number: int, moment: str, flow_of: Any = None) -> None:
    """Run the generation as a worker does; end when it is final, or at the chosen statement. `flow_of` makes the flow
    that is told for it, from the database's address."""
    if flow_of:
        FLOWS[1][Flow.STILL_CREATE] = flow_of(settings["database_url"])  # type: ignore[index]
    adapter.CHECK_AFTER_SECONDS = 0.02
    count_statements(Countdown(number, moment))
    app = App(Settings(**settings))

    async def run() -> None:
        stopping = asyncio.Event()
        working = asyncio.create_task(app.work(stopping))
        await asyncio.to_thread(wait_until_final, app.dsn, generation_id)
        stopping.set()
        await working

    asyncio.run(run())
    os._exit(0)


def wait_until_final(dsn: str, generation_id: str) -> None:
    give_up = time.monotonic() + SECONDS_MAX
    with psycopg.connect(dsn, autocommit=True) as conn:
        while conn.execute(FINAL, [f"generation:{generation_id}"]).fetchone() != (True,):
            if time.monotonic() > give_up:
                os._exit(1)
            time.sleep(0.01)
