"""Log lines with seed 003's tags and emoji: `🚀 [GENERATION-PROCESSING] Starting …`, to the console and to a file."""

import json
import logging
import logging.handlers
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

FILE_BYTES_MAX = 10 * 1024 * 1024
FILES_KEPT = 5

_logger = logging.getLogger("safelight")


class Tag(StrEnum):
    """The ASCII tag is the key to filter by; the emoji is for eyes."""

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


def info(emoji: str, tag: Tag, message: str, **fields: Any) -> None:
    _write(logging.INFO, emoji, tag, message, fields)


def warning(tag: Tag, message: str, **fields: Any) -> None:
    _write(logging.WARNING, "⚠️", tag, message, fields)


def error(emoji: str, tag: Tag, message: str, cause: BaseException | None = None, **fields: Any) -> None:
    """`cause` adds its traceback to the line."""
    _write(logging.ERROR, emoji, tag, message, fields, cause)


def _write(
    level: int, emoji: str, tag: Tag, message: str, fields: dict[str, Any], cause: BaseException | None = None
) -> None:
    _logger.log(level, f"{emoji} [{tag}] {message}", extra={"fields": fields}, exc_info=cause)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "module": record.module,
            "function": record.funcName,
            "line": record.lineno,
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure(level: str, log_file: Path | None, *, console: bool = True) -> None:
    """Send our lines to the console (standard error) and, where a file is set, to it as JSON lines, rotating."""
    handlers: list[logging.Handler] = []
    if console:
        handlers.append(logging.StreamHandler(sys.stderr))
        handlers[0].setFormatter(
            logging.Formatter("%(asctime)s | %(levelname)-7s | %(name)s | %(message)s", datefmt="%H:%M:%S")
        )
    if log_file:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        rotating = logging.handlers.RotatingFileHandler(
            log_file, maxBytes=FILE_BYTES_MAX, backupCount=FILES_KEPT, encoding="utf-8"
        )
        rotating.setFormatter(_JsonLines())
        handlers.append(rotating)
    logging.basicConfig(level=logging.WARNING, handlers=handlers or [logging.NullHandler()], force=True)
    _logger.setLevel(level.upper())
