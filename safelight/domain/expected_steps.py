"""The steps that the flow of an order will take, as far as the order tells. Another kind of flow adds its own here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from safelight.domain.orders import INSPIRATIONS_SCANNED_MAX, Flow
from safelight.domain.steps import LAST_LOOK_OF, StepType


@dataclass(frozen=True, slots=True)
class Stage:
    """So many steps of one type, at most `at_once` of them side by side."""

    step_type: str
    count: int = 1
    at_once: int = 1


def expected_stages(order: Any) -> tuple[Stage, ...] | None:
    """The stages of an order in the order in which they run; None if the flow is not known here."""
    stages = _STAGES.get(order.flow)
    return tuple(stage for stage in stages(order) if stage.count) if stages else None


def without_ended(stages: Sequence[Stage], ended: Mapping[str, int]) -> tuple[Stage, ...]:
    """The part of the stages that is still to be done, where so many steps of each type have ended."""
    left = dict(ended)
    remaining = []
    for stage in stages:
        done = min(stage.count, left.get(stage.step_type, 0))
        left[stage.step_type] = left.get(stage.step_type, 0) - done
        if done < stage.count:
            remaining.append(Stage(stage.step_type, stage.count - done, stage.at_once))
    return tuple(remaining)


def _still_create(order: Any) -> list[Stage]:
    assets = order.assets
    return [
        Stage(StepType.SCAN_PRODUCT, int(bool(assets.product))),
        Stage(StepType.SCAN_LOGO, int(bool(assets.logo))),
        Stage(StepType.SCAN_INSPIRATION, min(len(assets.inspirations), INSPIRATIONS_SCANNED_MAX)),
        Stage(StepType.LIKE_HISTORY),
        Stage(StepType.GPT_READER, int(not order.preset_prompt)),
        *_made_by(StepType.SEEDREAM_GENERATE),
    ]


def _still_tweak(order: Any) -> list[Stage]:
    return [
        Stage(StepType.SCAN_INPUT_STILL, int(not order.parent.output_crt)),
        Stage(StepType.GPT_FEEDBACK_STILL),
        *_made_by(StepType.SEEDREAM_GENERATE_FEEDBACK),
    ]


def _video_animate(order: Any) -> list[Stage]:
    scan = Stage(StepType.SCAN_INPUT_STILL, int(not order.known_caption))
    if order.suggest_only:
        return [scan, Stage(StepType.MOTION_SUGGESTION)]
    if order.type_for_me:
        return [scan, Stage(StepType.MOTION_SUGGESTION), *_made_by(StepType.KLING_GENERATE)]
    return [scan, Stage(StepType.GPT_READER_MOTION, int(not order.preset_prompt)), *_made_by(StepType.KLING_GENERATE)]


def _video_tweak(_: Any) -> list[Stage]:
    return [Stage(StepType.GPT_FEEDBACK_MOTION), *_made_by(StepType.KLING_GENERATE_FEEDBACK)]


def _made_by(step_type: StepType) -> tuple[Stage, Stage]:
    return Stage(step_type), Stage(LAST_LOOK_OF[step_type])


_STAGES: Mapping[str, Callable[[Any], list[Stage]]] = {
    Flow.STILL_CREATE: _still_create,
    Flow.STILL_TWEAK: _still_tweak,
    Flow.VIDEO_ANIMATE: _video_animate,
    Flow.VIDEO_TWEAK: _video_tweak,
}
