"""Object keys (`<kind>/<customer>/<epoch-ms>-<uuid>-<safe name>.<ext>`) and the media types we store.

A key names neither a customer nor a way to guess it: keyed hashes stand in it (`KeyNames`).
"""

import hashlib
import re
import time
import uuid

from safelight.redaction import DEFAULT_REDACTOR
from safelight.security.signing import Signer

RESULTS = "mma"
SAME_CONTENT = "same-content"
THUMBNAILS = "thumbnails"
RESERVED = frozenset({RESULTS, SAME_CONTENT, THUMBNAILS})  # the first folder of keys that only the server makes
NOBODY = "anon"
KEY_CHARS_MAX = 512
NAME_CHARS_MAX = 80
ID_CHARS = 36  # of a generation
UPLOADS = "uploads"
LEGACY_HASH = "sha256:"

EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/gif": "gif",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/quicktime": "mov",
    "video/x-msvideo": "avi",
}
CONVERTED = ("image/avif", "image/bmp", "image/heic", "image/heif", "image/tiff")
TAKEN = ", ".join(sorted([*EXTENSIONS, *CONVERTED]))  # of uploads
MEDIA_TYPES = {extension: media_type for media_type, extension in EXTENSIONS.items()} | {"jpeg": "image/jpeg"}


def media_type_of_key(key: str) -> str:
    return MEDIA_TYPES.get(key.rpartition(".")[2].lower(), "application/octet-stream")


class KeyNames:
    """The folders in keys that stand for a customer or a generation: hashes keyed with the deployment's secret."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def owner(self, customer: str | None) -> str:
        """The folder of a customer's files. Its full stop is in no folder that was made of a literal pass id."""
        return NOBODY if customer is None else f"o.{self._signer.keyed_hash('owner', customer)}"

    def is_owner(self, customer: str, key: str) -> bool:
        """True if this is the key of a private file of the customer."""
        folder = key.partition("/")[0]
        return folder in (self.owner(customer), _legacy_owner(customer))

    def same_content(self, bucket: str, customer: str | None, kind: str, digest: str) -> str:
        """The key of the note that holds the key of this content of this customer."""
        whose = f"{bucket}/{self.owner(customer)}/{kind}"
        return f"{SAME_CONTENT}/{self._signer.keyed_hash(SAME_CONTENT, whose)}/{digest}"

    def result_folder(self, mode: str, generation_id: str) -> str:
        """The folder of a generation's results, which cannot be derived from its id alone."""
        return f"{RESULTS}/{mode}/{generation_id}-{self._signer.keyed_hash('result', generation_id)}"


def generation_of_result(key: str) -> str:
    """The id of the generation that a result's key belongs to: `mma/<mode>/<id>-<hash>/<number>.<ext>`, or
    `mma/<mode>/<id>.<ext>` from before."""
    return key.split("/")[2][:ID_CHARS] if key.count("/") >= 2 else ""


def upload_key(kind: str, owner: str, name: str, extension: str) -> str:
    stem = _named(name.rsplit(".", 1)[0] if "." in name else name, r"[^A-Za-z0-9._-]+")[:NAME_CHARS_MAX] or "file"
    folder = _named(kind, r"[^A-Za-z0-9/_-]+").strip("/") or UPLOADS
    if folder.split("/")[0] in RESERVED:
        folder = f"{UPLOADS}/{folder}"
    return f"{folder}/{owner}/{time.time_ns() // 1_000_000}-{uuid.uuid4()}-{stem}.{extension}"


def private_key(kind: str, owner: str, name: str, extension: str) -> str:
    """A key that begins with the folder of its owner, which is how ownership is checked."""
    folder, _, rest = upload_key(kind, "x", name, extension).partition("/x/")
    return f"{owner}/{folder}/{rest}"


def _legacy_owner(customer: str) -> str | None:
    """The folder that a customer's private files had before folders were keyed; None for a pass id that could be
    mistaken for the hash of another one, or for a folder of ours."""
    if customer.startswith(LEGACY_HASH) or customer in RESERVED:
        return None
    if re.fullmatch(r"[A-Za-z0-9:@_-]{1,100}", customer):
        return customer
    return f"{LEGACY_HASH}{hashlib.sha256(customer.encode()).hexdigest()}"


def is_valid_key(key: str) -> bool:
    """True for a relative path of plain names, which cannot leave the bucket."""
    parts = key.split("/")
    return 0 < len(key) <= KEY_CHARS_MAX and all(
        part not in ("", ".", "..") and re.fullmatch(r"[A-Za-z0-9._:@-]+", part) for part in parts
    )


def _named(text: str, unsafe: str) -> str:
    """The text as a part of a key; empty if it holds a secret, or looks like one."""
    safe = re.sub(r"\.{2,}", ".", re.sub(unsafe, "_", text)).strip("._")
    return "" if DEFAULT_REDACTOR.has_secret(text) or DEFAULT_REDACTOR.has_secret(safe) else safe
