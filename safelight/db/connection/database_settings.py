"""Settings that are kept in the database, for its own functions and policies to read."""

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, load_queries

_queries = load_queries(__file__)

CUSTOMERS_READ_STEPS = "customers_read_steps"


async def store(conn: Connection, name: str, value: bool) -> None:
    await _queries.store(conn, name=name, value=Jsonb(value))
