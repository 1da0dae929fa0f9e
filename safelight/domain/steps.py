"""The steps of each pipeline by their documented names, and the status a generation has while one runs."""

from collections.abc import Mapping
from enum import StrEnum

from safelight.domain.statuses import Status


class StepType(StrEnum):
    SCAN_PRODUCT = "scan_product"
    SCAN_LOGO = "scan_logo"
    SCAN_INSPIRATION = "scan_inspiration"
    LIKE_HISTORY = "like_history"
    GPT_READER = "gpt_reader"
    SEEDREAM_GENERATE = "seedream_generate"
    POSTSCAN_OUTPUT_STILL = "postscan_output_still"
    GPT_FEEDBACK_STILL = "gpt_feedback_still"
    SEEDREAM_GENERATE_FEEDBACK = "seedream_generate_feedback"
    POSTSCAN_OUTPUT_STILL_FEEDBACK = "postscan_output_still_feedback"
    SCAN_INPUT_STILL = "scan_input_still"
    MOTION_SUGGESTION = "motion_suggestion"
    GPT_READER_MOTION = "gpt_reader_motion"
    KLING_GENERATE = "kling_generate"
    POSTSCAN_OUTPUT_VIDEO = "postscan_output_video"
    GPT_FEEDBACK_MOTION = "gpt_feedback_motion"
    KLING_GENERATE_FEEDBACK = "kling_generate_feedback"
    POSTSCAN_OUTPUT_VIDEO_FEEDBACK = "postscan_output_video_feedback"
    VALIDATION = "validation"
    BASE_GENERATION = "base_generation"
    VARIANT_CREATION = "variant_creation"
    COMPLETION = "completion"

    @property
    def status(self) -> Status:
        """The status of the generation while this step runs."""
        return Status.GENERATING if self in PAID_STEPS else _STATUSES.get(self, Status.PROMPTING)


# The engine whose work a step pays for and stores, by the name that public error codes use.
GENERATE_STEPS: Mapping[str, str] = {
    StepType.SEEDREAM_GENERATE: "seedream",
    StepType.SEEDREAM_GENERATE_FEEDBACK: "seedream",
    StepType.KLING_GENERATE: "kling",
    StepType.KLING_GENERATE_FEEDBACK: "kling",
    StepType.BASE_GENERATION: "image_edit",
}
PAID_STEPS = frozenset(GENERATE_STEPS)

# The step that captions a result, by the step that made it: no result depends on it.
LAST_LOOK_OF = {
    StepType.SEEDREAM_GENERATE: StepType.POSTSCAN_OUTPUT_STILL,
    StepType.SEEDREAM_GENERATE_FEEDBACK: StepType.POSTSCAN_OUTPUT_STILL_FEEDBACK,
    StepType.KLING_GENERATE: StepType.POSTSCAN_OUTPUT_VIDEO,
    StepType.KLING_GENERATE_FEEDBACK: StepType.POSTSCAN_OUTPUT_VIDEO_FEEDBACK,
}
# The steps that make the one result of a generation: once such a step has ended, the generation is delivered.
RESULT_STEPS = frozenset(LAST_LOOK_OF)
# The steps that make positions of a set; each names what it made in `output.slides`.
POSITION_STEPS = frozenset({StepType.VARIANT_CREATION})

_STATUSES = {
    StepType.SCAN_PRODUCT: Status.SCANNING,
    StepType.SCAN_LOGO: Status.SCANNING,
    StepType.SCAN_INSPIRATION: Status.SCANNING,
    StepType.SCAN_INPUT_STILL: Status.SCANNING,
    StepType.LIKE_HISTORY: Status.SCANNING,
    StepType.VALIDATION: Status.SCANNING,
    StepType.VARIANT_CREATION: Status.GENERATING,
    StepType.COMPLETION: Status.POSTSCAN,
    **dict.fromkeys(LAST_LOOK_OF.values(), Status.POSTSCAN),
}
