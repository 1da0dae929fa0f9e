"""`/api/v1/me` and `/api/v1/credits`: who asks, their balance, and their ledger."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import Field

from safelight.api.auth.operators import optional_operator
from safelight.api.auth.principals import CustomerByHeader
from safelight.api.http.services import FromApp
from safelight.api.schemas import examples, fields
from safelight.api.schemas.problems import PREFIX
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1.routing import PAGE_DEFAULT, Cursor, Limit, cursor_of, position_of, v1_route
from safelight.db.generations.listing import PagePlace
from safelight.db.money import customers, ledger
from safelight.db.money.ledger import ListedEntry
from safelight.reports import customer as report

TransactionType = Literal["usage", "refund", "purchase", "purchase_refund", "expiration", "bonus", "adjustment"]
TYPES: dict[str | None, TransactionType] = {
    "mma_charge": "usage",
    "mma_refund": "refund",
    "shopify_order": "purchase",
    "shopify_refund": "purchase_refund",
    "expiration": "expiration",
}

router = APIRouter(route_class=v1_route(), tags=["v1"])


class MeV1(ResponseModel):
    """The customer who asks."""

    pass_id: fields.PassId
    signed_in: bool = Field(description="True if an access token says who it is.")
    is_operator: bool = Field(examples=[False])
    balance: fields.Credits
    expires_at: datetime | None = Field(description="When the credits expire.", examples=[None])


class CreditBalance(ResponseModel):
    balance: fields.Credits
    expires_at: datetime | None = Field(description="When the credits expire.", examples=[None])


class CreditTransaction(ResponseModel):
    """An entry of the ledger. `balance_after` is null of entries that an older version wrote."""

    id: str = Field(examples=[examples.SESSION])
    transaction_type: TransactionType
    amount: int = Field(description="Less than 0 where credits were taken.", examples=[-1])
    balance_after: int | None = Field(examples=[12])
    description: str | None = Field(examples=["mma_still"])
    generation_id: str | None = Field(examples=[examples.GENERATION])
    created_at: fields.Time


class CreditTransactions(ResponseModel):
    items: list[CreditTransaction]
    next_cursor: str | None = Field(examples=[None])


class CreditStats(ResponseModel):
    """Sums of the whole ledger. `total_used` is what was charged less what came back for generations."""

    balance: fields.Credits
    transaction_count: fields.Count
    total_charged: fields.Count
    total_refunded: fields.Count
    total_used: fields.Count
    total_purchased: fields.Count
    total_bonus: fields.Count
    total_expired: fields.Count


@router.get(f"{PREFIX}/me", summary="Who you are")
async def me(request: Request, services: FromApp, customer: CustomerByHeader) -> MeV1:
    operator = await optional_operator(request, services)
    found = await _balance(services, customer.pass_id)
    return MeV1(
        pass_id=customer.pass_id,
        signed_in=customer.has_user,
        is_operator=operator is not None,
        balance=found.balance,
        expires_at=found.expires_at,
    )


@router.get(f"{PREFIX}/credits/balance", summary="Your credits")
async def balance(services: FromApp, customer: CustomerByHeader) -> CreditBalance:
    return await _balance(services, customer.pass_id)


async def _balance(services: FromApp, pass_id: str) -> CreditBalance:
    """Credits that have expired are taken now. Who has no row has none."""
    async with services.db.transaction() as conn:
        customer = await customers.lock(conn, pass_id)
    if customer is None:
        return CreditBalance(balance=0, expires_at=None)
    return CreditBalance(balance=customer.credits, expires_at=customer.expires_at)


@router.get(f"{PREFIX}/credits/transactions", summary="Your ledger, the newest first")
async def transactions(
    services: FromApp, customer: CustomerByHeader, limit: Limit = PAGE_DEFAULT, cursor: Cursor = None
) -> CreditTransactions:
    after = position_of(cursor)
    async with services.db.connection() as conn:
        rows = await ledger.entries_page(
            conn, customer.pass_id, before_at=after.created_at, before_key=after.key, limit=limit + 1
        )
    shown = rows[:limit]
    last = PagePlace(shown[-1].created_at.isoformat(), shown[-1].key) if len(rows) > limit else None
    return CreditTransactions(items=[_transaction(row) for row in shown], next_cursor=cursor_of(last))


def _transaction(row: ListedEntry) -> CreditTransaction:
    return CreditTransaction(
        id=row.id,
        transaction_type=type_of(row.ref_type, row.delta),
        amount=row.delta,
        balance_after=row.balance_after,
        description=row.reason,
        generation_id=row.generation_id,
        created_at=row.created_at,
    )


def type_of(ref_type: str | None, delta: int) -> TransactionType:
    """As the view `credit_transactions` says it."""
    return TYPES.get(ref_type) or ("bonus" if delta > 0 else "adjustment")


@router.get(f"{PREFIX}/credits/stats", summary="Sums of your ledger")
async def stats(services: FromApp, customer: CustomerByHeader) -> CreditStats:
    async with services.db.transaction() as conn:
        credits = await report.balance(conn, customer.pass_id)
        sums = await ledger.sums(conn, customer.pass_id)
    taken = {one.ref_type: one.taken for one in sums}
    given = {one.ref_type: one.given for one in sums}
    charged, refunded = taken.get("mma_charge", 0), given.get("mma_refund", 0)
    return CreditStats(
        balance=credits.credits,
        transaction_count=sum(one.count for one in sums),
        total_charged=charged,
        total_refunded=refunded,
        total_used=charged - refunded,
        total_purchased=given.get("shopify_order", 0) - taken.get("shopify_refund", 0),
        total_bonus=sum(one.given for one in sums if one.ref_type not in TYPES),
        total_expired=taken.get("expiration", 0),
    )
