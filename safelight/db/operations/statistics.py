"""Totals over all customers and generations."""

from dataclasses import dataclass
from datetime import datetime

from safelight.db.connection.database import Connection, load_queries
from safelight.db.typed_rows import rows_as

_queries = load_queries(__file__)

CUSTOMERS_MAX = 500


@dataclass(frozen=True, slots=True)
class CustomerTotals:
    customers: int
    credits: int
    auto_top_ups: int


@dataclass(frozen=True, slots=True)
class ListedCustomer:
    shopify_customer_id: str | None
    email: str | None
    credits: int
    last_active: datetime | None
    created_at: datetime
    updated_at: datetime
    disabled: bool


@dataclass(frozen=True, slots=True)
class TableSizes:
    mega_customers: int
    mega_generations: int


async def customer_count(conn: Connection) -> int:
    return int(await _queries.customer_count(conn))


async def summary(conn: Connection) -> CustomerTotals:
    return CustomerTotals(**await _queries.summary(conn))


async def customers(conn: Connection) -> list[ListedCustomer]:
    """The first CUSTOMERS_MAX customers by their shop's id."""
    return await rows_as(ListedCustomer, _queries.customers(conn, limit=CUSTOMERS_MAX))


async def rows_of_tables(conn: Connection) -> TableSizes:
    return TableSizes(**await _queries.rows_of_tables(conn))
