"""The connection pool. Connections are in autocommit: one statement is one transaction unless `transaction()` says
otherwise; sessions run in UTC and find the queue's functions behind ours; no secret is written."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiosql
import psycopg
from aiosql.adapters.apyformat import AsyncPyFormatAdapter
from psycopg.adapt import AdaptersMap
from psycopg.types.json import set_json_dumps
from psycopg.types.string import StrDumperUnknown
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from safelight import telemetry
from safelight.db.connection.sessions import Connection as Connection  # noqa: PLC0414 - part of this module for who asks it
from safelight.db.connection.sessions import Row as Row  # noqa: PLC0414
from safelight.db.connection.sessions import SessionConnection, connection_options, refuse_transaction_pooler
from safelight.domain.errors.base import ConfigError, SafelightError
from safelight.domain.untrusted.text import storable, storable_json
from safelight.redaction import DEFAULT_REDACTOR, Redactor

WAIT_SECONDS_MAX = 30.0
CHECK_SECONDS_MAX = 2.0
RECONNECT_SECONDS_MAX = 5.0  # then whoever needs a connection next tries again, without a growing pause
FIRST_PAUSE_SECONDS = 0.05
PAUSE_SECONDS_MAX = 2.0

# What passes by itself: a server that restarts, is full, or is a standby for the moment; a connection that was cut, or
# that its server gave up because we were paused.
TRANSIENT_ERRORS = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.IdleInTransactionSessionTimeout,
)

# What no try can write: it is not as a column or a JSON value must be, or larger.
_UNWRITABLE = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded)

Result = TypeVar("Result")


class Unwritable(SafelightError):
    """Something that the database does not take, now or later."""

    code = "UNWRITABLE"


class _DictRows(AsyncPyFormatAdapter):
    """Rows are dicts here; a query for one value takes the only column of the only row."""

    async def select_value(self, conn: Connection, query_name: str, sql: str, parameters: Any) -> Any:
        row = await self.select_one(conn, query_name, sql, parameters)  # type: ignore[no-untyped-call]
        return next(iter(row.values())) if row else None


def load_queries(module_file: str) -> Any:
    """The statements of the `.sql` file beside a module, as async functions that take a connection first."""
    return aiosql.from_path(Path(module_file).with_suffix(".sql"), _DictRows, mandatory_parameters=False)


def clean_adapters(redactor: Redactor) -> AdaptersMap:
    """Return the `context` of a connection, which takes secrets, and what no database can hold, out of every text and
    JSON value that is written."""

    class CleanText(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(storable(redactor.text(obj)))

    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_dumper(str, CleanText)
    set_json_dumps(partial(_clean_json, redactor), adapters)
    return adapters


def _clean_json(redactor: Redactor, value: Any) -> str:
    """A value that is no JSON is refused as the server refuses one."""
    try:
        return redactor.dumps(value, dumps=storable_json)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise psycopg.DataError(f"it is no JSON: {error!r}") from error


async def _check(conn: Connection) -> None:
    """Raises psycopg.Error or TimeoutError: no answer, be it that a proxy between keeps the line open."""
    async with asyncio.timeout(CHECK_SECONDS_MAX):
        await AsyncConnectionPool.check_connection(conn)


class Database:
    """`stall_seconds` is how long a caller waits for a connection while none is given back: where many are served, one
    more may wait its turn; where nothing moves, waiting is hopeless. `check` tries each connection before it is used:
    right where a failed statement is an answer to somebody, not where it is sent again. `redactor` knows what must
    not be written."""

    def __init__(
        self,
        dsn: str,
        *,
        pool_size: int,
        stall_seconds: float = WAIT_SECONDS_MAX,
        check: bool = False,
        redactor: Redactor = DEFAULT_REDACTOR,
    ) -> None:
        self.dsn = dsn
        self._stall_seconds = stall_seconds
        self._moved_at = 0.0
        self.pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            min_size=1,
            max_size=pool_size,
            open=False,
            timeout=WAIT_SECONDS_MAX,
            reconnect_timeout=RECONNECT_SECONDS_MAX,
            connection_class=SessionConnection,
            kwargs=connection_options() | {"context": clean_adapters(redactor)},
            check=_check if check else None,
        )

    async def open(self) -> None:
        """Raises TransactionPooler where the address is that of a pooler in transaction mode."""
        try:
            await self.pool.open(wait=True, timeout=WAIT_SECONDS_MAX)
            async with self.connection() as conn:
                await refuse_transaction_pooler(conn, self.dsn)
        except (psycopg.Error, ConfigError, asyncio.CancelledError):
            await self.pool.close()
            raise

    async def close(self) -> None:
        await self.pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        conn = await self._take()
        try:
            yield conn
            self._moved_at = time.monotonic()
        finally:
            await self.pool.putconn(conn)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self.connection() as conn, conn.transaction():
            yield conn

    async def _take(self) -> Connection:
        give_up = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            began = time.monotonic()
            try:
                return await self.pool.getconn(timeout=self._stall_seconds)
            except PoolTimeout:
                await asyncio.sleep(0)  # whoever is done, in a process that is busy, gives theirs back first
                if self._moved_at < began or time.monotonic() > give_up:
                    raise

    async def retry_transient(self, work: Callable[[Connection], Awaitable[Result]], *, seconds: float) -> Result:
        """Do `work` through trouble that lasts up to `seconds`. Its answer may be lost and it may be done again, so
        doing it twice must be doing it once.

        Raises:
            TRANSIENT_ERRORS: it lasted longer.
            Unwritable: no try can do it.
        """
        give_up, pause = time.monotonic() + seconds, FIRST_PAUSE_SECONDS
        while True:
            try:
                async with self.connection() as conn:
                    return await work(conn)
            except _UNWRITABLE as error:
                raise Unwritable(f"{type(error).__name__}: {error}") from error
            except TRANSIENT_ERRORS as error:
                if time.monotonic() + pause > give_up:
                    raise
                telemetry.warning(telemetry.Tag.DB_UPDATE, f"A write failed and is retried in {pause:.2f} s: {error}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, PAUSE_SECONDS_MAX)
