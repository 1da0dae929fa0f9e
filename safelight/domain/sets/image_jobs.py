"""The bounds of image jobs, and the places of their pictures: a position is a variant and a source, both from 0."""

import hashlib
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

Json = dict[str, Any]
Quality = Literal["auto", "low", "medium", "high"]

SOURCES_MAX = 50
VARIANTS_MAX = 500
POSITIONS_MAX = 5_000
PROMPT_CHARS_MAX = 4_000
NAME_CHARS_MAX = 255
URL_CHARS_MAX = 2_048
ATTEMPTS = (1, 5)
ATTEMPT_SECONDS = (10.0, 300.0)
ATTEMPT_SECONDS_DEFAULT = 120.0

# The sizes of base images, by aspect ratio: those that the image models know.
SIZES: Mapping[str, tuple[int, int]] = {
    "1:1": (1024, 1024),
    "3:2": (1536, 1024),
    "16:9": (1536, 1024),
    "2:3": (1024, 1536),
    "9:16": (1024, 1536),
}
MEASURED_RATIOS = ("1:1", "3:2", "2:3")  # of which `auto` takes the one that is closest to the source


class ImageSource(BaseModel):
    """One source picture. `prompt` says what is changed in it; without one, that of the job does."""

    model_config = ConfigDict(frozen=True)

    url: str = Field(min_length=1, max_length=URL_CHARS_MAX)
    prompt: str = Field(default="", max_length=PROMPT_CHARS_MAX)


@dataclass(frozen=True, slots=True, order=True)
class Position:
    variant: int
    source: int


@dataclass(frozen=True, slots=True)
class Slide:
    """The picture of one position, as the step that made it records it."""

    position: Position
    record: Json

    @classmethod
    def read(cls, record: Json) -> Self:
        return cls(Position(record["variant"], record["source"]), record)


def positions(variants: int, sources: int) -> list[Position]:
    """All positions of a job, variant by variant."""
    return [Position(variant, source) for variant in range(variants) for source in range(sources)]


def by_variant(wanted: Iterable[Position]) -> dict[int, list[int]]:
    """The sources of each variant that has any."""
    found: dict[int, list[int]] = {}
    for position in sorted(wanted):
        found.setdefault(position.variant, []).append(position.source)
    return found


def closest_ratio(width: int, height: int) -> str:
    """The ratio of MEASURED_RATIOS that a picture of this size comes closest to."""
    return min(MEASURED_RATIOS, key=lambda ratio: abs(SIZES[ratio][0] / SIZES[ratio][1] - width / height))


def file_id(generation_id: str, position: Position) -> str:
    """The id of the position's file in the view `file_metadata`."""
    named = f"{generation_id}:{position.variant}:{position.source}"
    return hashlib.md5(named.encode(), usedforsecurity=False).hexdigest()


def variant_id(generation_id: str, variant: int) -> str:
    """The id of a variant, which is the same whenever it is made."""
    return str(uuid.uuid5(uuid.UUID(generation_id), f"variant:{variant}"))
