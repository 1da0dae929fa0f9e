"""Deletes what a customer made: the row is marked, nothing leads to the file any more, and the file is gone.

The mark comes first. If the storage is away after it, the same request again, or the doctor, deletes the file.
"""

from safelight.db.connection.database import Database
from safelight.db.generations import deletions, generations, job_log
from safelight.db.generations.deletions import Deletable
from safelight.domain.errors.base import NotFound
from safelight.domain.errors.retries import GenerationInProgress
from safelight.domain.flows import SET_MODES
from safelight.domain.job_log import LogLine
from safelight.domain.statuses import Status
from safelight.pipelines.results import withdraw
from safelight.storage import results
from safelight.storage.assets import AssetStore


async def delete(db: Database, assets: AssetStore, record_id: str, pass_id: str) -> int:
    """Delete a generation, feedback or session of the customer's history. Returns how many rows were marked now.

    Raises:
        NotFound: there is no such row of this customer.
        GenerationInProgress: it is not final, or something unfinished is made from it.
        StorageError: it is marked, and its file may be left.
    """
    async with db.transaction() as conn:
        row = await deletions.lock(conn, record_id, pass_id)
        if row is None:
            raise NotFound(f"There is nothing {record_id!r} in your history.")
        _check_is_free(row)
        count = await deletions.mark(conn, row.id)
    if row.record_type == "generation" and not row.is_withdrawn:
        await _delete_files(db, assets, row)
    return count


def _check_is_free(row: Deletable) -> None:
    is_final = row.status is None or Status(row.status).is_terminal
    if row.record_type == "generation" and not is_final:
        raise GenerationInProgress("It is still being made. Cancel it first, or wait for its end.")
    if row.is_needed:
        raise GenerationInProgress("Something is being made from it just now. Try again when that is final.")


async def _delete_files(db: Database, assets: AssetStore, row: Deletable) -> None:
    """Rows of an older backend name a file that is in no folder of its own."""
    key = row.key or (assets.key_of(row.url) if row.url else None)
    named = [key] if key else []
    if row.is_ours:
        deleted = await withdraw(db, assets, row.generation_id, row.mode, named)
        if row.mode in SET_MODES:
            line = LogLine("info", "cleanup", f"{len(deleted)} files were deleted.", {"deletedImages": len(deleted)})
            async with db.connection() as conn:
                await job_log.append(conn, row.generation_id, line)
        return
    await results.delete(assets, named)
    async with db.connection() as conn:
        await generations.note_withdrawn(conn, row.generation_id)
