"""The state of each provider that all workers share: its rate and load, its circuit, and the cost of today."""

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal

from safelight.db.connection.database import Connection, load_queries
from safelight.db.typed_rows import rows_as

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one adapter in the registry. After `failures_max` failures in a row nothing is started for
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


@dataclass(frozen=True, slots=True)
class ProviderHealth:
    """The health of a provider: `circuit` is closed, failing (failures in a row) or open until `shut_until`."""

    adapter: str
    failures: int
    last_failure: str | None
    last_failure_at: datetime | None
    circuit: str
    shut_until: datetime | None
    spent_today_usd: Decimal
    under_way: int


async def admit(conn: Connection, adapter: str, limits: Limits, usd: Decimal) -> Denied | None:
    """Count one more start, or say why there may be none now."""
    row = await _queries.admit(conn, adapter=adapter, usd=usd, **asdict(limits))
    return Denied(row["reason"], row["wait_seconds"]) if row["reason"] else None


async def succeeded(conn: Connection, adapter: str, seconds: float) -> None:
    """`seconds` ago it was asked."""
    await _queries.succeeded(conn, adapter=adapter, seconds=seconds)


async def failed(conn: Connection, adapter: str, limits: Limits, text: str) -> None:
    await _queries.failed(conn, adapter=adapter, text=text, **asdict(limits))


async def back_off(conn: Connection, adapter: str, seconds: float) -> None:
    await _queries.back_off(conn, adapter=adapter, seconds=seconds)


async def release_budget(conn: Connection, adapter: str, usd: Decimal) -> None:
    await _queries.release_budget(conn, adapter=adapter, usd=usd)


async def circuit_is_open(conn: Connection, adapter: str) -> bool:
    return bool(await _queries.circuit_is_open(conn, adapter=adapter))


async def health(conn: Connection) -> list[ProviderHealth]:
    """The health of each adapter that has limits and was asked for something."""
    return await rows_as(ProviderHealth, _queries.health(conn))
