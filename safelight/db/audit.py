"""The audit: one `admin_audit` row for each thing an operator changed, in the transaction that changed it."""

from psycopg.types.json import Jsonb

from safelight.db.database import Connection, Row, load_queries
from safelight.domain.ids import new_id

_queries = load_queries(__file__)


async def record(conn: Connection, actor: str, action: str, target: str, detail: Row) -> None:
    """`actor` did `action` to `target`; `detail` says what it was before, and what it is now."""
    await _queries.insert_audit(
        conn,
        id=f"admin_audit:{new_id()}",
        actor=actor,
        action=action,
        detail=Jsonb(detail | {"actor": actor, "target": target}),
    )
