"""Customers take turns in the queue, and may have a bounded number of generations begun at once."""

import asyncio
from typing import Any

import pytest

from safelight.app import App
from safelight.config import Settings
from safelight.db.generations import jobs
from safelight.domain.ids import new_id
from tests.conftest import Backend, StartBackend

Json = dict[str, Any]

SMALL = {"inputs": {"brief": "on stone", "aspect_ratio": "1:1"}, "settings": {"seedream": {"size": "1K"}}}


def customer(name: str) -> str:
    return f"pass:user:{name}"


async def order(backend: Backend, name: str, count: int = 1, **more: Any) -> list[Json]:
    await backend.grant(count, customer(name))
    body = {**SMALL, **more, "passId": customer(name)}
    return [await backend.post("/mma/still/create", body) for _ in range(count)]


def priorities(backend: Backend, name: str) -> list[int]:
    rows = backend.sql(
        "select job.priority from procrastinate.procrastinate_jobs job"
        " join mega_generations generation on generation.mg_id = 'generation:' || job.queueing_lock"
        " where generation.mg_pass_id = %s order by job.id",
        customer(name),
    )
    return [row["priority"] for row in rows]


def places(backend: Backend, name: str) -> list[bool]:
    """True for each job of the customer that is held."""
    rows = backend.sql(
        "select coalesce(job.lock = 'held:' || generation.mg_pass_id, false) as is_held"
        " from procrastinate.procrastinate_jobs job"
        " join mega_generations generation on generation.mg_id = 'generation:' || job.queueing_lock"
        " where generation.mg_pass_id = %s order by job.id",
        customer(name),
    )
    return [row["is_held"] for row in rows]


def in_order_of_begin(backend: Backend) -> list[str]:
    rows = backend.sql(
        "select mg_pass_id from mega_generations where mg_record_type = 'mma_step' and mg_step_no = 0"
        " order by (mg_payload #>> '{timing,started_at}')::timestamptz"
    )
    return [str(row["mg_pass_id"]).removeprefix("pass:user:") for row in rows]


async def finished(backend: Backend, accepted: list[Json]) -> None:
    made = await asyncio.gather(*(backend.finished(one) for one in accepted))
    assert {one["status"] for one in made} == {"done"}


# --- turns -----------------------------------------------------------------------------------------------------------


async def test_a_customer_with_one_order_goes_before_the_many_of_another(start: StartBackend):
    waiting = await start(worker=False)
    accepted = await order(waiting, "many", 5)
    for name in ("anna", "bert", "carl"):
        accepted += await order(waiting, name)
    await finished(await start(worker_concurrency=1), accepted)
    begun = in_order_of_begin(waiting)
    assert begun[:4] == ["many", "anna", "bert", "carl"]
    assert begun[4:] == ["many"] * 4


async def test_customers_with_several_orders_take_turns(start: StartBackend):
    waiting = await start(worker=False)
    for name, count in (("many", 4), ("anna", 3), ("bert", 2)):
        await order(waiting, name, count)
    assert priorities(waiting, "many") == [0, -1, -2, -3]
    assert priorities(waiting, "anna") == [0, -1, -2]
    assert priorities(waiting, "bert") == [0, -1]


async def test_a_newcomer_begins_where_the_queue_is_and_does_not_overtake_all_that_wait(start: StartBackend):
    backend = await start(worker=False)
    accepted = await order(backend, "many", 5)
    for one in accepted[:3]:
        backend.sql(
            "delete from procrastinate.procrastinate_jobs where queueing_lock = %s returning 1", one["generation_id"]
        )
    await order(backend, "anna", 3)
    assert priorities(backend, "many") == [-3, -4]
    assert priorities(backend, "anna") == [-3, -4, -5]


async def test_a_customer_who_is_served_waits_no_longer_for_what_is_done(start: StartBackend):
    backend = await start()
    await finished(backend, await order(backend, "many", 3))
    await backend.stop_working()
    await order(backend, "many", 2)
    assert priorities(backend, "many") == [0, -1]


async def test_imports_take_turns_and_keep_their_place_behind_the_import(start: StartBackend):
    backend = await start(worker=False)
    private = (await backend.upload_private())["url"]
    pictures = {"assets": {"product_image_url": private}}
    await order(backend, "many", 3, **pictures)
    await order(backend, "anna", 2)
    await order(backend, "anna", 1, **pictures)
    assert priorities(backend, "many") == [0, -1, -2]
    assert priorities(backend, "anna") == [0, -1, -2]
    rows = backend.sql("select queue_name from procrastinate.procrastinate_jobs order by id")
    assert [row["queue_name"] for row in rows] == ["inputs"] * 3 + ["generations"] * 2 + ["inputs"]


async def test_generations_without_a_job_take_turns_too(start: StartBackend):
    backend = await start(worker=False)
    for name, count in (("many", 3), ("anna", 2)):
        await order(backend, name, count)
    backend.sql("delete from procrastinate.procrastinate_jobs returning 1")
    backend.sql(
        "update mega_generations set mg_created_at = mg_created_at - interval '1 hour'"
        " where mg_record_type = 'generation' returning 1"
    )
    async with backend.app.database() as db:
        assert len((await backend.app.on(db).reaper.reap()).adopted) == 5
    assert sorted(priorities(backend, "many")) == [-2, -1, 0]
    assert sorted(priorities(backend, "anna")) == [-1, 0]


async def test_what_a_dead_worker_had_goes_before_all_that_has_not_begun(start: StartBackend):
    backend = await start(worker=False)
    await order(backend, "many", 3)
    await order(backend, "anna", 1)
    backend.sql(
        "update procrastinate.procrastinate_jobs set status = 'doing'"
        " where id = (select max(id) - 1 from procrastinate.procrastinate_jobs) returning 1"
    )
    async with backend.app.database() as db:
        await backend.app.on(db).reaper.reap()
    assert max(priorities(backend, "many")) == 1 > max(priorities(backend, "anna"))


# --- a bounded number of generations at once -------------------------------------------------------------------------


async def test_no_customer_has_more_begun_than_the_bound(start: StartBackend):
    backend = await start(generations_at_once_per_customer=2, local_latency_seconds=0.3, worker_concurrency=8)
    await finished(backend, await order(backend, "many", 6) + await order(backend, "anna", 1))
    spans = backend.sql(
        "select min((mg_payload #>> '{timing,started_at}')::timestamptz) as begun,"
        " max((mg_payload #>> '{timing,ended_at}')::timestamptz) as ended from mega_generations"
        " where mg_record_type = 'mma_step' and mg_pass_id = %s group by mg_generation_id",
        customer("many"),
    )
    assert len(spans) == 6
    most = max(sum(one["begun"] <= span["begun"] < one["ended"] for one in spans) for span in spans)
    assert most == 2


@pytest.mark.parametrize(("bound", "held"), [(0, 0), (1, 3), (2, 2), (3, 1), (9, 0)])
async def test_what_is_beyond_the_bound_is_held(start: StartBackend, bound: int, held: int):
    backend = await start(worker=False, generations_at_once_per_customer=bound)
    await order(backend, "many", 4)
    await order(backend, "anna", 1)
    assert places(backend, "many") == [False] * (4 - held) + [True] * held
    assert places(backend, "anna") == [False]


async def test_the_first_that_is_held_comes_next(start: StartBackend):
    backend = await start(worker=False, generations_at_once_per_customer=2)
    accepted = await order(backend, "many", 5)
    async with backend.app.database() as db, db.connection() as conn:
        assert await jobs.release(conn, customer("many"), places_max=2) == []
        await conn.execute("delete from procrastinate_jobs where queueing_lock = %s", [accepted[0]["generation_id"]])
        assert await jobs.release(conn, customer("many"), places_max=2) == [accepted[2]["generation_id"]]
        assert await jobs.release(conn, customer("many"), places_max=2) == []


async def test_a_held_generation_can_be_cancelled(start: StartBackend):
    backend = await start(worker=False, generations_at_once_per_customer=1)
    accepted = await order(backend, "many", 3)
    path = f"/mma/generations/{accepted[1]['generation_id']}/cancel"
    answer = await backend.post(path, {"passId": customer("many")})
    assert (answer["cancelled"], answer["refunded_credits"]) == (True, 1)
    await finished(await start(generations_at_once_per_customer=1), [accepted[0], accepted[2]])


@pytest.mark.parametrize(("bound", "held"), [(0, 0), (1, 2), (2, 1), (5, 0)])
async def test_the_reaper_releases_what_was_forgotten(start: StartBackend, bound: int, held: int):
    """The worker that should have released it was killed, or the bound is another one now."""
    backend = await start(worker=False, generations_at_once_per_customer=1)
    accepted = await order(backend, "many", 4)
    backend.sql(
        "delete from procrastinate.procrastinate_jobs where queueing_lock = %s returning 1",
        accepted[0]["generation_id"],
    )
    app = App(Settings(database_url=backend.dsn, home=backend.app.home, generations_at_once_per_customer=bound))
    async with app.database() as db:
        await app.on(db).reaper.reap()
    assert sum(places(backend, "many")) == held


async def test_an_imported_order_is_held_too(start: StartBackend):
    backend = await start(worker=False, generations_at_once_per_customer=1)
    await order(backend, "many", 1)
    late = new_id()
    backend.sql(
        "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_pass_id, mg_mma_status,"
        " mg_pipeline_version) values (%s, 'generation', %s, %s, 'queued', 1) returning 1",
        f"generation:{late}",
        late,
        customer("many"),
    )
    async with backend.app.database() as db:
        queue = backend.app.on(db).queue()
        await queue.open()
        async with db.transaction() as conn:
            await queue.defer(conn, late)
        await queue.close()
    assert places(backend, "many") == [False, True]
