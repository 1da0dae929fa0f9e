"""The credits ledger: append-only; a balance is the sum of a customer's entries.

A generation's charge and refund are unique by (`mg_ref_type`, `mg_ref_id`), see docs/contract/credits.md.
"""

from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.typed_rows import row_as, rows_as
from safelight.domain.errors.base import InsufficientCredits, InvalidInput, NotFound
from safelight.domain.ids import new_id

_queries = load_queries(__file__)

BALANCE_MAX = 1_000_000_000


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One move of credits, with the customer's balance after it."""

    at: datetime
    delta: int
    balance: int
    reason: str | None
    source: str | None
    ref_type: str | None
    ref_id: str | None
    generation_id: str | None
    expires_at: str | None


@dataclass(frozen=True, slots=True)
class ListedEntry:
    """One move of credits, as pages show it; `balance_after` is not known of entries of older versions."""

    id: str
    key: str
    created_at: datetime
    delta: int
    balance_after: int | None
    reason: str | None
    ref_type: str | None
    generation_id: str | None


@dataclass(frozen=True, slots=True)
class EntrySum:
    """All entries of one type of reference: how many, and the credits that they gave and took."""

    ref_type: str | None
    count: int
    given: int
    taken: int


@dataclass(frozen=True, slots=True)
class Charge:
    """The credits that a generation took, and until when they would have been good."""

    pass_id: str
    credits: int
    expires_at: datetime | None
    has_expired: bool


@dataclass(frozen=True, slots=True)
class Origin:
    """The reason and the source of a move of credits, and its reference, which moves credits once."""

    reason: str
    source: str
    ref: tuple[str, str]


@dataclass(frozen=True, slots=True)
class BalanceChange:
    before: int
    after: int


def _charge_reference(generation_id: str, round_no: int) -> str:
    """The reference of a round's charge: round 0 is the order, each retry of what is missing is one more."""
    return f"mma:{generation_id}:retry:{round_no}" if round_no else f"mma:{generation_id}"


async def charge(
    conn: Connection,
    *,
    pass_id: str,
    generation_id: str,
    credits: int,
    reason: str,
    request_id: str | None = None,
    round_no: int = 0,
) -> int:
    """Take the credits of an accepted generation, or of a later round of it. Returns the balance after it.

    Raises:
        InsufficientCredits: nothing was taken.
    """
    left: Row | None = await _queries.take_credits(conn, pass_id=pass_id, credits=credits)
    if left is None:
        raise InsufficientCredits(required=credits, balance=await balance_of(conn, pass_id))
    expires = {"expires_at": left["expires_at"].isoformat()} if left["expires_at"] else {}
    origin = Origin(reason, "mma", ("mma_charge", _charge_reference(generation_id, round_no)))
    meta = expires | ({"request_id": request_id} if request_id else {})
    await _insert(conn, pass_id, -credits, origin, generation_id=generation_id, balance=left["balance"], meta=meta)
    return int(left["balance"])


async def refund(conn: Connection, *, generation_id: str) -> int:
    """Give back what the generation was charged, once: credits that were good until a certain time are so again. Where
    that time is past, they expire at once, which is an entry of its own. Returns the credits given back now: 0 where
    there was no charge, or where it was given back before."""
    charged = await _charge_of(conn, generation_id, 0)
    return await _give_back(conn, generation_id, charged, charged.credits, f"mma:{generation_id}") if charged else 0


async def refund_part(conn: Connection, *, generation_id: str, round_no: int, credits: int) -> int:
    """Give back a part of what a round was charged, once; the rest stays paid. Returns as `refund`."""
    charged = await _charge_of(conn, generation_id, round_no)
    if charged is None or not credits:
        return 0
    return await _give_back(conn, generation_id, charged, credits, f"mma:{generation_id}:refund:{round_no + 1}")


async def _charge_of(conn: Connection, generation_id: str, round_no: int) -> Charge | None:
    reference = _charge_reference(generation_id, round_no)
    return row_as(Charge, await _queries.charge_of_generation(conn, ref_id=reference))


async def _give_back(conn: Connection, generation_id: str, charged: Charge, credits: int, reference: str) -> int:
    await expire(conn, charged.pass_id)  # what lapsed before must not take the refund with it
    balance = await _queries.lock_balance(conn, pass_id=charged.pass_id)
    origin = Origin("mma_refund", "mma", ("mma_refund", reference))
    inserted = await _insert(
        conn, charged.pass_id, credits, origin, generation_id=generation_id, balance=balance + credits
    )
    if not inserted:
        return 0
    if charged.has_expired:
        await _insert_lapsed(conn, generation_id, charged, credits, reference, balance)
    else:
        await _queries.give_credits(conn, pass_id=charged.pass_id, credits=credits, expires_at=charged.expires_at)
    return credits


async def _insert_lapsed(
    conn: Connection, generation_id: str, charged: Charge, credits: int, reference: str, balance: int
) -> None:
    """The credits come back and are gone at the same moment: two entries, and the balance stays as it is."""
    origin = Origin("expired", "system", ("expiration", reference))
    meta = {"expires_at": charged.expires_at.isoformat()} if charged.expires_at else None
    await _insert(conn, charged.pass_id, -credits, origin, generation_id=generation_id, balance=balance, meta=meta)


async def adjust(
    conn: Connection, pass_id: str, delta: int, origin: Origin, *, expires_at: datetime | None = None
) -> BalanceChange:
    """Move an existing customer's balance, in one transaction; at most all that is there is taken. With `expires_at`
    the whole balance is good until then at least.

    Raises:
        NotFound: there is no such customer.
        InvalidInput: the balance would be beyond what anybody may have.
    """
    async with conn.transaction():
        await expire(conn, pass_id)
        before: int | None = await _queries.lock_balance(conn, pass_id=pass_id)
        if before is None:
            raise NotFound(f"No customer has the pass id {pass_id!r}.")
        after = max(before + delta, 0)
        if after > BALANCE_MAX:
            raise InvalidInput(f"amount: a balance is at most {BALANCE_MAX}; this one is {before}.")
        is_new = after != before and await _insert(conn, pass_id, after - before, origin, balance=after)
        if is_new:
            await _queries.set_balance(conn, pass_id=pass_id, credits=after, expires_at=expires_at)
    return BalanceChange(before, after if is_new else before)


async def expire(conn: Connection, pass_id: str) -> int:
    """Take what was good until a time that is past. Returns how many credits that were."""
    return int(await _queries.expire(conn, pass_id=pass_id, id=f"credit_transaction:{new_id()}") or 0)


async def is_in_ledger(conn: Connection, ref: tuple[str, str]) -> bool:
    """Return true if the reference moved credits before. Until the transaction ends, nobody else asks about it."""
    await _queries.lock_reference(conn, name=":".join(ref))
    return bool(await _queries.has_reference(conn, ref_type=ref[0], ref_id=ref[1]))


async def balance_of(conn: Connection, pass_id: str) -> int:
    return int(await _queries.balance_of(conn, pass_id=pass_id) or 0)


async def entry_count(conn: Connection, pass_id: str) -> int:
    return int(await _queries.entry_count(conn, pass_id=pass_id) or 0)


async def entries(conn: Connection, pass_id: str, *, limit: int) -> list[LedgerEntry]:
    """The customer's newest entries, newest first, each with the balance after it."""
    return await rows_as(LedgerEntry, _queries.entries(conn, pass_id=pass_id, limit=limit))


async def entries_page(
    conn: Connection, pass_id: str, *, before_at: str, before_key: str, limit: int
) -> list[ListedEntry]:
    """The customer's entries before this place, newest first."""
    rows = _queries.entries_page(conn, pass_id=pass_id, before_at=before_at, before_key=before_key, limit=limit)
    return await rows_as(ListedEntry, rows)


async def sums(conn: Connection, pass_id: str) -> list[EntrySum]:
    return await rows_as(EntrySum, _queries.sums(conn, pass_id=pass_id))


async def _insert(
    conn: Connection,
    pass_id: str,
    delta: int,
    origin: Origin,
    *,
    generation_id: str | None = None,
    balance: int | None = None,
    meta: Row | None = None,
) -> bool:
    moved = {} if balance is None else {"credits_before": balance - delta, "credits_after": balance}
    inserted = await _queries.insert_entry(
        conn,
        id=f"credit_transaction:{new_id()}",
        pass_id=pass_id,
        generation_id=generation_id,
        delta=delta,
        reason=origin.reason,
        source=origin.source,
        ref_type=origin.ref[0],
        ref_id=origin.ref[1],
        meta=Jsonb(moved | (meta or {})),
    )
    return bool(inserted)
