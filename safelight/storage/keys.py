"""Object keys (contracts: `<kind>/<customer>/<epoch-ms>-<uuid>-<safe name>.<ext>`) and the media types we store."""

import hashlib
import re
import time
import uuid

from safelight.redaction import KNOWN_FORMS

KEY_CHARS_MAX = 512
NAME_CHARS_MAX = 80

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
MEDIA_TYPES = {extension: media_type for media_type, extension in EXTENSIONS.items()} | {"jpeg": "image/jpeg"}


def media_type_of_key(key: str) -> str:
    return MEDIA_TYPES.get(key.rpartition(".")[2].lower(), "application/octet-stream")


def upload_key(kind: str, customer: str, name: str, extension: str) -> str:
    stem = _named(name.rsplit(".", 1)[0] if "." in name else name, r"[^A-Za-z0-9._-]+")[:NAME_CHARS_MAX] or "file"
    folder = _named(kind, r"[^A-Za-z0-9/_-]+").strip("/") or "uploads"
    owner = _safe(customer, r"[^A-Za-z0-9_-]+") or "anon"
    return f"{folder}/{owner}/{time.time_ns() // 1_000_000}-{uuid.uuid4()}-{stem}.{extension}"


def private_key(kind: str, owner: str, name: str, extension: str) -> str:
    """Begins with whose it is: that is how ownership is told."""
    folder, _, rest = upload_key(kind, "x", name, extension).partition("/x/")
    return f"{owner_folder(owner)}/{folder}/{rest}"


def owner_folder(customer: str) -> str:
    """One folder for each customer, and no two for one: what cannot be part of a key is hashed."""
    if re.fullmatch(r"[A-Za-z0-9:@_-]{1,100}", customer):
        return customer
    return f"sha256:{hashlib.sha256(customer.encode()).hexdigest()}"


def is_valid_key(key: str) -> bool:
    """A relative path of plain names: nothing that could leave the bucket."""
    parts = key.split("/")
    return 0 < len(key) <= KEY_CHARS_MAX and all(
        part not in ("", ".", "..") and re.fullmatch(r"[A-Za-z0-9._:@-]+", part) for part in parts
    )


def _named(text: str, unsafe: str) -> str:
    """The text as a part of a key; nothing where it holds a secret, or would look as if it did."""
    safe = _safe(text, unsafe)
    return "" if KNOWN_FORMS.has_secret(text) or KNOWN_FORMS.has_secret(safe) else safe


def _safe(text: str, unsafe: str) -> str:
    return re.sub(r"\.{2,}", ".", re.sub(unsafe, "_", text)).strip("._")
