"""The database restarts, is away, full, read-only or too busy: the API says so at once, and everything goes on by itself."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from safelight.app import App
from safelight.config import Settings
from safelight.db import embedded
from safelight.db.operations import ops_outbox
from safelight.db.operations.ops_outbox import OpsOutbox
from safelight.db.operations.ops_rows import OpsError
from safelight.domain.errors.categories import Category
from tests.conftest import Backend, StartBackend, running
from tests.pipelines.engine.test_resume import slow_step_begun, wait_for

ANSWER_SECONDS_MAX = 20  # far more than it takes; without a bound of our own a request would wait for minutes
BRIEF = {"inputs": {"brief": "a cup"}}


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Backend]:
    """A backend on a server of its own, which a test may stop."""
    dsn = embedded.start(tmp_path)
    await App(Settings(database_url=dsn)).migrate()
    async with running(dsn, tmp_path, worker_heartbeat_seconds=0.3) as backend:
        await backend.grant(5)
        yield backend
        embedded.start(tmp_path)


async def refused(backend: Backend, method: str, path: str, **more: object) -> None:
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        answer = await backend.client.request(method, path, **more)  # type: ignore[arg-type]
    assert (answer.status_code, answer.json()["error"]) == (503, "NO_SUPABASE")
    assert int(answer.headers["Retry-After"]) > 0
    assert "postgres" not in answer.text.lower()


async def accepted_again(backend: Backend) -> dict:
    """Patiently, as clients are told to."""
    async with asyncio.timeout(60):
        while True:
            answer = await backend.client.post("/mma/still/create", json={"passId": backend.pass_id, **BRIEF})
            if answer.status_code == 200:
                return dict(answer.json())
            await asyncio.sleep(0.2)


def kept_for_operators(backend: Backend) -> list[Path]:
    """The rows on disk that tell of requests; a worker may have one of its own, if it was writing just then."""
    rows = (backend.app.home / "ops-spool").glob("*.json")
    return [row for row in rows if "NO_SUPABASE" in row.read_text()]


async def test_while_the_database_is_away_the_api_answers_and_keeps_what_operators_must_know(own: Backend):
    await asyncio.to_thread(embedded.halt, own.app.home)
    body = {"passId": own.pass_id, **BRIEF}
    await refused(own, "POST", "/mma/still/create", json=body)
    await refused(own, "POST", "/mma/events", json={"passId": own.pass_id, "event_type": "like"})
    await refused(own, "GET", "/mma/generations/none")
    await refused(own, "GET", f"/credits/balance?passId={own.pass_id}")
    assert (await own.get("/health"))["supabase"] is False
    assert len(kept_for_operators(own)) == 4
    await asyncio.to_thread(embedded.start, own.app.home)
    made = await own.finished(await accepted_again(own))
    assert made["status"] == "done"
    kept = "select count(*) from mega_admin where mg_detail->>'error_code' = 'NO_SUPABASE' and mg_record_type = 'error'"
    await wait_for(own, kept + " having count(*) >= 4")
    async with asyncio.timeout(60):
        while kept_for_operators(own):  # a file goes once its row is written
            await asyncio.sleep(0.05)


async def test_a_worker_that_is_stopped_while_the_database_is_away_ends_and_its_job_is_taken_over(tmp_path: Path):
    dsn = embedded.start(tmp_path)
    await App(Settings(database_url=dsn)).migrate()
    hours = {"worker_heartbeat_seconds": 0.3, "worker_shutdown_seconds": 1}
    async with running(dsn, tmp_path, **hours) as first:
        await first.grant(1)
        accepted = await first.create(settings={"seedream": {"size": "4K"}})
        await slow_step_begun(first)
        await asyncio.to_thread(embedded.halt, tmp_path)
        async with asyncio.timeout(60):
            await first.stop_working()
        await asyncio.to_thread(embedded.start, tmp_path)
    async with running(dsn, tmp_path, **hours) as second:
        assert (await second.finished(accepted))["status"] == "done"


async def test_a_database_that_turns_read_only_is_waited_out(start: StartBackend):
    backend = await start()
    await backend.grant(2)
    accepted = await backend.create(settings={"seedream": {"size": "4K"}})
    name = backend.value("select current_database()")
    read_only(backend, name, on=True)
    try:
        await refused(backend, "POST", "/mma/still/create", json={"passId": backend.pass_id, **BRIEF})
        assert (await backend.generation(accepted["generation_id"]))["status"] != "error"
    finally:
        read_only(backend, name, on=False)
    assert (await backend.finished(await accepted_again(backend)))["status"] == "done"
    assert (await backend.finished(accepted))["status"] == "done"


def read_only(backend: Backend, name: str, *, on: bool) -> None:
    with psycopg.connect(backend.dsn, autocommit=True) as conn:
        conn.execute("set default_transaction_read_only = off")
        conn.execute(f'alter database "{name}" set default_transaction_read_only = {"on" if on else "off"}')
        conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        )


async def test_a_full_disk_is_waited_out(start: StartBackend):
    """If the disk is full, the server refuses to extend a table with this very code."""
    backend = await start()
    await backend.grant(2)
    accepted = await backend.create(settings={"seedream": {"size": "4K"}})
    fill_disk(backend, "insert on mega_generations")
    await refused(backend, "POST", "/mma/still/create", json={"passId": backend.pass_id, **BRIEF})
    await asyncio.sleep(1)
    backend.sql("drop trigger full_disk on mega_generations")
    assert (await backend.finished(accepted))["status"] == "done"
    assert backend.balance() == backend.ledger_sum() == 1


def fill_disk(backend: Backend, what: str) -> None:
    backend.sql(
        "create or replace function no_space() returns trigger language plpgsql as $$ begin"
        " raise exception using errcode = 'disk_full', message = 'could not extend file'; end $$"
    )
    backend.sql(f"create trigger full_disk before {what} execute function no_space()")


async def test_an_order_that_cannot_be_queued_leaves_nothing(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    fill_disk(backend, "insert on procrastinate_jobs")
    await refused(backend, "POST", "/mma/still/create", json={"passId": backend.pass_id, **BRIEF})
    assert backend.value("select count(*) from mega_generations where mg_record_type <> 'credit_transaction'") == 0
    assert backend.balance() == backend.ledger_sum() == 1


async def test_a_job_that_cannot_begin_goes_back_into_the_queue(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    fill_disk(backend, "update of mg_lease_no on mega_generations")
    await start()
    await wait_for(
        backend, "select count(*) from procrastinate_jobs where attempts > 0 and status = 'todo'", seconds=10
    )
    backend.sql("drop trigger full_disk on mega_generations")
    assert (await backend.finished(accepted))["status"] == "done"


async def test_a_run_whose_question_to_the_database_is_cut_off_goes_on(start: StartBackend):
    backend = await start(worker=False)
    await backend.grant(1)
    accepted = await backend.create()
    waiting = "from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    with psycopg.connect(backend.dsn) as conn:
        conn.execute("lock table mega_admin")  # every step's configuration is read from it
        await start()
        await wait_for(backend, f"select count(*) {waiting}")
        backend.sql(f"select pg_terminate_backend(pid) {waiting}")
    assert (await backend.finished(accepted))["status"] == "done"
    assert backend.ops_rows() == []


KEPT = OpsError(Category.API_ERROR, "KEPT", "it went wrong", request_id="", route="", method="", http_status=500)


async def test_a_kept_ops_row_waits_until_it_can_be_written_and_is_written_once(start: StartBackend):
    backend = await start(worker=False)
    spool = OpsOutbox(backend.app.home / "spool")
    async with backend.app.database() as db:
        fill_disk(backend, "insert on mega_admin")
        spool.append(KEPT)
        with pytest.raises(psycopg.errors.DiskFull):
            await spool.catch_up(db)
        backend.sql("drop trigger full_disk on mega_admin")
        assert await spool.catch_up(db) == 1
        spool.append(KEPT)  # as after a crash between writing it and forgetting it
        assert await spool.catch_up(db) == 1
        assert await spool.catch_up(db) == 0
    assert [one["mg_detail"]["error_code"] for one in backend.ops_rows()] == ["KEPT"]


async def test_kept_ops_rows_are_tried_again_after_trouble(start: StartBackend, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ops_outbox, "LOOK_SECONDS", 0.05)
    backend = await start(worker=False)
    fill_disk(backend, "insert on mega_admin")
    backend.app.ops_outbox.append(KEPT)
    await asyncio.sleep(0.5)  # it has been tried by then
    backend.sql("drop trigger full_disk on mega_admin")
    await wait_for(backend, "select count(*) from mega_admin where mg_record_type = 'error'", seconds=10)


async def test_an_api_without_a_free_connection_says_so(start: StartBackend):
    backend = await start(api_pool_size=2, worker=False)
    await backend.grant(5)
    body = {"passId": backend.pass_id, **BRIEF}
    with psycopg.connect(backend.dsn) as conn:
        conn.execute("select * from mega_customers where mg_pass_id = %s for update", [backend.pass_id])
        blocked = [asyncio.create_task(backend.client.post("/mma/still/create", json=body)) for _ in range(2)]
        waits = (
            "select count(*) = 2 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        )
        await wait_for(backend, waits)
        await refused(backend, "POST", "/mma/still/create", json=body)
    assert [answer.status_code for answer in await asyncio.gather(*blocked)] == [200, 200]


async def test_a_worker_that_starts_before_its_database_waits_for_it(tmp_path: Path):
    dsn = embedded.start(tmp_path)
    await asyncio.to_thread(embedded.halt, tmp_path)
    log = tmp_path / "worker.log"
    command = [str(Path(sys.executable).with_name("safelight")), "worker"]
    environment = os.environ | {"SAFELIGHT_DATABASE_URL": dsn, "SAFELIGHT_HOME": str(tmp_path)}
    with log.open("wb") as output:
        worker = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        await until_said(log, "Waiting for the database")
        await asyncio.to_thread(embedded.start, tmp_path)
        await until_said(log, "taking generations")
    finally:
        worker.terminate()
        assert worker.wait() == 0


async def until_said(log: Path, text: str) -> None:
    async with asyncio.timeout(60):
        while text not in log.read_text():
            await asyncio.sleep(0.1)
