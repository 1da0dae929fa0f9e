"""Our own copy of what a provider made: it streams to our storage, is looked at, and only then is it ours."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from safelight import telemetry
from safelight.domain.errors.base import (
    AssetUnreadable,
    ProviderContractBroken,
    ProviderError,
    ProviderUnavailable,
    RemoteFileGone,
    RemoteFileRefused,
    RemoteFileUnavailable,
    ResultDamaged,
    StorageError,
)
from safelight.media.formats import HEAD_BYTES, sniff
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.flows.upload_lines import UploadLines
from safelight.providers.base import OutputFile
from safelight.storage import file_log
from safelight.storage.assets import StoredFile
from safelight.storage.keys import EXTENSIONS
from safelight.storage.spool import size_of

IMAGE_BYTES_MAX = 50 * 1024 * 1024
VIDEO_BYTES_MAX = 4 * 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Ingested:
    """`failed` has a sentence for each file that could not be had, with its number, from 1. Customers read it."""

    files: list[StoredFile]
    failed: list[str]


async def ingest(
    context: PipelineContext,
    files: Sequence[OutputFile],
    *,
    mode: str,
    generation_id: str,
    vendor: str,
    stem: str | None = None,
) -> Ingested:
    """Copy all, or as many as can be had, but one at least. Copying again replaces what was copied before. `stem` is
    that of a file which is the only one.

    Raises:
        StorageError: not now; the provider may still have them later.
        ProviderError: none can be had.
    """
    ingested, errors = Ingested([], []), []
    folder, total = context.assets.names.result_folder(mode, generation_id), len(files)
    upload = UploadLines(generation_id, context.assets.public.service, total)
    upload.begin()
    for number, file in enumerate(files, 1):
        upload.file(number)
        place = stem or f"{folder}/{number}"
        try:
            ingested.files.append(await ingest_file(context, file, mode=mode, stem=place, vendor=vendor))
        except ProviderError as error:
            ingested.failed.append(f"File {number} of {total} could not be kept ({error.code}).")
            telemetry.warning(telemetry.Tag.STORAGE_FILE, f"{place}: {error}", generation_id=generation_id)
            errors.append(error)
    upload.end(len(ingested.files), errors)
    if not ingested.files:
        raise errors[0]
    upload.primary_url()
    return ingested


async def ingest_file(context: PipelineContext, file: OutputFile, *, mode: str, stem: str, vendor: str) -> StoredFile:
    """Copy the file, under a key that begins with `stem`: whole, of the right kind and readable, or not at all.

    Raises:
        StorageError: not now; the provider may still have it later.
        ProviderUnavailable: it is no longer there; a look at the operation may bring a new URL.
        ResultDamaged: what `vendor` gave is not whole.
        ProviderContractBroken: what the provider gave is no such file.
    """
    try:
        async with _arriving(context, file, mode) as chunks:
            return await _stored(context, chunks, stem, mode)
    except RemoteFileUnavailable as error:
        raise StorageError(f"the result cannot be fetched now: {error}") from error
    except RemoteFileGone as error:
        raise ProviderUnavailable(f"the result is no longer there: {error}", code="RESULT_GONE") from error
    except AssetUnreadable as error:
        raise ResultDamaged(vendor, f"the {mode} cannot be used: {error}") from error
    except RemoteFileRefused as error:
        raise ProviderContractBroken(f"no {mode} that can be used: {error}") from error


@asynccontextmanager
async def _arriving(context: PipelineContext, file: OutputFile, mode: str) -> AsyncIterator[AsyncIterator[bytes]]:
    if file.content is not None:
        yield _at_once(file.content)
        return
    bytes_max = VIDEO_BYTES_MAX if mode == "video" else IMAGE_BYTES_MAX
    telemetry.info("⬇️", telemetry.Tag.STORAGE_UPLOAD, "Downloading file from external URL")
    async with context.fetcher.stream(file.url or "", bytes_max=bytes_max) as chunks:
        yield chunks


async def _at_once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _stored(context: PipelineContext, chunks: AsyncIterator[bytes], stem: str, mode: str) -> StoredFile:
    head = await _head(chunks)
    if not head:
        raise AssetUnreadable("the file is empty")
    media_type = sniff(head) or ""
    if not media_type.startswith("video/" if mode == "video" else "image/"):
        raise ProviderContractBroken(f"the provider sent {media_type or 'unknown bytes'} for a {mode}")
    name = stem.rpartition("/")[2]
    if mode == "video":
        file_log.upload_begins(None, name=name, size=None, media_type=media_type, bucket="public")
        file_log.validated()
        return await _stored_video(context, _again(head, chunks), f"{stem}.{EXTENSIONS[media_type]}", media_type)
    with await context.spool.receive(_again(head, chunks)) as file:
        file_log.upload_begins(None, name=name, size=size_of(file), media_type=media_type, bucket="public")
        return await context.assets.put_picture(stem, file)


async def _stored_video(
    context: PipelineContext, chunks: AsyncIterator[bytes], key: str, media_type: str
) -> StoredFile:
    """Decoded where it is stored, and deleted again if it is not whole."""
    stored = await context.assets.put_stream(key, chunks, media_type)
    try:
        facts = await context.assets.inspect_film(key)
    except AssetUnreadable:
        await context.assets.public.delete([key])
        raise
    return replace(stored, width=facts.width, height=facts.height, seconds=facts.seconds)


async def _head(chunks: AsyncIterator[bytes]) -> bytes:
    """The first bytes, as many as the type needs."""
    head = b""
    while len(head) < HEAD_BYTES:
        chunk = await anext(chunks, b"")
        if not chunk:
            break
        head += chunk
    return head


async def _again(head: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in chunks:
        yield chunk
