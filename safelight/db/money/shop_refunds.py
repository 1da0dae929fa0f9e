"""Refunds of a shop: what its buyers got their money back for is taken back from whoever holds the credits now."""

from dataclasses import dataclass

from safelight.db.connection.database import Connection, load_queries
from safelight.db.money import customers, ledger
from safelight.db.typed_rows import row_as, rows_as
from safelight.domain.money.shop_orders import ShopRefund

_queries = load_queries(__file__)

SHOP_ORDER = "shopify_order"
SHOP_REFUND = "shopify_refund"


@dataclass(frozen=True, slots=True)
class CreditedOrder:
    """The customer whom a shop's order was credited to, and the credits."""

    pass_id: str
    credits: int


@dataclass(frozen=True, slots=True)
class OpenRefund:
    """A refund that is not settled yet; without `credits` it takes all that its order was credited."""

    refund_id: str
    credits: int | None


@dataclass(frozen=True, slots=True)
class TakenBack:
    """`due` are the credits that refunds asked for now, `taken` those that were still there. The order was credited to
    `pass_id`."""

    pass_id: str
    due: int
    taken: int


async def record(conn: Connection, refund: ShopRefund) -> bool:
    """Note the refund, whether its order was credited yet or not. Returns whether it is new."""
    noted = await _queries.record(conn, refund_id=refund.id, order_id=refund.order_id, credits=refund.credits)
    return bool(noted)


async def apply(conn: Connection, order_id: str) -> TakenBack | None:
    """Take back what the order's refunds ask for and was not taken yet: together at most what the order was credited,
    and never more than is there. None where the order was not credited. The caller holds the order's reference."""
    credited = row_as(CreditedOrder, await _queries.credited(conn, order_id=order_id))
    if credited is None:
        return None
    due = taken = 0
    for refund in await rows_as(OpenRefund, _queries.open_refunds(conn, order_id=order_id)):
        left = credited.credits - int(await _queries.due_before(conn, order_id=order_id))
        wanted = left if refund.credits is None else min(refund.credits, left)
        got = await _take(conn, credited.pass_id, wanted, refund.refund_id)
        await _queries.close_refund(conn, refund_id=refund.refund_id, due=wanted, taken=got)
        due, taken = due + wanted, taken + got
    return TakenBack(credited.pass_id, due, taken)


async def _take(conn: Connection, pass_id: str, credits: int, refund_id: str) -> int:
    """From the row that was credited, then from those that its credits were gathered into. Returns how many."""
    taken = 0
    for holder in [row["pass_id"] async for row in _queries.holders(conn, pass_id=pass_id)]:
        if taken < credits and await customers.lock(conn, holder):
            moved = await ledger.adjust(
                conn,
                pass_id=holder,
                delta=taken - credits,
                reason="shopify-refund",
                source="shopify",
                ref=(SHOP_REFUND, refund_id),
            )
            taken += moved.before - moved.after
    return taken
