"""Buckets of files: a folder of this machine, or a bucket of an S3-compatible service, behind one interface.

Calls of the store run in threads of ours: after its own asynchronous calls, a process that ends soon may abort.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, S3Store

from safelight import telemetry
from safelight.domain.errors.base import AlreadyStored, ConfigError, NotFound, StorageError
from safelight.private_files import make_private, make_private_folder
from safelight.redaction import excerpt

if TYPE_CHECKING:
    from obstore import Attributes, ObjectMeta

BLOCK_BYTES = 1024 * 1024  # of one write to the store
PART_BYTES = 8 * 1024 * 1024  # of a multipart upload; S3 allows 10,000 of them
PARTS_AT_ONCE = 2
LISTED_AT_ONCE = 1000
PARTIAL_NAMES = "*#[0-9]*"  # the store's name for an incomplete file in a folder
THREADS = 16
IMMUTABLE = "public, max-age=31536000, immutable"

S3_RETRIES = 2
S3_RETRY_SECONDS = 20
S3_CONNECT_SECONDS = 5
S3_REQUEST_SECONDS = 60

Result = TypeVar("Result")

_S3_OPTIONS = {"endpoint": r"https?://[^/\s]\S*", "region": r"[a-z0-9-]+", "path_style": "true|false"}


@dataclass(frozen=True, slots=True)
class FileEntry:
    key: str
    bytes: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Received:
    """Size and hash of a received stream."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class S3Keys:
    access_key_id: str
    secret_access_key: str


class Bucket:
    """Every call raises StorageError if the store fails, and NotFound if a file to be read does not exist. `service`
    names the store in log lines."""

    service = "local storage"

    def __init__(self, store: LocalStore | S3Store) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="storage")

    async def put(self, key: str, content: bytes, media_type: str) -> None:
        """Store the bytes atomically; an existing file is replaced."""
        await self._put(key, content, media_type)

    async def create(self, key: str, content: bytes, media_type: str) -> None:
        """As `put`, for a new key: of two calls at the same moment one succeeds. Raises AlreadyStored if the key has a
        file."""
        await self._put(key, content, media_type, mode="create")

    async def _put(self, key: str, content: bytes, media_type: str, **options: Any) -> None:
        await self._call(key, self._store.put, key, content, attributes=self._attributes(media_type), **options)

    async def put_stream(self, key: str, chunks: AsyncIterable[bytes], media_type: str) -> Received:
        """Store the bytes as they arrive, atomically: an error of `chunks` leaves nothing behind."""
        digest, size = hashlib.sha256(), 0
        async with self._writer(key, media_type) as writer:
            async for block in _blocks(chunks):
                size += len(block)
                await self._call(key, _write, writer, digest, block)
        return Received(size, digest.hexdigest())

    async def read(self, key: str) -> bytes:
        return await self._call(key, self.read_now, key)

    def read_now(self, key: str) -> bytes:
        """As `read`, for callers that run in a thread already."""
        with _our_errors(key):
            return bytes(self._store.get(key).bytes())

    async def chunks(self, key: str) -> AsyncIterator[bytes]:
        """The file in chunks."""
        pieces = await self._call(key, lambda: iter(self._store.get(key).stream(min_chunk_size=BLOCK_BYTES)))
        while (piece := await self._call(key, next, pieces, None)) is not None:
            yield bytes(piece)

    async def received(self, key: str) -> Received:
        """Size and hash of the stored file, read in chunks."""
        return await self.use(key, _received)

    async def use(self, key: str, work: Callable[[io.BufferedReader], Result]) -> Result:
        """Run `work` in a thread with the file, open for reading and seeking, and return its result."""
        return await self._call(key, self.use_now, key, work)

    def use_now(self, key: str, work: Callable[[io.BufferedReader], Result]) -> Result:
        """As `use`, for callers that run in a thread already."""
        with _our_errors(key), closing(self._open(key)) as file:
            return work(file)

    async def entry(self, key: str) -> FileEntry:
        return _entry(await self._call(key, self._store.head, key))

    async def has(self, key: str) -> bool:
        try:
            await self.entry(key)
        except NotFound:
            return False
        return True

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete the file; does nothing if it does not exist."""
        for key in keys:
            try:
                await self._call(key, self._store.delete, key)
            except NotFound:
                continue

    async def entries(self, prefix: str = "") -> AsyncIterator[list[FileEntry]]:
        """All files below the prefix, in batches."""
        listing = self._store.list(prefix or None, chunk_size=LISTED_AT_ONCE)
        while listed := await self._call(prefix, lambda: next(iter(listing), None)):
            yield [_entry(each) for each in listed]

    async def partial_files(self) -> list[FileEntry]:
        """Parts of files whose upload was interrupted. An S3 service does not list them; its own lifecycle rules remove
        them."""
        return []

    async def delete_partial(self, keys: Sequence[str]) -> None:
        """Delete files that `partial_files` returned."""

    async def signed_url(self, method: str, key: str, seconds: int) -> str | None:
        """A signed URL of the store itself for one method and a limited time; None if the store has none."""
        return None

    def path_of(self, key: str) -> Path | None:
        """The path of the file; None if it is not on this machine."""
        return None

    @asynccontextmanager
    async def _writer(self, key: str, media_type: str) -> AsyncIterator[Any]:
        options = {"buffer_size": PART_BYTES, "max_concurrency": PARTS_AT_ONCE}
        attributes = self._attributes(media_type)
        writer = await self._call(key, obstore.open_writer, self._store, key, attributes=attributes, **options)
        is_whole = False
        try:
            yield writer
            await self._call(key, writer.close)
            is_whole = True
        finally:
            if not is_whole:
                await asyncio.shield(self._take_back(key, writer))

    async def _take_back(self, key: str, writer: Any) -> None:
        """Remove the parts that arrived. If the store is down, a lifecycle rule of its own has to remove them."""
        try:
            await self._call(key, writer.__exit__, StorageError, StorageError("not whole"), None)
        except StorageError as error:
            telemetry.warning(
                telemetry.Tag.STORAGE, f"An interrupted upload could not be aborted; parts of it may remain: {error}"
            )

    def _open(self, key: str) -> io.BufferedReader:
        return io.BufferedReader(_StoredFile(obstore.open_reader(self._store, key, buffer_size=BLOCK_BYTES)))

    def _attributes(self, media_type: str) -> Attributes | None:
        return None

    async def _call(self, key: str, call: Callable[..., Result], *values: Any, **named: Any) -> Result:
        with _our_errors(key):
            return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(*values, **named))


class _StoredFile(io.RawIOBase):
    """A stored file as a raw Python file, for reading by Python and FFmpeg."""

    def __init__(self, reader: obstore.ReadableFile) -> None:
        self._reader = reader

    def readinto(self, buffer: Any) -> int:
        content = self._reader.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._reader.seek(offset, whence)
        return self._reader.tell()

    def tell(self) -> int:
        return self._reader.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


class LocalBucket(Bucket):
    """With `is_public` the umask decides who may read its files; else only their owner may."""

    def __init__(self, root: Path, *, is_public: bool = True) -> None:
        if not is_public and not root.exists():
            make_private_folder(root)
        root.mkdir(parents=True, exist_ok=True)
        super().__init__(LocalStore(root, mkdir=True, automatic_cleanup=True))
        self.root = root
        self._is_public = is_public

    async def put(self, key: str, content: bytes, media_type: str) -> None:
        await self._call(key, self._make_way, key)
        await super().put(key, content, media_type)
        await self._call(key, self._close, key)

    async def put_stream(self, key: str, chunks: AsyncIterable[bytes], media_type: str) -> Received:
        await self._call(key, self._make_way, key)
        received = await super().put_stream(key, chunks, media_type)
        await self._call(key, self._close, key)
        return received

    def _make_way(self, key: str) -> None:
        """Create the folders of a file; those of a private one are made private first. The root keeps its mode."""
        folder = (self.root / key).parent
        if not self._is_public and folder != self.root:
            make_private_folder(folder)

    def _close(self, key: str) -> None:
        if not self._is_public:
            make_private(self.root / key)

    def path_of(self, key: str) -> Path | None:
        path = self.root / key
        return path if path.is_file() else None

    async def partial_files(self) -> list[FileEntry]:
        found = await self._call("", lambda: [_entry_of(self.root, path) for path in self.root.rglob(PARTIAL_NAMES)])
        return [entry for entry in found if entry]

    async def delete_partial(self, keys: Sequence[str]) -> None:
        for key in keys:
            await self._call(key, (self.root / key).unlink, missing_ok=True)

    def _open(self, key: str) -> io.BufferedReader:
        return (self.root / key).open("rb")


class S3Bucket(Bucket):
    """With `is_public` browsers and caches may keep its files without end."""

    def __init__(self, store: S3Store, *, is_public: bool, service: str = "S3 storage") -> None:
        super().__init__(store)
        self.service = service
        self._cache_control = IMMUTABLE if is_public else "private, no-store"
        self._signing_store = store

    async def signed_url(self, method: str, key: str, seconds: int) -> str | None:
        lasting = timedelta(seconds=seconds)
        return str(await self._call(key, obstore.sign, self._signing_store, method, key, lasting))

    def _attributes(self, media_type: str) -> Attributes | None:
        return {"Content-Type": media_type, "Cache-Control": self._cache_control}


def open_bucket(url: str, s3_keys: S3Keys, *, is_public: bool, setting: str) -> Bucket:
    """`file:///PATH`, or `s3://BUCKET[/PREFIX]?endpoint=…&region=…&path_style=…`. Raises ConfigError if the URL is
    neither; the message names the setting that holds it."""
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/") and not parts.query:
        return _open_folder(Path(unquote(parts.path)), is_public=is_public, setting=setting)
    if parts.scheme != "s3" or not parts.netloc or "@" in parts.netloc:
        raise ConfigError(f"{setting}: file:///PATH or s3://BUCKET/PREFIX?endpoint=… is needed.")
    if not s3_keys.access_key_id or not s3_keys.secret_access_key:
        raise ConfigError(f"{setting}: SAFELIGHT_S3_ACCESS_KEY_ID and SAFELIGHT_S3_SECRET_ACCESS_KEY are needed too.")
    options = _s3_options(parts.query, setting)
    endpoint = options.get("endpoint")
    store = S3Store(
        parts.netloc,
        prefix=parts.path.strip("/") or None,
        config={
            "region": options.get("region", "auto"),
            "access_key_id": s3_keys.access_key_id,
            "secret_access_key": s3_keys.secret_access_key,
            "virtual_hosted_style_request": options.get("path_style") == "false",
            **({"endpoint": endpoint} if endpoint else {}),
        },
        client_options={
            "allow_http": bool(endpoint and endpoint.startswith("http://")),
            "connect_timeout": timedelta(seconds=S3_CONNECT_SECONDS),
            "timeout": timedelta(seconds=S3_REQUEST_SECONDS),
        },
        retry_config={"max_retries": S3_RETRIES, "retry_timeout": timedelta(seconds=S3_RETRY_SECONDS)},
    )
    return S3Bucket(store, is_public=is_public, service=_service_at(endpoint))


def _service_at(endpoint: str | None) -> str:
    host = urlsplit(endpoint or "").hostname or ""
    return "Supabase Storage" if host.endswith((".supabase.co", ".supabase.in")) else "S3 storage"


def _open_folder(path: Path, *, is_public: bool, setting: str) -> LocalBucket:
    try:
        return LocalBucket(path, is_public=is_public)
    except OSError as error:
        raise ConfigError(f"{setting}: files cannot be kept in {path}: {error.strerror}.") from error


def _s3_options(query: str, setting: str) -> dict[str, str]:
    options = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
    for name, value in options.items():
        allowed = _S3_OPTIONS.get(name)
        if allowed is None or not re.fullmatch(allowed, value):
            there_are = "endpoint=https://HOST, region=NAME, path_style=true|false"
            raise ConfigError(f"{setting}: {name[:40]!r} is unknown or has a wrong value; there are {there_are}.")
    return options


def _received(file: io.BufferedReader) -> Received:
    digest = hashlib.file_digest(file, "sha256")
    return Received(file.tell(), digest.hexdigest())


def _write(writer: Any, digest: Any, block: bytes) -> None:
    digest.update(block)
    writer.write(block)


async def _blocks(chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in larger chunks, so that a thread is used less often."""
    block = bytearray()
    async for chunk in chunks:
        block += chunk
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


@contextmanager
def _our_errors(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"No file has the key {key!r}.") from error
    except AlreadyExistsError as error:
        raise AlreadyStored(f"The key {key!r} has a file already.") from error
    except (BaseError, OSError) as error:
        raise StorageError(f"{key}: {excerpt(' '.join(str(error).split()), 500)}") from error


def _entry_of(root: Path, path: Path) -> FileEntry | None:
    """None for a part that was finished or removed a moment ago."""
    try:
        stated = path.stat()
    except FileNotFoundError:
        return None
    changed_at = datetime.fromtimestamp(stated.st_mtime, UTC)
    return FileEntry(path.relative_to(root).as_posix(), stated.st_size, changed_at)


def _entry(meta: ObjectMeta) -> FileEntry:
    return FileEntry(meta["path"], meta["size"], meta["last_modified"])
