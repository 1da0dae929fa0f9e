"""Flows, the pipelines that make generations, and the modes of what they make."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

Mode = Literal["still", "video", "image_job", "model_run"]

# The engine that makes the result of a mode, by the name that the registry, settings and fields of the contract use.
ENGINE_BY_MODE: Mapping[Mode, str] = {
    "still": "seedream", "video": "kling", "image_job": "image_edit", "model_run": "model",
}  # fmt: skip
# The modes whose result is a set of positions, which may be made in part.
SET_MODES: frozenset[Mode] = frozenset({"image_job", "model_run"})


class Flow(StrEnum):
    """The pipelines, by the name that `mg_mma_vars.meta.flow` holds."""

    STILL_CREATE = "still_create"
    STILL_TWEAK = "still_tweak"
    VIDEO_ANIMATE = "video_animate"
    VIDEO_TWEAK = "video_tweak"
    IMAGE_JOB = "image_job"
    MODEL_RUN = "model_run"

    @property
    def mode(self) -> Mode:
        return _MODES[self]

    @property
    def is_set(self) -> bool:
        """True if the result is a set of positions (docs/decisions/0040-image-sets.md)."""
        return self.mode in SET_MODES

    @property
    def is_tweak(self) -> bool:
        return self in (Flow.STILL_TWEAK, Flow.VIDEO_TWEAK)

    @property
    def engine(self) -> str:
        return ENGINE_BY_MODE[self.mode]


_MODES: Mapping[Flow, Mode] = {
    Flow.STILL_CREATE: "still",
    Flow.STILL_TWEAK: "still",
    Flow.VIDEO_ANIMATE: "video",
    Flow.VIDEO_TWEAK: "video",
    Flow.IMAGE_JOB: "image_job",
    Flow.MODEL_RUN: "model_run",
}
