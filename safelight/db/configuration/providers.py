"""What all workers know together of each provider: how fast and how much, whether it answers, what today has cost."""

from dataclasses import dataclass
from decimal import Decimal

from safelight.db.connection.database import Connection, Row, load_queries

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the registry allows at one adapter. After `failures_max` failures in a row nothing is started for
    `shut_seconds`, then one start at a time, each given `probe_seconds` to show that all is well again."""

    starts_per_minute: float = 600
    at_once: int = 1000
    failures_max: int = 5
    shut_seconds: float = 30
    probe_seconds: float = 60
    daily_usd_max: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Denied:
    """`reason` is circuit_open, daily_cap, rate or at_once."""

    reason: str
    wait_seconds: float


async def admit(conn: Connection, adapter: str, limits: Limits, usd: Decimal) -> Denied | None:
    """Count one more start, or say why there may be none now."""
    row = await _queries.admit(
        conn,
        adapter=adapter,
        starts_per_minute=limits.starts_per_minute,
        at_once=limits.at_once,
        failures_max=limits.failures_max,
        probe_seconds=limits.probe_seconds,
        usd=usd,
        daily_usd_max=limits.daily_usd_max,
    )
    return Denied(row["reason"], row["wait_seconds"]) if row["reason"] else None


async def succeeded(conn: Connection, adapter: str, seconds: float) -> None:
    """`seconds` ago it was asked."""
    await _queries.succeeded(conn, adapter=adapter, seconds=seconds)


async def failed(conn: Connection, adapter: str, limits: Limits, text: str) -> None:
    await _queries.failed(
        conn, adapter=adapter, failures_max=limits.failures_max, shut_seconds=limits.shut_seconds, text=text
    )


async def back_off(conn: Connection, adapter: str, seconds: float) -> None:
    await _queries.slow_down(conn, adapter=adapter, seconds=seconds)


async def release_budget(conn: Connection, adapter: str, usd: Decimal) -> None:
    await _queries.give_back(conn, adapter=adapter, usd=usd)


async def circuit_is_open(conn: Connection, adapter: str) -> bool:
    return bool(await _queries.circuit_is_open(conn, adapter=adapter))


async def health(conn: Connection) -> list[Row]:
    """adapter, circuit (closed, failing, open), shut_until, failures, last_failure, last_failure_at, under_way,
    spent_today_usd."""
    return [row async for row in _queries.health(conn)]
