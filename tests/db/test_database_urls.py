"""Addresses of databases: what is wrong with one is said in a line that holds no password; poolers in session mode work,
in transaction mode they are refused; a migration that has to wait says for whom."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest

from safelight.app import App
from safelight.config import Settings
from safelight.db.connection.sessions import TransactionPooler, connected
from safelight.db.schema import migrate as migrations
from safelight.db.schema.migrate import MIGRATION_LOCK, MigrationBlocked
from tests.conftest import blank_database, running
from tests.support.commands import run_safelight
from tests.support.poolers import PGBOUNCER, pgbouncer

PASSWORD = "S3cretPw99"


def safelight(home: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return run_safelight(*arguments, environment=os.environ | {"SAFELIGHT_HOME": str(home)} | settings)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (f'"postgresql://u:{PASSWORD}@127.0.0.1:1/x?sslmode=require"', "quotation marks"),
        (f"'postgresql://u:{PASSWORD}@127.0.0.1:1/x'", "quotation marks"),
        (f"postgresql://u:{PASSWORD}@127.0.0.1:1/x?pgbouncer=true&connection_limit=1", "Prisma"),
        (f"postgresql://u:{PASSWORD}@127.0.0.1:1/x?schema=public", "(schema)"),
        (f"postgresql://u:{PASSWORD}@127.0.0.1:1/x?currentSchema=public", "(currentSchema)"),
        (f"postgresql+asyncpg://u:{PASSWORD}@127.0.0.1:1/x", "postgresql+asyncpg://"),
        (f"postgres+psycopg2://u:{PASSWORD}@127.0.0.1:1/x", "write postgresql://"),
        (f"mysql://u:{PASSWORD}@127.0.0.1:1/x", "mysql://"),
        (f"jdbc:postgresql://127.0.0.1:1/x?user=u&password={PASSWORD}", "JDBC"),
        (f"postgresql://u:a@{PASSWORD}@127.0.0.1:1/x", "%40"),
        (f"postgresql://u@server:{PASSWORD}@127.0.0.1:1/x", "%40"),
        (f"postgresql://u:a#{PASSWORD}@127.0.0.1:1/x", "%23"),
        (f"postgresql://u:a/{PASSWORD}@127.0.0.1:1/x", "%2F"),
        (f"postgresql://u:1/{PASSWORD}@127.0.0.1:1/x", "%2F"),
        (f"postgresql://u:a?{PASSWORD}@127.0.0.1:1/x", "%3F"),
        (f"postgresql://u:1?{PASSWORD}=2@127.0.0.1:1/x", "%3F"),
        (f"postgresql://u:a%zz{PASSWORD}@127.0.0.1:1/x", "%25"),
        (f"postgresql://u:{PASSWORD} @127.0.0.1:1/x", "%20"),
        (f"postgresql://u:{PASSWORD}@127.0.0.1:port/x", "host or port"),
        (f"u:{PASSWORD}@127.0.0.1:1/x", "neither a URL"),
        (f"host=127.0.0.1 password={PASSWORD} pgbouncer=true", "neither a URL"),
        ("", "is empty"),
        ("   ", "is empty"),
    ],
)
def test_what_is_wrong_with_an_address_is_said_without_its_password(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str, said: str
):
    from safelight import cli  # noqa: PLC0415

    monkeypatch.setenv("SAFELIGHT_DATABASE_URL", address)
    monkeypatch.setattr(sys, "argv", ["safelight", "migrate"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    output = capsys.readouterr()
    assert (ended.value.code, output.out, output.err.count("\n")) == (2, "", 1), output.err
    assert output.err.startswith("safelight: SAFELIGHT_DATABASE_URL: ")
    assert said in output.err
    assert PASSWORD not in output.err


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://u:{PASSWORD}@h1:5432,h2:5433/x?target_session_attrs=read-write",
        f"postgres://u:a%40{PASSWORD}%2F%23@[::1]:5432/x?sslmode=require",
        "postgresql:///x?host=/var/run/postgresql&application_name=a@b",
        f"host=127.0.0.1 user=u password='{PASSWORD} 1' dbname=x",
        f"host=127.0.0.1 user=u dbname=x password='{PASSWORD} 1'",
        "postgresql://u@h/x?options=-c%20work_mem%3D64MB&ssl=true",
    ],
)
def test_addresses_that_the_client_library_reads_are_taken(address: str):
    assert Settings(database_url=address).database_url == address


def test_a_database_that_does_not_answer_is_one_line_too(tmp_path: Path):
    done = safelight(tmp_path, "doctor", SAFELIGHT_DATABASE_URL=f"postgresql://u:{PASSWORD}@127.0.0.1:1/x")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("safelight: SAFELIGHT_DATABASE_URL: ")
    assert PASSWORD not in done.stderr


@pytest.fixture(params=["15"])
def behind(request: pytest.FixtureRequest) -> Any:
    if PGBOUNCER is None:
        pytest.skip("PgBouncer is not installed (apt-get install pgbouncer)")
    with blank_database(request) as dsn:
        yield dsn


async def test_the_main_job_runs_through_a_session_pooler(behind: str, tmp_path: Path):
    with pgbouncer(behind, "session") as through:
        await App(Settings(database_url=through)).migrate()
        async with running(through, tmp_path) as backend:
            await backend.grant(1)
            made = await backend.finished(await backend.create())
            assert made["status"] == "done"
        async with connected(through) as conn:
            rows = [await (await conn.execute(f"show {name}")).fetchone() for name in ("timezone", "search_path", "application_name")]  # type: ignore[arg-type] # fmt: skip
        assert [next(iter(row.values())) for row in rows if row] == ["UTC", "public,procrastinate", "safelight"]


@pytest.mark.parametrize(
    ("mode", "more"),
    [
        ("transaction", "ignore_startup_parameters = extra_float_digits,options"),
        ("transaction", "server_round_robin = 1\nmin_pool_size = 4"),
        ("transaction", "default_pool_size = 1"),
        ("statement", ""),
    ],
)
async def test_a_transaction_pooler_is_refused_and_nothing_is_left_behind(behind: str, mode: str, more: str):
    with pgbouncer(behind, mode, more=more) as through:
        for _ in range(2):
            with pytest.raises(TransactionPooler, match="session mode"):
                await App(Settings(database_url=through)).migrate()
        with pytest.raises(TransactionPooler):
            async with App(Settings(database_url=through)).database():
                pass
        with psycopg.connect(behind, autocommit=True) as conn:
            held = conn.execute("select count(*) from pg_locks where locktype = 'advisory'").fetchone()
            made = conn.execute("select to_regclass('public.mega_generations')").fetchone()
        assert (held, made) == ((0,), (None,))
        assert await App(Settings(database_url=behind)).migrate()


async def test_a_command_refuses_a_transaction_pooler_in_one_line(behind: str, tmp_path: Path):
    with pgbouncer(behind, "transaction") as through:
        done = safelight(tmp_path, "migrate", SAFELIGHT_DATABASE_URL=through)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "pooler in transaction mode" in done.stderr


@pytest.mark.parametrize("statement", ["lock table", "select * from"])
async def test_a_migration_that_cannot_have_a_table_says_who_has_it(
    dsn: str, monkeypatch: pytest.MonkeyPatch, statement: str
):
    monkeypatch.setattr(migrations, "TABLE_LOCK_SECONDS_MAX", 0.2)
    with psycopg.connect(dsn, autocommit=True, application_name="report") as other:
        other.execute(f"begin; {statement} supabase_migrations.schema_migrations")  # type: ignore[call-overload]
        with pytest.raises(MigrationBlocked, match="report") as raised:
            await App(Settings(database_url=dsn)).migrate()
        assert f"process {other.info.backend_pid}" in str(raised.value)
        other.execute("rollback")
        assert await App(Settings(database_url=dsn)).migrate() == []


async def test_a_migration_waits_for_another_for_a_while_and_says_so(
    dsn: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    caplog.set_level("WARNING", logger="safelight")  # whatever a test before has configured
    monkeypatch.setattr(migrations, "LOCK_SECONDS_MAX", 0.5)
    with psycopg.connect(dsn, autocommit=True, application_name="elsewhere") as other:
        other.execute("select pg_advisory_lock(%s)", [MIGRATION_LOCK])
        with pytest.raises(MigrationBlocked, match="elsewhere"):
            await App(Settings(database_url=dsn)).migrate()
        assert "Waiting for another migration to end: process" in caplog.text
    assert await App(Settings(database_url=dsn)).migrate() == []
