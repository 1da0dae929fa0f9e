"""Refunds of a shop: what its buyers got their money back for is taken back from whoever holds the credits now."""

from dataclasses import dataclass

from safelight.db.connection.database import Connection, load_queries
from safelight.db.money import customers, ledger
from safelight.domain.money.shop_orders import ShopRefund

_queries = load_queries(__file__)

SHOP_ORDER = "shopify_order"
SHOP_REFUND = "shopify_refund"


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
    credited = await _queries.credited(conn, order_id=order_id)
    if credited is None:
        return None
    pass_id, due, taken = str(credited["pass_id"]), 0, 0
    for refund in [row async for row in _queries.open_refunds(conn, order_id=order_id)]:
        left = credited["credits"] - int(await _queries.due_before(conn, order_id=order_id))
        wanted = left if refund["credits"] is None else min(refund["credits"], left)
        got = await _take(conn, pass_id, wanted, refund["refund_id"])
        await _queries.close_refund(conn, refund_id=refund["refund_id"], due=wanted, taken=got)
        due, taken = due + wanted, taken + got
    return TakenBack(pass_id, due, taken)


async def _take(conn: Connection, pass_id: str, credits: int, refund_id: str) -> int:
    """From the row that was credited, then from those that its credits were gathered into. Returns how many."""
    taken, origin = 0, ledger.Origin("shopify-refund", "shopify", (SHOP_REFUND, refund_id))
    for holder in [row["pass_id"] async for row in _queries.holders(conn, pass_id=pass_id)]:
        if taken < credits and await customers.lock(conn, holder):
            moved = await ledger.adjust(conn, holder, taken - credits, origin)
            taken += moved.before - moved.after
    return taken
