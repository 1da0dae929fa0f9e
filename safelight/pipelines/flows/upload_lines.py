"""The log lines about results on their way into storage, in the words and the order of docs/contract/log-lines.md."""

from collections.abc import Sequence

from safelight import telemetry
from safelight.telemetry import Tag


class UploadLines:
    """Says how the storing of `total` files of a generation goes on. `service` is where they are stored."""

    def __init__(self, generation_id: str, service: str, total: int) -> None:
        self._generation_id, self._service, self._total = generation_id, service, total

    def begin(self) -> None:
        self._info("📦", Tag.STORAGE, f"Starting storage process for generation {self._generation_id}")
        self._info("☁️", Tag.STORAGE, f"Uploading generation results to {self._service}")
        self._info("📦", Tag.STORAGE_UPLOAD, "Starting upload of generation results")

    def file(self, number: int) -> None:
        """The file with this number, from 1, is next."""
        self._info("📥", Tag.STORAGE_UPLOAD, f"Processing file {number}/{self._total}")

    def end(self, stored: int, errors: Sequence[Exception] = ()) -> None:
        """`errors` are those of the files that are not stored."""
        if not stored:
            text = f"Critical failure with full traceback: {errors[0]}"
            telemetry.error("❌", Tag.STORAGE_UPLOAD, text, errors[0], generation_id=self._generation_id)
            return
        counted = f"{stored}/{self._total} files"
        self._info("🎉", Tag.STORAGE_UPLOAD, f"Upload process completed: {counted}")
        if stored < self._total:
            text = f"Partial upload success warning: {counted}"
            telemetry.warning(Tag.STORAGE_UPLOAD, text, generation_id=self._generation_id)
        self._info("✅", Tag.STORAGE, f"Successfully uploaded {stored} files")

    def primary_url(self) -> None:
        """The permanent URL of the first file is made."""
        self._info("🔗", Tag.STORAGE, "Generating primary URL for media access")
        self._info("✅", Tag.STORAGE, "Primary URL generated")

    def _info(self, emoji: str, tag: Tag, message: str) -> None:
        telemetry.info(emoji, tag, message, generation_id=self._generation_id)
