"""Parts of all benchmarks: a database to throw away, orders, servers, two rates side by side, and memory."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from starlette.types import ASGIApp

from safelight import serve
from safelight.app import App
from safelight.db.connection.database import Database
from safelight.db.money import customers, ledger
from safelight.domain.errors.base import SafelightError
from safelight.domain.identities import ActingCustomer
from safelight.domain.ids import new_id
from safelight.domain.money.prices import Prices
from safelight.domain.orders import StillCreate
from safelight.pipelines.accept import Acceptance
from safelight.pipelines.engine.queue import Queue

CUSTOMER, SESSION, PLATFORM = "pass:anon:bench", "bench", "web"
ROUNDS = 15
QUEUE_SECONDS = 3 * 3600  # that an order may wait for a worker

PEAK_MEMORY = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class BenchResult:
    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@asynccontextmanager
async def scratch_database(app: App) -> AsyncIterator[None]:
    """Points the app at a database of its own, so that a benchmark leaves nothing behind."""
    home_dsn, name = app.dsn, f"safelight_bench_{new_id().replace('-', '')}"
    with psycopg.connect(home_dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        app.dsn = urlunsplit(urlsplit(home_dsn)._replace(path=f"/{name}"))
        try:
            await app.migrate()
            yield
        finally:
            app.dsn = home_dsn
            conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@asynccontextmanager
async def serving(application: ASGIApp, protocol: Any | Literal["auto"] = "auto") -> AsyncIterator[str]:
    """Serve the application on a free port of this machine, and give its address."""
    listening = serve.listen("127.0.0.1", 0)
    async with serve.answering(application, listening, protocol):
        yield f"127.0.0.1:{listening.getsockname()[1]}"


async def give_credits(db: Database, credits: int) -> None:
    """Give the customer of the benchmark what all its orders will cost."""
    async with db.transaction() as conn:
        await customers.ensure(conn, CUSTOMER)
        await ledger.adjust(conn, CUSTOMER, credits, ledger.Origin("bench", "system", ("bench", "1")))


async def order_many(db: Database, generations: int, pass_id: str = CUSTOMER) -> list[str]:
    """Accept so many stills, each with a job. Returns their ids."""
    queue, prices = Queue(db), Prices(still_credits=1, video_credits=5)
    await queue.open()
    acceptance = Acceptance(db, queue, lambda: prices, start_within_seconds=QUEUE_SECONDS)
    order = StillCreate(pass_id=pass_id, session_id=SESSION, platform=PLATFORM, title="bench", brief="a cup")
    customer = ActingCustomer(pass_id)
    accepted = [await acceptance.accept(order, customer, idempotency_key=None, request={}) for _ in range(generations)]
    await queue.close()
    return [one.generation_id for one in accepted]


async def compared(
    baseline: Callable[[], Awaitable[float]], ours: Callable[[], Awaitable[float]]
) -> tuple[float, float, float]:
    """Both rates and their ratio: medians over the rounds. Each measures both, one right after the other; which of them
    is first takes turns, so that neither always finds the machine as the other has left it."""
    _warm_up, *rounds = [await _pair(baseline, ours, is_ours_first=bool(number % 2)) for number in range(ROUNDS + 1)]
    ratio = median(our_rate / base_rate for base_rate, our_rate in rounds)
    return round(median(one for one, _ in rounds), 1), round(median(one for _, one in rounds), 1), round(ratio, 3)


async def _pair(
    baseline: Callable[[], Awaitable[float]], ours: Callable[[], Awaitable[float]], *, is_ours_first: bool
) -> tuple[float, float]:
    if is_ours_first:
        our_rate = await ours()
        return await baseline(), our_rate
    return await baseline(), await ours()


def peak_mb(process: int | str) -> float:
    """The most that the process ever had in memory at once; `self` is this one."""
    found = PEAK_MEMORY.search(Path(f"/proc/{process}/status").read_text())
    if found is None:
        raise SafelightError("the memory of a process cannot be read here: this benchmark needs Linux")
    return round(int(found[1]) * 1024 / 1e6, 1)
