"""Object keys (contracts: `<kind>/<customer>/<epoch-ms>-<uuid>-<safe name>.<ext>`) and the media types we store."""

import re
import time
import uuid

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
}
MEDIA_TYPES = {extension: media_type for media_type, extension in EXTENSIONS.items()} | {"jpeg": "image/jpeg"}


def media_type_of_key(key: str) -> str:
    return MEDIA_TYPES.get(key.rpartition(".")[2].lower(), "application/octet-stream")


def upload_key(kind: str, customer: str, name: str, extension: str) -> str:
    stem = _safe(name.rsplit(".", 1)[0] if "." in name else name, r"[^A-Za-z0-9._-]+")[:NAME_CHARS_MAX] or "file"
    folder = _safe(kind, r"[^A-Za-z0-9/_-]+").strip("/") or "uploads"
    owner = _safe(customer, r"[^A-Za-z0-9_-]+") or "anon"
    return f"{folder}/{owner}/{time.time_ns() // 1_000_000}-{uuid.uuid4()}-{stem}.{extension}"


def is_valid_key(key: str) -> bool:
    """A relative path of plain names: nothing that could leave the bucket."""
    parts = key.split("/")
    return 0 < len(key) <= KEY_CHARS_MAX and all(
        part not in ("", ".", "..") and re.fullmatch(r"[A-Za-z0-9._:@-]+", part) for part in parts
    )


def sniff(content: bytes) -> str | None:
    """The media type the bytes themselves show, whatever anyone says; None for what we do not store."""
    head = content[:16]
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "video/webm"
    # An ISO media file begins with a box of any size whose type is ftyp; the brand tells QuickTime apart.
    if head[4:8] == b"ftyp":
        return "video/quicktime" if head[8:12] == b"qt  " else "video/mp4"
    return None


def _safe(text: str, unsafe: str) -> str:
    return re.sub(r"\.{2,}", ".", re.sub(unsafe, "_", text)).strip("._")
