"""Applies `supabase/migrations/*.sql` in order and records them as the Supabase CLI does, so that either tool can go
on where the other stopped; then installs the queue's own schema."""

from dataclasses import dataclass
from pathlib import Path

import sqlparse
from procrastinate.schema import SchemaManager
from psycopg import AsyncConnection, sql

from safelight.db.database import QUEUE_SCHEMA, Row, connection_options

# One migrator at a time, whichever machine it runs on.
MIGRATION_LOCK = 0x5AFE11647

_PACKAGED = Path(__file__).with_name("migrations")
_CHECKOUT = Path(__file__).parents[2] / "supabase" / "migrations"


@dataclass(frozen=True, slots=True)
class Migration:
    version: str
    name: str
    text: str

    @property
    def statements(self) -> list[str]:
        return [statement for statement in sqlparse.split(self.text) if statement.strip(" ;\n")]


def available() -> list[Migration]:
    folder = _PACKAGED if _PACKAGED.exists() else _CHECKOUT
    files = sorted(folder.glob("*.sql"))
    return [Migration(file.stem.partition("_")[0], file.stem.partition("_")[2], file.read_text()) for file in files]


async def migrate(dsn: str) -> list[str]:
    """Bring the database up to date. Returns the names of the migrations that were applied now."""
    async with await AsyncConnection[Row].connect(dsn, autocommit=True, **connection_options()) as conn:
        await conn.execute("select pg_advisory_lock(%s)", [MIGRATION_LOCK])
        await _ensure_record(conn)
        applied = [migration.name for migration in available() if await _apply_once(conn, migration)]
        await _ensure_queue(conn)
        return applied


async def _ensure_record(conn: AsyncConnection[Row]) -> None:
    await conn.execute("create schema if not exists supabase_migrations")
    await conn.execute(
        "create table if not exists supabase_migrations.schema_migrations (version text not null primary key)"
    )
    await conn.execute(
        "alter table supabase_migrations.schema_migrations"
        " add column if not exists statements text[], add column if not exists name text"
    )


async def _apply_once(conn: AsyncConnection[Row], migration: Migration) -> bool:
    async with conn.transaction():
        cursor = await conn.execute(
            "insert into supabase_migrations.schema_migrations (version, name, statements) values (%s, %s, %s)"
            " on conflict (version) do nothing",
            [migration.version, migration.name, migration.statements],
        )
        if cursor.rowcount:
            await conn.execute(sql.SQL(migration.text))
        return bool(cursor.rowcount)


async def _ensure_queue(conn: AsyncConnection[Row]) -> None:
    """The queue (Procrastinate) ships its schema unqualified; it gets a schema of its own, guarded as ours are."""
    cursor = await conn.execute("select to_regclass(%s) as jobs", [f"{QUEUE_SCHEMA}.procrastinate_jobs"])
    row = await cursor.fetchone()
    if row and row["jobs"]:
        return
    async with conn.transaction():
        schema = sql.Identifier(QUEUE_SCHEMA)
        await conn.execute(sql.SQL("create schema if not exists {}").format(schema))
        await conn.execute(sql.SQL("set local search_path = {}").format(schema))
        await conn.execute(SchemaManager.get_schema())
        await conn.execute("select safelight.guard_rows()")
