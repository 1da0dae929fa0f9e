"""The flows of a video: a still set in motion, then tweaked."""

from typing import Any

from safelight.domain.orders import VideoAnimate, VideoOrder, VideoTweak
from safelight.domain.statuses import Status
from safelight.domain.steps import LAST_LOOK_OF, StepType
from safelight.media import decode
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.plans import Outcome
from safelight.pipelines.engine.run import Run
from safelight.pipelines.flows.media_steps import MediaRequest, end, finish_done, generate
from safelight.pipelines.flows.scans import scan
from safelight.pipelines.flows.text_steps import TextStep, ask, avoid_text, user_message
from safelight.providers.base import ReferenceImage

Json = dict[str, Any]

MOTION_SUGGESTION = "mma.ctx.motion_suggestion"
READER_MOTION = "mma.ctx.gpt_reader_motion"
FEEDBACK_MOTION = "mma.ctx.gpt_feedback_motion"
FRAME_LOOKED_AT = 0.5
SUGGESTED_LINE = "Here is an idea for the movement."


async def video_animate(context: PipelineContext, run: Run) -> None:
    order = run.order_as(VideoAnimate)
    caption = order.known_caption or await scan(
        context, run, StepType.SCAN_INPUT_STILL, "still", order.start_url or "", "scans.still_crt"
    )
    if order.type_for_me or order.suggest_only:
        prompt = await _suggest(context, run, order, caption)
        if order.suggest_only:
            await end(run, Status.SUGGESTED, SUGGESTED_LINE, prompt=prompt)
            return
    else:
        prompt = order.preset_prompt or await _read_motion_brief(context, run, order, caption)
    run.set("prompts.motion_prompt", prompt)
    await _film(context, run, order, StepType.KLING_GENERATE, prompt, "Setting the picture in motion.")


async def video_tweak(context: PipelineContext, run: Run) -> None:
    order = run.order_as(VideoTweak)
    prompt = await _read_feedback(context, run, order)
    await _film(context, run, order, StepType.KLING_GENERATE_FEEDBACK, prompt, "Filming it again, your way.")


async def _suggest(context: PipelineContext, run: Run, order: VideoAnimate, caption: str) -> str:
    def read(answer: Json) -> Outcome:
        suggestion = answer["sugg_prompt"]
        return Outcome(
            output={"motion_sugg_prompt": suggestion, "sugg_prompt": suggestion},
            variables={"prompts.motion_sugg_prompt": suggestion, "prompts.sugg_prompt": suggestion},
            line=user_message(answer, "I have an idea for the movement."),
        )

    begin_line = "Thinking about a movement that suits it."
    question = _motion_question(run, order, caption, StepType.MOTION_SUGGESTION, MOTION_SUGGESTION, read, begin_line)
    return str((await ask(context, run, question))["sugg_prompt"])


async def _read_motion_brief(context: PipelineContext, run: Run, order: VideoAnimate, caption: str) -> str:
    def read(answer: Json) -> Outcome:
        prompt = answer["motion_prompt"]
        return Outcome(
            output={"motion_prompt": prompt},
            variables={"prompts.motion_prompt": prompt},
            line=user_message(answer, "I know how it should move."),
        )

    begin_line = "Reading how it should move."
    question = _motion_question(run, order, caption, StepType.GPT_READER_MOTION, READER_MOTION, read, begin_line)
    return str((await ask(context, run, question))["motion_prompt"])


def _motion_question(
    run: Run, order: VideoAnimate, caption: str, step_type: StepType, context_key: str, read: Any, begin_line: str
) -> TextStep:
    return TextStep(
        step_type=step_type,
        context_key=context_key,
        values={
            "still_crt": caption.strip(),
            "motion_brief": order.motion_brief.strip(),
            "movement_style": order.movement_style.strip(),
            "avoid": avoid_text(run),
        },
        given={
            "motion_user_brief": order.motion_brief,
            "movement_style": order.movement_style,
            "still_crt": caption,
            "image_url": order.start_url,
        },
        read=read,
        begin_line=begin_line,
        images=(ReferenceImage("still", order.start_url or ""),),
        input_key=f"input_{step_type}",
    )


async def _read_feedback(context: PipelineContext, run: Run, order: VideoTweak) -> str:
    previous, caption = order.parent.prompt or "", order.parent.still_crt or ""

    def read(answer: Json) -> Outcome:
        prompt = answer["motion_prompt"]
        return Outcome(
            output={"motion_prompt": prompt, "prompt": prompt},
            variables={"prompts.motion_prompt": prompt},
            line=user_message(answer, "Got it, changing the movement."),
        )

    question = TextStep(
        step_type=StepType.GPT_FEEDBACK_MOTION,
        context_key=FEEDBACK_MOTION,
        values={
            "still_crt": caption.strip(),
            "previous_prompt": previous.strip(),
            "feedback": order.feedback.strip(),
            "avoid": avoid_text(run),
        },
        given={"previous_prompt": previous, "feedback": order.feedback, "still_crt": caption},
        read=read,
        begin_line="Reading your feedback.",
        input_key="input_gpt_feedback_motion",
    )
    return str((await ask(context, run, question))["motion_prompt"])


async def _film(
    context: PipelineContext, run: Run, order: VideoOrder, step_type: StepType, prompt: str, begin_line: str
) -> None:
    """Make the video, look at a frame of it, and deliver it. A tweak goes on with its parent's settings; an end frame
    needs the pro mode (docs/contract/rows.md)."""
    frames = [("start_frame", order.start_url), ("end_frame", order.end_url)]
    stated: Json = {
        "duration": order.duration_seconds,
        "mode": None if order.end_url else order.kling_mode,
        "negative_prompt": order.negative_prompt,
        "aspect_ratio": order.aspect_ratio,
    }
    wanted = MediaRequest(
        engine_id=order.flow.engine,
        prompt=prompt,
        images=tuple(ReferenceImage(role, url) for role, url in frames if url),
        inherited=order.inherited_settings | ({"mode": "pro"} if order.end_url else {}),
        requested={key: value for key, value in stated.items() if value} | order.stated_settings,
        begin_line=begin_line,
        end_line="The film is developed.",
    )
    file = await generate(context, run, step_type, wanted)

    async def frame() -> bytes:
        return await context.assets.use_film(file.key, lambda video: decode.frame_at(video, FRAME_LOOKED_AT))

    await scan(context, run, LAST_LOOK_OF[step_type], "video_frame", file.url, "scans.output_still_crt", frame)
    await finish_done(run)
