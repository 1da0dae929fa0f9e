"""Log lines with tags and emoji, `🚀 [GENERATION-PROCESSING] Starting …`, to the console and to a file.

Log lines of libraries are formatted in the same way. Each line names the generation, the customer and the request that
it is about, if they are known. Secrets are redacted, and a message is always one line, so that text of a customer or a
provider cannot forge another one.
"""

import logging
import logging.handlers
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from safelight.domain.untrusted.text import TRACE_INDENT, json_text, printable, printable_lines
from safelight.private_files import make_private_folder, open_private
from safelight.redaction import DEFAULT_REDACTOR, Redactor

FILE_BYTES_MAX = 10 * 1024 * 1024
FILES_KEPT = 5
IDS = ("generation_id", "pass_id", "request_id")
CALLER = 3  # frames up from the logging module: past `_write`, and past `info`, `warning` or `error`

_logger = logging.getLogger("safelight")


class LogIds:
    """The ids of IDS that are known so far; log lines name them."""

    def __init__(self, **known: Any) -> None:
        self._known = known

    def note(self, **known: Any) -> None:
        self._known |= known

    def get(self, name: str) -> Any:
        return self._known.get(name)


_ids: ContextVar[LogIds | None] = ContextVar("ids", default=None)


@contextmanager
def about(ids: LogIds) -> Iterator[None]:
    """Log lines inside this context, and in tasks that are started inside it, name these ids."""
    token = _ids.set(ids)
    try:
        yield
    finally:
        _ids.reset(token)


def note(**known: Any) -> None:
    """Add ids to those that log lines of the current context name."""
    if ids := _ids.get():
        ids.note(**known)


def known(name: str) -> Any:
    """The id that log lines of the current context name; None if there is none."""
    ids = _ids.get()
    return ids.get(name) if ids else None


def _known_ids() -> dict[str, Any]:
    return {name: known(name) for name in IDS}


NOTHING = logging.CRITICAL + 1  # as a level: no record is made if no handler would get it


class Tag(StrEnum):
    """The tag of a log line, to filter by; the emoji beside it is for people."""

    API = "API"
    CREDIT = "CREDIT"
    GENERATION = "GENERATION"
    GENERATION_PROCESSING = "GENERATION-PROCESSING"
    STORAGE = "STORAGE"
    STORAGE_FILE = "STORAGE-FILE"
    STORAGE_UPLOAD = "STORAGE-UPLOAD"
    STORAGE_URL = "STORAGE-URL"
    DB_CREATE = "DB-CREATE"
    DB_UPDATE = "DB-UPDATE"
    DB_STATUS = "DB-STATUS"


def info(emoji: str, tag: Tag, message: str, *, above: int = 0, **fields: Any) -> None:
    """The place of the line is that of the call, or so many callers above it."""
    _write(logging.INFO, emoji, tag, message, fields, above=above)


def warning(tag: Tag, message: str, *, above: int = 0, **fields: Any) -> None:
    """As `info`."""
    _write(logging.WARNING, "⚠️", tag, message, fields, above=above)


def error(emoji: str, tag: Tag, message: str, cause: BaseException | None = None, **fields: Any) -> None:
    """`cause` adds its traceback to the line."""
    _write(logging.ERROR, emoji, tag, message, fields, cause)


def _write(
    level: int,
    emoji: str,
    tag: Tag,
    message: str,
    fields: dict[str, Any],
    cause: BaseException | None = None,
    *,
    above: int = 0,
) -> None:
    text, extra = f"{emoji} [{tag}] {message}", {"tag": tag.value, "fields": fields}
    _logger.log(level, text, extra=extra, exc_info=cause, stacklevel=CALLER + above)


class PrivateFiles(logging.handlers.RotatingFileHandler):
    """A rotating log file that only its owner can read, even if it existed before."""

    def _open(self) -> TextIOWrapper:
        return open(self.baseFilename, self.mode, encoding=self.encoding, errors=self.errors, opener=open_private)  # type: ignore[return-value]


class _Lines(logging.Formatter):
    """One line for each record, with its ids at the end; the lines of a traceback are indented below it."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        at = self.formatTime(record, self.datefmt)
        message = self._redactor.text(record.getMessage())
        place = f"{record.name}.{record.module}:{record.lineno}" if record.name == _logger.name else record.name
        ids = _known_ids() | getattr(record, "fields", {})
        named = " ".join(f"{name}={self._redactor.text(str(ids[name]))}" for name in IDS if ids.get(name))
        line = printable(" | ".join([at, f"{record.levelname:<7}", place, message, *([named] if named else [])]))
        traces = [self.formatException(record.exc_info)] if record.exc_info else []
        traces += [self.formatStack(record.stack_info)] if record.stack_info else []
        return "\n".join([line, *(printable_lines(self._redactor.text(one), TRACE_INDENT) for one in traces)])


class _JsonLines(logging.Formatter):
    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "tag": getattr(record, "tag", None),
            "logger": record.name,
            "message": record.getMessage(),
            "module": record.module,
            "function": record.funcName,
            "line": record.lineno,
            **_known_ids(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        clean = self._redactor.value(line)
        return json_text(clean, default=lambda other: self._redactor.text(str(other)))


def configure(
    level: str,
    log_file: Path | None,
    *,
    console: bool = True,
    as_json: bool = False,
    redactor: Redactor = DEFAULT_REDACTOR,
) -> None:
    """Send log lines to the console (standard error), as JSON if `as_json`; if a file is set, also to that file, as
    JSON lines, rotating."""
    handlers: list[logging.Handler] = []
    if console:
        handlers.append(logging.StreamHandler(sys.stderr))
        handlers[0].setFormatter(_JsonLines(redactor) if as_json else _Lines(redactor))
    if log_file:
        if not log_file.parent.exists():
            make_private_folder(log_file.parent)
        rotating = PrivateFiles(log_file, maxBytes=FILE_BYTES_MAX, backupCount=FILES_KEPT, encoding="utf-8")
        rotating.setFormatter(_JsonLines(redactor))
        handlers.append(rotating)
    if as_json:
        logging.captureWarnings(True)
    logging.basicConfig(level=logging.WARNING, handlers=handlers or [logging.NullHandler()], force=True)
    _logger.setLevel(level.upper() if handlers else NOTHING)


def console_is_json() -> bool:
    """True if standard error is for log lines as JSON alone."""
    consoles = [one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler]
    return _logger.isEnabledFor(logging.ERROR) and any(isinstance(one.formatter, _JsonLines) for one in consoles)
