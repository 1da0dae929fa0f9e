"""The log lines about writes of a generation's row, in the words and the order of docs/contract/log-lines.md."""

from collections.abc import Iterator
from contextlib import contextmanager

from safelight import telemetry
from safelight.db.generations.runs import Ending
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


@contextmanager
def end(generation_id: str, ending: Ending) -> Iterator[None]:
    """A write inside this context ends the generation. With its output it has its row in the view `file_metadata`."""
    tag = telemetry.Tag.DB_UPDATE
    _log("📝", tag, f"Updating generation {generation_id} in database", generation_id)
    _log("🔄", tag, f"Status update: {ending.status}", generation_id)
    if ending.output_url:
        _log("🖼️", tag, f"Media URL update: {ending.output_url}", generation_id)
    size = ending.meta.get("result", {}).get("bytes")
    if size is not None:
        _log("📊", tag, f"Storage size: {size} bytes", generation_id)
    tag = telemetry.Tag.DB_STATUS
    _log("🔄", tag, f"Updating generation {generation_id} status to: {ending.status}", generation_id)
    _log("🕰️", tag, "Adding completion timestamp", generation_id)
    yield
    _log("✅", telemetry.Tag.DB_STATUS, "Status update completed", generation_id)
    if ending.output_key:
        _log("📁", telemetry.Tag.STORAGE_FILE, f"File metadata created: ID={generation_id}", generation_id)


def _log(emoji: str, tag: telemetry.Tag, message: str, generation_id: str) -> None:
    telemetry.info(emoji, tag, message, generation_id=generation_id)
