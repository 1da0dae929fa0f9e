"""`safelight migrate` on a database of the version before, which holds rows and is being written to: what no transaction
allows is done afterwards, beside readers and writers, and once more where it was interrupted."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest import mock

import psycopg
import pytest

from safelight.app import App
from safelight.config import Settings
from safelight.db.money import invariants
from safelight.db.schema import migrate as migrating
from safelight.db.schema import online_work
from safelight.domain.ids import new_id
from tests.conftest import WAIT_SECONDS

LAST_LANDED = "20251229030000"
USER = "6f1c0f2e-1f8f-4c7b-9f43-0c5a2b1d7e90"
STATUSES = ("done", "partial", "error", "cancelled", "generating")
PARTIAL = "select count(*) from generations where status = 'completed_partial'"
LEFT = "select count(*) from safelight.online_work"
INVALID = "select indexrelid::regclass::text from pg_index where not indisvalid"
LOOK_SECONDS = 0.02


@contextmanager
def connection(dsn: str) -> Iterator[Any]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("set lock_timeout = '5s'")
        yield conn


def value(dsn: str, query: str) -> Any:
    with connection(dsn) as conn:
        return conn.execute(query).fetchone()[0]


def write_generation(conn: Any, status: str) -> None:
    """A generation with a line in its log, as a backend of the version before writes them."""
    generation_id = new_id()
    conn.execute(
        "insert into mega_generations (mg_id, mg_record_type, mg_generation_id, mg_pass_id, mg_mma_mode, mg_mma_status,"
        " mg_status, mg_pipeline_version) values (%s, 'generation', %s, %s, 'still', %s, 'x', 1)",
        [f"generation:{generation_id}", generation_id, f"pass:user:{USER}", status],
    )
    conn.execute(
        "insert into image_generation_logs (job_id, level, step, message, seq)"
        " values (%s, 'info', 'initialization', 'begun', 1)",
        [generation_id],
    )


@pytest.fixture
async def of_before(blank: str) -> str:
    """A database as the last version made it, with rows."""
    landed = [one for one in migrating.available() if one.version <= LAST_LANDED]
    with mock.patch.object(migrating, "available", return_value=landed), mock.patch.object(online_work, "finish"):
        await App(Settings(database_url=blank)).migrate()
    with connection(blank) as conn:
        conn.execute("insert into mega_customers (mg_pass_id, mg_user_id) values (%s, %s)", [f"pass:user:{USER}", USER])
        for _ in range(40):
            for status in STATUSES:
                write_generation(conn, status)
    assert value(blank, PARTIAL) == 0
    return blank


@asynccontextmanager
async def an_old_snapshot(dsn: str) -> AsyncIterator[None]:
    """Work beside others waits for it; it locks no table of ours."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await conn.execute("set transaction isolation level repeatable read")
        await conn.execute("select 1")
        yield
        await conn.rollback()


async def warnings_of(dsn: str) -> list[str]:
    """The doctor's warnings about the schema."""
    async with App(Settings(database_url=dsn)).database() as db, db.connection() as conn:
        return list(await invariants.schema_warnings(conn))


async def until(dsn: str, query: str) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not value(dsn, query):
            await asyncio.sleep(LOOK_SECONDS)


BESIDE_OTHERS = (
    "from pg_stat_activity where query ~ '^(create|reindex|drop) .*concurrently' and wait_event_type = 'Lock'"
    " and datname = current_database()"
)
IS_WAITING = f"select exists (select {BESIDE_OTHERS})"


def assert_up_to_date(dsn: str, partial: int) -> None:
    assert value(dsn, LEFT) == 0
    with connection(dsn) as conn:
        assert conn.execute(INVALID).fetchall() == []
        conn.execute("set enable_seqscan = off")
        plan = "".join(row[0] for row in conn.execute(f"explain {PARTIAL}"))
        assert "mega_generations_not_completed" in plan
        assert conn.execute(PARTIAL).fetchone()[0] == partial
        assert conn.execute("select count(*) from pg_indexes where indexname ~ '_ccnew'").fetchone()[0] == 0


async def test_writers_go_on_while_indexes_are_made(of_before: str):
    async with an_old_snapshot(of_before):
        migrate = asyncio.create_task(App(Settings(database_url=of_before)).migrate())
        await until(of_before, IS_WAITING)
        with connection(of_before) as conn:
            for status in STATUSES * 4:
                write_generation(conn, status)
            conn.execute("update mega_generations set mg_mma_status = 'done' where mg_mma_status = 'generating'")
            assert conn.execute("select count(*) from mega_generations").fetchone()[0] == 220
        assert not migrate.done()
        assert value(of_before, LEFT) > 0
    await asyncio.wait_for(migrate, WAIT_SECONDS)
    assert_up_to_date(of_before, partial=44)


async def test_what_was_interrupted_is_done_again(of_before: str):
    async with an_old_snapshot(of_before):
        migrate = asyncio.create_task(App(Settings(database_url=of_before)).migrate())
        await until(of_before, IS_WAITING)
        value(of_before, f"select pg_terminate_backend(pid) {BESIDE_OTHERS}")
        with pytest.raises(psycopg.OperationalError):
            await asyncio.wait_for(migrate, WAIT_SECONDS)
    assert value(of_before, LEFT) > 0
    assert "after a migration there is work left" in "".join(await warnings_of(of_before))
    assert await App(Settings(database_url=of_before)).migrate() == []
    assert_up_to_date(of_before, partial=40)
    assert await warnings_of(of_before) == []


@pytest.mark.parametrize("name", ["image_generation_jobs", "generated_images", "file_metadata", "credit_transactions"])
async def test_tables_of_another_system_keep_their_names_until_they_are_renamed(blank: str, name: str):
    with connection(blank) as conn:
        conn.execute(f"create table public.{name} (id uuid primary key, name text)")
        conn.execute(f"insert into public.{name} values (gen_random_uuid(), 'theirs')")
    with pytest.raises(migrating.NamesTaken, match=rf"public.{name}[.] Rename each, .* rename to"):
        await App(Settings(database_url=blank)).migrate()
    assert value(blank, f"select name from public.{name}") == "theirs"
    with connection(blank) as conn:
        conn.execute(f"alter table public.{name} rename to {name}_before_safelight")
    await App(Settings(database_url=blank)).migrate()
    assert value(blank, f"select count(*) from public.{name}") == 0
    assert value(blank, f"select name from public.{name}_before_safelight") == "theirs"
