"""The upkeep of stored files: what has had its time, what nobody names, and whether results are as they were."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from safelight import telemetry
from safelight.db.connection.clock import database_time
from safelight.db.connection.database import Database
from safelight.db.generations import generations
from safelight.db.money import invariants
from safelight.db.money.invariants import StoredResult
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


class _Collected:
    def __init__(self, *, delete: bool) -> None:
        self.found = SweepResult(0, 0, [], delete)

    async def add(self, entries: Sequence[FileEntry], delete: Callable[[list[str]], Awaitable[None]]) -> None:
        """Count the files, and pass their keys to `delete` if they are to be deleted."""
        keys = [entry.key for entry in entries]
        if self.found.deleted:
            await delete(keys)
        self.found.files += len(keys)
        self.found.bytes += sum(entry.bytes for entry in entries)
        self.found.keys += keys[: SHOWN_MAX - len(self.found.keys)]


async def delete_expired(db: Database, assets: AssetStore, *, hours: float, delete: bool) -> SweepResult:
    """Files for the moment (`temp/…`, and a customer's own `…/temp/…`) that are older."""
    collected, until = _Collected(delete=delete), await _hours_ago(db, hours)
    async for entries in _older(assets.public, "temp", until):
        await collected.add(entries, assets.public.delete)
    async for entries in _older(assets.private, "", until):
        own = [entry for entry in entries if entry.key.split("/")[1:2] == ["temp"]]
        await collected.add(own, assets.private.delete)
    return collected.found


async def delete_orphans(db: Database, assets: AssetStore, *, hours: float, delete: bool) -> SweepResult:
    """Results that no row names, small pictures whose original is gone, and parts of files whose copying was
    interrupted. What customers sent is theirs to keep."""
    collected, until = _Collected(delete=delete), await _hours_ago(db, hours)
    async for entries in _older(assets.public, keys.RESULTS, until):
        generation_of = {entry.key: keys.generation_of_result(entry.key) for entry in entries}
        async with db.connection() as conn:
            unnamed = await generations.unnamed_keys(conn, generation_of)
        await collected.add([entry for entry in entries if entry.key in unnamed], assets.public.delete)
    async for entries in _older(assets.public, thumbnails.FOLDER, until):
        gone = [entry for entry in entries if not await assets.public.has(thumbnails.original_of(entry.key))]
        await collected.add(gone, assets.public.delete)
    for bucket in (assets.public, assets.private):
        partial = await bucket.partial_files()
        await collected.add([entry for entry in partial if entry.changed_at < until], bucket.delete_partial)
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
    integrity_issues: Sequence[Mapping[str, str]]

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
    """Check the newest results."""
    async with db.connection() as conn:
        rows = await invariants.newest_files(conn, files_max)
    checked = [(row, await check_result(assets, row)) for row in rows]
    issues = [
        {"file_id": row.generation_id, "issue": one.issue, "file_path": row.key} for row, one in checked if one.issue
    ]
    missing = sum(found["issue"] == "file_missing" for found in issues)
    size = sum(one.bytes for _, one in checked)
    return Integrity(len(rows), len(rows) - len(issues), len(issues) - missing, missing, size, issues)


@dataclass(slots=True)
class CheckedResult:
    """A stored result that was read; `issue` is None if it is as it was stored."""

    issue: Issue | None = None
    bytes: int = 0


async def check_result(assets: AssetStore, row: StoredResult) -> CheckedResult:
    """Read the file, compare its hash, and decode it: one that was cut before it was stored has the hash it was stored
    with."""
    checked = CheckedResult()
    try:
        received = await assets.public.received(row.key)
        checked.bytes = received.bytes
        if received.sha256 != row.sha256:
            checked.issue = "hash_mismatch"
        else:
            await assets.inspect(row.key)
    except (NotFound, StorageError, AssetUnreadable) as error:
        telemetry.warning(telemetry.Tag.STORAGE_FILE, str(error), generation_id=row.generation_id)
        checked.issue = "file_missing" if isinstance(error, NotFound) else "validation_error"
    return checked
