"""The one secret that all nodes of a deployment share; its value never passes a connection of ours that redacts."""

import psycopg

from safelight.db.connection.database import load_queries
from safelight.db.connection.sessions import connected_now
from safelight.domain.errors.base import ConfigError

_queries = load_queries(__file__)


def shared(dsn: str, own: str) -> str:
    """The deployment's secret. If the database holds none yet, `own` (32 characters or more) becomes it.

    Raises:
        ConfigError: the database was not migrated yet.
        psycopg.OperationalError: the database does not answer.
    """
    with connected_now(dsn, autocommit=True) as conn:
        try:
            conn.execute(_queries.offer.sql, {"secret": own})
            row = conn.execute(_queries.read.sql).fetchone()
        except psycopg.errors.UndefinedTable as error:
            raise ConfigError("the database has no secret yet: run safelight migrate") from error
    assert row is not None  # it was offered in this connection
    return str(row["secret"])
