"""Records crashes of a process in the ops plane."""

import asyncio
import sys
import traceback
from typing import Any

from safelight import telemetry
from safelight.api.http.ops_row_limits import Allowance
from safelight.database_app import DatabaseApp
from safelight.db.operations.ops_rows import process_error
from safelight.domain.errors.categories import Category
from safelight.domain.untrusted.text import printable_lines
from safelight.process.open_files import OUT_OF_FILES


def report_crashes(app: DatabaseApp) -> None:
    """Record exceptions that nothing caught (💥) as ops rows."""

    def uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        if issubclass(kind, Exception):
            _write_crash(app, Category.UNCAUGHT_EXCEPTION, "process.uncaughtException", error)
        if telemetry.console_is_json():  # it has the traceback, and takes nothing but JSON
            return
        text = "".join(traceback.format_exception(kind, error, trace))
        sys.stderr.write(printable_lines(app.redactor.text(text)) + "\n")

    sys.excepthook = uncaught


def report_task_crashes(app: DatabaseApp) -> None:
    """As `report_crashes`, for exceptions that background tasks of the running event loop leave behind (🧵). The number
    of rows a minute is limited."""
    allowance = Allowance(of_one=20)

    def unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in OUT_OF_FILES:
            telemetry.warning(telemetry.Tag.API, f"Out of file descriptors: {error}")
            return  # writing a row would need one, and many of these come at once
        if isinstance(error, Exception) and allowance.take(type(error).__name__):
            _write_crash(app, Category.UNHANDLED_REJECTION, "process.unhandledRejection", error)
        loop.default_exception_handler(context)

    asyncio.get_running_loop().set_exception_handler(unhandled)


def _write_crash(app: DatabaseApp, category: Category, action: str, error: BaseException) -> None:
    telemetry.error(category.emoji, telemetry.Tag.API, f"{action}: {error!r}", error)
    message, stack = f"{type(error).__name__}: {error}", "".join(traceback.format_exception(error))
    app.write_now(process_error(category, category.value, message, action=action, stack=stack))
