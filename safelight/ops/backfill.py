"""The backfill: rows of the old tables, read from wherever they are, become rows of ours under namespaced ids, without
the secrets that stand in them and without URLs that are none of the web.

It can be broken off and goes on where it stopped; a second run changes nothing but what has changed in the old tables
meanwhile. The parity report compares both sides.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

from psycopg import AsyncConnection, DataError, IntegrityError, OperationalError, sql

from safelight.db.connection.database import Connection, Database, Row, load_queries
from safelight.db.connection.sessions import connected
from safelight.db.operations import audit
from safelight.db.operations.audit import Operator
from safelight.domain.errors.base import InvalidInput, SafelightError
from safelight.redaction import Redactor, secret_kind
from safelight.storage.web_urls import without_unsafe_urls

_queries = load_queries(__file__)

BATCH_ROWS, BATCH_ROWS_MAX = 1000, 10_000
SCHEMA = "legacy"
ALONE_LOCK = 0x5AFE11648

Tell = Callable[[str, int, int], None]  # table, rows done, rows in all


class BackfillRunning(SafelightError):
    """One at a time."""

    code = "BACKFILL_RUNNING"


class RowsDoNotFit(SafelightError):
    """An old row holds what our columns cannot."""

    code = "ROWS_DO_NOT_FIT"


@dataclass(frozen=True, slots=True)
class Source:
    """An old table: what tells its rows apart, where they go, and which column of it counts credits."""

    table: str
    key: str
    goes_to: Literal["customers", "generations", "admin"]
    credits: str | None = None


# In this order: a row's owner comes before it. Balances below zero come over as zero.
SOURCES = (
    Source("mega_customers", "mg_pass_id", "customers", "mg_credits"),
    Source("customers", "shopify_customer_id", "customers", "credits"),
    Source("profiles", "id", "customers"),
    Source("projects", "id", "generations"),
    Source("mega_generations", "mg_id", "generations", "mg_delta"),
    Source("sessions", "id", "generations"),
    Source("generations", "id", "generations"),
    Source("outputs", "id", "generations"),
    Source("mega_admin", "mg_id", "admin"),
)


@dataclass(frozen=True, slots=True)
class TableResult:
    """One table's outcome; `written` rows were new, or had changed, `redacted` ones held secrets or URLs that are none
    of the web."""

    table: str
    rows: int = 0
    written: int = 0
    redacted: int = 0


@dataclass(frozen=True, slots=True)
class MappedRow:
    """The content of an old row that is kept; `hash` is that of the whole row, if something was taken out."""

    content: bytes
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class Totals:
    rows: int = 0
    credits: int = 0
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class ParityReport:
    """Both sides of each old table, and of all balances."""

    tables: dict[str, tuple[Totals, Totals]]
    balances: Row

    @property
    def differences(self) -> list[str]:
        found = [table for table, (legacy, ours) in self.tables.items() if legacy != ours]
        return found + (["balances"] if self._balances_differ else [])

    @property
    def _balances_differ(self) -> bool:
        return bool(self.balances["customers_that_differ"] or self.balances["balances_without_ledger"])

    def as_json(self) -> dict[str, Any]:
        return {
            "ok": not self.differences,
            "differences": self.differences,
            "tables": {
                table: {"legacy": asdict(legacy), "safelight": asdict(ours), "same": legacy == ours}
                for table, (legacy, ours) in self.tables.items()
            },
            "balances": {**self.balances, "same": not self._balances_differ},
        }


class Legacy:
    """The old tables, read only: a schema of some database."""

    def __init__(self, conn: AsyncConnection[Row], schema: str, sources: tuple[Source, ...]) -> None:
        self._conn = conn
        self._schema = schema
        self.sources = sources

    @classmethod
    @asynccontextmanager
    async def opened(cls, dsn: str, schema: str) -> AsyncIterator["Legacy"]:
        """Raises InvalidInput: the database does not answer, or no old table is there."""
        async with AsyncExitStack() as stack:
            try:
                conn = await stack.enter_async_context(connected(dsn))
            except OperationalError as error:
                raise InvalidInput(f"--from: {error}") from error
            await conn.execute("set default_transaction_read_only = on")
            names = {row["name"] async for row in _queries.tables_of_schema(conn, schema=schema)}
            sources = tuple(source for source in SOURCES if source.table in names)
            if not sources:
                tables = ", ".join(source.table for source in SOURCES)
                raise InvalidInput(f"--schema: there is no old table in {schema!r}; it may hold {tables}.")
            yield cls(conn, schema, sources)

    async def count(self, source: Source) -> int:
        return int((await self._one("select count(*) as rows from {table}", source))["rows"])

    async def rows_after(self, source: Source, after: str | None, limit: int) -> list[Row]:
        """Each with its `key`, as JSON text (`content`), and that text's `hash`, in the order of their keys."""
        where = sql.SQL("" if after is None else "where {key} > {after}").format(
            key=sql.Identifier(source.key), after=sql.Literal(after)
        )
        query = sql.SQL(
            "select key::text, content::text, md5(content::text) as hash from ("
            "select {key} as key, to_jsonb(legacy) as content from {table} legacy {where} order by {key} limit {limit}"
            ") old order by old.key"
        )
        parts = self._parts(source) | {"where": where, "limit": sql.Literal(limit)}
        return await (await self._conn.execute(query.format(**parts))).fetchall()

    async def totals(self, source: Source) -> Totals:
        credits = (
            "greatest((content->>{credits})::numeric, 0)"
            if source.goes_to == "customers"
            else "(content->>{credits})::numeric"
        )
        row = await self._one(
            f"select count(*) as rows, coalesce(sum({credits}), 0)::bigint as credits,"  # noqa: S608 - our own text
            " sum(('x' || left(md5(content::text), 15))::bit(60)::bigint)::text as hash"
            " from (select to_jsonb(legacy) as content from {table} legacy offset 0) old",
            source,
        )
        return Totals(**row)

    async def _one(self, query: str, source: Source) -> Row:
        cursor = await self._conn.execute(sql.SQL(query).format(**self._parts(source)))
        return (await cursor.fetchall())[0]

    def _parts(self, source: Source) -> dict[str, sql.Composable]:
        return {
            "table": sql.Identifier(self._schema, source.table),
            "key": sql.Identifier(source.key),
            "credits": sql.Literal(source.credits),
        }

    @property
    def name(self) -> str:
        return f"{self._conn.info.dbname}:{self._schema}"

    @property
    def position_id(self) -> str:
        return f"runtime_config:backfill:{self.name}"


class Backfill:
    def __init__(self, db: Database, legacy: Legacy, redactor: Redactor, *, batch_rows: int = BATCH_ROWS) -> None:
        self._db = db
        self._legacy = legacy
        self._redactor = redactor
        self._batch_rows = batch_rows

    async def run(self, tell: Tell, *, operator: Operator, dry_run: bool = False) -> list[TableResult]:
        """Take every old table. A dry run writes each batch and takes it back. What was written is on record.

        Raises:
            BackfillRunning: another one is at work on this database.
            RowsDoNotFit: the batches before are kept.
        """
        async with self._db.connection() as conn:
            if not await _queries.begin_alone(conn, lock=ALONE_LOCK):
                raise BackfillRunning("a backfill is running on this database; wait for its end")
            await _queries.prepare(conn)
            position = None if dry_run else await _queries.position_of(conn, id=self._legacy.position_id)
            taken = []
            for source in self._sources_from(position):
                after = position["after"] if position and position["table"] == source.table else None
                taken.append(await self._take(conn, source, after, tell, dry_run=dry_run))
            if not dry_run:
                await self._finish(conn, operator, taken)
            return taken

    async def _finish(self, conn: Connection, operator: Operator, taken: list[TableResult]) -> None:
        written = {one.table: one.written for one in taken if one.written}
        async with conn.transaction():
            await _queries.forget_position(conn, id=self._legacy.position_id)
            if written:
                await audit.record(
                    conn, operator, "backfill", target=self._legacy.name, before={}, after={"written": written}
                )

    def _sources_from(self, position: Row | None) -> list[Source]:
        tables = [source.table for source in self._legacy.sources]
        first = tables.index(position["table"]) if position and position["table"] in tables else 0
        return list(self._legacy.sources[first:])

    async def _take(
        self, conn: Connection, source: Source, after: str | None, tell: Tell, *, dry_run: bool
    ) -> TableResult:
        total, taken = await self._legacy.count(source), TableResult(source.table)
        tell(source.table, taken.rows, total)
        while batch := await self._legacy.rows_after(source, after, self._batch_rows):
            after = batch[-1]["key"]
            kept = [self._cleaned(row) for row in batch]
            try:
                async with conn.transaction(force_rollback=dry_run):
                    written = await _keep(conn, source, kept)
                    await self._save_position(conn, source, after)
            except (DataError, IntegrityError) as error:
                keys = f"{batch[0]['key']!r} and {after!r}"
                raise RowsDoNotFit(f"{source.table}: a row between {keys} does not fit: {error}") from error
            redacted = sum(one.hash is not None for one in kept)
            taken = TableResult(
                source.table, taken.rows + len(batch), taken.written + written, taken.redacted + redacted
            )
            tell(source.table, taken.rows, total)
        return taken

    def _cleaned(self, row: Row) -> MappedRow:
        """Without secrets and without URLs other than of http and https. Keys stay as they are: by them rows find each
        other."""
        content = json.loads(row["content"])
        cleaned = without_unsafe_urls(self._redactor.value(content)) | {
            name: value for name, value in content.items() if _is_key(name)
        }
        if cleaned == content:
            return MappedRow(row["content"].encode())
        return MappedRow(json.dumps(cleaned).encode(), row["hash"])

    async def _save_position(self, conn: Connection, source: Source, after: str) -> None:
        """Not that of a key which could only be written without its secret: the batch would be sought elsewhere."""
        if not self._redactor.has_secret(after):
            await _queries.save_position(conn, id=self._legacy.position_id, table=source.table, after=after)

    async def check(self) -> ParityReport:
        """Compare both sides. Nothing is written."""
        async with self._db.connection() as conn:
            kept = {row.pop("table"): Totals(**row) async for row in _queries.kept_rows(conn)}
            balances = await _queries.balances(conn)
        tables = {
            source.table: (await self._legacy.totals(source), kept.get(source.table, Totals()))
            for source in self._legacy.sources
        }
        return ParityReport(tables, balances)


def _is_key(column: str) -> bool:
    return (column == "id" or column.endswith("_id")) and secret_kind(column) is None


async def _keep(conn: Connection, source: Source, rows: list[MappedRow]) -> int:
    """Returns how many rows were written."""
    contents, hashes = [row.content for row in rows], [row.hash for row in rows]
    await _queries.load_batch(conn, table=source.table, contents=contents, hashes=hashes)
    await getattr(_queries, f"map_{source.table}")(conn)
    match source.goes_to:
        case "customers":
            await _queries.insert_customers(conn)
            await _queries.lock_customers(conn)
            written = await _queries.keep_customers(conn)
            await _add_opening_balances(conn)
        case "generations":
            await _queries.insert_owners(conn)
            await _queries.lock_customers(conn)
            await _queries.amend_changed(conn)
            await _queries.drop_changed(conn)
            written = await _queries.keep_generations(conn)
            await _add_opening_balances(conn)
            await _queries.show_outputs(conn)
        case "admin":
            await _queries.amend_changed(conn)
            await _queries.drop_changed_admin(conn)
            written = await _queries.keep_admin(conn)
    return int(written)


async def _add_opening_balances(conn: Connection) -> None:
    await _queries.amend_openings(conn)
    await _queries.add_opening_balances(conn)
