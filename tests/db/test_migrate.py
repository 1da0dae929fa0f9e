"""`safelight migrate` on every state a database may be in, on the embedded PostgreSQL and on PostgreSQL 15."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from safelight.app import App
from safelight.config import Settings
from safelight.db.schema.migrate import available
from tests.conftest import running

DATABASES = Path(__file__).parents[1] / "databases"
STATES = {
    "empty": [],
    "base": ["base.sql"],
    "patched": ["base.sql", "patch.sql"],
    "drifted": ["base.sql", "drift.sql"],
}


def run_sql(dsn: str, *files: str) -> None:
    with psycopg.connect(dsn) as conn:
        if files:
            conn.execute("create table public.people (id uuid primary key)")
        for file in files:
            conn.execute((DATABASES / file).read_text())  # type: ignore[call-overload]


def ask(dsn: str, query: str, *values: Any) -> list[tuple]:
    with psycopg.connect(dsn, autocommit=True) as conn:
        cursor = conn.execute(query, values)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def shape(dsn: str) -> dict[str, list[tuple]]:
    """Columns, constraints and indexes, as a database tells them."""
    tables = "('mega_customers', 'mega_generations', 'mega_admin', 'image_generation_logs')"
    return {
        "columns": ask(
            dsn,
            "select table_name, column_name, data_type, is_nullable, column_default from information_schema.columns"
            f" where table_schema = 'public' and table_name in {tables} order by 1, 2",
        ),
        "constraints": ask(
            dsn,
            "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint"
            f" where conrelid::regclass::text in {tables} order by 1, 2",
        ),
        "indexes": ask(dsn, f"select tablename, indexname, indexdef from pg_indexes where tablename in {tables} order by 1, 2"),
        "triggers": ask(dsn, "select tgrelid::regclass::text, tgname from pg_trigger where not tgisinternal order by 1, 2"),
    }  # fmt: skip


@pytest.mark.parametrize("state", STATES)
async def test_a_database_in_any_state_is_brought_up_to_date(blank: str, state: str, tmp_path: Path):
    run_sql(blank, *STATES[state])
    app = App(Settings(database_url=blank))
    assert await app.migrate() == [migration.name for migration in available()]
    first = shape(blank)
    assert await app.migrate() == []
    run_again_by_hand(blank)
    assert await app.migrate() == []  # what is left to do outside a transaction
    assert shape(blank) == first
    await the_main_job_runs_on(blank, tmp_path)


def run_again_by_hand(dsn: str) -> None:
    """The files themselves may run twice, whoever runs them."""
    with psycopg.connect(dsn) as conn:
        for migration in available():
            conn.execute(migration.text)  # type: ignore[call-overload]


async def the_main_job_runs_on(dsn: str, home: Path) -> None:
    async with running(dsn, home) as backend:
        await backend.grant(2)  # the price of a still that an older backend left
        made = await backend.finished(await backend.create())
        assert made["status"] == "done"


async def test_it_is_recorded_as_the_supabase_cli_records_it(blank: str):
    await App(Settings(database_url=blank)).migrate()
    rows = ask(blank, "select version, name, statements from supabase_migrations.schema_migrations order by version")
    assert [(version, name) for version, name, _ in rows] == [(file.version, file.name) for file in available()]
    for (_, _, statements), file in zip(rows, available(), strict=True):
        assert "".join("".join(statements).split()) == "".join(file.text.split())
    first = rows[0][2]
    assert sum("create table if not exists public.mega_" in one for one in first) == 3
    assert sum("language plpgsql" in one for one in first) == 2
    columns = ask(
        blank,
        "select column_name, data_type, is_nullable from information_schema.columns"
        " where table_schema = 'supabase_migrations' order by ordinal_position",
    )
    assert columns == [("version", "text", "NO"), ("statements", "ARRAY", "YES"), ("name", "text", "YES")]


async def test_what_the_other_tool_applied_is_not_applied_again(blank: str):
    await App(Settings(database_url=blank)).migrate()
    ask(blank, "drop index mega_generations_mma_vars_gin")
    assert await App(Settings(database_url=blank)).migrate() == []
    assert ask(blank, "select 1 from pg_indexes where indexname = 'mega_generations_mma_vars_gin'") == []


async def test_old_rows_stay_as_they_were(blank: str):
    run_sql(blank, *STATES["drifted"])
    await App(Settings(database_url=blank)).migrate()
    assert ask(blank, "select mg_credits from mega_customers where mg_pass_id = 'pass_old'") == [(7,)]
    assert ask(blank, "select mg_prompt from mega_generations where mg_id = 'gen_old'") == [("a vase",)]
    assert ask(blank, "select mg_meta, mg_payload from mega_generations where mg_id = 'note:1'") == [({}, {})]
    lines = ask(blank, "select seq, message from image_generation_logs order by seq")
    assert lines == [(1, "first"), (2, "second")]
    assert ask(blank, "select mg_value #>> '{credits,imageCost}' from mega_admin where mg_key = 'runtime'") == [("2",)]


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        (
            "insert into mega_generations (mg_id, mg_record_type) values ('nonsense:x', 'nonsense')",
            "mg_record_type_check",
        ),
        ("insert into mega_admin (mg_id, mg_record_type) values ('nonsense:x', 'nonsense')", "mg_record_type_check"),
        (
            "insert into mega_generations (mg_id, mg_record_type, mg_step_no) values ('mma_step:x', 'mma_step', 1)",
            "step_requires_fields",
        ),
        (
            "insert into mega_generations (mg_id, mg_record_type, mg_mma_status) values ('generation:x', 'generation', 'odd')",
            "mma_status_check",
        ),
        (
            "insert into image_generation_logs (job_id, level, step, message, seq)"
            " values (gen_random_uuid(), 'loud', 's', 'm', 1)",
            "level_check",
        ),
    ],
)
async def test_checks_hold_after_drift_too(blank: str, statement: str, name: str):
    run_sql(blank, *STATES["drifted"])
    await App(Settings(database_url=blank)).migrate()
    with pytest.raises(psycopg.errors.CheckViolation, match=name):
        ask(blank, statement)


async def test_two_migrators_at_once_do_the_work_once(blank: str):
    import asyncio  # noqa: PLC0415

    app = App(Settings(database_url=blank))
    applied = await asyncio.gather(app.migrate(), app.migrate(), app.migrate())
    assert sorted(len(names) for names in applied) == [0, 0, len(available())]
