"""Checks that a video file is complete: none of its outermost parts ends beyond the end of the file."""

import os
from typing import BinaryIO

from safelight.domain.errors.base import AssetUnreadable

PARTS_MAX = 2_000_000
HEAD_BYTES = 16  # as much of a part as tells its name and length

_BOX_FILES = frozenset({"video/mp4", "video/quicktime"})
_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_RIFF_LISTS = frozenset({b"RIFF", b"LIST"})

_Length = tuple[int, bytes] | None  # of a part, with its name; None if there is none, or it ends with the file


def must_be_whole(file: BinaryIO, media_type: str) -> None:
    """Raises AssetUnreadable if a part ends beyond the end of the file, or there are more than PARTS_MAX parts."""
    read = _box if media_type in _BOX_FILES else _element if media_type == "video/webm" else _riff_list
    end, at = file.seek(0, os.SEEK_END), 0
    for _ in range(PARTS_MAX):
        file.seek(at)
        found = read(file.read(HEAD_BYTES))
        if found is None:
            return
        at += found[0]
        if at > end:
            raise AssetUnreadable(f"the film is cut: {found[1]!r} ends {at - end} bytes after the file")
        at += at % 2 if read is _riff_list else 0  # the last one may lack this byte
    raise AssetUnreadable(f"more than {PARTS_MAX} parts")


def _box(head: bytes) -> _Length:
    size, name = int.from_bytes(head[:4], "big"), head[4:8]
    if len(head) < 8 or size == 0 or not name.isascii():  # size 0: up to the end of the file; else not a box
        return None
    size = int.from_bytes(head[8:16], "big") if size == 1 else size
    return None if size < 8 else (size, name)


def _riff_list(head: bytes) -> _Length:
    """A list of size 0 belongs to a recording that was not finished; it ends with the file."""
    if head[:4] not in _RIFF_LISTS or len(head) < 8:
        return None
    return 8 + int.from_bytes(head[4:8], "little"), head[:4]


def _element(head: bytes) -> _Length:
    """In a live recording the segment and its clusters have no stated length; then the elements inside follow."""
    if not head:
        return None
    name_bytes = _length_of(head[0])
    name = head[:name_bytes]
    size_bytes = _length_of(head[name_bytes]) if len(head) > name_bytes else 0
    if not name_bytes or not size_bytes or len(head) < name_bytes + size_bytes:
        raise AssetUnreadable("the film is cut in the head of an element")
    unknown = (1 << 7 * size_bytes) - 1
    size = int.from_bytes(head[name_bytes : name_bytes + size_bytes], "big") & unknown
    return name_bytes + size_bytes + (0 if size == unknown and name in (_SEGMENT, _CLUSTER) else size), name


def _length_of(first: int) -> int:
    """Length in bytes of the variable-size number that starts with this byte; 0 if no number starts so."""
    return 9 - first.bit_length() if first else 0
