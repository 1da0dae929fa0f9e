"""Our own copies of files, in one public bucket under the home: a permanent URL for every key."""

import asyncio
import hashlib
import hmac
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from obstore.exceptions import BaseError
from obstore.store import LocalStore

from safelight import telemetry
from safelight.domain.errors import InvalidInput, NotFound, StorageError
from safelight.storage import keys

ROUTE = "/assets"
UPLOAD_BYTES_MAX = 20 * 1024 * 1024
UPLOAD_URL_SECONDS = 600
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class StoredFile:
    key: str
    url: str
    media_type: str
    bytes: int
    sha256: str


class AssetStore:
    """`base_url` is the API's public address; `secret` signs upload URLs.

    The store's calls run in threads of ours: after its own asynchronous ones, a process that ends soon may abort.
    """

    def __init__(self, root: Path, *, base_url: str, secret: bytes) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self._store = LocalStore(root, mkdir=True)
        self._base_url = base_url
        self._secret = secret

    def url_of(self, key: str) -> str:
        return f"{self._base_url}{ROUTE}/{quote(key)}"

    def key_of(self, url: str) -> str | None:
        """The key behind one of our own URLs; None for a foreign URL.

        A loopback address is ours on every port: a development home may be served on another port than before.
        """
        try:
            parts = urlsplit(url)
        except ValueError:
            return None
        is_ours = url.startswith(f"{self._base_url}{ROUTE}/") or parts.hostname in LOOPBACK
        if not is_ours or not parts.path.startswith(f"{ROUTE}/"):
            return None
        key = unquote(parts.path.removeprefix(f"{ROUTE}/"))
        return key if keys.is_valid_key(key) else None

    async def put(self, key: str, content: bytes, media_type: str) -> StoredFile:
        """Store the bytes whole, or not at all; the same key again replaces them.

        Raises:
            StorageError: nothing was stored.
        """
        telemetry.info("☁️", telemetry.Tag.STORAGE, f"Storing {key} ({len(content)} bytes, {media_type})")
        try:
            await asyncio.to_thread(self._store.put, key, content)
        except (BaseError, OSError) as error:
            raise StorageError(f"could not store {key}: {error}") from error
        digest = await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())
        telemetry.info("✅", telemetry.Tag.STORAGE, f"Successfully stored {key}")
        return StoredFile(key, self.url_of(key), media_type, len(content), digest)

    async def read(self, key: str) -> bytes:
        """Raises:
        NotFound: no file has this key.
        StorageError: it could not be read.
        """
        try:
            return await asyncio.to_thread(lambda: bytes(self._store.get(key).bytes()))
        except FileNotFoundError as error:
            raise NotFound(f"No file has the key {key!r}.") from error
        except (BaseError, OSError) as error:
            raise StorageError(f"could not read {key}: {error}") from error

    def path_of(self, key: str) -> Path | None:
        """The file to serve; None where there is none."""
        path = self.root / key
        return path if keys.is_valid_key(key) and path.is_file() else None

    async def put_upload(self, content: bytes, *, kind: str, customer: str, name: str) -> StoredFile:
        """Store what a client sent, under a key of its own.

        Raises:
            InvalidInput: empty, too large, or not a picture or video by its own bytes.
        """
        media_type = checked_media_type(content)
        return await self.put(keys.upload_key(kind, customer, name, keys.EXTENSIONS[media_type]), content, media_type)

    def signed_upload_url(self, key: str) -> str:
        """A URL that takes one PUT of the file's bytes for UPLOAD_URL_SECONDS."""
        expires = int(time.time()) + UPLOAD_URL_SECONDS
        return f"{self.url_of(key)}?expires={expires}&signature={self._signature(key, expires)}"

    def is_valid_upload(self, key: str, expires: int, signature: str) -> bool:
        return time.time() <= expires and hmac.compare_digest(self._signature(key, expires), signature)

    def _signature(self, key: str, expires: int) -> str:
        return hmac.new(self._secret, f"PUT\n{key}\n{expires}".encode(), hashlib.sha256).hexdigest()


def checked_media_type(content: bytes) -> str:
    """The type of an uploaded file by its own bytes.

    Raises:
        InvalidInput: empty, too large, or of no type we store.
    """
    if not content:
        raise InvalidInput("The file is empty.", code="EMPTY_FILE")
    if len(content) > UPLOAD_BYTES_MAX:
        raise InvalidInput(
            f"The file has {len(content)} bytes; at most {UPLOAD_BYTES_MAX} are allowed.",
            code="FILE_TOO_LARGE",
        )
    media_type = keys.sniff(content)
    if media_type is None:
        allowed = ", ".join(sorted(keys.EXTENSIONS))
        raise InvalidInput(f"The file is none of the types we store: {allowed}.", code="UNSUPPORTED_MEDIA_TYPE")
    return media_type
