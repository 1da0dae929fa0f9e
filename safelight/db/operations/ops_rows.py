"""The ops plane: one `error` or `warn` row in `mega_admin` for each thing that is broken (seed 000 section 3.1)."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
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


# What rows lack that an earlier version kept while its database was away.
_ABSENT_BEFORE: dict[str, Any] = {"user_id": None, "email": None, "source": "safelight"}


@dataclass(frozen=True, slots=True)
class OpsError:
    """The content of one ops row. `mg_detail` always has the fields of seed 000 section 9, null where unknown."""

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
            "emoji": self.category.emoji,
            "level": self.level,
            "category": self.category.value,
            "error_code": self.code,
            "message": excerpt(self.message, MESSAGE_CHARS_MAX),
            "request_id": self.request_id,
            "pass_id": self.pass_id,
            "route": self.route,
            "http_status": self.http_status,
            "http": {"route": self.route, "method": self.method, "status": self.http_status},
            "generation_id": self.generation_id,
            "step_type": self.step_type,
            "provider": self.provider,
            "model": self.model,
            "provider_http_status": self.provider_http_status,
            "ctx": self.context,
            **_flat("ctx", self.context),
            "settings": self.settings,
            **_flat("settings", self.settings),
            "retry": self.retry,
            "stack": _cut(self.stack),
        }


async def insert(conn: Connection, error: OpsError) -> None:
    """Write the row. Doing it twice is doing it once."""
    await insert_columns(conn, columns(error))


async def insert_columns(conn: Connection, values: dict[str, Any]) -> None:
    await _queries.insert_row(conn, **_ABSENT_BEFORE | values)


def columns(error: OpsError) -> dict[str, Any]:
    """As any database, and any file, can hold them."""
    found: dict[str, Any] = storable(_columns(error))
    return found | {"detail": Jsonb(found["detail"])}


def _columns(error: OpsError) -> dict[str, Any]:
    return {
        "id": f"{error.level}:{error.id}",
        "record_type": error.level,
        "pass_id": error.pass_id,
        "action": error.action,
        "route": error.route,
        "method": error.method,
        "status": error.http_status,
        "detail": error.detail(),
        "error_code": f"{error.category.emoji} {error.code}",
        "error_message": excerpt(error.message, MESSAGE_CHARS_MAX),
        "error_stack": _cut(error.stack),
        "ip": error.ip,
        "user_agent": error.user_agent,
        "user_id": error.user_id,
        "email": error.email,
        "source": error.source,
        "at": error.at,
    }


def _cut(stack: str | None) -> str | None:
    """Its end, which tells most; secrets are taken out before it is cut, while they still look like some."""
    return DEFAULT_REDACTOR.text(stack)[-STACK_CHARS_MAX:] if stack else None


def _flat(name: str, used: Row | None) -> Row:
    return {f"{name}_key": used["key"], f"{name}_version": used["version"]} if used else {}


def insert_now(dsn: str, error: OpsError, redactor: Redactor) -> None:
    """Write the row from a process that is about to end and has no loop left to wait in."""
    with connected_now(dsn, context=clean_adapters(redactor)) as conn:
        conn.execute(_queries.insert_row.sql, columns(error))
