"""Temporary files on disk for content that arrives slowly, instead of memory."""

import tempfile
from collections.abc import AsyncIterable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

from safelight.domain.errors.base import StorageError
from safelight.private_files import make_private_folder

MEMORY_BYTES = 64 * 1024  # smaller content stays in memory


class Spool:
    """Unnamed files in a private folder, so that a process that dies leaves nothing behind."""

    def __init__(self, folder: Path) -> None:
        make_private_folder(folder)
        self._folder = folder

    def open(self) -> BinaryIO:
        """An empty file to write to and read from; closing it removes it."""
        return cast(BinaryIO, tempfile.SpooledTemporaryFile(MEMORY_BYTES, dir=str(self._folder)))

    async def receive(self, chunks: AsyncIterable[bytes]) -> BinaryIO:
        """The bytes as a file, at its beginning. An error of `chunks` leaves nothing behind."""
        with ExitStack() as undo:
            file = undo.enter_context(self.open())
            async for chunk in chunks:
                _write(file, chunk)
            file.seek(0)
            undo.pop_all()
        return file


def _write(file: BinaryIO, chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise StorageError(f"a file that arrives cannot be kept: {error.strerror}") from error


def size_of(file: BinaryIO) -> int:
    """Length of the file; its position does not change."""
    at = file.tell()
    size = file.seek(0, 2)
    file.seek(at)
    return size


def head_of(file: BinaryIO, bytes_max: int) -> bytes:
    """The first bytes of the file, which is at its beginning afterwards."""
    file.seek(0)
    head = file.read(bytes_max)
    file.seek(0)
    return head
