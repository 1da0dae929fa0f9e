"""The queue's schema: upgraded from older versions with its jobs, refused where it is newer, and what was done is on
record. `databases/procrastinate-3.1.0/schema.sql` is that of Procrastinate 3.1.0 (MIT, see the licence beside it)."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from procrastinate.schema import SchemaManager

from safelight.app import App
from safelight.config import Settings
from safelight.db.schema import queue_schema
from safelight.db.schema.queue_schema import QueueSchemaMismatch, shipped
from tests.conftest import running
from tests.db.test_migrate import ask

OLD_SCHEMA = Path(__file__).parents[1] / "databases" / "procrastinate-3.1.0" / "schema.sql"
FUNCTIONS = (
    "select p.proname, pg_get_function_identity_arguments(p.oid), regexp_replace(p.prosrc, '\\s+', ' ', 'g')"
    " from pg_proc p where pronamespace = 'procrastinate'::regnamespace order by 1, 2"
)
COLUMNS = (
    "select table_name, column_name, data_type from information_schema.columns where table_schema = 'procrastinate'"
    " order by 1, 2"
)


def install(dsn: str, *texts: str) -> None:
    """A queue's schema as an older safelight left it: nobody recorded its migrations."""
    with psycopg.connect(dsn) as conn:
        conn.execute("drop schema if exists procrastinate cascade; create schema procrastinate")
        conn.execute("set search_path = procrastinate")
        for text in texts:
            conn.execute(text)  # type: ignore[call-overload]


def put_job(dsn: str) -> None:
    with psycopg.connect(dsn, options="-c search_path=procrastinate") as conn:
        conn.execute(
            "insert into procrastinate_jobs (queue_name, task_name, args)"
            """ values ('generations', 'run_generation', '{"generation_id": "nobody"}')"""
        )


def jobs(dsn: str) -> Any:
    return ask(dsn, "select queue_name, task_name, status::text, args from procrastinate.procrastinate_jobs")


async def test_an_older_schema_is_upgraded_with_its_jobs(blank: str, tmp_path: Path):
    fresh = App(Settings(database_url=blank))
    await fresh.migrate()
    newest = ask(blank, FUNCTIONS), ask(blank, COLUMNS)
    install(blank, OLD_SCHEMA.read_text())
    ask(blank, "truncate safelight.queue_migrations")
    put_job(blank)
    applied = await fresh.migrate()
    assert applied == [f"procrastinate {one.name}" for one in shipped() if one.number > "03.01.00_50"]
    assert jobs(blank) == [("generations", "run_generation", "todo", {"generation_id": "nobody"})]
    assert (ask(blank, FUNCTIONS), ask(blank, COLUMNS)) == newest
    assert await fresh.migrate() == []
    async with running(blank, tmp_path) as backend:
        await backend.grant(1)
        assert (await backend.finished(await backend.create()))["status"] == "done"


async def test_what_was_found_and_what_was_applied_is_on_record(dsn: str):
    install(dsn, OLD_SCHEMA.read_text())
    ask(dsn, "truncate safelight.queue_migrations")
    await App(Settings(database_url=dsn)).migrate()
    recorded = ask(dsn, "select name, was_there from safelight.queue_migrations order by name")
    assert recorded == [(one.name, one.number <= "03.01.00_50") for one in shipped()]


@pytest.mark.parametrize("last", [one.number for one in shipped() if one.number >= "03.01"])
async def test_an_upgrade_that_stopped_anywhere_goes_on_there(dsn: str, last: str):
    steps = [one for one in shipped() if "03.01.00_50" < one.number <= last]
    install(dsn, OLD_SCHEMA.read_text(), *(one.text for one in steps))
    ask(dsn, "truncate safelight.queue_migrations")
    applied = await App(Settings(database_url=dsn)).migrate()
    assert applied == [f"procrastinate {one.name}" for one in shipped() if one.number > max(last, "03.01.00_50")]


async def test_a_schema_of_today_that_nobody_recorded_is_left_as_it_is(dsn: str):
    install(dsn, SchemaManager.get_schema())
    ask(dsn, "truncate safelight.queue_migrations")
    assert await App(Settings(database_url=dsn)).migrate() == []
    assert len(ask(dsn, "select 1 from safelight.queue_migrations where was_there")) == len(shipped())


@pytest.mark.parametrize(
    "newer",
    [
        "insert into safelight.queue_migrations values ('09.00.00_01_pre_all_is_new', '9.0.0', false)",
        "create table procrastinate.procrastinate_batches (id bigint)",
        "create function procrastinate.procrastinate_fetch_job_v9() returns integer language sql as 'select 1'",
        "create type procrastinate.procrastinate_job_mood as enum ('good')",
    ],
)
async def test_a_newer_schema_is_refused_before_anything_is_touched(dsn: str, newer: str):
    ask(dsn, newer)
    ask(dsn, "delete from supabase_migrations.schema_migrations where version = '20251228600000'")
    with pytest.raises(QueueSchemaMismatch, match="newer than procrastinate"):
        await App(Settings(database_url=dsn)).migrate()
    assert ask(dsn, "select 1 from supabase_migrations.schema_migrations where version = '20251228600000'") == []


async def test_a_schema_that_is_too_old_is_refused(dsn: str):
    install(dsn, "create table procrastinate_jobs (id bigserial primary key, task_name text)")
    ask(dsn, "truncate safelight.queue_migrations")
    with pytest.raises(QueueSchemaMismatch, match="older than"):
        await App(Settings(database_url=dsn)).migrate()


def test_every_migration_since_the_oldest_has_a_sign():
    signs = (Path(queue_schema.__file__).with_suffix(".sql")).read_text()
    for migration in shipped():
        if migration.number >= "03.00":
            assert f'"{migration.number}"' in signs, (
                f"say in queue_schema.sql what shows that {migration.name} was applied"
            )
