"""The database as a model: rows, row locks, transactions, and connections that can be cut at every statement."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg_pool import PoolTimeout

from safelight.db.connection.database import Database
from safelight.domain.statuses import Status
from tests.simulation import clock
from tests.simulation.fault_schedule import AFTER, BEFORE
from tests.simulation.storage import ADDRESS

Row = dict[str, Any]
Result = TypeVar("Result")

ROWS, JOBS = "rows", "jobs"
POOL_STALL_SECONDS = 3.0


@dataclass(frozen=True)
class Job:
    number: int
    worker: str | None
    due_at: datetime


@dataclass
class Rows:
    """All that is known of the one generation. Values are replaced, never changed; JSON columns are text."""

    generation: Row
    steps: dict[int, Row] = field(default_factory=dict)
    lines: list[Row] = field(default_factory=list)
    entries: dict[tuple[str, str], int] = field(default_factory=dict)
    credits: int = 0
    ops: dict[str, Row] = field(default_factory=dict)

    def copy(self) -> "Rows":
        return Rows(
            dict(self.generation), dict(self.steps), list(self.lines), dict(self.entries), self.credits, dict(self.ops)
        )

    @property
    def is_final(self) -> bool:
        return Status(self.generation["mg_mma_status"]).is_terminal


@dataclass
class Tables:
    rows: Rows
    jobs: dict[int, Job]
    workers: dict[str, datetime] = field(default_factory=dict)  # last heartbeats

    def with_copy_of(self, part: str) -> Any:
        return self.rows.copy() if part == ROWS else dict(self.jobs)


Act = Callable[[Tables], Result]


class Server:
    """`ignores_fence` and `counts_repeated_writes` break it on purpose."""

    def __init__(self, rows: Rows, *, ignores_fence: bool = False, counts_repeated_writes: bool = False) -> None:
        self.tables = Tables(rows, {})
        self.ignores_fence = ignores_fence
        self.counts_repeated_writes = counts_repeated_writes
        self.is_up = True
        self.lives = 1  # a connection of an earlier life is cut
        self.locks = {ROWS: asyncio.Lock(), JOBS: asyncio.Lock()}
        self.open_transactions: list[Transaction] = []
        self.writes: list[tuple[int, int]] = []  # (lease of the writer, lease of the generation) of each that counted
        self.jobs_made = 0
        self.shown_too_early = False

    def crash(self) -> None:
        self.is_up = False
        self.lives += 1
        for transaction in list(self.open_transactions):
            transaction.abort()

    def note_shown(self, rows: Rows) -> None:
        """What a customer may read leads to the result of a generation that is not done."""
        if rows.generation["mg_mma_status"] == Status.DONE:
            return
        shown = [*rows.generation.values(), *(line["message"] for line in rows.lines)]
        shown += [f"{line['details']}" for line in rows.lines if line["details"]]
        if any(ADDRESS in one for one in shown if isinstance(one, str)):
            self.shown_too_early = True

    def add_job(self, jobs: dict[int, Job], due_at: datetime) -> None:
        self.jobs_made += 1
        jobs[self.jobs_made] = Job(self.jobs_made, None, due_at)


class Transaction:
    """Its own copies of what it has locked; others see them when it commits."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._own: dict[str, Any] = {}
        self._is_open = True
        server.open_transactions.append(self)

    def view(self) -> Tables:
        return replace(self._server.tables, **self._own) if self._own else self._server.tables

    async def lock(self, part: str) -> None:
        if part in self._own:
            return
        await self._server.locks[part].acquire()
        if not self._is_open:
            self._server.locks[part].release()
            raise psycopg.OperationalError("the transaction was aborted")
        self._own[part] = self._server.tables.with_copy_of(part)

    def commit(self) -> None:
        if not self._is_open:
            raise psycopg.OperationalError("the transaction was aborted")
        view = self.view()
        if ROWS in self._own:
            _demand_both_planes(view.rows)
            self._server.note_shown(view.rows)
        self._server.tables = view
        self.abort()

    def abort(self) -> None:
        if self._is_open:
            self._is_open = False
            self._server.open_transactions.remove(self)
            for part in self._own:
                self._server.locks[part].release()


def _demand_both_planes(rows: Rows) -> None:
    """The deferred constraint trigger of the migrations."""
    if rows.generation["mg_mma_status"] not in (Status.ERROR, Status.CANCELLED):
        return
    if not rows.ops or not any(step["mg_status"] == "failed" for step in rows.steps.values()):
        raise psycopg.IntegrityError("failed without both planes")


class Connection:
    def __init__(self, server: Server, process: Any) -> None:
        self.server = server
        self._process = process
        self._life = server.lives
        self._transaction: Transaction | None = None

    async def __aenter__(self) -> "Connection":
        return self

    async def __aexit__(self, *error: object) -> None:
        """Autocommit: nothing is left to be done."""

    async def ask(self, statement: str, act: Act[Result], *, writes: str | None = None) -> Result:
        """Carry a statement out. Its fault comes before the effect, or takes its answer away."""
        fault = self._process.weather.statement_fault()
        if self._process.is_worker:
            self._process.world.note_statement()
        await self._process.point(f"{statement}")
        self._cut_if(fault == BEFORE, statement)
        result = await self._carried_out(act, writes)
        await self._process.point(f"{statement} is answered" if result else f"{statement} is answered: nothing")
        self._cut_if(fault == AFTER, f"the answer to {statement}")
        return result

    async def _carried_out(self, act: Act[Result], writes: str | None) -> Result:
        transaction = self._transaction or Transaction(self.server)
        try:
            if writes:
                await transaction.lock(writes)
            result = act(transaction.view())
            if self._transaction is None:
                transaction.commit()
        finally:
            if self._transaction is None:
                transaction.abort()
        return result

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        self._transaction = transaction = Transaction(self.server)
        self._process.transactions.append(transaction)
        try:
            yield
            await self._commit(transaction)
        finally:
            transaction.abort()
            self._process.transactions.remove(transaction)
            self._transaction = None

    async def _commit(self, transaction: Transaction) -> None:
        fault = self._process.weather.statement_fault()
        await self._process.point("commit")
        self._cut_if(fault == BEFORE, "commit")
        transaction.commit()
        await self._process.point("commit is answered")
        self._cut_if(fault == AFTER, "the answer to commit")

    def _cut_if(self, is_cut: bool, what: str) -> None:
        if is_cut or self._life != self.server.lives:
            self._life = 0
            self._process.say(f"LOST {what}")
            raise psycopg.OperationalError(f"connection lost: {what}")


class Pool:
    def __init__(self, server: Server, process: Any) -> None:
        self._server, self._process = server, process

    async def getconn(self, timeout: float) -> Connection:
        await self._process.point(None)
        if not self._server.is_up:
            await asyncio.sleep(min(timeout, POOL_STALL_SECONDS))
            raise PoolTimeout("no connection")
        return Connection(self._server, self._process)

    async def putconn(self, conn: Connection) -> None:
        """Each is used once."""


class SimulatedDatabase(Database):
    """The real `connection`, `transaction` and `insist` over a pool that is a model."""

    def __init__(self, server: Server, process: Any) -> None:
        self._stall_seconds = POOL_STALL_SECONDS
        self._moved_at = clock.seconds()
        self.pool = Pool(server, process)  # type: ignore[assignment]
