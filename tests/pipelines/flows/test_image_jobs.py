"""Image jobs from order to result, through the acceptance and a worker on a real database."""

import asyncio
import multiprocessing
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from safelight import serve
from safelight.domain.errors.base import InsufficientCredits, NotFound
from safelight.domain.errors.retries import NothingToRetry
from safelight.domain.identities import ActingCustomer
from safelight.pipelines.deletion import delete
from safelight.pipelines.reopen import redo_all
from tests.conftest import COFFEE, Backend, StartBackend
from tests.support import killed_worker
from tests.support.image_jobs import (
    REQUEST,
    accepting,
    cancelled,
    complete,
    ended,
    files_of,
    job_of,
    lines,
    made,
    money,
    order,
    photographs,
    positions,
    problems,
)
from tests.support.simulated_provider import Refusing, looking_often, simulating

pytestmark = pytest.mark.usefixtures(looking_often.__name__)
__all__ = ["looking_often"]

WORDS = ("a cup", "a poisoned cup", "a glass", "a broken cup")


def sources_of(urls: list[str]) -> list[dict[str, str]]:
    return [{"url": url, "prompt": word} for url, word in zip(urls, WORDS, strict=False)]


class Shop:
    """Somebody else's server, whose picture is not there before it is open."""

    is_open = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = Response(COFFEE.read_bytes(), media_type="image/jpeg") if self.is_open else Response(status_code=404)
        await answer(scope, receive, send)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        listening = serve.listen("127.0.0.1", 0)
        async with serve.answering(self, listening):
            yield f"127.0.0.1:{listening.getsockname()[1]}"


async def test_every_position_of_a_job_is_made_and_paid(dsn: str, start: StartBackend):
    async with simulating(dsn) as (simulation, settings):
        backend = await start(**settings)
        await backend.grant(10)
        job = job_of(backend, await photographs(backend, 2), variants=3)
        accepted = await order(backend, job)
        row = await ended(backend, accepted.generation_id)
        assert row["mg_mma_status"] == "done"
        assert row["mg_meta"]["cost"] == 6
        assert row["mg_meta"]["price_each"] == 1
        assert row["mg_mma_vars"]["progress"] == {"bases": 2, "made": 6, "expected": 6}
        assert positions(backend, accepted.generation_id) == [(v, s) for v in range(3) for s in range(2)]
        assert money(backend, accepted.generation_id) == {"mma:<id>": -6}
        assert simulation.record.count() == 2
        assert await problems(backend) == {}
        shown = await backend.generation(accepted.generation_id)
        assert (shown["mode"], shown["status"]) == ("image_job", "done")


async def test_two_poisoned_sources_of_four_leave_half_of_a_job_and_a_retry_completes_it(dsn: str, start: StartBackend):
    poison = Refusing(poisoned=422, broken=503)
    async with simulating(dsn, holding=poison) as (simulation, settings):
        backend = await start(**settings)
        await backend.grant(150)
        urls = await photographs(backend, 4)
        job = (await order(backend, job_of(backend, urls, sources=sources_of(urls), variants=25))).generation_id
        row = await ended(backend, job)
        assert row["mg_mma_status"] == "partial"
        assert positions(backend, job) == [(v, s) for v in range(25) for s in (0, 2)]
        assert money(backend, job) == {"mma:<id>": -100, "mma:<id>:refund:1": 50}
        assert len(backend.steps(job)) <= 4 + 25 + 4
        assert await problems(backend) == {}

        poison.words = {}
        made_before = backend.sql(
            "select mg_id, mg_payload from mega_generations where mg_record_type = 'mma_step' order by mg_step_no"
        )
        reopened = await complete(backend, job, key="once")
        assert (reopened.missing, reopened.credits_cost, reopened.balance) == (50, 50, 50)
        assert (await complete(backend, job, key="once")).repeated
        row = await ended(backend, job)
        assert row["mg_mma_status"] == "done"
        assert positions(backend, job) == [(v, s) for v in range(25) for s in range(4)]
        assert money(backend, job) == {"mma:<id>": -100, "mma:<id>:refund:1": 50, "mma:<id>:retry:1": -50}
        assert simulation.record.count() == 4
        after = backend.sql(
            "select mg_id, mg_payload from mega_generations where mg_record_type = 'mma_step' order by mg_step_no"
        )
        assert after[: len(made_before)] == made_before
        assert await problems(backend) == {}


ENDINGS_OF_TWO = [
    ({}, "done", {"mma:<id>": -4}),
    ({"poisoned": 422}, "partial", {"mma:<id>": -4, "mma:<id>:refund:1": 2}),
    ({"cup": 422}, "error", {"mma:<id>": -4, "mma:<id>:refund:1": 4}),
    ({"cup": 400}, "error", {"mma:<id>": -4, "mma:<id>:refund:1": 4}),
    ({"poisoned": 503}, "partial", {"mma:<id>": -4, "mma:<id>:refund:1": 2}),
]


@pytest.mark.parametrize(("words", "status", "moved"), ENDINGS_OF_TWO)
async def test_a_job_of_two_sources_is_paid_for_what_it_made(
    dsn: str, start: StartBackend, words: dict[str, int], status: str, moved: dict[str, int]
):
    async with simulating(dsn, holding=Refusing(**words)) as (_, settings):
        backend = await start(**settings)
        await backend.grant(4)
        urls = await photographs(backend, 2)
        job = (await order(backend, job_of(backend, urls, sources=sources_of(urls), variants=2))).generation_id
        row = await ended(backend, job)
        assert row["mg_mma_status"] == status
        assert money(backend, job) == moved
        assert backend.balance() == backend.ledger_sum() == 4 + sum(moved.values())
        assert len(positions(backend, job)) == -sum(moved.values())
        assert await problems(backend) == {}
        if status == "error":
            assert row["mg_error"].endswith("4 credits were returned.")
            assert [file.key for file in await files_of(backend, job)] == []


async def test_a_job_without_a_source_that_can_be_read_fails_and_is_given_back(dsn: str, start: StartBackend):
    async with simulating(dsn) as (simulation, settings):
        backend = await start(**settings)
        await backend.grant(6)
        urls = ["http://127.0.0.1:9/none.jpg", f"{backend.app.settings.base_url}/assets/product/gone.jpg"]
        job = (await order(backend, job_of(backend, urls, variants=3))).generation_id
        row = await ended(backend, job)
        assert row["mg_mma_status"] == "error"
        assert row["mg_meta"]["error"]["code"] == "NO_SOURCE_READABLE"
        assert money(backend, job) == {"mma:<id>": -6, "mma:<id>:refund:1": 6}
        assert backend.step_types(job) == ["validation"]
        assert simulation.record.count() == 0
        said = [(line["level"], line["step"]) for line in lines(backend, job)][-2:]
        assert said == [("error", "validation"), ("error", "completion")]
        assert await problems(backend) == {}


async def test_a_source_that_cannot_be_read_is_a_missing_base_and_is_looked_at_again(dsn: str, start: StartBackend):
    """The other source keeps its place, and the retry fetches what was not there."""
    shop = Shop()
    async with shop.serving() as address, simulating(dsn) as (simulation, settings):
        hosts = {"fetch_allow_hosts": f"{settings['fetch_allow_hosts']},{address}"}
        backend = await start(**settings | hosts)
        await backend.grant(20)
        [own] = await photographs(backend, 1)
        job = (await order(backend, job_of(backend, [f"http://{address}/cup.jpg", own], variants=3))).generation_id
        assert (await ended(backend, job))["mg_mma_status"] == "partial"
        assert positions(backend, job) == [(0, 1), (1, 1), (2, 1)]
        shop.is_open = True
        await complete(backend, job)
        assert (await ended(backend, job))["mg_mma_status"] == "done"
        assert positions(backend, job) == [(v, s) for v in range(3) for s in range(2)]
        assert simulation.record.count() == 2
        assert await problems(backend) == {}


async def test_a_second_retry_pays_for_what_is_missing_then(dsn: str, start: StartBackend):
    poison = Refusing(poisoned=422)
    async with simulating(dsn, holding=poison) as (_, settings):
        backend = await start(**settings)
        await backend.grant(20)
        urls = await photographs(backend, 2)
        job = (await order(backend, job_of(backend, urls, sources=sources_of(urls), variants=3))).generation_id
        assert (await ended(backend, job))["mg_mma_status"] == "partial"
        await complete(backend, job)
        assert (await ended(backend, job))["mg_mma_status"] == "partial"
        poison.words = {}
        await complete(backend, job)
        assert (await ended(backend, job))["mg_mma_status"] == "done"
        assert money(backend, job) == {
            "mma:<id>": -6,
            "mma:<id>:refund:1": 3,
            "mma:<id>:retry:1": -3,
            "mma:<id>:refund:2": 3,
            "mma:<id>:retry:2": -3,
        }
        assert await problems(backend) == {}


@pytest.mark.parametrize("status", ["done", "error", "cancelled"])
async def test_only_a_job_that_ended_in_part_is_completed(dsn: str, start: StartBackend, status: str):
    async with simulating(dsn, holding=Refusing(cup=422) if status == "error" else None) as (_, settings):
        backend = await start(worker=status != "cancelled", **settings)
        await backend.grant(9)
        job = (await order(backend, job_of(backend, await photographs(backend, 1)))).generation_id
        if status == "cancelled":
            await cancelled(backend, job)
        assert (await ended(backend, job))["mg_mma_status"] == status
        before = backend.balance()
        with pytest.raises(NothingToRetry):
            await complete(backend, job)
        assert backend.balance() == before
        assert await problems(backend) == {}


async def test_who_cannot_pay_for_what_is_missing_keeps_what_there_is(dsn: str, start: StartBackend):
    async with simulating(dsn, holding=Refusing(poisoned=422)) as (_, settings):
        backend = await start(**settings)
        await backend.grant(4)
        urls = await photographs(backend, 2)
        job = (await order(backend, job_of(backend, urls, sources=sources_of(urls), variants=2))).generation_id
        await ended(backend, job)
        await backend.grant(-1)
        with pytest.raises(InsufficientCredits):
            await complete(backend, job)
        assert (await ended(backend, job))["mg_mma_status"] == "partial"
        with pytest.raises(NotFound):
            await complete(backend, job, pass_id="pass:user:somebody-else")


async def test_a_job_that_is_stopped_keeps_and_pays_for_what_it_made(dsn: str, start: StartBackend):
    async with simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(60)
        job = (await order(backend, job_of(backend, await photographs(backend, 1), variants=60))).generation_id
        while len(positions(backend, job)) < 3:
            await asyncio.sleep(0.02)
        outcome = await cancelled(backend, job)
        row = await ended(backend, job)
        made = len(positions(backend, job))
        assert row["mg_mma_status"] == outcome.status == "cancelled"
        assert 3 <= made < 60
        assert money(backend, job) == {"mma:<id>": -60, "mma:<id>:refund:1": 60 - made}
        assert outcome.refunded_credits == 60 - made
        assert len(backend.steps(job)) <= made + 1 + 4 + 2  # those under way, and none for what was not begun
        assert len([file for file in await files_of(backend, job) if "/variant-" in file.key]) == made
        assert await problems(backend) == {}


async def test_a_slide_that_cannot_be_stored_is_missing(dsn: str, start: StartBackend):
    """The others of its variant are kept, and a retry makes it from the base image that is there."""
    async with simulating(dsn) as (simulation, settings):
        backend = await start(worker=False, **settings)
        await backend.grant(12)
        job = (await order(backend, job_of(backend, await photographs(backend, 2), variants=2))).generation_id
        folder = backend.app.resources.assets.names.result_folder("image_job", job)
        path = backend.app.resources.assets.public.root / f"{folder}/variant-002/001.jpg"  # type: ignore[attr-defined]
        path.mkdir(parents=True)
        working = await start(**settings)
        row = await ended(working, job)
        assert row["mg_mma_status"] == "partial"
        assert positions(backend, job) == [(0, 0), (0, 1), (1, 1)]
        failed = [line for line in lines(backend, job) if (line["level"], line["step"]) == ("error", "upload")]
        assert failed[0]["details"]["storagePath"].endswith("variant-002/001.jpg")
        assert {"elapsedMs", "errorCode", "variantIndex", "imageIndex"} <= failed[0]["details"].keys()
        assert await problems(backend) == {}
        path.rmdir()
        await complete(backend, job)
        assert (await ended(backend, job))["mg_mma_status"] == "done"
        assert simulation.record.count() == 2
        assert money(backend, job) == {"mma:<id>": -4, "mma:<id>:refund:1": 1, "mma:<id>:retry:1": -1}
        assert await problems(backend) == {}


async def test_deleting_a_job_deletes_all_its_files_and_keeps_its_history(dsn: str, start: StartBackend):
    async with simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(6)
        job = (await order(backend, job_of(backend, await photographs(backend, 2), variants=3))).generation_id
        await ended(backend, job)
        assert len(await files_of(backend, job)) == 6 + 2
        async with backend.app.database() as db:
            await delete(db, backend.app.resources.assets, job, backend.pass_id)
        assert await files_of(backend, job) == []
        last = lines(backend, job)[-1]
        assert (last["level"], last["step"], last["details"]) == ("info", "cleanup", {"deletedImages": 8})
        assert money(backend, job) == {"mma:<id>": -6}
        assert len(backend.steps(job)) == 7
        assert await problems(backend) == {}


async def test_the_same_seed_gives_the_same_bytes(dsn: str, start: StartBackend):
    async with simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(8)
        urls = await photographs(backend, 1)
        wanted = {"preset": "maximum", "seed": 7}
        hashes = []
        for _ in range(2):
            job = (await order(backend, job_of(backend, urls, variants=2, post_processing=wanted))).generation_id
            await ended(backend, job)
            hashes.append(made(backend, job))
        # The bases differ in a mark after their end, and the pictures in the job that their provenance names.
        assert [slide["changes"] for slide in hashes[0]] == [slide["changes"] for slide in hashes[1]]
        assert len({slide["sha256"] for slide in hashes[0]}) == 2


async def test_all_of_a_job_is_made_again_as_a_new_one(dsn: str, start: StartBackend):
    async with simulating(dsn) as (_, settings):
        backend = await start(**settings)
        await backend.grant(8)
        job = (await order(backend, job_of(backend, await photographs(backend, 1), variants=2))).generation_id
        await ended(backend, job)
        async with accepting(backend) as acceptance:
            again = await redo_all(
                acceptance, job, ActingCustomer(backend.pass_id), idempotency_key=None, request=REQUEST
            )
        row = await ended(backend, again.generation_id)
        assert (row["mg_mma_status"], row["mg_meta"]["retry_of"]) == ("done", job)
        assert again.generation_id != job
        assert await problems(backend) == {}


@pytest.mark.parametrize("status", ["partial", "cancelled"])
async def test_a_round_that_nobody_begins_is_given_back(dsn: str, start: StartBackend, status: str):
    """Its time in the queue is over, or it is stopped: what was made before stays, and stays paid."""
    async with simulating(dsn, holding=Refusing(poisoned=422)) as (simulation, settings):
        backend = await start(**settings)
        await backend.grant(4)
        urls = await photographs(backend, 2)
        job = (await order(backend, job_of(backend, urls, sources=sources_of(urls), variants=2))).generation_id
        await ended(backend, job)
        await backend.stop_working()
        await complete(backend, job)
        if status == "cancelled":
            assert (await cancelled(backend, job)).refunded_credits == 4
        else:
            late = "update mega_generations set mg_deadline_at = now() - interval '1 second' where mg_id = %s"
            backend.sql(f"{late} returning mg_id", f"generation:{job}")
            async with backend.app.database() as db:
                await backend.app.on(db).reaper.reap()
        row = await ended(backend, job)
        assert row["mg_mma_status"] == status
        assert positions(backend, job) == [(0, 0), (1, 0)]
        assert money(backend, job) == {
            "mma:<id>": -4,
            "mma:<id>:refund:1": 2,
            "mma:<id>:retry:1": -2,
            "mma:<id>:refund:2": 2,
        }
        assert simulation.record.count() == 1
        assert len(await files_of(backend, job)) == 3
        assert await problems(backend) == {}


@pytest.mark.timeout(180)
async def test_killed_workers_and_cut_connections_change_nothing(dsn: str, start: StartBackend):
    """Neither of the order, nor of the round that makes what is missing."""
    poison = Refusing(poisoned=422)
    async with simulating(dsn, holding=poison) as (simulation, settings):
        settings |= {"provider_start_timeout_seconds": "2"}
        backend = await start(worker=False, **settings)
        await backend.grant(40)
        urls = await photographs(backend, 2)
        job = (await order(backend, job_of(backend, urls, sources=sources_of(urls), variants=8))).generation_id
        await kill_workers(backend, settings, job, (14, "before"), (22, "after"), (18, "before"))
        working = await start(**settings, worker_heartbeat_seconds=0.3)
        await cut_connections(backend)
        assert (await ended(backend, job))["mg_mma_status"] == "partial"
        assert positions(backend, job) == [(v, 0) for v in range(8)]
        await working.stop_working()
        poison.words = {}
        assert (await complete(backend, job)).credits_cost == 8
        await kill_workers(backend, settings, job, (12, "after"), (16, "before"), (20, "after"))
        await start(**settings, worker_heartbeat_seconds=0.3)
        await cut_connections(backend)
        assert (await ended(backend, job))["mg_mma_status"] == "done"
        assert positions(backend, job) == [(v, s) for v in range(8) for s in range(2)]
        assert money(backend, job) == {"mma:<id>": -16, "mma:<id>:refund:1": 8, "mma:<id>:retry:1": -8}
        assert [len(starts) for starts in simulation.record.by_attempt_key().values()] == [1, 1]
        assert await problems(backend) == {}


async def kill_workers(backend: Backend, settings: dict[str, str], job: str, *moments: tuple[int, str]) -> None:
    """A worker process begins the job, or goes on with it, and kills itself at this statement; then another one."""
    environment = settings | {
        "database_url": backend.dsn,
        "home": str(backend.app.home),
        "public_url": backend.app.settings.base_url,
        "worker_heartbeat_seconds": 60,
        "worker_poll_seconds": 0.05,
        "log_level": "ERROR",
    }
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.support.killed_worker"])
    for number, moment in moments:
        process = processes.Process(target=killed_worker.work, args=(environment, job, number, moment))
        process.start()
        await asyncio.to_thread(process.join)
        assert process.exitcode == -signal.SIGKILL
        backend.sql("delete from procrastinate_workers")
        backend.sql("update procrastinate_jobs set status = 'todo', scheduled_at = null, worker_id = null")


async def cut_connections(backend: Backend) -> None:
    for _ in range(3):
        backend.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )
        await asyncio.sleep(0.05)
