"""What providers call when something has ended."""

from safelight.domain.ids import new_id
from tests.conftest import StartBackend

SCHEDULED = "select scheduled_at from procrastinate.procrastinate_jobs"


async def test_a_webhook_lets_a_waiting_job_look_now(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    backend.sql("update procrastinate.procrastinate_jobs set scheduled_at = now() + interval '1 hour'")
    for _ in range(2):  # said twice, it changes nothing more
        assert await backend.post(f"/webhooks/simulated/{accepted['generation_id']}", {}) == {"ok": True}
        assert backend.value(SCHEDULED) is None


async def test_a_webhook_leaves_a_running_job_and_those_of_others_alone(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(2)
    running, other = await backend.create(), await backend.create()
    backend.sql("update procrastinate.procrastinate_jobs set scheduled_at = now() + interval '1 hour'")
    backend.sql(
        "update procrastinate.procrastinate_jobs set status = 'doing' where queueing_lock = %s",
        running["generation_id"],
    )
    before = backend.sql("select * from procrastinate.procrastinate_jobs order by id")
    await backend.post(f"/webhooks/simulated/{running['generation_id']}", {})
    assert backend.sql("select * from procrastinate.procrastinate_jobs order by id") == before
    await backend.post(f"/webhooks/simulated/{other['generation_id']}", {})
    assert backend.sql("select * from procrastinate.procrastinate_jobs order by id") != before


async def test_a_webhook_about_a_generation_that_is_not_there_is_told_so(start: StartBackend):
    backend = await start(worker=False)
    answer = await backend.post(f"/webhooks/simulated/{new_id()}", {}, status=404)
    assert answer["error"] == "NOT_FOUND"
