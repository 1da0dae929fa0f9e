"""Customers, as the API and the commands show them: balance, ledger and history of one, totals of all."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from safelight.db.connection.database import Connection
from safelight.db.generations import generations
from safelight.db.generations.generations import HistoryItem
from safelight.db.money import customers, ledger
from safelight.db.money.ledger import LedgerEntry
from safelight.storage.web_urls import without_unsafe_urls


@dataclass(frozen=True, slots=True)
class CustomerBalance:
    """A customer's credits, until when they are good, and the number of entries in the ledger."""

    credits: int = 0
    expires_at: datetime | None = None
    entry_count: int = 0


@dataclass(frozen=True, slots=True)
class CustomerLedger:
    """The newest `entries` of the ledger, and the number of all."""

    pass_id: str
    balance: int
    total: int
    entries: tuple[LedgerEntry, ...]

    def as_json(self) -> dict[str, Any]:
        entries = [asdict(entry) for entry in self.entries]
        return {"passId": self.pass_id, "balance": self.balance, "total": self.total, "entries": entries}


@dataclass(frozen=True, slots=True)
class CustomerHistory:
    """One page of a customer's history, the newest first, with the ledger. `next_before` is the time that the next page
    goes on from, None on the last one."""

    balance: int = 0
    expires_at: datetime | None = None
    entries: tuple[HistoryItem, ...] = ()
    page: tuple[HistoryItem, ...] = ()
    next_before: datetime | None = None

    def items(self, record_type: str) -> list[HistoryItem]:
        return [item for item in self.page if item.record_type == record_type]


async def balance(conn: Connection, pass_id: str) -> CustomerBalance:
    """The balance without the credits that have expired, which are taken now. Nobody has less than nothing."""
    customer = await customers.lock(conn, pass_id)
    if customer is None:
        return CustomerBalance()
    return CustomerBalance(customer.credits, customer.expires_at, await ledger.entry_count(conn, pass_id))


async def ledger_of(conn: Connection, pass_id: str, *, limit: int) -> CustomerLedger | None:
    """None if there is no such customer."""
    customer = await customers.get(conn, pass_id)
    if customer is None:
        return None
    total = await ledger.entry_count(conn, pass_id)
    entries = tuple(await ledger.entries(conn, pass_id, limit=limit))
    return CustomerLedger(pass_id, customer.credits, total, entries)


async def history(
    conn: Connection, pass_id: str, *, before: datetime | None, limit: int, results_only: bool
) -> CustomerHistory:
    """Older rows hold URLs that are refused today: they are left out."""
    page = await generations.history(conn, pass_id, before=before, limit=limit, results_only=results_only)
    oldest = page[-1].created_at if page else None
    more = oldest and await generations.history(conn, pass_id, before=oldest, limit=1, results_only=results_only)
    customer = await customers.lock(conn, pass_id)
    entries = await generations.credit_history(conn, pass_id)
    return CustomerHistory(
        balance=customer.credits if customer else 0,
        expires_at=customer.expires_at if customer else None,
        entries=tuple(entries),
        page=tuple(HistoryItem(without_unsafe_urls(item.columns, anywhere=False)) for item in page),
        next_before=oldest if more else None,
    )
