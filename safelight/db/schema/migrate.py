"""Applies `supabase/migrations/*.sql` in order and records them as the Supabase CLI does, so that either tool can go
on where the other stopped; then installs or upgrades the queue's own schema."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlparse
from psycopg import sql

from safelight import telemetry
from safelight.db.connection.database import load_queries
from safelight.db.connection.sessions import Connection, Row, connected, refuse_transaction_pooler
from safelight.db.schema import online_work, queue_schema
from safelight.domain.errors.base import SafelightError

_queries = load_queries(__file__)

MIGRATION_LOCK = 0x5AFE11647
LOCK_SECONDS_MAX = 20.0  # for another migration to end
LOCK_LOOK_SECONDS = 0.2
TABLE_LOCK_SECONDS_MAX = 10  # for each lock on a table

_PACKAGED = Path(__file__).parents[1] / "migrations"
_CHECKOUT = Path(__file__).parents[3] / "supabase" / "migrations"


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


class MigrationBlocked(SafelightError):
    """Another session holds a lock that the migration needs; the message says which."""


class NamesTaken(SafelightError):
    """Tables of another system have the names of ours; the message says which, and what to do."""


async def migrate(dsn: str) -> list[str]:
    """Bring the database up to date. Returns the names of the migrations that were applied now, those of the queue's
    schema among them.

    Raises:
        TransactionPooler: the address is that of a pooler in transaction mode; nothing was touched.
        MigrationBlocked: another session holds a lock that is needed.
        NamesTaken: another system's tables have our names; the migration that met them changed nothing.
        QueueSchemaMismatch: the queue's schema is newer than what is installed; nothing was touched.
    """
    async with connected(dsn) as conn:
        await refuse_transaction_pooler(conn, dsn)
        await _take_lock(conn)
        async with naming_blockers(conn):
            await _queries.ensure_record(conn)
            await queue_schema.refuse_newer(conn)
            applied = [migration.name for migration in available() if await _apply_once(conn, migration)]
            await online_work.finish(conn)
            return applied + await queue_schema.upgrade(conn)


async def _take_lock(conn: Connection) -> None:
    give_up, is_told = time.monotonic() + LOCK_SECONDS_MAX, False
    while not await _queries.take_lock(conn, key=MIGRATION_LOCK):
        holders = _told([row async for row in _queries.lock_holders(conn, key=MIGRATION_LOCK)])
        if time.monotonic() > give_up:
            raise MigrationBlocked(f"another migration holds the lock after {LOCK_SECONDS_MAX:.0f} s: {holders}")
        if not is_told:
            telemetry.warning(telemetry.Tag.DB_UPDATE, f"Waiting for another migration to end: {holders}")
        is_told = True
        await asyncio.sleep(LOCK_LOOK_SECONDS)


@asynccontextmanager
async def naming_blockers(conn: Connection) -> AsyncIterator[None]:
    """Wait for each lock on a table so long at most. Raises MigrationBlocked, which says who holds it."""
    await conn.execute(sql.SQL("set lock_timeout = {}").format(f"{TABLE_LOCK_SECONDS_MAX}s"))
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        holders = _told([row async for row in _queries.table_lock_holders(conn)])
        raise MigrationBlocked(
            f"a table is locked by another session, and was not free within {TABLE_LOCK_SECONDS_MAX} s: {holders}"
        ) from error


def _told(holders: list[Row]) -> str:
    sessions = [
        f"process {row['pid']} ({row['application_name'] or 'no name'}, user {row['usename']}"
        f"{', from ' + row['address'] if row['address'] else ''}, {row['state']} for {row['seconds']} s)"
        for row in holders
    ]
    return f"{'; '.join(sessions)}; to end it: select pg_terminate_backend(pid)" if sessions else "it has just ended"


async def _apply_once(conn: Connection, migration: Migration) -> bool:
    async with conn.transaction():
        is_new = await _queries.record(
            conn, version=migration.version, name=migration.name, statements=migration.statements
        )
        try:
            if is_new:
                await conn.execute(sql.SQL(migration.text))
        except psycopg.errors.DuplicateTable as error:
            raise NamesTaken(f"{error.diag.message_primary}. {error.diag.message_hint or ''}".strip()) from error
        return bool(is_new)
