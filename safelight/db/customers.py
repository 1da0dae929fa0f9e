"""Customers: one row a pass id."""

from psycopg.types.json import Jsonb

from safelight.db import ledger
from safelight.db.database import Connection, Row, load_queries

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
    """The customer's row, locked until the transaction ends: credits move one at a time."""
    row: Row | None = await _queries.lock_customer(conn, pass_id=pass_id)
    return row


async def get(conn: Connection, pass_id: str) -> Row | None:
    row: Row | None = await _queries.customer_by_pass_id(conn, pass_id=pass_id)
    return row


async def pass_id_of_shopify_customer(conn: Connection, shopify_customer_id: str) -> str | None:
    found: str | None = await _queries.pass_id_of_shopify_customer(conn, shopify_customer_id=shopify_customer_id)
    return found


async def save_preferences(conn: Connection, pass_id: str, preferences: Row) -> None:
    await _queries.save_preferences(conn, pass_id=pass_id, preferences=Jsonb(preferences))
