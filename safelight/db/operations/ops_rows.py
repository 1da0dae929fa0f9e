"""The ops plane: one `error` or `warn` row in `mega_admin` for each thing that is broken (docs/contract/errors.md)."""

import os
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, clean_adapters, load_queries
from safelight.db.connection.sessions import connected_now
from safelight.domain.errors.categories import Category
from safelight.domain.ids import new_id
from safelight.domain.untrusted.text import storable
from safelight.redaction import DEFAULT_REDACTOR, Redactor, excerpt

_queries = load_queries(__file__)

MESSAGE_CHARS_MAX = 2000
STACK_CHARS_MAX = 4000


# The fields that stand in columns of the same meaning, and those that stand in `mg_detail` under their own names.
_IN_COLUMNS = ("pass_id", "action", "route", "method", "ip", "user_agent", "user_id", "email", "source", "at")
_IN_DETAIL = (
    "level", "request_id", "pass_id", "route", "http_status", "generation_id", "step_type", "provider", "model",
    "provider_http_status", "settings", "retry",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class OpsError:
    """The content of one ops row. All keys of docs/contract/errors.md are in `mg_detail`, null if unknown."""

    category: Category
    code: str
    message: str
    request_id: str
    route: str
    method: str
    http_status: int
    level: Literal["error", "warn"] = "error"
    action: str = "api.error"
    pass_id: str | None = None
    generation_id: str | None = None
    step_type: str | None = None
    provider: str | None = None
    model: str | None = None
    provider_http_status: int | None = None
    context: Row | None = None
    settings: Row | None = None
    retry: Row | None = None
    stack: str | None = None
    ip: str | None = None
    user_agent: str | None = None
    user_id: str | None = None
    email: str | None = None
    source: str = "safelight"
    extra: Row = field(default_factory=dict)
    id: str = field(default_factory=new_id)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def detail(self) -> Row:
        return self.extra | {
            **{name: getattr(self, name) for name in _IN_DETAIL},
            "emoji": self.category.emoji,
            "category": self.category.value,
            "error_code": self.code,
            "message": excerpt(self.message, MESSAGE_CHARS_MAX),
            "http": {"route": self.route, "method": self.method, "status": self.http_status},
            "ctx": self.context,
            **_flat("ctx", self.context),
            **_flat("settings", self.settings),
            "stack": _cut(self.stack),
        }


def process_error(category: Category, code: str, message: str, *, action: str, **more: Any) -> OpsError:
    """An error of this process that no request caused; `more` is what else an OpsError has."""
    return OpsError(
        category=category,
        code=code,
        message=message,
        action=action,
        request_id=f"process_{os.getpid()}_{new_id()}",
        route="process",
        method=Path(sys.argv[0]).name,
        http_status=500,
        **more,
    )


async def insert(conn: Connection, error: OpsError) -> None:
    """Write the row. Doing it twice is doing it once."""
    await insert_columns(conn, columns(error))


async def insert_columns(conn: Connection, values: dict[str, Any]) -> None:
    await _queries.insert_row(conn, **values)


def columns(error: OpsError) -> dict[str, Any]:
    """As any database, and any file, can hold them."""
    found: dict[str, Any] = storable(
        {name: getattr(error, name) for name in _IN_COLUMNS}
        | {
            "id": f"{error.level}:{error.id}",
            "record_type": error.level,
            "status": error.http_status,
            "detail": error.detail(),
            "error_code": f"{error.category.emoji} {error.code}",
            "error_message": excerpt(error.message, MESSAGE_CHARS_MAX),
            "error_stack": _cut(error.stack),
        }
    )
    return found | {"detail": Jsonb(found["detail"])}


def _cut(stack: str | None) -> str | None:
    """Its end, which tells most; secrets are taken out before it is cut, while they still look like some."""
    return DEFAULT_REDACTOR.text(stack)[-STACK_CHARS_MAX:] if stack else None


def _flat(name: str, used: Row | None) -> Row:
    return {f"{name}_key": used["key"], f"{name}_version": used["version"]} if used else {}


def insert_now(dsn: str, error: OpsError, redactor: Redactor) -> None:
    """Write the row from a process that is about to end and has no loop left to wait in."""
    with connected_now(dsn, context=clean_adapters(redactor)) as conn:
        conn.execute(_queries.insert_row.sql, columns(error))
