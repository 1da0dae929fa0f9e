"""The cost for a worker if thousands of generations wait for a slow provider at the same time."""

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safelight import serve
from safelight.app import App
from safelight.config import Settings
from safelight.db.connection.database import Database, load_queries
from safelight.db.money import customers, ledger
from safelight.domain.errors.base import SafelightError
from safelight.domain.identities import ActingCustomer
from safelight.domain.ids import new_id
from safelight.domain.money.prices import Prices
from safelight.domain.orders import StillCreate
from safelight.pipelines.accept import Acceptance
from safelight.pipelines.engine.queue import Queue
from safelight.pipelines.registry import serve_every_engine_with
from safelight.providers.simulated.faults import Faults, Latency
from safelight.providers.simulated.server import HangUpProtocol, Simulation
from safelight.testing.bench.memory import peak_mb
from safelight.testing.bench.scratch import scratch_database

CUSTOMER = "pass:anon:bench"
SECONDS_MAX = 3600.0  # for each of the two phases; the provider holds back longer
CHECKS_A_SECOND = 40  # what the registry asks of the one worker while all wait
CHECK_EVERY_SECONDS_MIN = 10.0
LOOK_SECONDS = 0.5
WARM_UP = 5

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class WaitingResult:
    """`warm_mb` and `peak_mb` are the worker's resident memory: at its highest after a few generations, and of all."""

    generations: int
    done: int
    seconds_until_all_wait: float
    seconds_until_all_end: float
    warm_mb: float
    peak_mb: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


async def waiting(app: App, generations: int) -> WaitingResult:
    """Stills that one worker process starts at a provider which gives nothing back before all have been started.

    Raises:
        SafelightError: the worker ended by itself, or a phase took longer than an hour.
    """
    with tempfile.TemporaryDirectory(prefix="safelight-bench-") as home:
        async with scratch_database(app), _slow_service() as (simulation, address), app.database(4) as db:
            await _prepare(db, generations)
            reached = {"simulated_url": f"http://{address}", "fetch_allow_hosts": address, "stand_in": "allow"}
            settings = app.settings.model_copy(update={"home": Path(home), "database_url": app.dsn, **reached})
            with _worker(settings) as worker:
                return await _measure(db, simulation, worker, generations)


async def _measure(
    db: Database, simulation: Simulation, worker: subprocess.Popen[bytes], generations: int
) -> WaitingResult:
    async def started() -> int:
        return simulation.record.count()

    async def finished() -> int:
        async with db.connection() as conn:
            return int(await _queries.finished(conn))

    await _order(db, WARM_UP)
    await _until(worker, started, WARM_UP)
    warm = peak_mb(worker.pid)
    await _order(db, generations - WARM_UP)
    began = time.monotonic()
    await _until(worker, started, generations)
    all_wait = time.monotonic()
    simulation.record.end_all()
    await _until(worker, finished, generations)
    all_ended = time.monotonic()
    async with db.connection() as conn:
        done = int(await _queries.done(conn))
    return WaitingResult(
        generations=generations,
        done=done,
        seconds_until_all_wait=round(all_wait - began, 1),
        seconds_until_all_end=round(all_ended - all_wait, 1),
        warm_mb=warm,
        peak_mb=peak_mb(worker.pid),
    )


@asynccontextmanager
async def _slow_service() -> AsyncIterator[tuple[Simulation, str]]:
    pace = Latency(answer_seconds=0, image_seconds=100 * SECONDS_MAX, video_seconds=100 * SECONDS_MAX)
    simulation, listening = Simulation(1, Faults.none(), pace), serve.listen("127.0.0.1", 0)
    async with serve.answering(simulation.app, listening, HangUpProtocol):
        yield simulation, f"127.0.0.1:{listening.getsockname()[1]}"


async def _prepare(db: Database, generations: int) -> None:
    every = max(CHECK_EVERY_SECONDS_MIN, generations / CHECKS_A_SECOND)
    async with db.transaction() as conn:
        await serve_every_engine_with(conn, "simulated", check_every_seconds=every, deadline_seconds=3 * SECONDS_MAX)
        await customers.ensure(conn, CUSTOMER)
        await ledger.grant(
            conn, pass_id=CUSTOMER, credits=generations, reason="bench", source="system", ref=("bench", "1")
        )


async def _order(db: Database, generations: int) -> None:
    queue = Queue(db)
    await queue.open()
    prices = Prices(still_credits=1, video_credits=5)
    acceptance = Acceptance(db, queue, lambda: prices, start_within_seconds=3 * SECONDS_MAX)
    for _ in range(generations):
        order = StillCreate(pass_id=CUSTOMER, session_id=new_id(), platform="web", title="bench", brief="a cup")
        await acceptance.accept(order, ActingCustomer(CUSTOMER), idempotency_key=None, request={})
    await queue.close()


# --- the worker's process --------------------------------------------------------------------------------------------


@contextmanager
def _worker(settings: Settings) -> Iterator[subprocess.Popen[bytes]]:
    with (settings.home / "worker.log").open("wb") as output:
        worker = subprocess.Popen(
            [sys.executable, "-m", "safelight", "worker"],
            env=settings.as_environment(),
            stdout=output,
            stderr=output,
        )
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait()


async def _until(worker: subprocess.Popen[bytes], count: Callable[[], Awaitable[int]], wanted: int) -> None:
    give_up = time.monotonic() + SECONDS_MAX
    while (counted := await count()) < wanted:
        if worker.poll() is not None:
            raise SafelightError(f"the worker ended by itself with status {worker.returncode}")
        if time.monotonic() > give_up:
            raise SafelightError(f"{counted} of {wanted} after {SECONDS_MAX:.0f} s")
        await asyncio.sleep(LOOK_SECONDS)
