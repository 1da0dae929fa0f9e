"""Rows of the files that customers stored."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg.types.json import Jsonb

from safelight.db.connection.database import Connection, Row, load_queries
from safelight.db.generations.listing import PagePlace
from safelight.db.typed_rows import row_as, rows_as

_queries = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file that was stored; `meta` has bucket, folder, bytes, sha256, width, height and seconds."""

    file_id: str
    pass_id: str
    name: str
    media_type: str
    key: str
    project_id: str | None
    meta: Row


@dataclass(frozen=True, slots=True)
class FileRow:
    file_id: str
    name: str | None
    media_type: str
    key: str
    project_id: str | None
    meta: Row
    created_at: datetime

    @property
    def position(self) -> PagePlace:
        return PagePlace(self.created_at.isoformat(), f"file:{self.file_id}")


@dataclass(frozen=True, slots=True)
class FileSum:
    media_type: str
    count: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SameContent:
    """Files of one customer with the same content."""

    sha256: str
    count: int
    bytes: int
    file_ids: list[str]


@dataclass(frozen=True, slots=True)
class DeletedFile:
    file_id: str
    key: str


async def insert(conn: Connection, new: NewFile) -> FileRow | None:
    """The row of the file, which may be there already. None: the key is another customer's."""
    await _queries.insert_file(
        conn,
        file_id=new.file_id,
        pass_id=new.pass_id,
        name=new.name,
        media_type=new.media_type,
        key=new.key,
        project_id=new.project_id,
        meta=Jsonb(new.meta),
    )
    return row_as(FileRow, await _queries.file_of_key(conn, key=new.key, pass_id=new.pass_id))


async def of_key(conn: Connection, key: str, pass_id: str) -> FileRow | None:
    return row_as(FileRow, await _queries.file_of_key(conn, key=key, pass_id=pass_id))


async def of_ids(conn: Connection, file_ids: Collection[str], pass_id: str) -> list[FileRow]:
    return await rows_as(FileRow, _queries.files_of_ids(conn, keys=_keys(file_ids), pass_id=pass_id))


async def page(
    conn: Connection, pass_id: str, *, project_id: str | None, after: PagePlace, limit: int
) -> list[FileRow]:
    rows = _queries.files(
        conn,
        pass_id=pass_id,
        project_id=project_id,
        before_at=after.created_at,
        before_key=after.key,
        limit=limit,
    )
    return await rows_as(FileRow, rows)


async def count(conn: Connection, pass_id: str) -> int:
    return int(await _queries.count_files(conn, pass_id=pass_id))


async def sums(conn: Connection, pass_id: str) -> list[FileSum]:
    return await rows_as(FileSum, _queries.sums_of_files(conn, pass_id=pass_id))


async def duplicates(conn: Connection, pass_id: str, *, limit: int) -> list[SameContent]:
    return await rows_as(SameContent, _queries.duplicates(conn, pass_id=pass_id, limit=limit))


async def mark_deleted(conn: Connection, file_ids: Collection[str], pass_id: str) -> list[DeletedFile]:
    rows = _queries.mark_files_deleted(conn, keys=_keys(file_ids), pass_id=pass_id)
    return await rows_as(DeletedFile, rows)


async def keys_in_use(conn: Connection, keys: Sequence[str]) -> set[str]:
    return {row["key"] async for row in _queries.keys_in_use(conn, keys=list(keys))}


async def move(conn: Connection, file_ids: Collection[str], pass_id: str, project_id: str | None) -> list[str]:
    """Returns the ids of those that were moved."""
    rows = _queries.move_files(conn, keys=_keys(file_ids), pass_id=pass_id, project_id=project_id)
    return [row["file_id"] async for row in rows]


def _keys(file_ids: Collection[str]) -> list[str]:
    return [f"file:{file_id}" for file_id in file_ids]
