"""The operators' audit: one `admin_audit` row in `mega_admin` for each action, with its actor, its target, and the
state before and after."""

from dataclasses import asdict, dataclass

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.domain.ids import new_id

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Operator:
    """The person who acts, and where from. `name` is `admin token`, `command line`, or a signed-in user's e-mail."""

    name: str
    route: str
    method: str
    request_id: str
    pass_id: str | None = None
    user_id: str | None = None
    email: str | None = None
    ip: str | None = None
    user_agent: str | None = None


def at_command_line(command: str) -> Operator:
    return Operator("command line", route=command, method="CLI", request_id=f"cli_{new_id()}")


async def record(
    conn: Connection, operator: Operator, action: str, *, target: str | None, before: Row, after: Row
) -> None:
    """Write what was done, in the transaction that does it."""
    detail = {
        "actor": operator.name,
        "target": target,
        "before": before,
        "after": after,
        "request_id": operator.request_id,
    }
    await _queries.insert_action(
        conn, id=f"admin_audit:{new_id()}", action=action, detail=Jsonb(detail), **asdict(operator)
    )
