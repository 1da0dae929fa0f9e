"""The log lines of a file on its way into storage, and of signed URLs, in the words and the order of
docs/contract/log-lines.md."""

from datetime import UTC, datetime, timedelta
from typing import BinaryIO

from safelight import telemetry
from safelight.media.formats import HEAD_BYTES, sniff
from safelight.storage import keys
from safelight.storage.spool import head_of, size_of

HASH_CHARS_SHOWN = 16
URL_CHARS_SHOWN = 100


def upload_begins(customer: str | None, *, name: str, size: int | None, media_type: str | None, bucket: str) -> None:
    """`customer` None is whom the log's context names; `size` None is a file that streams."""
    user = customer or telemetry.known("pass_id") or keys.NOBODY
    _info("📤", f"Starting file upload for user {user}")
    stated = "unknown" if size is None else f"{size} bytes"
    details = f"filename={name or 'none'}, size={stated}, type={media_type or 'unknown'}, bucket={bucket}"
    _info("🔍", f"Upload details: {details}")


def content_begins(content: bytes, *, customer: str | None, name: str, bucket: str) -> None:
    media_type = sniff(content[:HEAD_BYTES])
    upload_begins(customer, name=name, size=len(content), media_type=media_type, bucket=bucket)


def file_begins(file: BinaryIO, *, customer: str | None, name: str, bucket: str) -> None:
    media_type = sniff(head_of(file, HEAD_BYTES))
    upload_begins(customer, name=name, size=size_of(file), media_type=media_type, bucket=bucket)


def validated() -> None:
    _info("✅", "File validation passed")


def hashed(sha256: str) -> None:
    _info("🔐", f"Calculated file hash: {sha256[:HASH_CHARS_SHOWN]}")


def path_generated(key: str) -> None:
    _info("📁", f"Generated secure file path: {key}")


def known_already(key: str) -> None:
    _info("🔍", f"The same file is stored already: {key}")


def uploading(service: str) -> None:
    _info("☁️", f"Uploading to {service} repository")


def uploaded(service: str, size: int) -> None:
    _info("✅", f"File uploaded to {service} ({size} bytes)")


def metadata_created(record_id: str) -> None:
    _info("📁", f"File metadata created: ID={record_id}")


def _info(emoji: str, message: str) -> None:
    telemetry.info(emoji, telemetry.Tag.STORAGE_FILE, message)


# --- signed URLs -----------------------------------------------------------------------------------------------------


def url_wanted() -> None:
    _url("🔗", "Creating signed URL for file access")


def checking_owner() -> None:
    _url("🔐", "Checking file path ownership")


def owner_verified() -> None:
    _url("✅", "File ownership verified")


def url_created(url: str, seconds: int) -> None:
    """The URL, which is good for `seconds`, without its signature, which gives access."""
    _url("🔗", f"URL: {url.partition('?')[0][:URL_CHARS_SHOWN]}")
    expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
    _url("⏰", f"Expires at: {expires_at.isoformat(timespec='seconds')}")


def url_is_permanent() -> None:
    _url("🔍", "The store checks no signatures: the permanent URL is given")


def primary_url_wanted() -> None:
    telemetry.info("🔗", telemetry.Tag.STORAGE, "Generating primary signed URL for media access")


def primary_url_generated(*, is_signed: bool) -> None:
    kind = "signed URL" if is_signed else "URL"
    telemetry.info("✅", telemetry.Tag.STORAGE, f"Primary {kind} generated")


def _url(emoji: str, message: str) -> None:
    telemetry.info(emoji, telemetry.Tag.STORAGE_URL, message)
