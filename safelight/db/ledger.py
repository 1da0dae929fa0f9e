"""The credits ledger: append-only; a balance is the sum of a customer's entries.

References follow contract section 4.3: a generation's charge and refund are unique by (`mg_ref_type`, `mg_ref_id`).
"""

from psycopg.types.json import Jsonb

from safelight.db.database import Connection, Row, load_queries
from safelight.domain.errors import InsufficientCredits, NotFound
from safelight.domain.ids import new_id

_queries = load_queries(__file__)


def _reference(generation_id: str) -> str:
    return f"mma:{generation_id}"


async def charge(conn: Connection, *, pass_id: str, generation_id: str, credits: int, reason: str) -> int:
    """Take the credits of an accepted generation. Returns the balance after it.

    Raises:
        InsufficientCredits: nothing was taken.
    """
    balance: int | None = await _queries.take_credits(conn, pass_id=pass_id, credits=credits)
    if balance is None:
        raise InsufficientCredits(required=credits, balance=await balance_of(conn, pass_id))
    await _insert(
        conn,
        pass_id=pass_id,
        generation_id=generation_id,
        delta=-credits,
        reason=reason,
        source="mma",
        ref=("mma_charge", _reference(generation_id)),
        balance=balance,
    )
    return balance


async def refund(conn: Connection, *, generation_id: str) -> int:
    """Give back what the generation was charged, once. Returns the credits given back now: 0 where there was no
    charge, or where it was given back before."""
    charged: Row | None = await _queries.charge_of_generation(conn, ref_id=_reference(generation_id))
    if charged is None:
        return 0
    inserted = await _insert(
        conn,
        pass_id=charged["mg_pass_id"],
        generation_id=generation_id,
        delta=charged["credits"],
        reason="mma_refund",
        source="mma",
        ref=("mma_refund", _reference(generation_id)),
    )
    if inserted:
        await _queries.give_credits(conn, pass_id=charged["mg_pass_id"], credits=charged["credits"])
    return int(charged["credits"]) if inserted else 0


async def grant(conn: Connection, *, pass_id: str, credits: int, reason: str, source: str, ref: tuple[str, str]) -> int:
    """Add credits to an existing customer. Returns the balance after it.

    Raises:
        NotFound: there is no such customer.
    """
    balance: int | None = await _queries.give_credits(conn, pass_id=pass_id, credits=credits)
    if balance is None:
        raise NotFound(f"No customer has the pass id {pass_id!r}.")
    await _insert(
        conn,
        pass_id=pass_id,
        generation_id=None,
        delta=credits,
        reason=reason,
        source=source,
        ref=ref,
        balance=balance,
    )
    return balance


async def balance_of(conn: Connection, pass_id: str) -> int:
    return int(await _queries.balance_of(conn, pass_id=pass_id) or 0)


async def entry_count(conn: Connection, pass_id: str) -> int:
    return int(await _queries.entry_count(conn, pass_id=pass_id) or 0)


async def _insert(
    conn: Connection,
    *,
    pass_id: str,
    generation_id: str | None,
    delta: int,
    reason: str,
    source: str,
    ref: tuple[str, str],
    balance: int | None = None,
) -> bool:
    meta = {} if balance is None else {"credits_before": balance - delta, "credits_after": balance}
    inserted = await _queries.insert_entry(
        conn,
        id=f"credit_transaction:{new_id()}",
        pass_id=pass_id,
        generation_id=generation_id,
        delta=delta,
        reason=reason,
        source=source,
        ref_type=ref[0],
        ref_id=ref[1],
        meta=Jsonb(meta),
    )
    return bool(inserted)
