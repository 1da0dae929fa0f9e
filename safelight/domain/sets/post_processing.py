"""Post-processing of the pictures of an image job: small, honest changes that are drawn from a seed and recorded.

The same seed and settings give the same changes for a position, so that a variant can be made again, byte for byte. No
metadata is forged (docs/decisions/0040-image-sets.md).
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Preset = Literal["light", "standard", "maximum"]
OutputFormat = Literal["jpeg", "webp"]
AspectRatio = Literal["auto", "1:1", "3:2", "2:3", "16:9", "9:16"]

SEED_MAX = 2**31 - 1
SIDE_MIN, SIDE_MAX = 64, 4096


@dataclass(frozen=True, slots=True)
class Strength:
    """The most that a preset changes."""

    hue_degrees: float
    saturation_percent: float
    lightness_percent: float
    noise_percent: float
    border_px: int
    quality: tuple[int, int]


PRESETS: Mapping[Preset, Strength] = {
    "light": Strength(1.0, 1.0, 1.0, 0.3, 0, (92, 95)),
    "standard": Strength(2.0, 3.0, 2.0, 0.7, 0, (88, 94)),
    "maximum": Strength(5.0, 8.0, 5.0, 1.2, 4, (80, 92)),
}

Percent = Annotated[float, Field(ge=0, le=20)]
Quality = Annotated[int, Field(ge=40, le=100)]


class PostProcessing(BaseModel):
    """The settings of an image job. The preset gives what is not stated.

    A number is the most that is changed, in either direction; the width of the border is drawn from 0 up to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset = "standard"
    seed: int | None = Field(default=None, ge=0, le=SEED_MAX, description="Drawn for the job if it is not stated.")
    hue_degrees: float | None = Field(default=None, ge=0, le=30)
    saturation_percent: Percent | None = None
    lightness_percent: Percent | None = None
    noise_percent: Annotated[float, Field(ge=0, le=10)] | None = None
    border_px: int | None = Field(default=None, ge=0, le=10)
    quality_min: Quality | None = None
    quality_max: Quality | None = None
    format: OutputFormat = "jpeg"
    crop: AspectRatio = Field(default="auto", description="`auto` crops nothing.")
    side_max: int | None = Field(
        default=None, ge=SIDE_MIN, le=SIDE_MAX, description="Longest side in pixels; larger pictures are made smaller."
    )

    @model_validator(mode="after")
    def _check_quality(self) -> Self:
        low, high = self.quality_range
        if low > high:
            raise ValueError(f"quality_min ({low}) must be at most quality_max ({high})")
        return self

    @property
    def quality_range(self) -> tuple[int, int]:
        low, high = PRESETS[self.preset].quality
        if self.quality_min is not None:
            low, high = self.quality_min, max(high, self.quality_min)
        if self.quality_max is not None:
            low, high = (low if self.quality_min is not None else min(low, self.quality_max)), self.quality_max
        return low, high

    def drawn(self, seed: int, variant: int, source: int) -> "Changes":
        """The changes to one picture of the set, `variant` and `source` from 0."""
        strength = PRESETS[self.preset]
        draw = random.Random(f"{seed}:{variant}:{source}")  # noqa: S311 - it has to be repeatable, not secret
        low, high = self.quality_range
        return Changes(
            hue_degrees=_either_way(draw, self.hue_degrees, strength.hue_degrees),
            saturation_percent=_either_way(draw, self.saturation_percent, strength.saturation_percent),
            lightness_percent=_either_way(draw, self.lightness_percent, strength.lightness_percent),
            noise_percent=strength.noise_percent if self.noise_percent is None else self.noise_percent,
            border_px=draw.randint(0, strength.border_px if self.border_px is None else self.border_px),
            quality=draw.randint(low, high),
            noise_seed=draw.randrange(SEED_MAX),
        )


@dataclass(frozen=True, slots=True)
class Changes:
    """One picture's own numbers; they are recorded with it."""

    hue_degrees: float
    saturation_percent: float
    lightness_percent: float
    noise_percent: float
    border_px: int
    quality: int
    noise_seed: int


def _either_way(draw: random.Random, stated: float | None, preset: float) -> float:
    most = preset if stated is None else stated
    return round(draw.uniform(-most, most), 3)
