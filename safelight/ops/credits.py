"""Credits that an operator gives a customer, or takes: one way for every route and command."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from safelight.db.connection.clock import database_time
from safelight.db.connection.database import Connection
from safelight.db.money import customers, ledger
from safelight.db.money.ledger import BalanceChange, Origin
from safelight.db.operations import audit
from safelight.db.operations.audit import Operator
from safelight.domain.identities import TargetCustomer


@dataclass(frozen=True, slots=True)
class Adjustment:
    """`delta` less than 0 takes credits; `action` is its name in the audit."""

    delta: int
    origin: Origin
    action: str


async def adjust_credits(
    conn: Connection, operator: Operator, target: TargetCustomer, adjustment: Adjustment, *, expire_days: int
) -> BalanceChange:
    """Move the customer's balance and record who did it, in one transaction. A new customer gets a row, without welcome
    credits. At most what is there is taken.

    Raises:
        InvalidInput: the balance would be beyond what anybody may have.
    """
    delta = adjustment.delta
    async with conn.transaction():
        await customers.ensure(conn, target.pass_id)
        expires_at = await good_until(conn, expire_days) if delta > 0 else None
        moved = await ledger.adjust(conn, target.pass_id, delta, adjustment.origin, expires_at=expires_at)
        await audit.record(
            conn,
            operator,
            adjustment.action,
            target=target.pass_id,
            before={"credits": moved.before},
            after={"credits": moved.after, "asked": delta, "reason": adjustment.origin.reason},
        )
    return moved


async def good_until(conn: Connection, expire_days: int, granted_at: datetime | None = None) -> datetime | None:
    """The end of what is credited now, by the database's clock; None is for ever. What is credited late is good for as
    long as what is credited in time."""
    if not expire_days:
        return None
    days, now = timedelta(days=expire_days), await database_time(conn)
    granted_at = granted_at or now
    return granted_at + days if now < granted_at + days else now + days
