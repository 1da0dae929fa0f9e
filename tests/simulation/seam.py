"""The one place where the model stands in for the outside: the statements, the clock and the log's lines."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from safelight import telemetry
from safelight.db.connection import clock, database
from safelight.db.generations import generations, job_log, jobs, queue_status, rounds, runs
from safelight.db.money import ledger
from safelight.db.operations import ops_rows
from safelight.pipelines import cancel
from safelight.pipelines.engine import run_store, step
from tests.simulation import statements
from tests.simulation.clock import VirtualDatetime, seconds, virtual_time


class Silent:
    """Wake-ups are only hints; nobody listens here."""

    def __init__(self, *_: Any) -> None: ...

    def notify(self, generation_id: str) -> None: ...

    async def drain(self) -> None: ...


REPLACED: list[tuple[Any, str, Any]] = [
    (runs, "_queries", statements.RunStatements()),
    (job_log, "_queries", statements.LogStatements()),
    (ledger, "_queries", statements.LedgerStatements()),
    (ops_rows, "_queries", statements.OpsStatements()),
    (generations, "_queries", statements.GenerationStatements()),
    (rounds, "_queries", statements.RoundStatements()),
    (jobs, "_queries", statements.JobStatements()),
    (queue_status, "_queries", statements.QueueStatements()),
    (database, "time", virtual_time),
    (cancel, "time", virtual_time),
    (cancel, "Notifier", Silent),
    (clock, "ticks", seconds),
    *((module, "datetime", VirtualDatetime) for module in (clock, ops_rows, run_store, step)),
    *((telemetry, name, lambda *_, **__: None) for name in ("info", "warning", "error")),
]


@contextmanager
def simulated() -> Iterator[None]:
    with ExitStack() as stack:
        for module, name, model in REPLACED:
            stack.enter_context(mock.patch.object(module, name, model))
        yield
