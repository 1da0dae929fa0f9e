"""Ops rows that could not be written because the database was away: kept as files, and written when it is back.

A row that the database refuses, and a file that holds no row, are set aside in a folder of their own and reported: the
others are written all the same.
"""

import asyncio
import os
import stat
import time
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb
from pydantic import BaseModel

from safelight import telemetry
from safelight.db.connection.database import TRANSIENT_ERRORS, Database
from safelight.db.operations import ops_rows
from safelight.db.operations.ops_rows import OpsError
from safelight.domain.errors.categories import Category
from safelight.private_files import make_private_folder, write_private
from safelight.process.tasks import run_periodically
from safelight.redaction import DEFAULT_REDACTOR, Redactor, excerpt

LOOK_SECONDS = 5.0
SPOOLED_MAX = 10_000
WRITTEN_AT_ONCE = 200
FILE_BYTES_MAX = 1024 * 1024
UNFINISHED_SECONDS = 60.0  # then whoever wrote the file is gone
REFUSED_FILES_MAX = 1000
REFUSED_BYTES_MAX = 20 * 1024 * 1024
REASON_CHARS_MAX = 300


class SpooledRow(BaseModel):
    """The columns of an ops row in a file. Earlier versions kept no user, e-mail and source."""

    id: str
    record_type: Literal["error", "warn"]
    pass_id: str | None
    action: str
    route: str
    method: str
    status: int
    detail: dict[str, Any]
    error_code: str
    error_message: str
    error_stack: str | None
    ip: str | None
    user_agent: str | None
    user_id: str | None = None
    email: str | None = None
    source: str = "safelight"
    at: datetime

    def columns(self) -> dict[str, Any]:
        return self.model_dump() | {"detail": Jsonb(self.detail)}


class RowRefused(Exception):
    """A file that cannot become a row, now or later."""


class OpsOutbox:
    """`folder` holds the rows that wait, `refused_folder` those that were set aside."""

    def __init__(self, folder: Path, redactor: Redactor = DEFAULT_REDACTOR) -> None:
        self._folder = folder
        self.refused_folder = folder.with_name("ops-refused")
        self._redactor = redactor
        self._immovable: set[str] = set()

    def append(self, error: OpsError) -> None:
        """Keep the row. Where that is not possible either, the log line keeps what it would have said."""
        try:
            make_private_folder(self._folder)
            if len(os.listdir(self._folder)) >= SPOOLED_MAX:
                raise OSError(f"{SPOOLED_MAX} rows wait already")
            columns = ops_rows.columns(error)
            text = self._redactor.dumps(columns | {"detail": columns["detail"].obj, "at": error.at.isoformat()})
            unfinished = self._folder / f"{error.id}.part"
            write_private(unfinished, text)
            unfinished.rename(self._folder / f"{error.id}.json")
        except OSError as failure:
            telemetry.error("🔥", telemetry.Tag.API, f"Ops row lost ({failure}): {error.detail()}")

    async def catch_up(self, db: Database) -> int:
        """Write what was kept. Returns how many rows that were.

        Raises:
            TRANSIENT_ERRORS: the database is away.
            psycopg.ProgrammingError: it has no such table for us, so all rows wait.
        """
        written, refused = 0, []
        for file in await asyncio.to_thread(self._oldest):
            try:
                written += await self._write(db, file)
            except RowRefused as error:
                await asyncio.to_thread(self._set_aside, file, str(error))
                refused.append(f"{file.name}: {error}")
            if written >= WRITTEN_AT_ONCE:
                break
        if refused:
            async with db.connection() as conn:
                await ops_rows.insert(conn, self._report(refused))
        return written

    async def flush_periodically(self, db: Database) -> None:
        """Catch up every LOOK_SECONDS, until cancelled. While the database or the folder cannot be used, rows wait."""

        async def write_waiting() -> None:
            if written := await self.catch_up(db):
                telemetry.info("🔄", telemetry.Tag.DB_UPDATE, f"{written} ops rows written from the spool")

        def report(error: Exception) -> None:
            telemetry.warning(telemetry.Tag.DB_UPDATE, f"Ops rows wait in the spool for the database: {error}")

        await run_periodically(
            write_waiting, every_seconds=LOOK_SECONDS, transient=(psycopg.Error, OSError), report=report
        )

    def refused_count(self) -> int:
        return len(_regular_files(self.refused_folder))

    async def _write(self, db: Database, file: Path) -> bool:
        """False where another process of this home was faster. Raises RowRefused, or as `catch_up`."""
        row = await asyncio.to_thread(_read, file)
        if row is None:
            return False
        try:
            async with db.connection() as conn:
                await ops_rows.insert_columns(conn, row.columns())
        except psycopg.errors.ProgramLimitExceeded as error:  # an OperationalError that does not pass
            raise RowRefused(_reason(error)) from error
        except (*TRANSIENT_ERRORS, psycopg.ProgrammingError):
            raise
        except psycopg.Error as error:
            raise RowRefused(_reason(error)) from error
        await asyncio.to_thread(file.unlink, missing_ok=True)
        return True

    def _oldest(self) -> list[Path]:
        for file in self._folder.glob("*.part"):
            if _age_seconds(file) > UNFINISHED_SECONDS:
                file.replace(file.with_suffix(".json"))
        rows = [file for file in _regular_files(self._folder) if file.suffix == ".json"]
        return sorted(file for file in rows if file.name not in self._immovable)

    def _set_aside(self, file: Path, reason: str) -> None:
        telemetry.error("🔥", telemetry.Tag.DB_UPDATE, f"Ops row {file.name} set aside: {reason}")
        try:
            self.refused_folder.mkdir(parents=True, exist_ok=True)
            file.replace(self.refused_folder / file.name)
            self._forget_oldest()
        except OSError as error:
            self._immovable.add(file.name)
            telemetry.error("🔥", telemetry.Tag.DB_UPDATE, f"Ops row {file.name} could not be moved: {error}")

    def _forget_oldest(self) -> None:
        """Keep what is set aside within its bounds."""
        newest_first = sorted(_regular_files(self.refused_folder), key=_age_seconds)
        for file in newest_first[REFUSED_FILES_MAX:]:
            file.unlink(missing_ok=True)
        total = 0
        for file in newest_first[:REFUSED_FILES_MAX]:
            total += file.stat().st_size if file.exists() else 0
            if total > REFUSED_BYTES_MAX:
                file.unlink(missing_ok=True)

    def _report(self, refused: list[str]) -> OpsError:
        return OpsError(
            category=Category.API_ERROR,
            code="OPS_ROW_REFUSED",
            message=f"{len(refused)} ops rows were set aside in {self.refused_folder}, the first: {refused[0]}",
            level="warn",
            action="ops.refused",
            request_id="ops-spool",
            route="ops-spool",
            method="process",
            http_status=500,
        )


def _read(file: Path) -> SpooledRow | None:
    """None where the file is gone. Raises RowRefused."""
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise RowRefused(f"it has more than {FILE_BYTES_MAX} bytes")
        return SpooledRow.model_validate_json(content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RowRefused(_reason(error)) from error


def _reason(error: Exception) -> str:
    """Without what the row holds, which may be long."""
    return excerpt(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}", REASON_CHARS_MAX)


def _regular_files(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if _is_regular(entry)] if folder.is_dir() else []


def _is_regular(file: Path) -> bool:
    """False also where another process has taken it away."""
    try:
        return stat.S_ISREG(file.lstat().st_mode)
    except FileNotFoundError:
        return False


def _age_seconds(file: Path) -> float:
    """0 where it is gone."""
    try:
        return time.time() - file.stat().st_mtime
    except FileNotFoundError:
        return 0.0
