"""Templates: orders that a customer keeps to order again."""

from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.generations.listing import PagePlace
from safelight.db.typed_rows import row_as, rows_as

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """`meta` has kind, body, generation_id, thumbnail_key, favorite and usage_count."""

    template_id: str
    name: str
    meta: Row
    created_at: datetime

    @property
    def position(self) -> PagePlace:
        return PagePlace(self.created_at.isoformat(), f"template:{self.template_id}")


async def insert(conn: Connection, template_id: str, pass_id: str, name: str, meta: Row) -> None:
    await _queries.insert_template(conn, template_id=template_id, pass_id=pass_id, name=name, meta=Jsonb(meta))


async def get(conn: Connection, template_id: str, pass_id: str) -> TemplateRow | None:
    return row_as(TemplateRow, await _queries.template(conn, template_id=template_id, pass_id=pass_id))


async def page(
    conn: Connection, pass_id: str, *, favorite: bool | None, after: PagePlace, limit: int
) -> list[TemplateRow]:
    rows = _queries.templates(
        conn, pass_id=pass_id, favorite=favorite, before_at=after.created_at, before_key=after.key, limit=limit
    )
    return await rows_as(TemplateRow, rows)


async def count(conn: Connection, pass_id: str) -> int:
    return int(await _queries.count_templates(conn, pass_id=pass_id))


async def set_favorite(conn: Connection, template_id: str, pass_id: str, favorite: bool) -> None:
    await _queries.set_template_favorite(conn, template_id=template_id, pass_id=pass_id, favorite=favorite)


async def count_use(conn: Connection, template_id: str, pass_id: str) -> None:
    await _queries.count_template_use(conn, template_id=template_id, pass_id=pass_id)


async def delete(conn: Connection, template_id: str, pass_id: str) -> bool:
    """Returns whether the customer had such a template."""
    return bool(await _queries.delete_template(conn, template_id=template_id, pass_id=pass_id))
