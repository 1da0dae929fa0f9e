"""A run may stop anywhere and go on elsewhere: finished steps are skipped, waiting holds no worker."""

import asyncio
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from safelight.app import App
from safelight.config import Settings
from safelight.db import embedded
from safelight.db.connection.database import Database
from safelight.pipelines.engine.reaper import HUNG_AFTER_SECONDS, Reaped
from tests.conftest import Backend, StartBackend, running
from tests.support.commands import Started

WHOLE_STORY_SECONDS = 200  # through a restart, on a slow machine
STILL_STEPS = ["scan_product", "like_history", "gpt_reader", "seedream_generate", "postscan_output_still"]


async def wait_for(backend: Backend, query: str, *values: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not backend.value(query, *values):
        assert time.monotonic() < deadline, query
        await asyncio.sleep(0.05)


async def test_waiting_for_a_provider_holds_no_worker(start: StartBackend):
    """One worker that does one thing at a time has six waits under way at once."""
    backend = await start(local_latency_seconds=WHOLE_STORY_SECONDS, worker_concurrency=1)
    await backend.grant(6)
    photo = await backend.upload()
    accepted = [await backend.create(product=photo) for _ in range(6)]
    under_way = (
        "select count(*) from mega_generations where mg_step_type = 'seedream_generate' and mg_payload ? 'operation'"
    )
    await wait_for(backend, f"select ({under_way}) = 6 and count(*) = 6 from procrastinate_jobs where status = 'todo'")
    long_ago = datetime.now(UTC) - timedelta(seconds=2 * WHOLE_STORY_SECONDS)
    backend.sql(
        "update mega_generations set mg_payload = jsonb_set(mg_payload, '{starts,0,at}', to_jsonb(%s::text))"
        " where mg_step_type = 'seedream_generate'",
        long_ago.isoformat(),
    )
    backend.sql("update procrastinate_jobs set scheduled_at = null")
    made = await asyncio.gather(*(backend.finished(one) for one in accepted))
    assert {one["status"] for one in made} == {"done"}
    waits = [
        step
        for one in made
        for step in backend.steps(one["generation_id"])
        if step["mg_step_type"] == "seedream_generate"
    ]
    assert len(waits) == 6
    for step in waits:
        assert len(step["mg_payload"]["attempts"]) == 1
        assert step["mg_latency_ms"] == step["mg_payload"]["timing"]["duration_ms"] > 0


async def test_each_wake_up_takes_a_new_lease(start: StartBackend):
    backend = await start(local_latency_seconds=0.5)
    await backend.grant(1)
    made = await backend.finished(await backend.create())
    lease = backend.value(
        "select mg_lease_no from mega_generations where mg_id = %s", f"generation:{made['generation_id']}"
    )
    assert lease >= 2


def worker_process(backend: Backend, **environment: str) -> Started:
    settings = {
        "SAFELIGHT_DATABASE_URL": backend.dsn,
        "SAFELIGHT_HOME": str(backend.app.home),
        "SAFELIGHT_PUBLIC_URL": backend.app.settings.base_url,
        "SAFELIGHT_WORKER_POLL_SECONDS": "0.1",
    }
    return Started("worker", environment=os.environ | settings | environment)


async def test_a_run_that_was_cut_off_goes_on_where_it_stopped(start: StartBackend):
    """The worker is killed while a step runs; its job is put back as the taking-over of dead workers will do."""
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    generation_id = accepted["generation_id"]
    killed = worker_process(backend, SAFELIGHT_LOCAL_LATENCY_SECONDS="30")
    started = (
        "select count(*) from mega_generations where mg_step_type = 'seedream_generate' and mg_payload ? 'operation'"
    )
    await wait_for(backend, started)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = backend.steps(generation_id)
    backend.sql("update procrastinate.procrastinate_jobs set status = 'todo', worker_id = null, scheduled_at = null")
    backend.sql(
        "update mega_generations set mg_payload = jsonb_set(mg_payload, '{starts,0,at}', '\"2025-01-01T00:00:00+00:00\"')"
        " where mg_step_type = 'seedream_generate'"
    )
    successor = worker_process(backend)
    try:
        made = await backend.finished(accepted)
    finally:
        successor.terminate()
        successor.wait()
    assert made["status"] == "done"
    after = backend.steps(generation_id)
    assert [step["mg_step_type"] for step in after] == STILL_STEPS
    finished = [step for step in before if step["mg_payload"]["timing"]["ended_at"]]
    assert len(finished) == 3
    assert [step["mg_payload"] for step in after[:3]] == [step["mg_payload"] for step in finished]
    assert (
        after[3]["mg_payload"]["operation"]["handle"]["prompt"]
        == before[3]["mg_payload"]["operation"]["handle"]["prompt"]
    )
    rows = backend.sql("select seq, message from image_generation_logs where job_id = %s order by seq", generation_id)
    assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
    lines = made["mma_vars"]["userMessages"]["scan_lines"]
    assert [line["text"] for line in lines] == [row["message"] for row in rows]
    assert backend.value("select count(*) from mega_generations where mg_ref_type = 'mma_charge'") == 1


async def test_a_worker_that_lost_its_lease_writes_nothing(start: StartBackend):
    """Somebody else takes the lease while a slow step runs: the first worker's later writes do not count."""
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create(settings={"seedream": {"size": "4K"}})
    key = f"generation:{accepted['generation_id']}"
    stale = worker_process(backend)
    try:
        started = "select count(*) from mega_generations where mg_step_type = 'seedream_generate'"
        await wait_for(backend, started)
        backend.sql("update mega_generations set mg_lease_no = mg_lease_no + 1 where mg_id = %s", key)
        await wait_for(backend, "select count(*) = 0 from procrastinate.procrastinate_jobs")
    finally:
        stale.terminate()
        stale.wait()
    row = backend.sql("select mg_mma_status, mg_output_url from mega_generations where mg_id = %s", key)[0]
    assert row == {"mg_mma_status": "generating", "mg_output_url": None}
    [*_, last] = backend.steps(accepted["generation_id"])
    assert (last["mg_step_type"], last["mg_payload"]["timing"]["ended_at"]) == ("seedream_generate", None)
    assert backend.ops_rows() == []


async def test_a_worker_that_is_told_to_stop_hands_its_work_back(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create(settings={"seedream": {"size": "4K"}})
    stopped = worker_process(backend, SAFELIGHT_WORKER_SHUTDOWN_SECONDS="0.1")
    started = (
        "select count(*) from mega_generations where mg_step_type = 'seedream_generate' and mg_payload ? 'operation'"
    )
    await wait_for(backend, started)
    stopped.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(stopped.wait, 30) == 0
    [job] = backend.sql("select status, worker_id from procrastinate.procrastinate_jobs")
    assert job["status"] == "todo"
    assert backend.ops_rows() == []
    successor = worker_process(backend)
    try:
        made = await backend.finished(accepted)
    finally:
        successor.terminate()
        successor.wait()
    assert made["status"] == "done"
    assert backend.step_types(made["generation_id"]) == STILL_STEPS


HEARTBEAT = "0.3"


async def slow_step_begun(backend: Backend) -> None:
    await wait_for(
        backend,
        "select count(*) from mega_generations where mg_step_type = 'seedream_generate' and mg_payload ? 'operation'",
    )


async def test_a_killed_worker_is_taken_over_and_nothing_is_done_twice(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create(settings={"seedream": {"size": "4K"}})
    killed = worker_process(backend, SAFELIGHT_WORKER_HEARTBEAT_SECONDS=HEARTBEAT)
    await slow_step_begun(backend)
    killed.kill()
    killed.wait()
    before = backend.steps(accepted["generation_id"])
    successor = worker_process(backend, SAFELIGHT_WORKER_HEARTBEAT_SECONDS=HEARTBEAT)
    try:
        made = await backend.finished(accepted)
    finally:
        successor.terminate()
        successor.wait()
    assert made["status"] == "done"
    after = backend.steps(accepted["generation_id"])
    assert [step["mg_step_type"] for step in after] == STILL_STEPS
    assert [step["mg_payload"] for step in after[:3]] == [step["mg_payload"] for step in before[:3]]
    assert after[3]["mg_payload"]["operation"] == before[3]["mg_payload"]["operation"]
    assert backend.value("select count(*) from procrastinate.procrastinate_jobs") == 0
    assert backend.balance() == backend.ledger_sum() == 0


async def test_a_paused_worker_that_wakes_up_writes_nothing(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(2)
    accepted = await backend.create(settings={"seedream": {"size": "4K"}})
    paused = worker_process(backend, SAFELIGHT_WORKER_HEARTBEAT_SECONDS=HEARTBEAT)
    successor = None
    try:
        await slow_step_begun(backend)
        paused.send_signal(signal.SIGSTOP)
        successor = worker_process(backend, SAFELIGHT_WORKER_HEARTBEAT_SECONDS=HEARTBEAT)
        made = await backend.finished(accepted)
        rows = "select * from mega_generations where mg_generation_id = %s order by mg_id"
        before = backend.sql(rows, accepted["generation_id"])
        successor.terminate()
        successor.wait()
        paused.send_signal(signal.SIGCONT)
        again = await backend.finished(await backend.create())  # the one that woke up works on
        await asyncio.sleep(3)
        assert (made["status"], again["status"]) == ("done", "done")
        assert backend.sql(rows, accepted["generation_id"]) == before
        assert backend.ops_rows() == []
    finally:
        for process in filter(None, (paused, successor)):
            process.kill()
            process.wait()


async def test_an_unfinished_generation_without_a_job_gets_one(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    backend.sql("delete from procrastinate.procrastinate_jobs")
    backend.sql(
        "update mega_generations set mg_created_at = now() - interval '1 minute' where mg_record_type = 'generation'"
    )
    async with backend.app.database() as db:
        assert await reap(backend, db) == Reaped([], [accepted["generation_id"]], [])
        assert await reap(backend, db) == Reaped([], [], [])
    successor = worker_process(backend)
    try:
        assert (await backend.finished(accepted))["status"] == "done"
    finally:
        successor.terminate()
        successor.wait()


async def reap(backend: Backend, db: Database) -> Reaped:
    return await backend.app.on(db).reaper.reap()


async def test_a_generation_of_a_newer_version_is_left_to_newer_workers(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    version = "update mega_generations set mg_pipeline_version = mg_pipeline_version + %s where mg_pipeline_version > 0"
    backend.sql(version, 1)
    await start(worker_heartbeat_seconds=0.3)
    for offered in ("= 0", "> 0"):  # it is taken off the queue, and offered again
        await wait_for(backend, f"select count(*) {offered} from procrastinate.procrastinate_jobs")
    assert backend.steps(accepted["generation_id"]) == []
    backend.sql(version, -1)
    assert (await backend.finished(accepted))["status"] == "done"


async def test_many_reapers_at_once_take_each_job_back_once(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(30)
    body = {"inputs": {"brief": "a cup"}}
    accepted = [await backend.post("/mma/still/create", body) for _ in range(30)]
    backend.sql("insert into procrastinate.procrastinate_workers (last_heartbeat) values (now() - interval '1 minute')")
    backend.sql(
        "update procrastinate.procrastinate_jobs set status = 'doing',"
        " worker_id = (select max(id) from procrastinate.procrastinate_workers)"
    )
    async with backend.app.database(8) as db:
        reaped = await asyncio.gather(*(reap(backend, db) for _ in range(8)))
    taken = [generation_id for one in reaped for generation_id in one.taken_back]
    assert sorted(taken) == sorted(one["generation_id"] for one in accepted)
    assert backend.value("select count(*) from procrastinate.procrastinate_jobs where status = 'todo'") == 30


def run_by_a_living_worker(backend: Backend) -> None:
    backend.sql(
        "with worker as (insert into procrastinate_workers (last_heartbeat) values (now() + interval '1 hour') returning id)"
        " update procrastinate_jobs set status = 'doing', worker_id = worker.id from worker"
    )


async def test_a_job_that_runs_is_left_alone(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    await backend.create()
    run_by_a_living_worker(backend)
    backend.sql(
        "update mega_generations set mg_created_at = now() - interval '1 hour', mg_lease_no = 1"
        " where mg_record_type = 'generation'"
    )
    async with backend.app.database() as db:
        assert await reap(backend, db) == Reaped([], [], [])


async def test_a_worker_that_withdrew_its_registration_is_not_held_against_its_generations(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(2)
    lost, withdrawn = [(await backend.create())["generation_id"] for _ in range(2)]
    backend.sql("insert into procrastinate_workers (last_heartbeat) values (now() - interval '1 minute')")
    backend.sql(
        "update procrastinate_jobs set status = 'doing',"
        " worker_id = case queueing_lock when %s then (select max(id) from procrastinate_workers) end",
        lost,
    )
    async with backend.app.database() as db:
        assert sorted((await reap(backend, db)).taken_back) == sorted([lost, withdrawn])
    takeovers = "select mg_takeovers from mega_generations where mg_id = 'generation:' || %s"
    assert [backend.value(takeovers, one) for one in (lost, withdrawn)] == [1, 0]


async def test_a_job_that_hangs_is_taken_from_its_living_worker(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    run_by_a_living_worker(backend)
    backend.sql(
        "update mega_generations set mg_lease_no = 1, mg_deadline_at = now() - make_interval(secs => %s)"
        " where mg_record_type = 'generation'",
        HUNG_AFTER_SECONDS + 1,
    )
    async with backend.app.database() as db:
        assert await reap(backend, db) == Reaped([accepted["generation_id"]], [], [])


async def test_what_was_taken_over_goes_before_what_has_not_begun(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(3)
    accepted = [await backend.create() for _ in range(3)]
    [begun] = backend.sql("select min(id) as id from procrastinate.procrastinate_jobs")
    backend.sql("update procrastinate.procrastinate_jobs set status = 'doing' where id = %s", begun["id"])
    async with backend.app.database() as db:
        assert (await reap(backend, db)).taken_back == [accepted[0]["generation_id"]]
    next_job = "select queueing_lock from procrastinate.procrastinate_jobs order by priority desc, id limit 1"
    assert backend.value(next_job) == accepted[0]["generation_id"]


async def test_a_restart_of_the_database_loses_nothing(tmp_path: Path):
    dsn = embedded.start(tmp_path)
    await App(Settings(database_url=dsn)).migrate()
    async with running(dsn, tmp_path, worker_heartbeat_seconds=0.3) as backend:
        await backend.grant(2)
        accepted = [await backend.create(settings={"seedream": {"size": "4K"}}) for _ in range(2)]
        await slow_step_begun(backend)
        await asyncio.to_thread(embedded.halt, tmp_path)
        await asyncio.sleep(1)
        await asyncio.to_thread(embedded.start, tmp_path)
        done = "select count(*) = 2 from mega_generations where mg_mma_status = 'done'"
        await wait_for(backend, done, seconds=WHOLE_STORY_SECONDS)
        for one in accepted:
            assert backend.step_types(one["generation_id"]) == STILL_STEPS
            rows = backend.sql(
                "select seq from image_generation_logs where job_id = %s order by seq", one["generation_id"]
            )
            assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
        assert backend.balance() == backend.ledger_sum() == 0
        await wait_for(backend, "select count(*) = 0 from procrastinate.procrastinate_jobs")
