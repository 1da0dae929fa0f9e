"""A flow of eight steps side by side, whose provider keeps what it accepted in a table of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from unittest import mock

import psycopg

from safelight.domain.flows import Flow
from safelight.domain.statuses import Status
from safelight.domain.steps import StepType
from safelight.pipelines.engine.parallel import ItemResult
from safelight.pipelines.engine.plans import OperationPlan, Outcome, Plan
from safelight.pipelines.engine.run import Run
from safelight.pipelines.flows.media_steps import end
from safelight.pipelines.worker import FLOWS
from safelight.providers.base import CancelResult, Operation, OutputFile, Pending, Succeeded

ITEM = StepType.LIKE_HISTORY
ITEMS = 8
AT_ONCE = 4
OPERATIONS = 5  # the others ask
WORK_SECONDS = 0.05
TABLE = """
create schema if not exists outside;
create table if not exists outside.start (id serial primary key, attempt_key text not null, at timestamptz default now())
"""

Act = Callable[[int], Awaitable[Any]]  # what it returns is kept as a variable
Flows = Callable[[Any, Run], Awaitable[None]]


@contextmanager
def telling(flow: Flows) -> Iterator[None]:
    """Workers of this process tell this flow for every order of a still."""
    with mock.patch.dict(FLOWS[1], {Flow.STILL_CREATE: flow}):  # type: ignore[arg-type]
        yield


def asking(act: Act, results: list[ItemResult[int, Any]] | None = None, *, items: int = ITEMS) -> Flows:
    """Each item does `act`, sets a variable and says a line. The results are appended."""

    async def make(run: Run, item: int) -> Any:
        return await run.step(ITEM, lambda: asyncio.sleep(0, _question(item, act)))

    async def flow(_: Any, run: Run) -> None:
        made = await run.each(ITEM, range(items), make, AT_ONCE)
        if results is not None:
            results.extend(made)
        await end(run, Status.SUGGESTED, "Done.", prompt="a cup")

    return flow


def _question(item: int, act: Act) -> Plan:
    async def answered() -> Outcome:
        answer = await act(item)
        return Outcome(
            output={"item": item},
            variables={f"scans.item_{item}": answer or item},
            line=f"Item {item} is there.",
        )

    return Plan(input={"source": "a test"}, act=answered, begin_line=f"Item {item} begins.")


def mixed(dsn: str) -> Flows:
    """Five operations at the provider, and three questions to nobody."""
    provider = Provider(dsn)

    async def make(run: Run, item: int) -> Any:
        if item < OPERATIONS:
            return await run.operation(ITEM, lambda recorded: asyncio.sleep(0, provider.plan(item)))
        return await run.step(ITEM, lambda: asyncio.sleep(0, _question(item, lambda _: asyncio.sleep(WORK_SECONDS))))

    async def flow(_: Any, run: Run) -> None:
        results = await run.each(ITEM, range(ITEMS), make, AT_ONCE)
        assert [result.error for result in results] == [None] * ITEMS
        await end(run, Status.SUGGESTED, "Done.", prompt="a cup")

    return flow


class Provider:
    """Accepts every start, once a key, and can be asked about each."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    def plan(self, item: int) -> OperationPlan:
        async def complete(_: Succeeded) -> Outcome:
            return Outcome(output={"item": item}, variables={f"scans.item_{item}": item}, line=f"Item {item} is there.")

        return OperationPlan(
            input={"source": "a test"},
            provider="outside",
            model="table",
            seconds_max=60,
            start=self.start,
            check=self.check,
            cancel=self.cancel,
            look_up=self.look_up,
            complete=complete,
            begin_line=f"Item {item} begins.",
        )

    async def start(self, attempt_key: str) -> Operation:
        await self._ask("insert into outside.start (attempt_key) values (%s) returning id", attempt_key)
        return Operation({"key": attempt_key}, check_after_seconds=WORK_SECONDS)

    async def check(self, operation: Operation) -> Pending | Succeeded:
        age = await self._ask(
            "select extract(epoch from now() - min(at)) from outside.start where attempt_key = %s",
            operation.handle["key"],
        )
        if age < WORK_SECONDS:
            return Pending(WORK_SECONDS)
        return Succeeded((OutputFile("image/png", content=b"png"),))

    async def cancel(self, _: Operation) -> CancelResult:
        return CancelResult.UNSUPPORTED

    async def look_up(self, attempt_key: str, _: datetime) -> Operation | None:
        found = await self._ask("select count(*) from outside.start where attempt_key = %s", attempt_key)
        return Operation({"key": attempt_key}) if found else None

    async def _ask(self, statement: str, attempt_key: str) -> Any:
        def ask() -> Any:
            with psycopg.connect(self._dsn, autocommit=True) as conn:
                row = conn.execute(statement, [attempt_key]).fetchone()  # type: ignore[arg-type]
                return row and row[0]

        return await asyncio.to_thread(ask)
