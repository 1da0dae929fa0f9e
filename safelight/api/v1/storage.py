"""`/api/v1/storage`: private files of a customer."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import RedirectResponse
from pydantic import Field, StringConstraints

from safelight.api.auth.principals import CustomerByHeader
from safelight.api.http.error_responses import error_responses
from safelight.api.http.idempotency import OnceForKey
from safelight.api.http.rate_limits import RateLimitGroup
from safelight.api.http.services import FromApp, Services
from safelight.api.routes.files import decode_data_url
from safelight.api.schemas import examples, fields
from safelight.api.schemas.aliases import Short
from safelight.api.schemas.problems import PREFIX, ClosedModel, invalid
from safelight.api.schemas.responses import ResponseModel
from safelight.api.v1.routing import (
    PAGE_DEFAULT,
    Cursor,
    Limit,
    V1UploadRequest,
    cursor_of,
    position_of,
    v1_route,
)
from safelight.db.connection.database import Connection
from safelight.db.generations import files, projects
from safelight.db.generations.files import FileRow, NewFile
from safelight.db.money import customers
from safelight.domain.errors.base import NotFound, StorageError
from safelight.domain.identities import ActingCustomer
from safelight.domain.ids import new_id
from safelight.pipelines.accept import ANSWER_SECONDS_MAX
from safelight.storage.assets import SIGNED_SECONDS, SIGNED_SECONDS_MAX, SIGNED_SECONDS_MIN, StoredFile

FILES_MAX = 10_000  # of one customer
AT_ONCE_MAX = 100
STORE_TRIES = 3
VERIFIED_AT_ONCE = 4
DUPLICATES_MAX = 100

uploads = APIRouter(route_class=v1_route(V1UploadRequest), tags=["v1"])
router = APIRouter(route_class=v1_route(), tags=["v1"])
FilePath = Annotated[str, Path(max_length=200, description="The file's id.")]
FileId = Annotated[str, StringConstraints(min_length=1, max_length=200)]
FileIds = Annotated[
    list[FileId], Field(min_length=1, max_length=AT_ONCE_MAX, examples=[[examples.SESSION]], description="1 to 100.")
]


class FileUploadBody(ClosedModel):
    """As a multipart form, the file is its part `file`."""

    file: str = Field(
        description="The file, in JSON as a base64 data URL.", examples=["data:image/png;base64,iVBORw0…"]
    )
    name: Short = Field("", description="The file's name.", examples=["cup.jpg"])
    folder: Short = Field("uploads", description="What it is: product, logo, …", examples=["product"])
    project_id: Short | None = Field(None, description="A project of yours.", examples=[None])


class FileResource(ResponseModel):
    """A private file. `url` lets whoever has it read the file, until `url_expires_at`."""

    id: str = Field(examples=[examples.SESSION])
    name: str | None = Field(examples=["cup.jpg"])
    folder: str = Field(examples=["product"])
    storage_path: fields.Key
    project_id: str | None = Field(examples=[None])
    media_type: str = Field(examples=["image/jpeg"])
    bytes: fields.Count
    sha256: str = Field(examples=["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"])
    width: int | None = Field(examples=[1024])
    height: int | None = Field(examples=[768])
    seconds: float | None = Field(examples=[None])
    created_at: fields.Time
    url: fields.SignedUri
    url_expires_at: fields.Time


class StoredFiles(ResponseModel):
    items: list[FileResource]
    next_cursor: str | None = Field(examples=[None])


async def _resource(services: Services, row: FileRow, seconds: int = SIGNED_SECONDS) -> FileResource:
    meta = row.meta
    return FileResource(
        id=row.file_id,
        name=row.name or None,
        folder=meta["folder"],
        storage_path=row.key,
        project_id=row.project_id,
        media_type=row.media_type,
        created_at=row.created_at,
        url=await services.assets.signed_url(row.key, seconds),
        url_expires_at=datetime.now(UTC) + timedelta(seconds=seconds),
        bytes=meta["bytes"],
        sha256=meta["sha256"],
        width=meta.get("width"),
        height=meta.get("height"),
        seconds=meta.get("seconds"),
    )


@uploads.post(
    f"{PREFIX}/storage/upload",
    summary="Store a private file",
    description="At most 20 MB. What it is, its bytes say. The same content in the same folder is stored once, and has"
    " one record.",
    status_code=201,
)
async def upload(
    services: FromApp, response: Response, customer: CustomerByHeader, once: OnceForKey, body: FileUploadBody
) -> FileResource:
    services.rates.check_customer(RateLimitGroup.WRITES, customer)
    await _require_project(services, body.project_id, customer)
    kept = await once.outside(customer, KeptFileId, lambda: _store(services, body, customer))
    response.headers["Location"] = f"{PREFIX}/storage/files/{kept.id}"
    return await _resource(services, await _own(services, kept.id, customer))


class KeptFileId(ResponseModel):
    """The part of the answer that is kept for the idempotency key: a signed URL is made anew each time."""

    id: str


async def _store(services: Services, body: FileUploadBody, customer: ActingCustomer) -> KeptFileId:
    """Raises StorageError: the same content was deleted each time while it was stored."""
    content = await services.bodies.work(lambda given: decode_data_url(given, "file"), body.file)
    file_id = new_id()  # one for all tries
    for _ in range(STORE_TRIES):
        stored = await services.assets.put_private(content, kind=body.folder, customer=customer.pass_id, name=body.name)
        keep = partial(_keep, services, stored, body, customer, file_id)
        row = await services.db.retry_transient(keep, seconds=ANSWER_SECONDS_MAX)
        if row:
            return KeptFileId(id=row.file_id)
    raise StorageError("A file was deleted each time while the same content was stored.")


async def _keep(
    services: Services,
    stored: StoredFile,
    body: FileUploadBody,
    customer: ActingCustomer,
    file_id: str,
    conn: Connection,
) -> FileRow | None:
    """The file's row, which may be there already. None: its file was deleted in the meantime."""
    async with conn.transaction():
        await customers.ensure(conn, customer.pass_id, welcome=customer.welcome)
        await customers.lock(conn, customer.pass_id)  # deletions wait for it
        known = await files.of_key(conn, stored.key, customer.pass_id)
        if known or not await services.assets.private.has(stored.key):
            return known
        if await files.count(conn, customer.pass_id) >= FILES_MAX:
            raise invalid("file", f"You have {FILES_MAX} files, which are as many as there may be.")
        facts = {name: getattr(stored, name) for name in ("bytes", "sha256", "width", "height", "seconds")}
        meta = {"bucket": "private", "folder": body.folder, **facts}
        return await files.insert(
            conn,
            NewFile(file_id, customer.pass_id, body.name, stored.media_type, stored.key, body.project_id, meta),
        )


async def _require_project(services: Services, project_id: str | None, customer: ActingCustomer) -> None:
    if project_id is None:
        return
    async with services.db.connection() as conn:
        if not await projects.is_theirs(conn, project_id, customer.pass_id):
            raise invalid("project_id", f"You have no project {project_id!r}.", code="PROJECT_NOT_FOUND")


@router.get(f"{PREFIX}/storage/files", summary="Your files, the newest first")
async def list_files(
    services: FromApp,
    customer: CustomerByHeader,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
    project_id: Annotated[str | None, Query(max_length=200, description="Those of one project.")] = None,
) -> StoredFiles:
    after = position_of(cursor)
    async with services.db.connection() as conn:
        rows = await files.page(conn, customer.pass_id, project_id=project_id, after=after, limit=limit + 1)
    shown = rows[:limit]
    return StoredFiles(
        items=[await _resource(services, row) for row in shown],
        next_cursor=cursor_of(shown[-1].position) if len(rows) > limit else None,
    )


async def _own(services: Services, file_id: str, customer: ActingCustomer) -> FileRow:
    async with services.db.connection() as conn:
        found = await files.of_ids(conn, [file_id], customer.pass_id)
    if not found:
        raise NotFound(f"There is no file {file_id!r}.")
    return found[0]


@router.get(f"{PREFIX}/storage/files/{{file_id}}", summary="A file", responses=error_responses(404))
async def read(services: FromApp, customer: CustomerByHeader, file_id: FilePath) -> FileResource:
    return await _resource(services, await _own(services, file_id, customer))


@router.get(
    f"{PREFIX}/storage/files/{{file_id}}/download",
    summary="The bytes of a file",
    status_code=307,
    response_class=Response,
    responses=error_responses(404, described={307: "Where it is, for an hour."}),
)
async def download(services: FromApp, customer: CustomerByHeader, file_id: FilePath) -> Response:
    row = await _own(services, file_id, customer)
    signed_url = await services.assets.signed_url(row.key, SIGNED_SECONDS)
    return RedirectResponse(signed_url, headers={"Cache-Control": "private, no-store"})


class FileUrlBody(ClosedModel):
    file_id: FileId = Field(examples=[examples.SESSION])
    expires_in: int = Field(
        SIGNED_SECONDS, ge=SIGNED_SECONDS_MIN, le=SIGNED_SECONDS_MAX, description="Seconds.", examples=[3600]
    )


class FileUrl(ResponseModel):
    file_id: str = Field(examples=[examples.SESSION])
    url: fields.SignedUri
    expires_in: fields.Seconds
    expires_at: fields.Time


@router.post(f"{PREFIX}/storage/signed-url", summary="A fresh URL of a file", responses=error_responses(404))
async def sign_url(services: FromApp, customer: CustomerByHeader, body: FileUrlBody) -> FileUrl:
    row = await _own(services, body.file_id, customer)
    return FileUrl(
        file_id=row.file_id,
        url=await services.assets.signed_url(row.key, body.expires_in),
        expires_in=body.expires_in,
        expires_at=datetime.now(UTC) + timedelta(seconds=body.expires_in),
    )


class StorageStats(ResponseModel):
    """Files that the customer stored; results of generations are not counted."""

    file_count: fields.Count
    total_bytes: fields.Count
    files_max: fields.Count = Field(examples=[FILES_MAX])
    count_by_media_type: dict[str, int] = Field(examples=[{"image/jpeg": 3}])
    bytes_by_media_type: dict[str, int] = Field(examples=[{"image/jpeg": 240000}])


@router.get(f"{PREFIX}/storage/stats", summary="How much you have stored")
async def stats(services: FromApp, customer: CustomerByHeader) -> StorageStats:
    async with services.db.connection() as conn:
        sums = await files.sums(conn, customer.pass_id)
    return StorageStats(
        file_count=sum(one.count for one in sums),
        total_bytes=sum(one.bytes for one in sums),
        files_max=FILES_MAX,
        count_by_media_type={one.media_type: one.count for one in sums},
        bytes_by_media_type={one.media_type: one.bytes for one in sums},
    )


class DuplicateFiles(ResponseModel):
    """Files with the same content; the oldest is the first."""

    sha256: str = Field(examples=["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"])
    count: int = Field(ge=2, examples=[2])
    bytes: fields.Count
    file_ids: list[str] = Field(examples=[[examples.SESSION, examples.PARENT]])


class Duplicates(ResponseModel):
    """At most 100 groups."""

    items: list[DuplicateFiles]


@router.get(f"{PREFIX}/storage/duplicates", summary="Files that you have more than once")
async def duplicates(services: FromApp, customer: CustomerByHeader) -> Duplicates:
    async with services.db.connection() as conn:
        found = await files.duplicates(conn, customer.pass_id, limit=DUPLICATES_MAX)
    return Duplicates(items=[DuplicateFiles.model_validate(one) for one in found])


class FileIdsBody(ClosedModel):
    file_ids: FileIds


class IntegrityIssue(ResponseModel):
    file_id: str = Field(examples=[examples.SESSION])
    issue: Literal["file_missing", "hash_mismatch"]
    file_path: fields.Key


class IntegrityReport(ResponseModel):
    """`overall_status` is `partial` if some files are as they were stored, and some are not."""

    files_validated: fields.Count
    valid: fields.Count
    invalid: fields.Count = Field(examples=[0])
    missing_files: fields.Count = Field(examples=[0])
    not_found: list[str] = Field(description="Ids that are no files of yours.", examples=[[]])
    total_size_bytes: fields.Count
    integrity_issues: list[IntegrityIssue] = Field(examples=[[]])
    overall_status: Literal["valid", "partial", "invalid"]


@router.post(f"{PREFIX}/storage/verify", summary="Read files, and compare them with what was stored")
async def verify(services: FromApp, customer: CustomerByHeader, body: FileIdsBody) -> IntegrityReport:
    services.rates.check_customer(RateLimitGroup.WRITES, customer)
    async with services.db.connection() as conn:
        rows = await files.of_ids(conn, body.file_ids, customer.pass_id)
    slots = asyncio.Semaphore(VERIFIED_AT_ONCE)

    async def issue_of(row: FileRow) -> IntegrityIssue | None:
        async with slots:
            return await _issue(services, row)

    issues = [one for one in await asyncio.gather(*map(issue_of, rows)) if one]
    missing = sum(one.issue == "file_missing" for one in issues)
    valid = len(rows) - len(issues)
    return IntegrityReport(
        files_validated=len(rows),
        valid=valid,
        invalid=len(issues) - missing,
        missing_files=missing,
        not_found=_others(body.file_ids, [row.file_id for row in rows]),
        total_size_bytes=sum(row.meta["bytes"] for row in rows),
        integrity_issues=issues,
        overall_status="valid" if not issues else "partial" if valid else "invalid",
    )


async def _issue(services: Services, row: FileRow) -> IntegrityIssue | None:
    """Raises StorageError: the storage does not answer, which says nothing of the file."""
    try:
        found = await services.assets.private.received(row.key)
    except NotFound:
        return IntegrityIssue(file_id=row.file_id, issue="file_missing", file_path=row.key)
    is_same = found.sha256 == row.meta["sha256"]
    return None if is_same else IntegrityIssue(file_id=row.file_id, issue="hash_mismatch", file_path=row.key)


def _others(asked: Sequence[str], found: Sequence[str]) -> list[str]:
    return [one for one in dict.fromkeys(asked) if one not in set(found)]


class FilesDeleted(ResponseModel):
    deleted: list[str] = Field(examples=[[examples.SESSION]])
    not_found: list[str] = Field(examples=[[]])


@router.post(f"{PREFIX}/storage/bulk-delete", summary="Delete files")
async def bulk_delete(
    services: FromApp, customer: CustomerByHeader, once: OnceForKey, body: FileIdsBody
) -> FilesDeleted:
    return await once.outside(customer, FilesDeleted, lambda: _delete(services, body.file_ids, customer))


@router.delete(f"{PREFIX}/storage/files/{{file_id}}", summary="Delete a file", responses=error_responses(404))
async def delete(services: FromApp, customer: CustomerByHeader, file_id: FilePath) -> FilesDeleted:
    done = await _delete(services, [file_id], customer)
    if not done.deleted:
        raise NotFound(f"There is no file {file_id!r}.")
    return done


async def _delete(services: Services, file_ids: Sequence[str], customer: ActingCustomer) -> FilesDeleted:
    """The rows are marked first: if the storage is away after that, the same request deletes the files."""
    async with services.db.connection() as conn:
        marked = await files.mark_deleted(conn, file_ids, customer.pass_id)
        async with conn.transaction():
            await customers.lock(conn, customer.pass_id)  # the same content may be stored again just now
            used = await files.keys_in_use(conn, [one.key for one in marked])
            await services.assets.private.delete([one.key for one in marked if one.key not in used])
    found = [one.file_id for one in marked]
    return FilesDeleted(deleted=found, not_found=_others(file_ids, found))


class MoveBody(ClosedModel):
    file_ids: FileIds
    project_id: Short | None = Field(None, description="A project of yours; null is none.", examples=[None])


class FilesMoved(ResponseModel):
    moved: list[str] = Field(examples=[[examples.SESSION]])
    not_found: list[str] = Field(examples=[[]])


@router.post(f"{PREFIX}/storage/move-to-project", summary="Put files into a project, or out of any")
async def move_to_project(
    services: FromApp, customer: CustomerByHeader, once: OnceForKey, body: MoveBody
) -> FilesMoved:
    await _require_project(services, body.project_id, customer)

    async def work(conn: Connection) -> FilesMoved:
        moved = await files.move(conn, body.file_ids, customer.pass_id, body.project_id)
        return FilesMoved(moved=moved, not_found=_others(body.file_ids, moved))

    return await once.in_transaction(customer, FilesMoved, work, retries=True)


router.include_router(uploads)
