"""Lines in the job log of a generation from flows and scripts of one's own.

    async with JobLogger(job_id, user_id) as log:
        await log.info("base_generation", "Starting image generation", {"imageCount": 5})

The database is that of SAFELIGHT_DATABASE_URL, or the embedded one of SAFELIGHT_HOME.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self
from uuid import UUID

from psycopg import AsyncConnection, errors

from safelight.config import Settings
from safelight.database_app import DatabaseApp
from safelight.db.connection.database import clean_adapters
from safelight.db.connection.sessions import SessionConnection, connection_options
from safelight.db.generations import job_log
from safelight.domain.errors.base import InvalidInput, NotFound
from safelight.domain.job_log import DETAILS_BYTES_MAX, MESSAGE_CHARS_MAX, STEP_CHARS_MAX, Level
from safelight.domain.untrusted.text import storable
from safelight.redaction import DEFAULT_REDACTOR, Redactor

Details = Mapping[str, Any]


class JobLogger:
    """Adds lines to the log of the generation `job_id`, in the name of `user_id`. Each call is one line; the database
    numbers it beside those of the engine, and whoever follows the log sees it at once.

    Inside `async with` one connection serves all calls; else each call opens one. A connection of the caller's own,
    given as `connection`, is used as it is and stays open: inside a transaction, a line appears when that is committed.
    """

    def __init__(
        self, job_id: UUID | str, user_id: UUID | str | None = None, *, connection: AsyncConnection[Any] | None = None
    ) -> None:
        """Raises InvalidInput if an id is not a UUID."""
        self._job_id = _uuid("job_id", job_id)
        self._user_id = None if user_id is None else _uuid("user_id", user_id)
        self._redactor = DEFAULT_REDACTOR
        self._connection = connection
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self._connection is None:
            self._connection, self._redactor = await self._stack.enter_async_context(_own_connection())
            self._stack.callback(setattr, self, "_connection", None)
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._stack.aclose()

    async def info(self, step: str, message: str, details: Details | None = None) -> int:
        """Add a line. `step` is any name; of an image job, one of the eight stages. Returns the line's `seq`.

        Raises:
            InvalidInput: the step is unknown, a text is too long, `details` are no JSON object, or the log is full.
            NotFound: there is no such generation.
            psycopg.OperationalError: the database cannot be reached.
        """
        return await self._add("info", step, message, details)

    async def success(self, step: str, message: str, details: Details | None = None) -> int:
        """As `info`."""
        return await self._add("success", step, message, details)

    async def warning(self, step: str, message: str, details: Details | None = None) -> int:
        """As `info`."""
        return await self._add("warning", step, message, details)

    async def error(self, step: str, message: str, details: Details | None = None) -> int:
        """As `info`."""
        return await self._add("error", step, message, details)

    async def _add(self, level: Level, step: str, message: str, details: Details | None) -> int:
        _check_text("step", step, STEP_CHARS_MAX)
        _check_text("message", message, MESSAGE_CHARS_MAX)
        if self._connection is not None:
            return await self._write(self._connection, self._redactor, level, step, message, details)
        async with _own_connection() as (conn, redactor):
            return await self._write(conn, redactor, level, step, message, details)

    async def _write(
        self,
        conn: AsyncConnection[Any],
        redactor: Redactor,
        level: Level,
        step: str,
        message: str,
        details: Details | None,
    ) -> int:
        clean = _clean_details(redactor, details)
        try:
            return await job_log.add(
                conn,
                job_id=self._job_id,
                user_id=self._user_id,
                level=level,
                step=storable(redactor.text(step)),
                message=storable(redactor.text(message)),
                details=clean,
            )
        except errors.ForeignKeyViolation as error:
            raise NotFound(f"job_id: there is no generation {self._job_id}.") from error
        except (errors.CheckViolation, errors.ProgramLimitExceeded) as error:
            raise InvalidInput(f"{error.diag.message_primary}.") from error


@asynccontextmanager
async def _own_connection() -> AsyncIterator[tuple[AsyncConnection[Any], Redactor]]:
    app = DatabaseApp(Settings())
    dsn = await asyncio.to_thread(app.start_database)
    options = connection_options() | {"context": clean_adapters(app.redactor)}
    async with await SessionConnection.connect(dsn, **options) as conn:
        yield conn, app.redactor


def _uuid(name: str, value: UUID | str) -> UUID:
    try:
        return value if isinstance(value, UUID) else UUID(value)
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidInput(f"{name}: a UUID is needed, not {value!r:.100}.") from error


def _check_text(name: str, text: object, most: int) -> None:
    if not isinstance(text, str) or not text.strip():
        raise InvalidInput(f"{name}: a text of 1 to {most} characters is needed.")
    if len(text) > most:
        raise InvalidInput(f"{name}: it has {len(text)} characters; at most {most} are allowed.")


def _clean_details(redactor: Redactor, details: Details | None) -> dict[str, Any] | None:
    """As they may be stored, in the size that the database counts."""
    if details is None:
        return None
    if not isinstance(details, Mapping) or not all(isinstance(name, str) for name in details):
        raise InvalidInput("details: a JSON object is needed.")
    try:
        clean: dict[str, Any] = storable(redactor.value(dict(details)))
        size = len(json.dumps(clean, ensure_ascii=False, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInput(f"details: they are no JSON: {error}.") from error
    if size > DETAILS_BYTES_MAX:
        raise InvalidInput(f"details: they have {size} bytes as JSON; at most {DETAILS_BYTES_MAX} are allowed.")
    return clean
