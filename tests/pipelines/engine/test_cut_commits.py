"""Many commits whose answer is lost: nobody knows whether they happened, and nothing happens twice."""

import asyncio
import random
from collections import Counter

import pytest

from safelight.db.operations import scorecard
from safelight.domain.ids import new_id
from safelight.pipelines.engine import queue
from safelight.testing.chaos.customers import SimulatedCustomer, post
from safelight.testing.chaos.observer import LOOK_SECONDS, Watch
from tests.conftest import Backend, StartBackend
from tests.support.dropping_proxy import Cutter, cutting
from tests.support.scope import amount
from tests.support.simulated_provider import simulating

CUTS = amount(usual=100, all=2_000)
SHARE = 0.25
GENERATIONS_MAX = max(200, CUTS)
GENERATIONS_AT_ONCE = 40
GENERATIONS = "select mg_generation_id from mega_generations where mg_record_type = 'generation'"
LIKES = "select count(*) from mega_generations where mg_meta->>'event_type' = 'like'"


@pytest.mark.scaled
@pytest.mark.timeout(600)
async def test_what_is_done_in_a_commit_whose_answer_is_lost_is_done_once(
    dsn: str, start: StartBackend, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(queue, "DATABASE_RETRY_SECONDS", 0.05)  # the queue's own statements are cut too, all the time
    cutter = Cutter(SHARE, random.Random(1))
    async with simulating(dsn) as (simulation, settings), cutting(dsn, cutter) as through:
        backend = await start(**settings, database_url=through, worker_heartbeat_seconds=1)
        await backend.grant(10 * GENERATIONS_MAX)
        watch = Watch(dsn)
        customer = SimulatedCustomer(backend.client, watch, random.Random(1), backend.pass_id, await backend.upload())
        looking = asyncio.create_task(keep_looking(watch))
        cutter.is_cutting = True
        while cutter.cuts < CUTS:
            await customer.order(len(customer.accepted) + GENERATIONS_AT_ONCE)
            await asyncio.gather(*(like(backend, one) for one in customer.accepted[-GENERATIONS_AT_ONCE:]))
            assert len(customer.accepted) < GENERATIONS_MAX
        await until_final(watch, customer)
        cutter.is_cutting = False
        looking.cancel()
        await watch.close()
        assert "done" in {row.status for row in watch.generations.values()} <= {"done", "suggested"}
        assert sorted(watch.generations) == sorted(customer.accepted)
        assert await asyncio.to_thread(backend.value, LIKES) == len(customer.accepted)
        await check(backend, simulation.record.by_attempt_key())


async def test_an_order_whose_commit_is_not_answered_is_taken_once(dsn: str, start: StartBackend):
    cutter = Cutter(1.0, random.Random(1), most=1)
    async with cutting(dsn, cutter) as through:
        backend = await start(database_url=through, worker=False)
        await backend.grant(5)
        cutter.is_cutting = True
        accepted = await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}})
        assert cutter.cuts == 1
        [one] = await asyncio.to_thread(backend.sql, GENERATIONS)
        assert one == {"mg_generation_id": accepted["generation_id"]}
        assert await asyncio.to_thread(backend.balance) == 4


async def like(backend: Backend, generation_id: str) -> None:
    body = {"passId": backend.pass_id, "event_type": "like", "generation_id": generation_id, "event_id": new_id()}
    await post(backend.client, "/mma/events", body, key=None)


async def keep_looking(watch: Watch) -> None:
    while True:
        await watch.look()
        await asyncio.sleep(LOOK_SECONDS)


async def until_final(watch: Watch, customer: SimulatedCustomer) -> None:
    async with asyncio.timeout(120):
        while not all(watch.is_final(one) for one in customer.accepted):
            await asyncio.sleep(LOOK_SECONDS)


async def check(backend: Backend, accepted_starts: dict) -> None:
    assert {len(starts) for starts in accepted_starts.values()} == {1}
    assert set(Counter(key.rsplit(":", 1)[0] for key in accepted_starts).values()) == {1}
    async with backend.app.database() as db, db.connection() as conn:
        assert await scorecard.ledger_errors(conn) == []
        assert (await backend.app.on(db).doctor.check()).violations == ()
