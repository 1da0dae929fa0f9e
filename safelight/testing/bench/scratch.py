"""A database to throw away."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from safelight.app import App
from safelight.domain.ids import new_id


@asynccontextmanager
async def scratch_database(app: App) -> AsyncIterator[None]:
    """Points the app at a database of its own, so that a benchmark leaves nothing behind."""
    home_dsn, name = app.dsn, f"safelight_bench_{new_id().replace('-', '')}"
    with psycopg.connect(home_dsn, autocommit=True) as conn:
        conn.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        app.dsn = urlunsplit(urlsplit(home_dsn)._replace(path=f"/{name}"))
        try:
            await app.migrate()
            yield
        finally:
            app.dsn = home_dsn
            conn.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
