"""Image jobs from order to result, through the acceptance and a worker on a real database."""

from typing import Any

from tests.conftest import StartBackend
from tests.support import image_jobs
from tests.support.image_jobs import ended, job_of, money, order, photographs, positions
from tests.support.simulated_provider import simulating

Json = dict[str, Any]


async def test_every_position_of_a_job_is_made_and_paid(dsn: str, start: StartBackend):
    async with simulating(dsn) as (simulation, settings):
        backend = await start(**settings)
        await backend.grant(10)
        urls = await photographs(backend, 2)
        accepted = await order(backend, job_of(backend, urls, variants=3))
        row = await ended(backend, accepted.generation_id)
        for line in image_jobs.lines(backend, accepted.generation_id):
            print(line)
        for s in backend.steps(accepted.generation_id):
            print(s["mg_step_no"], s["mg_step_type"], s["mg_status"], s["mg_payload"]["error"])
        print(row["mg_mma_vars"], row["mg_meta"])
        assert row["mg_mma_status"] == "done"
        assert positions(backend, accepted.generation_id) == [(v, s) for v in range(3) for s in range(2)]
        assert money(backend, accepted.generation_id) == {"mma:<id>": -6}
        assert simulation.record.count() == 2
