"""Image jobs from order to result, through the acceptance and a worker on a real database."""

from tests.conftest import StartBackend
from tests.support.image_jobs import complete, ended, job_of, money, order, photographs, positions, problems
from tests.support.simulated_provider import Refusing, simulating

WORDS = ("a cup", "a poisoned cup", "a glass", "a broken cup")


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


async def test_two_poisoned_sources_of_four_leave_half_of_a_job_and_a_retry_completes_it(dsn: str, start: StartBackend):
    poison = Refusing(poisoned=422, broken=503)
    async with simulating(dsn, holding=poison) as (simulation, settings):
        backend = await start(**settings)
        await backend.grant(150)
        urls = await photographs(backend, 4)
        sources = [{"url": url, "prompt": word} for url, word in zip(urls, WORDS, strict=True)]
        job = (await order(backend, job_of(backend, urls, sources=sources, variants=25))).generation_id
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
