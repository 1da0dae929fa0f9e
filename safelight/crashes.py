"""Crashes of a process, which reach the ops plane too."""

import asyncio
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from safelight import telemetry
from safelight.api.http.ops_row_limits import Allowance
from safelight.database_app import DatabaseApp
from safelight.db.operations import ops_rows
from safelight.domain.errors.categories import Category
from safelight.domain.ids import new_id
from safelight.domain.untrusted.text import printable_lines
from safelight.process.open_files import OUT_OF_FILES


def report_crashes(app: DatabaseApp) -> None:
    """Process-level crashes reach the ops plane too: 💥 what nothing caught, 🧵 what a background task left behind."""

    def uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, Exception):
            _write_crash(app, Category.UNCAUGHT_EXCEPTION, "process.uncaughtException", error)
        text = "".join(traceback.format_exception(kind, error, trace))
        sys.stderr.write(printable_lines(app.redactor.text(text)) + "\n")

    sys.excepthook = uncaught


def report_task_crashes(app: DatabaseApp) -> None:
    """As `report_crashes`, for the running event loop. What crashes over and over is told so many times a minute."""
    allowance = Allowance(of_one=20)

    def unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in OUT_OF_FILES:
            telemetry.warning(telemetry.Tag.API, f"No file descriptor is left: {error}")
            return  # to write a row would take one, and there are many of these at once
        if isinstance(error, Exception) and allowance.take(type(error).__name__):
            _write_crash(app, Category.UNHANDLED_REJECTION, "process.unhandledRejection", error)
        loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(unhandled)


def _write_crash(app: DatabaseApp, category: Category, action: str, error: BaseException) -> None:
    telemetry.error(category.emoji, telemetry.Tag.API, f"{action}: {error!r}", error)
    row = ops_rows.OpsError(
        category=category,
        code=category.value,
        message=f"{type(error).__name__}: {error}",
        request_id=f"process_{os.getpid()}_{new_id()}",
        route="process",
        method=Path(sys.argv[0]).name,
        http_status=500,
        action=action,
        stack="".join(traceback.format_exception(error)),
    )
    app.write_now(row)
