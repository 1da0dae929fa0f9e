"""Checks that a video file is complete: none of its outermost parts ends beyond the end of the file."""

import os
from typing import BinaryIO

from safelight.domain.errors.base import AssetUnreadable

ELEMENTS_MAX = 2_000_000

_BOX_FILES = frozenset({"video/mp4", "video/quicktime"})
_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_RIFF_LISTS = frozenset({b"RIFF", b"LIST"})


def must_be_whole(file: BinaryIO, media_type: str) -> None:
    """Raises AssetUnreadable if a part ends beyond the end of the file, or there are more than ELEMENTS_MAX parts."""
    if media_type in _BOX_FILES:
        _walk_boxes(file)
    elif media_type == "video/webm":
        _walk_elements(file)
    else:
        _walk_riff(file)


def _must_end(at: int, end: int, name: bytes) -> None:
    if at > end:
        raise AssetUnreadable(f"the film is cut: {name!r} ends {at - end} bytes after the file")


def _walk_boxes(file: BinaryIO) -> None:
    end, at = file.seek(0, os.SEEK_END), 0
    for _ in range(ELEMENTS_MAX):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 0 or not name.isascii():  # size 0: up to the end of the file; else not a box
            return
        size = int.from_bytes(head[8:16], "big") if size == 1 else size
        if size < 8:
            return
        at += size
        _must_end(at, end, name)
    raise AssetUnreadable(f"more than {ELEMENTS_MAX} boxes")


def _walk_riff(file: BinaryIO) -> None:
    """Walks the RIFF chunks. A chunk of size 0 belongs to a recording that was not finished; it ends with the file."""
    end, at = file.seek(0, os.SEEK_END), 0
    for _ in range(ELEMENTS_MAX):
        file.seek(at)
        head = file.read(8)
        if head[:4] not in _RIFF_LISTS or len(head) < 8:
            return
        size = int.from_bytes(head[4:8], "little")
        at += 8 + size + size % 2
        _must_end(at - size % 2, end, head[:4])
    raise AssetUnreadable(f"more than {ELEMENTS_MAX} lists")


def _walk_elements(file: BinaryIO) -> None:
    """In a live recording the segment and its clusters have no stated length; then the elements inside are walked."""
    end, at = file.seek(0, os.SEEK_END), 0
    for _ in range(ELEMENTS_MAX):
        file.seek(at)
        head = file.read(12)
        if not head:
            return
        name_bytes = _length_of(head[0])
        name = head[:name_bytes]
        size_bytes = _length_of(head[name_bytes]) if len(head) > name_bytes else 0
        if not name_bytes or not size_bytes or len(head) < name_bytes + size_bytes:
            raise AssetUnreadable("the film is cut in the head of an element")
        size = int.from_bytes(head[name_bytes : name_bytes + size_bytes], "big") & ((1 << 7 * size_bytes) - 1)
        at += name_bytes + size_bytes
        if size == (1 << 7 * size_bytes) - 1 and name in (_SEGMENT, _CLUSTER):
            continue
        at += size
        _must_end(at, end, name)
    raise AssetUnreadable(f"more than {ELEMENTS_MAX} elements")


def _length_of(first: int) -> int:
    """Length in bytes of the variable-size number that starts with this byte; 0 if no number starts so."""
    return 9 - first.bit_length() if first else 0
