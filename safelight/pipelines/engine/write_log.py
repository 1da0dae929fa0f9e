"""The log lines about writes of a generation's row, in the words and the order of docs/contract/log-lines.md."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from safelight import telemetry
from safelight.domain.statuses import Status


@contextmanager
def status_change(generation_id: str, before: Status, after: Status) -> Iterator[None]:
    """A write inside this context changes the status, unless that is the same."""
    if after is before:
        yield
        return
    if before is Status.QUEUED:
        _log("📝", telemetry.Tag.GENERATION_PROCESSING, "Updating status to PROCESSING", generation_id)
    _log("🔄", telemetry.Tag.DB_STATUS, f"Updating generation {generation_id} status to: {after}", generation_id)
    yield
    _log("✅", telemetry.Tag.DB_STATUS, "Status update completed", generation_id)
    if before is Status.QUEUED:
        _log("✅", telemetry.Tag.GENERATION_PROCESSING, "Status updated successfully", generation_id)


@dataclass(frozen=True, slots=True)
class Delivered:
    """The files that a generation ends with: the URL of the first, and the bytes of all. `record_id` is the row that
    the write adds to the view `file_metadata`, if it adds one."""

    url: str
    bytes: int | None
    record_id: str | None = None


@contextmanager
def end(generation_id: str, status: Status, delivered: Delivered | None) -> Iterator[None]:
    """A write inside this context ends the generation."""
    tag = telemetry.Tag.DB_UPDATE
    _log("📝", tag, f"Updating generation {generation_id} in database", generation_id)
    _log("🔄", tag, f"Status update: {status}", generation_id)
    if delivered:
        _log("🖼️", tag, f"Media URL update: {delivered.url}", generation_id)
        if delivered.bytes is not None:
            _log("📊", tag, f"Storage size: {delivered.bytes} bytes", generation_id)
    tag = telemetry.Tag.DB_STATUS
    _log("🔄", tag, f"Updating generation {generation_id} status to: {status}", generation_id)
    _log("🕰️", tag, "Adding completion timestamp", generation_id)
    yield
    _log("✅", telemetry.Tag.DB_STATUS, "Status update completed", generation_id)
    if delivered and delivered.record_id:
        _log("📁", telemetry.Tag.STORAGE_FILE, f"File metadata created: ID={delivered.record_id}", generation_id)


def _log(emoji: str, tag: telemetry.Tag, message: str, generation_id: str) -> None:
    telemetry.info(emoji, tag, message, generation_id=generation_id)
