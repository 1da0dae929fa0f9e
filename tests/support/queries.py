"""The SQL of tests, by a connection that is kept: making one takes ten times as long as what a test asks."""

from threading import Lock
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row

Connection = psycopg.Connection[DictRow]


class Queries:
    """May be used by several threads: a thread that finds the connection in use gets one of its own."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._kept: Connection | None = None
        self._in_use = Lock()

    def rows(self, query: str, values: tuple[Any, ...]) -> list[DictRow]:
        """Run and commit the statement, and return its rows."""
        if not self._in_use.acquire(blocking=False):
            with self._connect() as own:
                return _rows(own, query, values)
        try:
            return self._rows_by_kept(query, values)
        finally:
            self._in_use.release()

    def close(self) -> None:
        if self._kept is not None:
            self._kept.close()

    def _rows_by_kept(self, query: str, values: tuple[Any, ...]) -> list[DictRow]:
        if self._kept is not None:
            try:
                return _rows(self._kept, query, values)
            except psycopg.OperationalError:
                if not self._kept.closed:
                    raise
        self._kept = self._connect()  # the first one, or the server ended the one before
        return _rows(self._kept, query, values)

    def _connect(self) -> Connection:
        # Tests change the schema: no plan is kept.
        path = "-c search_path=public,procrastinate"
        return psycopg.connect(self._dsn, autocommit=True, row_factory=dict_row, options=path, prepare_threshold=None)


def _rows(conn: Connection, query: str, values: tuple[Any, ...]) -> list[DictRow]:
    cursor = conn.execute(query, values)  # type: ignore[arg-type]
    return cursor.fetchall() if cursor.description else []
