"""The ledger equals a model of it in memory, whatever customers order, repeat, stop and are refunded."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from safelight import serve
from safelight.domain.errors.base import InsufficientCredits
from safelight.domain.ids import new_id
from safelight.providers.simulated.faults import Faults
from safelight.providers.simulated.server import Simulation
from tests.conftest import Backend, Json, running
from tests.support import image_jobs
from tests.support.simulated_provider import looking_often, simulating

__all__ = ["looking_often"]

PRICES = {"still": 1, "video": 5}
PATHS = {"still": "/mma/still/create", "video": "/mma/video/animate"}
BRIEFS = ("a cup", "a vase")
KEYS = ("k1", "k2")
FINAL = ("done", "error", "cancelled", "partial")
JOB_SOURCES, JOB_VARIANTS = 2, 2  # of an image job; each picture costs a credit
CUSTOMERS = (0, 1)
ANSWER_SECONDS_MAX = 60.0
MONEY = (1, 2, 3)  # the invariants of docs/doctor.md about credits, refunds and failures
ENTRIES = """
select mg_pass_id, coalesce(mg_generation_id, '') as generation_id, mg_delta
from mega_generations where mg_record_type = 'credit_transaction' and mg_pass_id = any (%s)
"""
LEFT = "select count(*) from mega_generations where mg_generation_id = any (%s) and mg_mma_status <> all (%s) and mg_record_type = 'generation'"
ASKED_TO_STOP = "select count(*) from mega_generations where mg_id = any (%s) and mg_cancel_requested_at is not null"


class Shop:
    """A backend in a thread of its own, so that a machine whose rules are plain functions can use it."""

    def __init__(self, dsn: str, home: Path) -> None:
        self._dsn, self._home = dsn, home
        self._loop = asyncio.new_event_loop()
        self._closed = asyncio.Event()
        self._is_open = threading.Event()
        self.backend: Backend
        self.simulation: Simulation
        self.photo: str
        self.photos: list[str]

    async def live(self) -> None:
        async with (
            simulating(self._dsn, faulty=frozenset({"start"})) as (self.simulation, settings),
            running(self._dsn, self._home, worker=False, **settings) as self.backend,
        ):
            self.photo = await self.backend.upload()
            self.photos = [self.photo, await self.backend.upload(without_lines=1)]
            self._is_open.set()
            await self._closed.wait()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_SECONDS_MAX)

    def __enter__(self) -> "Shop":
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self.live(),))
        self._thread.start()
        assert self._is_open.wait(ANSWER_SECONDS_MAX)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._closed.set)
        self._thread.join()
        self._loop.close()

    async def order(self, pass_id: str, mode: str, brief: str, key: str | None) -> httpx2.Response:
        body = {"passId": pass_id, "inputs": {"brief": brief}, "assets": {"start_image_url": self.photo}}
        headers = {"Idempotency-Key": key} if key else {}
        return await self.backend.client.post(PATHS[mode], json=body, headers=headers)

    async def order_job(self, pass_id: str) -> str | None:
        """The id of an image job; None if its customer cannot pay for it."""
        job = image_jobs.job_of(self.backend, self.photos, variants=JOB_VARIANTS, pass_id=pass_id)
        try:
            return (await image_jobs.order(self.backend, job)).generation_id
        except InsufficientCredits:
            return None

    async def complete(self, pass_id: str, job: str) -> int | None:
        """The price of what is missing of a job; None if its customer cannot pay for it."""
        try:
            return (await image_jobs.complete(self.backend, job, pass_id=pass_id)).credits_cost
        except InsufficientCredits:
            return None

    async def order_at_once(self, times: int, *order: Any) -> list[httpx2.Response]:
        return await asyncio.gather(*(self.order(*order) for _ in range(times)))

    async def work_off(self, waiting: dict[str, str], stopped: list[str], faults: Faults) -> list[Json]:
        """Let a worker finish what waits, of which some is asked to stop first. Returns what the stopped were told."""
        self.simulation.faults = faults
        async with self._stopping(waiting, stopped) as answers, serve.working(self.backend.app):
            while self.backend.value(LEFT, list(waiting), list(FINAL)):
                await asyncio.sleep(0.02)
            return await answers

    @asynccontextmanager
    async def _stopping(self, waiting: dict[str, str], stopped: list[str]) -> AsyncIterator[Any]:
        asking = asyncio.gather(
            *(self.backend.post(f"/mma/generations/{one}/cancel", {"passId": waiting[one]}) for one in stopped)
        )
        keys = [f"generation:{one}" for one in stopped]
        while self.backend.value(ASKED_TO_STOP, keys) < len(stopped):
            await asyncio.sleep(0.02)
        yield asking

    async def violations(self) -> dict[int, int]:
        async with self.backend.app.database() as db:
            counts = (await self.backend.app.on(db).doctor.check()).counts()
        return {number: count for number, count in counts.items() if number in MONEY and count}


@dataclass
class Account:
    """The expected ledger of one customer. `first` holds the order that each idempotency key stands for."""

    pass_id: str
    entries: list[tuple[str, int]] = field(default_factory=list)
    first: dict[str, tuple[str, tuple[str, str]]] = field(default_factory=dict)

    @property
    def balance(self) -> int:
        return sum(delta for _, delta in self.entries)


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self, shop: Shop) -> None:
        super().__init__()
        self.shop = shop
        self.accounts: list[Account] = []
        self.waiting: dict[str, tuple[Account, int]] = {}  # generation: whose it is, and its price
        self.partial: dict[str, tuple[Account, int]] = {}  # image job that ended in part: whose, and what is missing
        self.jobs: set[str] = set()

    @initialize()
    def open(self) -> None:
        self.accounts = [Account(f"pass:user:{new_id()}") for _ in CUSTOMERS]
        for account in self.accounts:
            self._grant(account, 16)

    def _grant(self, account: Account, credits: int) -> None:
        self.shop.run(self.shop.backend.grant(credits, account.pass_id))
        account.entries.append(("", credits))

    def _charge(self, account: Account, mode: str, answer: Json) -> None:
        price = PRICES[mode]
        account.entries.append((answer["generation_id"], -price))
        self.waiting[answer["generation_id"]] = (account, price)
        assert answer["credits"]["cost"] == price

    @rule(who=some.sampled_from(CUSTOMERS), credits=some.integers(1, 20))
    def grant(self, who: int, credits: int) -> None:
        self._grant(self.accounts[who], credits)

    @rule(who=some.sampled_from(CUSTOMERS), mode=some.sampled_from(list(PRICES)))
    def order(self, who: int, mode: str) -> None:
        account = self.accounts[who]
        answer = self.shop.run(self.shop.order(account.pass_id, mode, BRIEFS[0], None))
        if account.balance < PRICES[mode]:
            assert answer.status_code == 402
            assert answer.json()["currentCredits"] == account.balance
        else:
            assert answer.status_code == 200, answer.text
            self._charge(account, mode, answer.json())
            assert answer.json()["credits"]["balance"] == account.balance

    @rule(
        who=some.sampled_from(CUSTOMERS),
        mode=some.sampled_from(list(PRICES)),
        brief=some.sampled_from(BRIEFS),
        key=some.sampled_from(KEYS),
        times=some.integers(1, 4),
    )
    def order_under_a_key(self, who: int, mode: str, brief: str, key: str, times: int) -> None:
        account = self.accounts[who]
        answers = self.shop.run(self.shop.order_at_once(times, account.pass_id, mode, brief, key))
        [status] = {answer.status_code for answer in answers}
        first_id, first_order = account.first.get(key, ("", (mode, brief)))
        if first_order != (mode, brief):
            assert status == 422
        elif not first_id and account.balance < PRICES[mode]:
            assert status == 402
        else:
            assert status == 200
            [generation_id] = {answer.json()["generation_id"] for answer in answers}
            if not first_id:
                self._charge(account, mode, answers[0].json())
                account.first[key] = (generation_id, first_order)
            assert generation_id == account.first[key][0]

    @rule(who=some.sampled_from(CUSTOMERS), mode=some.sampled_from(list(PRICES)), times=some.integers(2, 8))
    def order_at_once(self, who: int, mode: str, times: int) -> None:
        account = self.accounts[who]
        affordable = min(times, account.balance // PRICES[mode])
        answers = self.shop.run(self.shop.order_at_once(times, account.pass_id, mode, BRIEFS[1], None))
        accepted = [answer.json() for answer in answers if answer.status_code == 200]
        assert len(accepted) == affordable
        assert {answer.status_code for answer in answers} <= {200, 402}
        for answer in accepted:
            self._charge(account, mode, answer)

    @rule(who=some.sampled_from(CUSTOMERS))
    def order_image_job(self, who: int) -> None:
        account, price = self.accounts[who], JOB_SOURCES * JOB_VARIANTS
        job = self.shop.run(self.shop.order_job(account.pass_id))
        assert (job is None) == (account.balance < price)
        if job:
            account.entries.append((job, -price))
            self.waiting[job] = (account, price)
            self.jobs.add(job)

    @rule()
    def make_what_is_missing(self) -> None:
        for job, (account, missing) in list(self.partial.items()):
            price = self.shop.run(self.shop.complete(account.pass_id, job))
            assert price == (missing if account.balance >= missing else None)
            if price:
                account.entries.append((job, -price))
                self.waiting[job] = self.partial.pop(job)

    def _end_job(self, job: str, status: str, refused: float) -> None:
        """The positions that were made, in all rounds, are paid for."""
        account, price = self.waiting[job]
        made = len(image_jobs.positions(self.shop.backend, job))
        missing = JOB_SOURCES * JOB_VARIANTS - made
        assert 0 <= missing <= price
        if missing:
            account.entries.append((job, missing))
        if status == "partial":
            self.partial[job] = (account, missing)
        assert status == "cancelled" or (status, missing == 0) in (("done", True), ("partial", False), ("error", False))
        assert refused != 0.0 or status in ("done", "cancelled")
        assert (status == "error") <= (made == 0)

    @rule(refused=some.sampled_from((0.5, 0.0, 1.0)), stops=some.integers(1, 3))
    def work_off(self, refused: float, stops: int) -> None:
        """A finished generation is paid for; one that failed or was stopped is refunded."""
        whose = {generation_id: account.pass_id for generation_id, (account, _) in self.waiting.items()}
        stopped = list(whose)[:stops]
        told = self.shop.run(self.shop.work_off(whose, stopped, Faults(refused=refused)))
        assert [answer["cancelled"] for answer in told] == [True] * len(stopped)
        ends = {True: "error", False: "done"}
        for generation_id, (account, price) in self.waiting.items():
            status = self.shop.run(self.shop.backend.get(f"/mma/generations/{generation_id}"))["status"]
            if generation_id in stopped:
                assert status == "cancelled"
            elif generation_id in self.jobs:
                self._end_job(generation_id, status, refused)
                continue
            else:
                assert status in (ends.values() if refused == 0.5 else [ends[refused == 1.0]])
            if generation_id in self.jobs:
                self._end_job(generation_id, status, refused)
            elif status != "done":
                account.entries.append((generation_id, price))
        self.waiting.clear()

    @rule(who=some.sampled_from(CUSTOMERS))
    def read_the_balance(self, who: int) -> None:
        account = self.accounts[who]
        read = self.shop.run(self.shop.backend.get("/credits/balance", params={"passId": account.pass_id}))
        assert (read["balance"], read["historyLength"]) == (account.balance, len(account.entries))

    @invariant()
    def the_ledger_is_the_models(self) -> None:
        written = self.shop.backend.sql(ENTRIES, [account.pass_id for account in self.accounts])
        for account in self.accounts:
            entries = [
                (row["generation_id"], row["mg_delta"]) for row in written if row["mg_pass_id"] == account.pass_id
            ]
            assert sorted(entries) == sorted(account.entries)
            assert self.shop.backend.balance(account.pass_id) == account.balance >= 0

    def teardown(self) -> None:
        if self.waiting:
            self.work_off(refused=0.5, stops=1)
            self.the_ledger_is_the_models()
        assert self.shop.run(self.shop.violations()) == {}


@pytest.fixture
def shop(dsn: str, tmp_path: Path, looking_often: None) -> Iterator[Shop]:
    with Shop(dsn, tmp_path) as opened:
        yield opened


def test_the_ledger_is_what_a_model_of_it_says(shop: Shop):
    run_state_machine_as_test(
        lambda: LedgerMachine(shop),
        settings=settings(
            max_examples=12,
            stateful_step_count=14,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),  # a failure is told as it happened: to shorten it takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
