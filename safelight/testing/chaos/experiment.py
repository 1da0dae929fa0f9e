"""Runs an experiment: a home of its own, the simulated service, the processes, the faults, and the count at the end."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import httpx2

from safelight.app import App
from safelight.db import embedded
from safelight.db.connection.database import Connection
from safelight.db.money import customers, ledger
from safelight.db.operations import scorecard as tables
from safelight.domain.statuses import Status
from safelight.providers.simulated.results import SAMPLE
from safelight.providers.simulated.server import Simulation
from safelight.testing.chaos import scorecard
from safelight.testing.chaos.customers import SimulatedCustomer, upload
from safelight.testing.chaos.environment import VendorFormat, stage
from safelight.testing.chaos.observer import LOOK_SECONDS, Watch
from safelight.testing.chaos.processes import Fleet, Process
from safelight.testing.chaos.scorecard import InjectedFaults, Scorecard, Takeovers

CUSTOMERS = 4
START_SECONDS_MAX = 60.0
REQUEST_SECONDS = 60.0
PAUSES_SHARE = 0.2
PAUSE_HEARTBEATS = (0.5, 5.0)  # up to longer than a worker is waited for
JITTER = (0.5, 1.5)


@dataclass(frozen=True, slots=True)
class ChaosPlan:
    """`kill_every_seconds` and `restart_every_seconds` are means; 0 means never. Customers cancel `cancel_share` of
    their orders, at any moment."""

    seed: int
    generations: int
    workers: int
    kill_every_seconds: float
    restart_every_seconds: float
    minutes_max: float
    provider: VendorFormat = VendorFormat.SIMULATED
    cancel_share: float = 0.2


@dataclass(frozen=True, slots=True)
class Progress:
    accepted: int
    final: int
    statuses: Counter[str]
    injected: InjectedFaults


async def run_experiment(home: Path, plan: ChaosPlan, tell: Callable[[Progress], None]) -> Scorecard:
    """All state is in `home`, which must be empty. Whatever was started has ended when this returns or raises."""
    async with AsyncExitStack() as stack:
        dsn = embedded.start(home)  # nothing else runs yet, and a server half started could not be stopped
        stack.push_async_callback(asyncio.to_thread, embedded.stop, home)  # after a restart that is under way
        simulation, app = await stack.enter_async_context(stage(home, dsn, plan.seed, plan.provider))
        fleet = Fleet(app.settings, home / "logs", plan.workers)
        stack.callback(fleet.close)
        async with app.database() as db, db.transaction() as conn:
            await tables.name_workers(conn, fleet.worker_names)
        watch = Watch(dsn)
        stack.push_async_callback(watch.close)
        client = httpx2.AsyncClient(base_url=app.settings.base_url, timeout=REQUEST_SECONDS, trust_env=False)
        await stack.enter_async_context(client)
        experiment = Experiment(plan, app, simulation, fleet, watch, client, tell)
        await experiment.run()
        return await experiment.count()


@dataclass
class Experiment:
    _plan: ChaosPlan
    _app: App
    _simulation: Simulation
    _fleet: Fleet
    _watch: Watch
    _client: httpx2.AsyncClient
    _tell: Callable[[Progress], None]
    _customers: list[SimulatedCustomer] = field(default_factory=list)
    _injected: InjectedFaults = field(default_factory=InjectedFaults)
    _over: asyncio.Event = field(default_factory=asyncio.Event)
    _seconds: float = 0.0

    async def run(self) -> None:
        """Until every generation is final, or the time is up."""
        self._fleet.start_all()
        async with asyncio.timeout(START_SECONDS_MAX):
            await self._invite_customers()
        started = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                await self._run_all(group, started + 60 * self._plan.minutes_max)
        except ExceptionGroup as problems:
            raise problems.exceptions[0] from problems
        self._seconds = time.monotonic() - started

    async def _run_all(self, group: asyncio.TaskGroup, deadline: float) -> None:
        ordering = [group.create_task(self._order(number)) for number in range(CUSTOMERS)]
        self._begin(group, self._plan.kill_every_seconds, self._kill_or_pause_worker)
        self._begin(group, self._plan.restart_every_seconds, self._restart_database)
        await self._follow(deadline)
        self._over.set()
        for task in ordering:
            task.cancel()

    async def count(self) -> Scorecard:
        await self._watch.look()
        await asyncio.to_thread(self._write_record)
        async with self._app.database(pool_size=3) as db, db.connection() as conn:
            refunded = await tables.results_beside_refunds(conn)
            doctor = self._app.on(db).doctor
            # Of workers that died between a refund and the deletion.
            await doctor.delete_refunded_results(files=self._plan.generations)
            silent, recorded = await scorecard.double_payments(conn, self._simulation.record.by_attempt_key())
            ledger_errors = await tables.ledger_errors(conn)
            errors = await tables.errors(conn)
            unreadable = await scorecard.unreadable_outputs(conn, self._app.resources.assets)
            found = (await doctor.check(files=self._plan.generations)).violations
        watch, accepted = self._watch, self._accepted()
        return Scorecard(
            seed=self._plan.seed,
            seconds=round(self._seconds, 1),
            ordered=self._plan.generations,
            accepted=len(accepted),
            statuses=dict(watch.counts()),
            errors=errors,
            lost=[one for one in accepted if one not in watch.generations],
            accepted_twice=sorted(watch.generations.keys() - set(accepted)),
            stuck=[one for one in watch.generations if not watch.is_final(one)],
            silent_double_payments=silent,
            ledger_errors=ledger_errors,
            unreadable_outputs=unreadable,
            results_beside_refunds=refunded,
            cancelled_in_vain=self._cancelled_in_vain(),
            broken_invariants=[f"{one.problem.description}: {one.count}, e.g. {one.ids[0]}" for one in found],
            recorded_double_payments=recorded,
            predictions=self._simulation.record.count(),
            takeovers=Takeovers(
                measured=sum(one.seconds is not None for one in watch.takeovers),
                never=sum(one.seconds is None for one in watch.takeovers),
                p50_seconds=watch.takeover_seconds(0.5),
                p99_seconds=watch.takeover_seconds(0.99),
            ),
            injected=self._all_injected(),
        )

    def _write_record(self) -> None:
        """Write the simulated provider's own record into the home, for whoever examines it later."""
        (self._app.home / "record.json").write_text(json.dumps(self._simulation.record.as_json(), indent=1))

    # --- customers ---------------------------------------------------------------------------------------------------

    async def _invite_customers(self) -> None:
        pass_ids = [f"pass:anon:chaos-{number}" for number in range(CUSTOMERS)]
        async with self._app.database() as db, db.transaction() as conn:
            for pass_id in pass_ids:
                await self._grant(conn, pass_id)
        picture_url = await upload(self._client, pass_ids[0], await asyncio.to_thread(SAMPLE.read_bytes))
        for pass_id in pass_ids:
            rng = self._dice(pass_id)
            share = self._plan.cancel_share
            self._customers.append(SimulatedCustomer(self._client, self._watch, rng, pass_id, picture_url, share))

    async def _grant(self, conn: Connection, pass_id: str) -> None:
        """As much as the dearest orders could cost."""
        prices = self._app.resources.prices
        credits = 1 + self._plan.generations * max(prices.still_credits, prices.video_credits)
        await customers.ensure(conn, pass_id)
        await ledger.adjust(conn, pass_id, credits, ledger.Origin("chaos", "system", ("chaos", pass_id)))

    async def _order(self, number: int) -> None:
        first, last = (self._plan.generations * one // CUSTOMERS for one in (number, number + 1))
        await self._customers[number].order(last - first)

    def _cancelled_in_vain(self) -> list[str]:
        """Generations whose customer was told another end than the one that came."""
        told = {id: answer for customer in self._customers for id, answer in customer.cancelled.items()}
        return [
            id
            for id, answer in told.items()
            if answer["too_late"] is not None
            and self._watch.is_final(id)
            and answer["too_late"] == (self._watch.generations[id].status == Status.CANCELLED)
        ]

    def _accepted(self) -> list[str]:
        return [one for customer in self._customers for one in customer.accepted]

    # --- following ---------------------------------------------------------------------------------------------------

    async def _follow(self, deadline: float) -> None:
        while time.monotonic() < deadline:
            self._fleet.replace_ended()
            await self._watch.look()
            accepted = self._accepted()
            final = sum(self._watch.is_final(one) for one in accepted)
            self._tell(Progress(len(accepted), final, self._watch.counts(), self._all_injected()))
            if final == self._plan.generations:
                return
            await asyncio.sleep(LOOK_SECONDS)

    def _all_injected(self) -> InjectedFaults:
        return replace(self._injected, processes_ended_by_themselves=self._fleet.ended_by_themselves)

    # --- injected faults ---------------------------------------------------------------------------------------------

    def _begin(
        self,
        group: asyncio.TaskGroup,
        every_seconds: float,
        inject: Callable[[asyncio.TaskGroup, random.Random], Coroutine[Any, Any, None]],
    ) -> None:
        async def now_and_then() -> None:
            rng = self._dice(inject.__name__)
            while not await self._is_over_within(every_seconds * rng.uniform(*JITTER)):
                await inject(group, rng)

        if every_seconds:
            group.create_task(now_and_then())

    async def _kill_or_pause_worker(self, group: asyncio.TaskGroup, rng: random.Random) -> None:
        is_pause, pause_heartbeats = rng.random() < PAUSES_SHARE, rng.uniform(*PAUSE_HEARTBEATS)
        worker = self._fleet.pick_worker(rng)
        if worker is None:
            return
        if is_pause and not self._fleet.is_one_paused:
            self._injected = replace(self._injected, pauses=self._injected.pauses + 1)
            seconds = pause_heartbeats * self._app.settings.worker_heartbeat_seconds
            group.create_task(self._pause(worker, seconds))
            return
        self._injected = replace(self._injected, kills=self._injected.kills + 1)
        self._fleet.kill(worker)
        await self._watch.note_kill(worker.name)

    async def _pause(self, worker: Process, seconds: float) -> None:
        self._fleet.pause(worker)
        await self._is_over_within(seconds)
        self._fleet.resume(worker)

    async def _restart_database(self, _: asyncio.TaskGroup, rng: random.Random) -> None:
        """A crash and a shutdown in turn."""
        mode: Literal["fast", "immediate"] = "fast" if self._injected.database_restarts % 2 else "immediate"
        await asyncio.to_thread(embedded.server_of(self._app.home).restart, mode)
        self._injected = replace(self._injected, database_restarts=self._injected.database_restarts + 1)

    async def _is_over_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    def _dice(self, about: str) -> random.Random:
        """Each thing that draws has a sequence of its own, so that none depends on the others' pace."""
        return random.Random(f"{self._plan.seed}:{about}")  # noqa: S311 - no secret
