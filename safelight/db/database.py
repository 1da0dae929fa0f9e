"""The connection pool. Connections are in autocommit: one statement is one transaction unless `transaction()` says
otherwise; sessions run in UTC and find the queue's functions behind ours."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosql
from aiosql.adapters.apyformat import AsyncPyFormatAdapter
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

Row = dict[str, Any]
Connection = AsyncConnection[Row]

QUEUE_SCHEMA = "procrastinate"
POOL_WAIT_SECONDS = 30.0
CONNECT_TIMEOUT_SECONDS = 10


def connection_options() -> dict[str, Any]:
    return {
        "row_factory": dict_row,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        "options": f"-c search_path=public,{QUEUE_SCHEMA} -c timezone=UTC",
    }


class _DictRows(AsyncPyFormatAdapter):
    """Rows are dicts here; a query for one value takes the only column of the only row."""

    async def select_value(self, conn: Connection, query_name: str, sql: str, parameters: Any) -> Any:
        row = await self.select_one(conn, query_name, sql, parameters)  # type: ignore[no-untyped-call]
        return next(iter(row.values())) if row else None


def load_queries(module_file: str) -> Any:
    """The statements of the `.sql` file beside a module, as async functions that take a connection first."""
    return aiosql.from_path(Path(module_file).with_suffix(".sql"), _DictRows, mandatory_parameters=False)


async def _autocommit(conn: Connection) -> None:
    await conn.set_autocommit(True)


class Database:
    def __init__(self, dsn: str, *, pool_size: int) -> None:
        self.dsn = dsn
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=pool_size,
            open=False,
            timeout=POOL_WAIT_SECONDS,
            kwargs=connection_options(),
            configure=_autocommit,
        )

    async def open(self) -> None:
        await self.pool.open(wait=True, timeout=POOL_WAIT_SECONDS)

    async def close(self) -> None:
        await self.pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        async with self.pool.connection() as conn:
            yield conn

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self.pool.connection() as conn, conn.transaction():
            yield conn
