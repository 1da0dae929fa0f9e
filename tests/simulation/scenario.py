"""One world: everything that happens in it follows from its seed."""

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from safelight.db.connection.database import TRANSIENT_ERRORS
from safelight.domain import variables
from safelight.domain.identities import ActingCustomer
from safelight.domain.orders import StillCreate
from safelight.pipelines.cancel import CancelOutcome, cancel
from safelight.pipelines.engine.run import Run
from tests.simulation import clock, invariants
from tests.simulation.fault_schedule import Weather
from tests.simulation.process import Process
from tests.simulation.seam import simulated
from tests.simulation.server import Row, Rows, Server
from tests.simulation.service import Service

CUSTOMER = ActingCustomer("pass:user:one")
PRICE_CREDITS = 1
END_WITHIN_SECONDS = 6000.0
LOOK_SECONDS = 1.0
REPLACED_AFTER_SECONDS = 3.0
GENERATION_ID = "00000000-0000-7000-8000-000000000001"


@dataclass(frozen=True)
class Sabotage:
    """What is broken on purpose, to see that the simulation finds it."""

    ignores_fence: bool = False
    counts_repeated_writes: bool = False
    denies_all: bool = False


@dataclass(frozen=True)
class Told:
    """What happened in one world."""

    seed: int
    status: str
    broken: list[str]
    trace: list[str]
    seconds: float


class World:
    generation_id = GENERATION_ID

    def __init__(
        self, seed: int, sabotage: Sabotage, cancel_at_statement: int | None = None, *, is_parallel: bool = False
    ) -> None:
        self.is_parallel = is_parallel
        self.weather = Weather(Random(f"{seed}"), Random(f"more {seed}"), cancel_at_statement)
        self.files: set[str] = set()
        self.cancellings: list[CancelOutcome] = []
        self._statements = 0
        self.server = Server(
            _accepted(self.weather),
            ignores_fence=sabotage.ignores_fence,
            counts_repeated_writes=sabotage.counts_repeated_writes,
        )
        self.service = Service(self.weather, denies_all=sabotage.denies_all)
        self.trace: list[tuple[float, str, str]] = []
        self.broken: list[str] = []
        self.is_over = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._processes: list[Process] = []

    # --- what others tell it ------------------------------------------------------------------------------------------

    def say(self, who: str, what: str) -> None:
        self.trace.append((clock.seconds(), who, what))

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            self.broken.append(f"a task ended with {task.exception()!r}")

    @property
    def has_stored_after_withdrawal(self) -> bool:
        """A worker that had been taken over has stored a result when its refund was through."""
        said = [what for _, _, what in self.trace]
        withdrawn = next((no for no, what in enumerate(said) if what.startswith("note_withdrawn")), len(said))
        return any(what.startswith("STORED") for what in said[withdrawn:])

    def note_statement(self) -> None:
        """A worker is about to send one: at the one that was drawn, the customer changes their mind."""
        self._statements += 1
        if self._statements == self.weather.cancel_at_statement:
            self.spawn(self._cancel(0.0))

    def is_stale(self, run: Run) -> bool:
        return run.store.lease.number != self.server.tables.rows.generation["mg_lease_no"]

    def note_act(self, run: Run) -> None:
        """A step's effect is about to happen, by a worker that should have found the step open."""
        assert run.current
        step = self.server.tables.rows.steps.get(run.current.number)
        has_ended = step is not None and json.loads(step["mg_payload"])["timing"]["ended_at"]
        if has_ended and not self.is_stale(run):
            self.broken.append(f"step {run.current.number} {run.current.type} had ended and was executed again")

    # --- its course ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        if self.weather.has_job:
            self.server.add_job(self.server.tables.jobs, clock.now())
        self.spawn(self._man())
        for outage in self.weather.outages:
            self.spawn(self._break_down(*outage))
        if self.weather.cancel_at is not None:
            self.spawn(self._cancel(self.weather.cancel_at))
        while not self._is_settled() and clock.seconds() < END_WITHIN_SECONDS:
            await asyncio.sleep(LOOK_SECONDS)
        await self._end()

    def _is_settled(self) -> bool:
        living = [process for process in self._processes if not process.is_dead]
        rests = all(not one.running and one.paused_until <= clock.seconds() for one in living)
        return (
            rests and not self.service.on_their_way and self.server.tables.rows.is_final and not self.server.tables.jobs
        )

    async def _man(self) -> None:
        """Keep as many processes alive as there should be."""
        await asyncio.sleep(self.weather.first_process_at)
        while True:
            living = [process for process in self._processes if not process.is_gone]
            for _ in range(self.weather.processes - len(living)):
                self._start_process()
            await asyncio.sleep(REPLACED_AFTER_SECONDS)

    def _start_process(self) -> None:
        process = Process(self, f"worker-{len(self._processes) + 1}")
        self._processes.append(process)
        self.spawn(process.heartbeat())
        self.spawn(process.live())

    async def _break_down(self, at: float, seconds: float) -> None:
        await asyncio.sleep(at)
        self.say("server", f"DOWN for {seconds:.1f} s")
        self.server.crash()
        await asyncio.sleep(seconds)
        self.say("server", "up")
        self.server.is_up = True

    async def _cancel(self, at: float) -> None:
        await asyncio.sleep(at)
        api = Process(self, "api", is_immortal=True)
        try:
            self.cancellings.append(await cancel(api.db, self.generation_id, CUSTOMER))
        except TRANSIENT_ERRORS as error:
            self.say("api", f"503 {error}")

    async def _end(self) -> None:
        self.is_over = True
        for process in self._processes:
            process.is_dead = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def simulate(
    seed: int,
    sabotage: Sabotage = Sabotage(),
    cancel_at_statement: int | None = None,
    *,
    is_parallel: bool = False,
) -> Told:
    with simulated():
        return in_simulation(seed, sabotage, cancel_at_statement, is_parallel=is_parallel)


def in_simulation(
    seed: int,
    sabotage: Sabotage = Sabotage(),
    cancel_at_statement: int | None = None,
    *,
    is_parallel: bool = False,
) -> Told:
    """As `simulate`, where the seam has been replaced already."""
    loop = clock.VirtualLoop(Random(f"scheduler {seed}"))
    try:
        world = World(seed, sabotage, cancel_at_statement, is_parallel=is_parallel)
        loop.run_until_complete(world.run())
        broken = world.broken + invariants.broken(world.server, world.service, PRICE_CREDITS, is_parallel=is_parallel)
        broken += invariants.broken_results(world)
        trace = [f"{at:9.3f}  {who:<9} {what}" for at, who, what in world.trace]
        status = str(world.server.tables.rows.generation["mg_mma_status"])
        return Told(seed, status, broken, trace, loop.time())
    finally:
        loop.close()


def _accepted(weather: Weather) -> Rows:
    """The generation as acceptance leaves it."""
    order = StillCreate(
        pass_id=CUSTOMER.pass_id,
        session_id="s",
        platform="default",
        title="A cup",
        brief="a cup",
    )
    generation: Row = {
        "mg_generation_id": GENERATION_ID,
        "mg_pass_id": order.pass_id,
        "mg_lease_no": 0,
        "mg_takeovers": 0,
        "mg_pipeline_version": 1,
        "mg_payload": json.dumps({"order": order.model_dump(mode="json")}),
        "mg_mma_vars": json.dumps(variables.initial(order)),
        "mg_meta": json.dumps({"cost": PRICE_CREDITS, "request": {}}),
        "mg_mma_mode": "still",
        "mg_mma_status": "queued",
        "mg_status": "pending",
        "mg_log_seq": 1,
        "mg_deadline_at": clock.EPOCH + timedelta(seconds=weather.start_within_seconds),
        "mg_output_url": None,
        "cancel_requested": False,
        "mg_user_id": None,
    }
    line = {"seq": 1, "level": "info", "step": "initialization", "message": "We have your order.", "details": None}
    charge = {("mma_charge", f"mma:{GENERATION_ID}"): -PRICE_CREDITS}
    return Rows(generation, lines=[line], entries={("welcome", "w"): 10} | charge, credits=10 - PRICE_CREDITS)
