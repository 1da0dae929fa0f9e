"""New database connections. What a session is set to goes by one statement after connecting, not by the start-up
parameter `options`, which session poolers (PgBouncer, Supavisor) do not take."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row

from safelight.domain.errors.base import ConfigError

Row = dict[str, Any]
Connection = AsyncConnection[Row]

APPLICATION_NAME = "safelight"  # the database holds what writes under this name to more than what people write
QUEUE_SCHEMA = "procrastinate"
CONNECT_TIMEOUT_SECONDS = 10
POOLER_ROUNDS = 3
POOLER_SECONDS_MAX = 10.0

_SETTINGS = {
    "application_name": APPLICATION_NAME,  # poolers may state a name of their own
    "search_path": f"public,{QUEUE_SCHEMA}",
    "timezone": "UTC",
    # The server notices it too: what a machine held that was cut off or paused is free again in seconds, not in hours.
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 2,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "idle_in_transaction_session_timeout": 15_000,
}
_CALLS = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SETTINGS.items())
_SET_SESSION = sql.SQL(f"select {_CALLS}")


class TransactionPooler(ConfigError):
    def __init__(self) -> None:
        super().__init__(
            "SAFELIGHT_DATABASE_URL leads to a connection pooler in transaction mode, which gives each transaction"
            " another session: no lock, LISTEN or setting would last. Use the database's direct address, or the"
            " pooler's session mode (Supabase: port 5432 instead of 6543; PgBouncer: pool_mode = session)"
        )


def connection_options() -> dict[str, Any]:
    return {
        "row_factory": dict_row,
        "application_name": APPLICATION_NAME,
        "connect_timeout": CONNECT_TIMEOUT_SECONDS,
        # A peer that is gone without a word is noticed, not waited for.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }


class SessionConnection(AsyncConnection[Row]):
    """A connection in autocommit that has the settings of our sessions, which takes one round trip. The pool makes its
    connections of this class, and the queue its listening ones."""

    @classmethod
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:
        conn = await super().connect(conninfo, **options | {"autocommit": True})
        try:
            await conn.execute(_SET_SESSION)
        except (psycopg.Error, asyncio.CancelledError):
            await conn.close()
            raise
        return conn


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Connection]:
    """A connection of its own, in autocommit, inside this context."""
    async with await SessionConnection.connect(dsn, **connection_options()) as conn:
        yield conn


@contextmanager
def connected_now(dsn: str, **more: Any) -> Iterator[psycopg.Connection[Row]]:
    """As `connected`, for a process without a running loop. `more` is what else psycopg connects with."""
    with psycopg.connect(dsn, **connection_options(), **more) as conn:
        conn.execute(_SET_SESSION)
        yield conn


async def refuse_transaction_pooler(conn: Connection, dsn: str) -> None:
    """A pooler answers with a process number of its own. In session mode, two connections have one server process
    each, for as long as they last; in transaction mode, whichever is free.

    Raises:
        TransactionPooler: there is one, in transaction (or statement) mode.
        psycopg.OperationalError: a pooler had no second connection for us within `POOLER_SECONDS_MAX`.
    """
    if await _server_pid(conn) == conn.info.backend_pid:
        return
    try:
        async with asyncio.timeout(POOLER_SECONDS_MAX), connected(dsn) as second:
            for _ in range(POOLER_ROUNDS):
                firsts = {await _server_pid(conn), await _server_pid(conn)}
                seconds = {await _server_pid(second), await _server_pid(second)}
                if len(firsts) > 1 or len(seconds) > 1 or firsts & seconds:
                    raise TransactionPooler
    except TimeoutError as error:
        raise psycopg.OperationalError(
            f"the connection pooler gave no second connection within {POOLER_SECONDS_MAX:.0f} s; raise its pool size"
        ) from error


async def _server_pid(conn: Connection) -> int:
    row = await (await conn.execute("select pg_backend_pid() as pid")).fetchone()
    assert row is not None
    return int(row["pid"])
