"""The orders that the offline renderer takes and the result it returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SUBJECT_BOX = "safelight-subject"  # the PNG text that says where the product of a still is: four parts of its size
SUBJECT_OUTLINE = "safelight-outline"  # the PNG text with the product's outline, so that a film cuts just there


@dataclass(frozen=True, slots=True)
class Picture:
    """One reference picture of a request. `role` as in `ReferenceImage`."""

    role: str
    url: str
    content: bytes


@dataclass(frozen=True, slots=True)
class StillOrder:
    """`sources` are the pictures an earlier still was made from, by URL, where they can still be read."""

    prompt: str
    settings: Mapping[str, Any]
    seed: int
    pictures: tuple[Picture, ...]
    sources: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class VideoOrder:
    prompt: str
    settings: Mapping[str, Any]
    seed: int
    start: bytes
    end: bytes | None
    unused_roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rendered:
    content: bytes
    media_type: str
    width: int
    height: int
    warnings: tuple[str, ...] = ()
