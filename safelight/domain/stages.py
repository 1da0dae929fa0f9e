"""The eight stages of the job log, as every client reads them, whatever steps a flow is made of."""

from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args

from safelight.domain.steps import StepType

Stage = Literal[
    "initialization",
    "validation",
    "base_generation",
    "variant_creation",
    "processing",
    "upload",
    "completion",
    "cleanup",
]
STAGES: tuple[Stage, ...] = get_args(Stage)
OTHER_STAGE: Stage = "processing"  # of a step that no table names, such as one of a flow of somebody's own

# The stage of each step type that is not a stage itself. Captions of inputs validate them; a caption of the result
# processes it.
STAGE_OF: Mapping[str, Stage] = {
    StepType.SCAN_PRODUCT: "validation",
    StepType.SCAN_LOGO: "validation",
    StepType.SCAN_INSPIRATION: "validation",
    StepType.LIKE_HISTORY: "initialization",
    StepType.GPT_READER: "base_generation",
    StepType.SEEDREAM_GENERATE: "base_generation",
    StepType.POSTSCAN_OUTPUT_STILL: "processing",
    StepType.GPT_FEEDBACK_STILL: "variant_creation",
    StepType.SEEDREAM_GENERATE_FEEDBACK: "variant_creation",
    StepType.POSTSCAN_OUTPUT_STILL_FEEDBACK: "processing",
    StepType.SCAN_INPUT_STILL: "validation",
    StepType.MOTION_SUGGESTION: "base_generation",
    StepType.GPT_READER_MOTION: "base_generation",
    StepType.KLING_GENERATE: "base_generation",
    StepType.POSTSCAN_OUTPUT_VIDEO: "processing",
    StepType.GPT_FEEDBACK_MOTION: "variant_creation",
    StepType.KLING_GENERATE_FEEDBACK: "variant_creation",
    StepType.POSTSCAN_OUTPUT_VIDEO_FEEDBACK: "processing",
    "accepted": "initialization",
    "pipeline": "processing",
}
_STAGE_BY_NAME: Mapping[str, Stage] = {**{stage: stage for stage in STAGES}, **STAGE_OF}
NAMED_STEPS: tuple[str, ...] = tuple(map(str, _STAGE_BY_NAME))

# What the engine notes in a line's details for operators alone.
INTERNAL_DETAILS = frozenset({"adapter", "attempt_key", "provider_error", "stack", "usd", "vendor"})


def stage_of(step: str) -> Stage:
    return _STAGE_BY_NAME.get(step, OTHER_STAGE)


def steps_of(stages: Collection[str]) -> list[str]:
    """The names under which lines of these stages are stored, but for those that no table names."""
    return [step for step in NAMED_STEPS if _STAGE_BY_NAME[step] in stages]


def shown_details(step: str, details: Mapping[str, Any] | None, *, internal: bool) -> dict[str, Any] | None:
    """The details of a line with `step_type`, if its step is not a stage; without what is internal, unless asked."""
    shown = {name: value for name, value in (details or {}).items() if internal or name not in INTERNAL_DETAILS}
    if step != stage_of(step):
        shown = {"step_type": step} | shown
    return shown or None
