"""Customers: one row a pass id."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.money import ledger
from safelight.db.money.ledger import Origin
from safelight.db.operations import daily_counts
from safelight.db.typed_rows import row_as
from safelight.domain import pass_ids
from safelight.domain.errors.base import Forbidden
from safelight.domain.identities import Welcome
from safelight.domain.ids import new_id

SAME_EMAIL_MAX = 50
WELCOME = "welcome"

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class CustomerRow:
    """`user_id` is that of a signed-in user. The credits of a customer who `is_due` expire with the next move."""

    pass_id: str
    user_id: UUID | None
    credits: int
    expires_at: datetime | None
    preferences: Row
    is_due: bool


async def ensure(conn: Connection, pass_id: str, *, welcome: Welcome | None = None) -> None:
    """Create the customer under this id, with the welcome credits, if any, as a ledger row."""
    shopify_id = pass_id.removeprefix(pass_ids.SHOPIFY) if pass_id.startswith(pass_ids.SHOPIFY) else None
    created = await _queries.insert_customer(conn, pass_id=pass_id, shopify_customer_id=shopify_id)
    if created and welcome and await daily_counts.take(conn, WELCOME, welcome.address, limit=welcome.per_day):
        await ledger.adjust(conn, pass_id, welcome.credits, Origin(WELCOME, "system", (WELCOME, pass_id)))


async def lock(conn: Connection, pass_id: str) -> CustomerRow | None:
    """The customer's row, locked until the transaction ends: credits move one at a time. What has expired is gone."""
    customer = row_as(CustomerRow, await _queries.lock_customer(conn, pass_id=pass_id))
    if customer and customer.is_due:
        await ledger.expire(conn, pass_id)
        customer = row_as(CustomerRow, await _queries.lock_customer(conn, pass_id=pass_id))
    return customer


async def get(conn: Connection, pass_id: str) -> CustomerRow | None:
    return row_as(CustomerRow, await _queries.customer_by_pass_id(conn, pass_id=pass_id))


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
    conn: Connection, user_id: str, email: str | None, *, stated: str | None, welcome: Welcome | None
) -> Account:
    """The user's row: the one that is theirs, else one of their e-mail, else the stated one where it is nobody's, else
    a new one (docs/contract/identity.md).

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
        claim = stated if stated and pass_ids.can_claim(stated, user_id) else None
        linked = row_as(Account, await _queries.link_user(conn, user_id=user_id, email=email, claim=claim))
        return linked or await _new_account(conn, user_id, email, welcome)


async def of_known_user(conn: Connection, user_id: str) -> Account | None:
    return row_as(Account, await _queries.customer_of_user(conn, user_id=user_id))


async def _new_account(conn: Connection, user_id: str, email: str | None, welcome: Welcome | None) -> Account:
    pass_id = pass_ids.for_user(user_id)
    is_new = await get(conn, pass_id) is None
    await ensure(conn, pass_id, welcome=welcome)
    if not await _queries.link_own_name(conn, pass_id=pass_id, user_id=user_id, email=email):
        raise Forbidden(f"The pass id {pass_id} is another user's.")
    return Account(pass_id, is_admin=False, is_new=is_new)


async def record_visit(conn: Connection, pass_id: str, email: str | None) -> None:
    """Note that the customer was here, and the e-mail that they sign in with now."""
    await _queries.record_visit(conn, pass_id=pass_id, email=email)


async def merge_credits(conn: Connection, pass_id: str, email: str) -> int:
    """Move the credits of rows that have the user's e-mail and are no user's to the user's row. Returns how many."""
    gathered = 0
    async with conn.transaction():
        rows = [row async for row in _queries.lock_same_email(conn, pass_id=pass_id, email=email, limit=SAME_EMAIL_MAX)]
        for row in rows:
            if row["pass_id"] != pass_id:
                gathered += await _move_all(conn, row["pass_id"], pass_id)
    return gathered


async def pass_ids_of(conn: Connection, pass_id: str) -> list[str]:
    """The ids that are this customer's: the own one first, then those of rows that were merged into it."""
    rows = _queries.pass_ids_of(conn, pass_id=pass_id, limit=1 + SAME_EMAIL_MAX)
    return [row["pass_id"] async for row in rows]


async def _move_all(conn: Connection, source: str, target: str) -> int:
    await _queries.note_merged(conn, source=source, target=target)
    held = await lock(conn, source)
    if not held or not held.credits:
        return 0
    origin = Origin("same_email", "system", ("merge", new_id()))
    await ledger.adjust(conn, source, -held.credits, origin)
    await ledger.adjust(conn, target, held.credits, origin, expires_at=held.expires_at)
    return held.credits


# --- a shop's customers, and how they pay ---------------------------------------------------------------------------


async def of_verified_email(conn: Connection, email: str) -> str | None:
    """The pass id of the user who signed in with the e-mail."""
    found: str | None = await _queries.pass_id_of_verified_email(conn, email=email)
    return found


async def note_email_of_buyer(conn: Connection, pass_id: str, email: str, *, shopify_customer_id: str | None) -> None:
    """A shop says which e-mail its customer has. It is noted on the customer's own row, or on the one that is named
    after the e-mail, and on no other: whoever signs in with it takes the row over. One that is known stays."""
    await _queries.note_email_of_buyer(
        conn,
        pass_id=pass_id,
        email=email,
        shopify_customer_id=shopify_customer_id,
        pass_id_of_email=pass_ids.of_email(email),
    )


async def auto_top_up(conn: Connection, pass_id: str) -> Row:
    """`enabled` and `monthlyLimitPacks`, as they were saved; empty where they never were."""
    found: Row | None = await _queries.auto_top_up(conn, pass_id=pass_id)
    return found["settings"] if found else {}


async def save_auto_top_up(conn: Connection, pass_id: str, settings: Row) -> None:
    await _queries.save_auto_top_up(conn, pass_id=pass_id, settings=Jsonb(settings))
