"""The schema of the queue (Procrastinate): installed in a schema of its own, and upgraded by the migrations that come
with the package. Procrastinate records none of them; `safelight.queue_migrations` does."""

import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path

from procrastinate.schema import SchemaManager
from psycopg import sql

from safelight.db.connection.database import load_queries
from safelight.db.connection.sessions import QUEUE_SCHEMA, Connection
from safelight.domain.errors.base import ConfigError

PACKAGE = "procrastinate"

_queries = load_queries(__file__)
_NAMES = re.compile(r"\bprocrastinate_\w+")


class QueueSchemaMismatch(ConfigError):
    """The queue's schema is newer than the installed package, or older than what can be upgraded."""


@dataclass(frozen=True, slots=True)
class QueueMigration:
    """`number` is how its name begins, such as `03.02.00_01`; migrations are applied in this order."""

    name: str
    text: str

    @property
    def number(self) -> str:
        return self.name[:11]


def shipped() -> list[QueueMigration]:
    """The migrations of the installed package, the oldest first."""
    files = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    return [QueueMigration(file.stem, file.read_text(encoding="utf-8")) for file in files]


async def refuse_newer(conn: Connection) -> None:
    """Raises QueueSchemaMismatch: the database has a migration or an object that the package does not know."""
    if not await _queries.is_installed(conn):
        return
    migrations = shipped()
    unknown = set(await _recorded(conn)) - {migration.name for migration in migrations}
    if not unknown:
        known = set(_NAMES.findall(SchemaManager.get_schema() + "".join(one.text for one in migrations)))
        unknown = {
            row["name"]
            async for row in _queries.objects(conn)
            if row["name"].startswith("procrastinate_") and row["name"] not in known
        }
    if unknown:
        raise QueueSchemaMismatch(
            f"the queue's schema is newer than {_package()}, which does not know {', '.join(sorted(unknown)[:5])}:"
            " install the version of safelight that migrated this database, or a newer one"
        )


async def upgrade(conn: Connection) -> list[str]:
    """Install the schema, or apply the migrations that it lacks. Returns what was applied to a schema that was there.

    Raises:
        QueueSchemaMismatch: it is older than what can be upgraded.
    """
    if not await _queries.is_installed(conn):
        async with conn.transaction():
            await conn.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(QUEUE_SCHEMA)))
            await _apply(conn, SchemaManager.get_schema(), shipped())
        await _add_indexes(conn)
        return []
    applied = []
    known = set(await _recorded(conn)) or await _record_found(conn)
    for migration in shipped():
        if migration.name not in known:
            await _apply(conn, migration.text, [migration])
            applied.append(f"{PACKAGE} {migration.name}")
    await _add_indexes(conn)
    return applied


async def _add_indexes(conn: Connection) -> None:
    """Add what jobs are found quickly by, however many there are; nobody who writes waits for it."""
    await _queries.add_index_of_held_jobs(conn)
    await _queries.add_index_of_places(conn)
    await _queries.fetch_by_index(conn)


async def _recorded(conn: Connection) -> list[str]:
    if not await _queries.has_record(conn):
        return []
    return [row["name"] async for row in _queries.recorded(conn)]


async def _apply(conn: Connection, text: str, migrations: list[QueueMigration]) -> None:
    """The package's statements name no schema: they find ours. What they made is guarded as our own tables are."""
    async with conn.transaction():
        await conn.execute(sql.SQL("set local search_path = {}").format(sql.Identifier(QUEUE_SCHEMA)))
        await conn.execute(sql.SQL(text))
        await conn.execute("select safelight.guard_rows()")
        await _record(conn, migrations, was_there=False)


async def _record_found(conn: Connection) -> set[str]:
    """Record what a schema has that nobody recorded: all migrations up to the newest one that left its sign."""
    signs = await _queries.signs(conn)
    newest = max((number for number, is_there in signs.items() if is_there), default="")
    found = [migration for migration in shipped() if migration.number <= newest]
    if not newest:
        raise QueueSchemaMismatch(
            f"the queue's schema is older than {PACKAGE} 2.14: apply that package's own migrations up to 3.0 first"
        )
    async with conn.transaction():
        await _record(conn, found, was_there=True)
    return {migration.name for migration in found}


async def _record(conn: Connection, migrations: list[QueueMigration], *, was_there: bool) -> None:
    version = importlib.metadata.version(PACKAGE)
    for migration in migrations:
        await _queries.record(conn, name=migration.name, package_version=version, was_there=was_there)


def _package() -> str:
    return f"{PACKAGE} {importlib.metadata.version(PACKAGE)}"
