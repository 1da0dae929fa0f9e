"""The steps of each pipeline by their documented names, and the status a generation has while one runs."""

from collections.abc import Mapping
from enum import StrEnum

from safelight.domain.statuses import Status


class StepType(StrEnum):
    status: Status  # of the generation while this step runs

    def __new__(cls, name: str, status: Status = Status.PROMPTING) -> "StepType":
        step_type = str.__new__(cls, name)
        step_type._value_, step_type.status = name, status
        return step_type

    SCAN_PRODUCT = "scan_product", Status.SCANNING
    SCAN_LOGO = "scan_logo", Status.SCANNING
    SCAN_INSPIRATION = "scan_inspiration", Status.SCANNING
    LIKE_HISTORY = "like_history", Status.SCANNING
    GPT_READER = "gpt_reader", Status.PROMPTING
    SEEDREAM_GENERATE = "seedream_generate", Status.GENERATING
    POSTSCAN_OUTPUT_STILL = "postscan_output_still", Status.POSTSCAN
    GPT_FEEDBACK_STILL = "gpt_feedback_still", Status.PROMPTING
    SEEDREAM_GENERATE_FEEDBACK = "seedream_generate_feedback", Status.GENERATING
    POSTSCAN_OUTPUT_STILL_FEEDBACK = "postscan_output_still_feedback", Status.POSTSCAN
    SCAN_INPUT_STILL = "scan_input_still", Status.SCANNING
    MOTION_SUGGESTION = "motion_suggestion", Status.PROMPTING
    GPT_READER_MOTION = "gpt_reader_motion", Status.PROMPTING
    KLING_GENERATE = "kling_generate", Status.GENERATING
    POSTSCAN_OUTPUT_VIDEO = "postscan_output_video", Status.POSTSCAN
    GPT_FEEDBACK_MOTION = "gpt_feedback_motion", Status.PROMPTING
    KLING_GENERATE_FEEDBACK = "kling_generate_feedback", Status.GENERATING
    POSTSCAN_OUTPUT_VIDEO_FEEDBACK = "postscan_output_video_feedback", Status.POSTSCAN
    VALIDATION = "validation", Status.SCANNING
    BASE_GENERATION = "base_generation", Status.GENERATING
    VARIANT_CREATION = "variant_creation", Status.GENERATING
    COMPLETION = "completion", Status.POSTSCAN
    MODEL_GENERATE = "model_generate", Status.GENERATING


# The engine whose work a step pays for and stores, by the name that public error codes use.
GENERATE_STEPS: Mapping[str, str] = {
    StepType.SEEDREAM_GENERATE: "seedream",
    StepType.SEEDREAM_GENERATE_FEEDBACK: "seedream",
    StepType.KLING_GENERATE: "kling",
    StepType.KLING_GENERATE_FEEDBACK: "kling",
    StepType.BASE_GENERATION: "image_edit",
    StepType.MODEL_GENERATE: "model",
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
POSITION_STEPS = frozenset({StepType.VARIANT_CREATION, StepType.MODEL_GENERATE})
