"""The steps that the flow of an order will take, as far as the order tells. Another kind of flow adds its own here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safelight.domain.flows import Flow
from safelight.domain.orders import INSPIRATIONS_SCANNED_MAX
from safelight.domain.steps import LAST_LOOK_OF, StepType


@dataclass(frozen=True, slots=True)
class ExpectedStage:
    """So many steps of one type, at most `at_once` of them side by side."""

    step_type: str
    count: int = 1
    at_once: int = 1


def expected_stages(order: Any) -> tuple[ExpectedStage, ...] | None:
    """The stages of an order in the order in which they run; None if the flow is not known here."""
    stages = _STAGES.get(order.flow)
    return tuple(stage for stage in stages(order) if stage.count) if stages else None


def without_ended(stages: Sequence[ExpectedStage], ended: Mapping[str, int]) -> tuple[ExpectedStage, ...]:
    """The part of the stages that is still to be done, where so many steps of each type have ended."""
    left = dict(ended)
    remaining = []
    for stage in stages:
        done = min(stage.count, left.get(stage.step_type, 0))
        left[stage.step_type] = left.get(stage.step_type, 0) - done
        if done < stage.count:
            remaining.append(ExpectedStage(stage.step_type, stage.count - done, stage.at_once))
    return tuple(remaining)


def _still_create(order: Any) -> list[ExpectedStage]:
    assets = order.assets
    return [
        ExpectedStage(StepType.SCAN_PRODUCT, int(bool(assets.product))),
        ExpectedStage(StepType.SCAN_LOGO, int(bool(assets.logo))),
        ExpectedStage(StepType.SCAN_INSPIRATION, min(len(assets.inspirations), INSPIRATIONS_SCANNED_MAX)),
        ExpectedStage(StepType.LIKE_HISTORY),
        ExpectedStage(StepType.GPT_READER, int(not order.preset_prompt)),
        *_made_by(StepType.SEEDREAM_GENERATE),
    ]


def _still_tweak(order: Any) -> list[ExpectedStage]:
    return [
        ExpectedStage(StepType.SCAN_INPUT_STILL, int(not order.parent.output_crt)),
        ExpectedStage(StepType.GPT_FEEDBACK_STILL),
        *_made_by(StepType.SEEDREAM_GENERATE_FEEDBACK),
    ]


def _video_animate(order: Any) -> list[ExpectedStage]:
    scan = ExpectedStage(StepType.SCAN_INPUT_STILL, int(not order.known_caption))
    if order.suggest_only:
        return [scan, ExpectedStage(StepType.MOTION_SUGGESTION)]
    if order.type_for_me:
        return [scan, ExpectedStage(StepType.MOTION_SUGGESTION), *_made_by(StepType.KLING_GENERATE)]
    return [
        scan,
        ExpectedStage(StepType.GPT_READER_MOTION, int(not order.preset_prompt)),
        *_made_by(StepType.KLING_GENERATE),
    ]


def _video_tweak(_: Any) -> list[ExpectedStage]:
    return [ExpectedStage(StepType.GPT_FEEDBACK_MOTION), *_made_by(StepType.KLING_GENERATE_FEEDBACK)]


def _made_by(step_type: StepType) -> tuple[ExpectedStage, ExpectedStage]:
    return ExpectedStage(step_type), ExpectedStage(LAST_LOOK_OF[step_type])


_STAGES: Mapping[str, Callable[[Any], list[ExpectedStage]]] = {
    Flow.STILL_CREATE: _still_create,
    Flow.STILL_TWEAK: _still_tweak,
    Flow.VIDEO_ANIMATE: _video_animate,
    Flow.VIDEO_TWEAK: _video_tweak,
}
