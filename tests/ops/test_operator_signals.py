"""Signals for operators: `/health`, `/metrics`, `safelight status` and the doctor say whether anybody is at work."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from safelight.ops import queue_watch
from tests.conftest import WAIT_SECONDS, Backend, Json, StartBackend
from tests.ops.test_doctor import gauges
from tests.pipelines.engine.test_failed_generations import ADMIN, CLEANUP, TOKEN, safelight

DEAD = (
    "insert into procrastinate_workers (last_heartbeat) select now() - interval '1 minute' from generate_series(1, %s)"
)
ALIVE = (
    "insert into procrastinate_workers (last_heartbeat) select now() + interval '1 hour' from generate_series(1, %s)"
)
TAKEN = "update procrastinate_jobs set status = 'doing', worker_id = (select max(id) from procrastinate_workers)"


@pytest.fixture
async def idle(start: StartBackend, monkeypatch: pytest.MonkeyPatch) -> Backend:
    """An API that looks often, with nobody at work."""
    monkeypatch.setattr(queue_watch, "READ_EVERY_SECONDS", 0.05)
    backend: Backend = await start(worker=False, admin_token=TOKEN)
    await backend.grant(10)
    return backend


async def ordered(backend: Backend) -> str:
    return str((await backend.post("/mma/still/create", {"inputs": {"brief": "a cup"}}))["generation_id"])


async def metrics(backend: Backend) -> dict[str, float]:
    return gauges((await backend.client.get("/metrics")).text)


async def until(backend: Backend, **wanted: float) -> dict[str, float]:
    """The gauges, once these have these values."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found = await metrics(backend)
            if all(found.get(f"safelight_{name}") == value for name, value in wanted.items()):
                return found
            await asyncio.sleep(0.05)


async def until_ready(backend: Backend, *, is_ready: bool) -> Json:
    async with asyncio.timeout(WAIT_SECONDS):
        while (health := await backend.get("/health"))["ready"] != is_ready:
            await asyncio.sleep(0.05)
    return health


def plant(backend: Backend, case: str) -> None:
    """The one order as it is when all workers are gone, each in another way."""
    match case:
        case "waits for its first worker":
            return
        case "its worker was killed":
            backend.sql(DEAD, 2)
            backend.sql(TAKEN)
        case "its worker withdrew":
            backend.sql(TAKEN.replace("(select max(id) from procrastinate_workers)", "null"))
        case "a provider has ended meanwhile":
            backend.sql("update procrastinate_jobs set scheduled_at = now() - interval '1 minute'")


CASES = ["waits for its first worker", "its worker was killed", "its worker withdrew", "a provider has ended meanwhile"]


@pytest.mark.parametrize("case", CASES)
async def test_work_without_a_worker_is_an_alarm_everywhere(idle: Backend, case: str):
    await ordered(idle)
    plant(idle, case)
    found = await until(idle, queue_without_worker=1.0)
    assert found["safelight_workers_alive"] == 0
    health = await until_ready(idle, is_ready=False)
    assert (health["ok"], health["live"], health["supabase"]) == (True, True, True)
    assert "no worker is alive, and 1 generation waits" in health["not_ready"]
    async with idle.app.database() as db:
        assert (
            (await idle.app.on(db).doctor.check()).warnings[0].startswith("no worker is alive, and 1 generation waits")
        )


async def test_a_worker_ends_the_alarm(idle: Backend, start: StartBackend):
    generation_id = await ordered(idle)
    await until_ready(idle, is_ready=False)
    await start(local_fault="gpt_reader:rejected")
    await until_ready(idle, is_ready=True)
    async with asyncio.timeout(WAIT_SECONDS):
        while (await idle.generation(generation_id))["status"] != "error":
            await asyncio.sleep(0.05)
    found = await until(idle, queue_in_progress=0.0)
    assert (found["safelight_workers_alive"], found["safelight_queue_without_worker"]) == (1, 0)


QUIET = {
    "nothing waits": "delete from procrastinate_jobs",
    "it is due later": "update procrastinate_jobs set scheduled_at = now() + interval '1 hour'",
    "a worker lives": ALIVE.replace("%s", "2"),
}


@pytest.mark.parametrize("case", QUIET)
async def test_it_is_ready_if_nobody_waits_or_somebody_lives(idle: Backend, case: str):
    await ordered(idle)
    await until_ready(idle, is_ready=False)
    idle.sql(QUIET[case])
    assert (await until_ready(idle, is_ready=True))["not_ready"] is None


async def test_the_status_counts_workers_by_process_and_generations_by_what_they_wait_for(idle: Backend):
    for _ in range(6):
        await ordered(idle)
    jobs = [row["id"] for row in idle.sql("select id from procrastinate_jobs order by id")]
    change = "update procrastinate_jobs set {} where id = %s"
    idle.sql(DEAD, 2)
    idle.sql(change.format("status = 'doing', worker_id = (select max(id) from procrastinate_workers)"), jobs[0])
    idle.sql(ALIVE, 4)  # two processes, each with its two queues
    idle.sql(change.format("status = 'doing', worker_id = (select max(id) from procrastinate_workers)"), jobs[1])
    idle.sql(change.format("scheduled_at = now() + interval '1 hour'"), jobs[2])
    idle.sql(change.format("scheduled_at = now() - interval '90 seconds'"), jobs[3])
    idle.sql(change.format("queue_name = 'inputs'"), jobs[4])
    done = await asyncio.to_thread(safelight, idle, "status", "--json")
    found = json.loads(done.stdout)
    assert 90 <= found.pop("oldest_due_seconds") < 600
    assert found == {
        "workers_alive": 2, "workers_lost": 1, "due": {"generations": 2, "inputs": 1}, "scheduled": 1,
        "in_progress": 1, "abandoned": 1, "results_at_risk": 0, "alarm": None,
    }  # fmt: skip
    told = await until(idle, workers_alive=2.0, queue_scheduled=1.0, queue_abandoned=1.0)
    assert (told['safelight_queue_due{queue="generations"}'], told['safelight_queue_due{queue="inputs"}']) == (2, 1)
    assert told["safelight_queue_status_age_seconds"] >= 0


async def test_what_was_woken_before_its_time_waits_since_it_was_ordered(idle: Backend):
    await ordered(idle)
    idle.sql("update procrastinate_jobs set scheduled_at = now() + interval '1 hour'")
    idle.sql("update procrastinate_jobs set scheduled_at = null")
    async with asyncio.timeout(WAIT_SECONDS):
        while not (found := await metrics(idle))["safelight_queue_oldest_due_seconds"]:
            await asyncio.sleep(0.05)
    assert 0 < found["safelight_queue_oldest_due_seconds"] < 600


async def test_the_status_ends_with_1_if_nobody_is_at_work(idle: Backend):
    await ordered(idle)
    done = await asyncio.to_thread(safelight, idle, "status")
    assert done.returncode == 1
    assert "workers     0 alive" in done.stdout
    assert "! no worker is alive, and 1 generation waits for one, the oldest for" in done.stdout


async def test_a_clean_up_says_that_nobody_goes_on(idle: Backend):
    for _ in range(2):
        await ordered(idle)
    idle.sql(DEAD, 2)
    idle.sql(TAKEN)
    cleaned = await idle.post(CLEANUP, {}, headers=ADMIN)
    assert cleaned["message"] == "2 stuck generation(s) were queued again; no worker is alive."
    idle.sql(TAKEN)
    idle.sql(ALIVE, 2)
    cleaned = await idle.post(CLEANUP, {}, headers=ADMIN)
    assert cleaned["message"] == "2 stuck generation(s) were queued again."


# --- a scrape waits for nothing --------------------------------------------------------------------------------------


@asynccontextmanager
async def locked(backend: Backend, table: str) -> AsyncIterator[None]:
    """Nobody can read the table inside this context."""
    async with await psycopg.AsyncConnection.connect(backend.dsn) as conn:
        await conn.execute(f"lock table {table} in access exclusive mode")  # type: ignore[call-overload]
        yield
        await conn.rollback()


@pytest.mark.parametrize(
    "table", ["mega_generations", "mega_customers", "image_generation_logs", "procrastinate.procrastinate_jobs"]
)
async def test_a_scrape_answers_while_what_it_tells_of_cannot_be_read(idle: Backend, table: str):
    before = await until(idle, workers_alive=0.0)
    async with locked(idle, table):
        for _ in range(3):
            told = await metrics(idle)
            assert told["safelight_workers_alive"] == 0
        assert not any(name.startswith("safelight_invariant_violations") for name in told)
    async with asyncio.timeout(WAIT_SECONDS):
        while "safelight_doctor_age_seconds" not in await metrics(idle):
            await asyncio.sleep(0.05)
    assert before.keys() < (await metrics(idle)).keys()
