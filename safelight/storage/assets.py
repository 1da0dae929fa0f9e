"""Our own copies of files: public ones under a permanent URL, private ones under signed URLs."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from safelight import telemetry
from safelight.domain.errors.base import AlreadyStored, AssetUnreadable, InvalidInput, NotFound, RemoteUrlInvalid
from safelight.domain.shared_secrets import same_secret
from safelight.media import decode, inspection, publishing
from safelight.media.decoding_pool import MediaPool
from safelight.media.formats import HEAD_BYTES, MediaFacts, sniff
from safelight.media.publishing import Published
from safelight.security.signing import Signer
from safelight.storage import keys
from safelight.storage.addresses import plain_url
from safelight.storage.buckets import Bucket
from safelight.storage.spool import head_of, size_of

ROUTE = "/assets"
PRIVATE_ROUTE = "/private-assets"
UPLOAD_BYTES_MAX = 20 * 1024 * 1024
UPLOAD_URL_SECONDS = 600
FILE_BYTES_MAX = 50 * 1024 * 1024  # of a file that is read whole
HEADER_BYTES = 256 * 1024  # of a file, from which its size in pixels is read
COPIES = 4  # of a file's bytes, while it is checked and stored
SIGNED_SECONDS_MIN, SIGNED_SECONDS, SIGNED_SECONDS_MAX = 60, 3600, 86_400
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Width, height and seconds are as displayed, if the file was decoded when it was stored; `converted_from` is the
    original media type, if the file was converted."""

    key: str
    url: str
    media_type: str
    bytes: int
    sha256: str
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    converted_from: str | None = None


class AssetStore:
    """`base_url` is the API's public address; `public_url` the beginning of permanent URLs, if that is another;
    `secret` signs the URLs of files on this machine, and keys the hashes in object keys; `pool` bounds the memory for
    reading whole files."""

    def __init__(
        self,
        public: Bucket,
        private: Bucket,
        pool: MediaPool,
        *,
        base_url: str,
        secret: bytes,
        public_url: str | None = None,
    ) -> None:
        self.public = public
        self.private = private
        self.pool = pool
        self._base_url = base_url
        self._public_url = public_url or f"{base_url}{ROUTE}"
        self._secret = secret
        self.names = keys.KeyNames(Signer(secret))

    # --- public files ------------------------------------------------------------------------------------------------

    def url_of(self, key: str) -> str:
        return f"{self._public_url}/{quote(key)}"

    def thumbnail_url_of(self, key: str, size: int) -> str:
        """The address that makes and shows a small picture of a public file."""
        return f"{self._base_url}/thumbnails/{size}/{quote(key)}"

    async def expiring_url_of(self, key: str, seconds: int) -> str:
        """A URL of a public file that is good for `seconds` at least: signed where the store checks signatures, else
        the permanent one."""
        return await self.public.signed_url("GET", key, seconds) or self.url_of(key)

    def key_of(self, url: str) -> str | None:
        """The key of one of our own URLs; None for a foreign URL, and for anything but a plain http or https URL."""
        for prefix in (self._public_url, f"{self._base_url}{ROUTE}"):
            if key := self._key_behind(url, prefix):
                return key
        return None

    def _key_behind(self, url: str, prefix: str) -> str | None:
        """The key of a URL that begins with `prefix`.

        If our own address is a loopback one, any loopback address counts as ours: a development home may be served on
        another port than before.
        """
        try:
            plain_url(url)
        except RemoteUrlInvalid:
            return None
        parts, own = urlsplit(url), urlsplit(f"{prefix}/")
        is_ours = url.startswith(f"{prefix}/") or (own.hostname in LOOPBACK and parts.hostname in LOOPBACK)
        key = unquote(parts.path.removeprefix(own.path))
        return key if is_ours and parts.path.startswith(own.path) and keys.is_valid_key(key) else None

    async def put(self, key: str, content: bytes, media_type: str) -> StoredFile:
        """Store the bytes atomically; an existing file is replaced. Raises StorageError if nothing was stored."""
        telemetry.info("☁️", telemetry.Tag.STORAGE, f"Storing {key} ({len(content)} bytes, {media_type})")
        await self.public.put(key, content, media_type)
        telemetry.info("✅", telemetry.Tag.STORAGE, f"Successfully stored {key}")
        return StoredFile(key, self.url_of(key), media_type, len(content), await asyncio.to_thread(_sha256, content))

    async def put_picture(self, stem: str, file: BinaryIO) -> StoredFile:
        """Store a vendor's picture from an open file, once it is decoded whole: as it is published, under a key that
        begins with `stem`. Raises AssetUnreadable if it is not a picture, or is truncated."""
        async with self._room(file):
            picture = await self.pool.do(lambda: publishing.published(file.read(), publishing.DELIVERED_AS))
            key = f"{stem}.{keys.EXTENSIONS[picture.media_type]}"
            return _with_facts(await self.put(key, picture.content, picture.media_type), picture)

    async def inspect_film(self, key: str) -> MediaFacts:
        """Decode a stored video. Raises as `use_film`, and AssetUnreadable if it is truncated."""
        return await self.use_film(key, inspection.inspect_film)

    async def inspect(self, key: str) -> MediaFacts:
        """Decode a stored file. Raises as `inspect_film`, and InvalidInput if a picture is larger than
        FILE_BYTES_MAX."""
        if keys.media_type_of_key(key).startswith("video/"):
            return await self.inspect_film(key)
        return await self.read_whole(self.public, key, inspection.inspect_picture)

    def _room(self, file: BinaryIO) -> AbstractAsyncContextManager[None]:
        """Memory that publishing an open file may take."""
        return self.pool.room(COPIES * size_of(file) + publishing.bytes_to_publish(head_of(file, HEADER_BYTES)))

    async def put_stream(self, key: str, chunks: AsyncIterable[bytes], media_type: str) -> StoredFile:
        """As `put`, from a stream. An error of `chunks` leaves nothing behind."""
        telemetry.info("☁️", telemetry.Tag.STORAGE, f"Storing {key} as it arrives ({media_type})")
        received = await self.public.put_stream(key, chunks, media_type)
        telemetry.info("✅", telemetry.Tag.STORAGE, f"Successfully stored {key} ({received.bytes} bytes)")
        return StoredFile(key, self.url_of(key), media_type, received.bytes, received.sha256)

    async def use_film(self, key: str, work: Callable[[BinaryIO], Result]) -> Result:
        """Run `work`, which decodes frames of a video, with the open file in a thread of the pool, once the memory is
        free.

        Raises:
            NotFound: no file has this key.
            StorageError: it could not be read.
        """
        await self.public.entry(key)
        return await self.pool.run(decode.DECODE_BYTES_MAX, lambda: self.public.use_now(key, work))

    def path_of(self, key: str) -> Path | None:
        """The path of the file; None if it is not on this machine."""
        return self.public.path_of(key) if keys.is_valid_key(key) else None

    # --- what clients send -------------------------------------------------------------------------------------------

    async def put_upload(self, content: bytes, *, kind: str, customer: str | None, name: str) -> StoredFile:
        """Store a client's file under a new key; content that this customer sent before keeps its key. `customer` is
        None for an unknown visitor. Raises InvalidInput if it is empty, too large, or not a picture or video by its
        bytes."""
        return await self._put_new(self.public, await self.checked(content), kind=kind, customer=customer, name=name)

    def upload_key(self, kind: str, customer: str | None, name: str, media_type: str) -> str:
        """A new key for a public file that a client sends."""
        return keys.upload_key(kind, self.names.owner(customer), name, keys.EXTENSIONS[media_type])

    async def put_promised(self, key: str, content: bytes, media_type: str) -> StoredFile:
        """Store the file that is sent to a signed upload URL. Raises AlreadyStored if the URL was used."""
        if await self.public.has(key):  # not every S3 service supports conditional writes
            raise AlreadyStored(f"The key {key!r} has a file already.")
        await self.public.create(key, content, media_type)
        return StoredFile(key, self.url_of(key), media_type, len(content), await asyncio.to_thread(_sha256, content))

    async def put_received(self, file: BinaryIO, *, kind: str, customer: str | None, name: str) -> StoredFile:
        """As `put_upload`, from an open file."""
        async with self._room(file):
            ours = await self.pool.do(lambda: checked(file.read()))
            return await self._put_new(self.public, ours, kind=kind, customer=customer, name=name)

    async def put_private(self, content: bytes, *, kind: str, customer: str, name: str) -> StoredFile:
        """As `put_upload`, for a private file. The URL is valid for an hour."""
        return await self._put_new(self.private, await self.checked(content), kind=kind, customer=customer, name=name)

    async def put_private_picture(self, file: BinaryIO, *, kind: str, customer: str) -> StoredFile:
        """As `put_private`, from an open file. Raises InvalidInput also if it is not a picture."""
        async with self._room(file):
            ours = await self.pool.do(lambda: checked_picture(file.read()))
            return await self._put_new(self.private, ours, kind=kind, customer=customer, name="")

    async def copy_private_picture(self, key: str, *, kind: str, customer: str) -> StoredFile:
        """A copy of a private file, for this customer. Raises as `put_private_picture`, and NotFound."""
        entry = await self.private.entry(key)
        head = await self.private.use(key, lambda file: head_of(file, HEADER_BYTES))
        async with self.pool.room(COPIES * entry.bytes + publishing.bytes_to_publish(head)):
            ours = await self.pool.do(lambda: checked_picture(self.private.read_now(key)))
            return await self._put_new(self.private, ours, kind=kind, customer=customer, name="")

    async def checked(self, content: bytes, stored_as: str | None = None) -> Published:
        """As `checked`, in a thread."""
        needed = len(content) + publishing.bytes_to_publish(content[:HEADER_BYTES])
        return await self.pool.run(needed, lambda: checked(content, stored_as))

    async def read_whole(self, bucket: Bucket, key: str, work: Callable[[bytes], Result]) -> Result:
        """Run `work` with the file's bytes in a thread, and return its result, once the memory for reading and decoding
        is free.

        Raises:
            NotFound: no file has this key.
            StorageError: it could not be read.
            InvalidInput: it is larger than FILE_BYTES_MAX.
        """
        entry = await bucket.entry(key)
        if entry.bytes > FILE_BYTES_MAX:
            raise InvalidInput(f"The file has {entry.bytes} bytes; at most {FILE_BYTES_MAX} are read.")
        needed = entry.bytes + await bucket.use(key, lambda file: decode.bytes_to_decode(file.read(HEADER_BYTES)))
        return await self.pool.run(needed, lambda: work(bucket.read_now(key)))

    async def _put_new(
        self, bucket: Bucket, ours: Published, *, kind: str, customer: str | None, name: str
    ) -> StoredFile:
        is_public, digest = bucket is self.public, await asyncio.to_thread(_sha256, ours.content)
        note = self.names.same_content("public" if is_public else "private", customer, kind, digest)
        key = await self._known(bucket, note)
        if key is None:
            make_key = keys.upload_key if is_public else keys.private_key
            key = make_key(kind, self.names.owner(customer), name, keys.EXTENSIONS[ours.media_type])
            size = f"{len(ours.content)} bytes, {ours.media_type}"
            telemetry.info("☁️", telemetry.Tag.STORAGE, f"Storing {key} ({size})")
            await bucket.put(key, ours.content, ours.media_type)
            await self.private.put(note, key.encode(), "text/plain")
        url = self.url_of(key) if is_public else await self.signed_url(key, SIGNED_SECONDS)
        return _with_facts(StoredFile(key, url, ours.media_type, len(ours.content), digest), ours)

    async def _known(self, bucket: Bucket, note: str) -> str | None:
        """The key under which this content is already stored; None if it is new."""
        try:
            key = (await self.private.read(note)).decode()
            return (await bucket.entry(key)).key
        except NotFound:
            return None

    # --- signed URLs -------------------------------------------------------------------------------------------------

    def signed_upload_url(self, key: str) -> str:
        """A URL that accepts one PUT of a public file within UPLOAD_URL_SECONDS. It is always one of our API: a signed
        URL of the store itself would accept any number, size and type of files."""
        return self._signed("PUT", f"{self._base_url}{ROUTE}", key, UPLOAD_URL_SECONDS)

    async def signed_url(self, key: str, seconds: int) -> str:
        """A URL under which a private file can be read for a limited time."""
        store_url = await self.private.signed_url("GET", key, seconds)
        return store_url or self._signed("GET", f"{self._base_url}{PRIVATE_ROUTE}", key, seconds)

    async def passing_url(self, key: str, method: str = "GET") -> str | None:
        """The signed URL for GET or HEAD of a public file that is not on this machine. Raises NotFound."""
        await self.public.entry(key)
        return await self.public.signed_url(method, key, SIGNED_SECONDS)

    def is_own(self, url: str) -> bool:
        """True for the plain address of a file of ours, public or private."""
        return self.key_of(url) is not None or ("?" not in url and self._private_key(url) is not None)

    def private_address(self, key: str) -> str:
        """The address by which rows name a private file. It has no signature, so it gives no access."""
        return f"{self._base_url}{PRIVATE_ROUTE}/{quote(key)}"

    async def presign(self, url: str, customers: Collection[str]) -> str:
        """The URL; for the plain address of a private file of one of these customers, a signed URL of limited time."""
        key = None if "?" in url else self._private_key(url)
        return await self.signed_url(key, SIGNED_SECONDS) if key and self._is_owned(key, customers) else url

    def is_private_address(self, url: str) -> bool:
        """True if the URL is the plain address of a private file, which gives no access."""
        return "?" not in url and self._private_key(url) is not None

    def private_key_of(self, url: str) -> str | None:
        """The key of a signed URL of ours for a private file that is still valid; None for any other URL."""
        key = self._private_key(url)
        query = dict(parse_qsl(url.partition("?")[2]))
        expires, signature = query.get("expires", ""), query.get("signature", "")
        is_valid = key and expires.isdecimal() and self.is_valid_signature("GET", key, int(expires), signature)
        return key if is_valid else None

    def _private_key(self, url: str) -> str | None:
        """As `key_of`, for a private file."""
        return self._key_behind(url, f"{self._base_url}{PRIVATE_ROUTE}")

    def stored_at(self, url: str, customers: Collection[str]) -> tuple[Bucket, str] | None:
        """Bucket and key of a file of ours that these customers may use, by its plain address; None for any other
        URL."""
        if key := self.key_of(url):
            return self.public, key
        private_key = None if "?" in url else self._private_key(url)
        return (self.private, private_key) if private_key and self._is_owned(private_key, customers) else None

    async def owned(self, key: str, customers: Collection[str]) -> None:
        """`customers` are the pass ids of one person. Raises NotFound if they have no private file of this key."""
        if not keys.is_valid_key(key) or not self._is_owned(key, customers):
            raise NotFound(f"You have no file {key!r}.")
        await self.private.entry(key)

    def _is_owned(self, key: str, customers: Collection[str]) -> bool:
        return any(self.names.is_owner(customer, key) for customer in customers)

    def is_valid_signature(self, method: str, key: str, expires: int, signature: str) -> bool:
        expected = self._signature(method, key, expires)
        return time.time() <= expires and same_secret(signature, expected)

    def _signed(self, method: str, prefix: str, key: str, seconds: int) -> str:
        expires = int(time.time()) + seconds
        return f"{prefix}/{quote(key)}?expires={expires}&signature={self._signature(method, key, expires)}"

    def _signature(self, method: str, key: str, expires: int) -> str:
        return hmac.new(self._secret, f"{method}\n{key}\n{expires}".encode(), hashlib.sha256).hexdigest()


def checked(content: bytes, stored_as: str | None = None) -> Published:
    """A client's file as it is published. A picture that has to be converted gets the type `stored_as`, if given.
    Raises InvalidInput if it is empty, too large, of an unknown type, or damaged."""
    if not content:
        raise InvalidInput("The file is empty.", code="EMPTY_FILE")
    if len(content) > UPLOAD_BYTES_MAX:
        raise InvalidInput(
            f"The file has {len(content)} bytes; at most {UPLOAD_BYTES_MAX} are allowed.",
            code="FILE_TOO_LARGE",
        )
    media_type = sniff(content[:HEAD_BYTES])
    if media_type is None:
        raise InvalidInput(f"The file is none of the types we take: {keys.TAKEN}.", code="UNSUPPORTED_MEDIA_TYPE")
    try:
        return publishing.published(content, publishing.converted_into(stored_as))
    except AssetUnreadable as error:
        raise InvalidInput(f"The file cannot be read as {media_type}: {error}.", code="UNREADABLE_MEDIA") from error


def checked_picture(content: bytes) -> Published:
    """As `checked`, for pictures only."""
    media_type = sniff(content[:HEAD_BYTES]) or ""
    if media_type.startswith("video/"):
        raise InvalidInput(f"The file is {media_type}, no picture.", code="UNSUPPORTED_MEDIA_TYPE")
    return checked(content)


def _with_facts(stored: StoredFile, ours: Published) -> StoredFile:
    facts = ours.facts
    return replace(
        stored, width=facts.width, height=facts.height, seconds=facts.seconds, converted_from=ours.converted_from
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
