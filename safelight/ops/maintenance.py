"""The upkeep of stored files: what has had its time, what nobody names, and whether results are as they were."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from safelight.db.connection.clock import database_time
from safelight.db.connection.database import Database
from safelight.db.generations import stored_files
from safelight.db.money import invariants
from safelight.domain.errors.base import AssetUnreadable, NotFound, StorageError
from safelight.storage import keys, thumbnails
from safelight.storage.assets import AssetStore
from safelight.storage.buckets import Bucket, FileEntry

TEMP_HOURS, TEMP_HOURS_MAX = 24, 7 * 24
ORPHAN_HOURS = 24
SHOWN_MAX = 1000

Issue = Literal["file_missing", "hash_mismatch", "validation_error"]


@dataclass(slots=True)
class SweepResult:
    """The files of one kind, and whether they were deleted; `keys` are the first of them."""

    files: int
    bytes: int
    keys: list[str]
    deleted: bool

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class _Collected:
    def __init__(self, *, delete: bool) -> None:
        self._delete = delete
        self.found = SweepResult(0, 0, [], delete)

    async def add(self, bucket: Bucket, entries: Sequence[FileEntry]) -> None:
        if self._delete:
            await bucket.delete([entry.key for entry in entries])
        self._count(entries)

    async def add_partial(self, bucket: Bucket, entries: Sequence[FileEntry]) -> None:
        if self._delete:
            await bucket.delete_partial([entry.key for entry in entries])
        self._count(entries)

    def _count(self, entries: Sequence[FileEntry]) -> None:
        self.found.files += len(entries)
        self.found.bytes += sum(entry.bytes for entry in entries)
        self.found.keys += [entry.key for entry in entries][: SHOWN_MAX - len(self.found.keys)]


async def delete_expired(db: Database, assets: AssetStore, *, hours: float, delete: bool) -> SweepResult:
    """Files for the moment (`temp/…`, and a customer's own `…/temp/…`) that are older."""
    collected, until = _Collected(delete=delete), await _hours_ago(db, hours)
    async for entries in _older(assets.public, "temp", until):
        await collected.add(assets.public, entries)
    async for entries in _older(assets.private, "", until):
        await collected.add(assets.private, [entry for entry in entries if entry.key.split("/")[1:2] == ["temp"]])
    return collected.found


async def delete_orphans(db: Database, assets: AssetStore, *, hours: float, delete: bool) -> SweepResult:
    """Results that no row names, small pictures whose original is gone, and parts of files whose copying was
    interrupted. What customers sent is theirs to keep."""
    collected, until = _Collected(delete=delete), await _hours_ago(db, hours)
    async for entries in _older(assets.public, keys.RESULTS, until):
        generation_of = {entry.key: keys.generation_of_result(entry.key) for entry in entries}
        async with db.connection() as conn:
            unnamed = await stored_files.unnamed(conn, generation_of)
        await collected.add(assets.public, [entry for entry in entries if entry.key in unnamed])
    async for entries in _older(assets.public, thumbnails.FOLDER, until):
        gone = [entry for entry in entries if not await assets.public.has(thumbnails.original_of(entry.key))]
        await collected.add(assets.public, gone)
    for bucket in (assets.public, assets.private):
        partial = await bucket.partial_files()
        await collected.add_partial(bucket, [entry for entry in partial if entry.changed_at < until])
    return collected.found


async def _hours_ago(db: Database, hours: float) -> datetime:
    """By the database's clock: that of the machine which tidies up may be hours ahead."""
    async with db.connection() as conn:
        return await database_time(conn) - timedelta(hours=hours)


async def _older(bucket: Bucket, prefix: str, until: datetime) -> AsyncIterator[list[FileEntry]]:
    async for entries in bucket.entries(prefix):
        yield [entry for entry in entries if entry.changed_at < until]


@dataclass(frozen=True, slots=True)
class Integrity:
    """The report of the integrity check; a file's id is that of its generation."""

    files_validated: int
    valid: int
    invalid: int
    missing_files: int
    total_size_bytes: int
    integrity_issues: list[dict[str, str]]

    @property
    def overall_status(self) -> str:
        if not self.integrity_issues:
            return "valid"
        if all(found["issue"] == "validation_error" for found in self.integrity_issues) and not self.valid:
            return "error"
        return "partial" if self.valid else "invalid"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "overall_status": self.overall_status}


async def integrity(db: Database, assets: AssetStore, *, files_max: int) -> Integrity:
    """Read the newest results, compare their hashes, and decode them: one that was cut before it was stored has the
    hash it was stored with."""
    async with db.connection() as conn:
        rows = await invariants.newest_files(conn, files_max)
    issues: list[dict[str, str]] = []
    size = 0
    for row in rows:
        issue, bytes_read = await _look_at(assets, row.key, row.sha256)
        size += bytes_read
        if issue:
            issues.append({"file_id": row.generation_id, "issue": issue, "file_path": row.key})
    missing = sum(found["issue"] == "file_missing" for found in issues)
    return Integrity(len(rows), len(rows) - len(issues), len(issues) - missing, missing, size, issues)


async def _look_at(assets: AssetStore, key: str, sha256: str | None) -> tuple[Issue | None, int]:
    bytes_read = 0
    try:
        received = await assets.public.received(key)
        bytes_read = received.bytes
        if received.sha256 != sha256:
            return "hash_mismatch", bytes_read
        await assets.inspect(key)
    except NotFound:
        return "file_missing", bytes_read
    except (StorageError, AssetUnreadable):
        return "validation_error", bytes_read
    return None, bytes_read
