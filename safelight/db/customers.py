"""Customers: one row a pass id."""

from dataclasses import dataclass
from functools import partial

from psycopg.types.json import Jsonb

from safelight.db import ledger
from safelight.db.database import Connection, Row, load_queries
from safelight.domain import passes
from safelight.domain.errors import Forbidden
from safelight.domain.ids import new_id

SAME_EMAIL_MAX = 50

_queries = load_queries(__file__)


async def ensure(conn: Connection, pass_id: str, *, free_credits: int) -> None:
    """Create the customer under the id that was stated, with the welcome credits as a ledger row."""
    shopify_id = pass_id.removeprefix("pass:shopify:") if pass_id.startswith("pass:shopify:") else None
    created = await _queries.insert_customer(conn, pass_id=pass_id, shopify_customer_id=shopify_id)
    if created and free_credits:
        await ledger.grant(
            conn,
            pass_id=pass_id,
            credits=free_credits,
            reason="welcome",
            source="system",
            ref=("welcome", pass_id),
        )


async def lock(conn: Connection, pass_id: str) -> Row | None:
    """The customer's row, locked until the transaction ends: credits move one at a time. What has expired is gone."""
    row: Row | None = await _queries.lock_customer(conn, pass_id=pass_id)
    if row and row["is_due"]:
        await ledger.expire(conn, pass_id)
        row = await _queries.lock_customer(conn, pass_id=pass_id)
    return row


async def get(conn: Connection, pass_id: str) -> Row | None:
    row: Row | None = await _queries.customer_by_pass_id(conn, pass_id=pass_id)
    return row


async def pass_id_of_shopify_customer(conn: Connection, shopify_customer_id: str) -> str | None:
    found: str | None = await _queries.pass_id_of_shopify_customer(conn, shopify_customer_id=shopify_customer_id)
    return found


async def save_preferences(conn: Connection, pass_id: str, preferences: Row) -> None:
    await _queries.save_preferences(conn, pass_id=pass_id, preferences=Jsonb(preferences))


# --- who signed in --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """The row of a signed-in user."""

    pass_id: str
    is_admin: bool
    is_new: bool = False


async def of_user(
    conn: Connection, user_id: str, email: str | None, *, stated: str | None, free_credits: int
) -> Account:
    """The user's row: the one that is theirs, else one of their e-mail, else the stated one where it is nobody's, else
    a new one (contract section 3.2).

    Raises:
        Forbidden: the name that the new row would have is another user's.
    """
    known = await of_known_user(conn, user_id)
    if known is not None:
        return known
    async with conn.transaction():
        await _queries.lock_user(conn, user_id=user_id)
        known = await of_known_user(conn, user_id)
        if known is not None:
            return known
        claim = stated if stated and passes.may_be_claimed(stated, user_id) else None
        linked: Row | None = await _queries.link_user(conn, user_id=user_id, email=email, claim=claim)
        return _account(linked) if linked else await _new_account(conn, user_id, email, free_credits)


async def of_known_user(conn: Connection, user_id: str) -> Account | None:
    row: Row | None = await _queries.customer_of_user(conn, user_id=user_id)
    return _account(row) if row else None


def _account(row: Row) -> Account:
    return Account(row["mg_pass_id"], row["mg_admin_allowlist"])


async def _new_account(conn: Connection, user_id: str, email: str | None, free_credits: int) -> Account:
    pass_id = passes.of_user(user_id)
    is_new = await get(conn, pass_id) is None
    await ensure(conn, pass_id, free_credits=free_credits)
    if not await _queries.link_own_name(conn, pass_id=pass_id, user_id=user_id, email=email):
        raise Forbidden(f"The pass id {pass_id} is another user's.")
    return Account(pass_id, is_admin=False, is_new=is_new)


async def touch(conn: Connection, pass_id: str, email: str | None) -> None:
    """Note that the customer was here, and the e-mail that they sign in with now."""
    await _queries.touch(conn, pass_id=pass_id, email=email)


async def gather_credits(conn: Connection, pass_id: str, email: str) -> int:
    """Move the credits of rows that have the user's e-mail and are no user's to the user's row. Returns how many."""
    gathered = 0
    async with conn.transaction():
        rows = [row async for row in _queries.lock_same_email(conn, pass_id=pass_id, email=email, most=SAME_EMAIL_MAX)]
        for row in rows:
            if row["mg_pass_id"] != pass_id:
                gathered += await _move_all(conn, row["mg_pass_id"], pass_id)
    return gathered


async def pass_ids_of(conn: Connection, pass_id: str) -> list[str]:
    """The ids that are this customer's: the own one first, then those of rows that were merged into it."""
    rows = _queries.pass_ids_of(conn, pass_id=pass_id, most=1 + SAME_EMAIL_MAX)
    return [row["pass_id"] async for row in rows]


async def _move_all(conn: Connection, source: str, target: str) -> int:
    await _queries.note_merged(conn, source=source, target=target)
    held = await lock(conn, source) or {}
    credits, expires_at = int(held.get("mg_credits", 0)), held.get("mg_expires_at")
    if credits:
        move = partial(ledger.adjust, conn, reason="same_email", source="system", ref=("merge", new_id()))
        await move(pass_id=source, delta=-credits)
        await move(pass_id=target, delta=credits, expires_at=expires_at)
    return credits


# --- a shop's customers, and how they pay ---------------------------------------------------------------------------


async def of_email(conn: Connection, email: str) -> str | None:
    """The pass id of whoever has the e-mail; a user who signed in with it goes before others, then the oldest row."""
    found: str | None = await _queries.pass_id_of_email(conn, email=email)
    return found


async def note_email(conn: Connection, pass_id: str, email: str) -> None:
    """A shop says which e-mail its customer has; one that is known stays."""
    await _queries.note_email(conn, pass_id=pass_id, email=email)


async def auto_top_up(conn: Connection, pass_id: str) -> Row:
    """`enabled` and `monthlyLimitPacks`, as they were saved; empty where they never were."""
    found: Row | None = await _queries.auto_top_up(conn, pass_id=pass_id)
    return found["settings"] if found else {}


async def save_auto_top_up(conn: Connection, pass_id: str, settings: Row) -> None:
    await _queries.save_auto_top_up(conn, pass_id=pass_id, settings=Jsonb(settings))
