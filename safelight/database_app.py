"""Settings and database: the part of `App` that commands need which only read rows."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from safelight.config import Settings
from safelight.db import embedded
from safelight.db.configuration import app_config
from safelight.db.connection.database import Database
from safelight.db.connection.sessions import connected_now
from safelight.db.operations import ops_rows
from safelight.db.operations.ops_outbox import OpsOutbox
from safelight.db.schema.migrate import migrate, naming_blockers
from safelight.pipelines.registry import install_version_1
from safelight.private_files import open_home
from safelight.providers.catalogue import ParameterTables
from safelight.redaction import Redactor


class DatabaseApp:
    """`dsn` is the database it works on; empty until `start_database`, unless a setting names it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home_path
        self.dsn = settings.database_url or ""
        self.redactor = Redactor(settings.secrets)
        self.parameter_tables = ParameterTables()
        self.ops_outbox = OpsOutbox(self.home / "ops-spool", self.redactor)

    def start_database(self, *, must_answer: bool = True) -> str:
        """Returns the DSN; starts the embedded server where no other is set. If it is another's, and must answer,
        psycopg's OperationalError says why it does not."""
        open_home(self.home)
        self.dsn = self.settings.database_url or embedded.start(self.home)
        if self.settings.database_url and must_answer:
            with connected_now(self.dsn):
                pass
        return self.dsn

    async def migrate(self) -> list[str]:
        """Bring the database up to date, with version 1 of our own configuration and what it has to know of our
        settings. Returns what was applied now."""
        applied = await migrate(self.dsn)
        async with self.database(1) as db, db.connection() as conn, naming_blockers(conn), conn.transaction():
            await install_version_1(conn, self.parameter_tables)
            await app_config.store_setting(conn, "customers_read_steps", self.settings.customers_read_steps)
        return applied

    @asynccontextmanager
    async def database(self, pool_size: int = 2, **more: Any) -> AsyncIterator[Database]:
        """A pool that is open inside this context; `more` is what else `Database` takes."""
        db = Database(self.dsn, pool_size=pool_size, redactor=self.redactor, **more)
        await db.open()
        try:
            yield db
        finally:
            await db.close()

    def write_now(self, row: ops_rows.OpsError) -> None:
        """Write an ops row without a pool; where the database is away, it is kept until that is back."""
        try:
            ops_rows.insert_now(self.dsn, row, self.redactor)
        except psycopg.Error:
            self.ops_outbox.append(row)
