"""The stories of a video: a still set in motion, then tweaked."""

from typing import Any

from safelight.domain.statuses import Status
from safelight.domain.steps import StepType
from safelight.domain.variables import known_still_caption
from safelight.media import decode
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.plans import Outcome
from safelight.pipelines.engine.run import Run
from safelight.pipelines.flows.media_steps import MediaRequest, end, finish_done, generate
from safelight.pipelines.flows.scans import scan
from safelight.pipelines.flows.text_steps import TextStep, ask, avoid_text, user_message
from safelight.providers.base import ReferenceImage
from safelight.storage.assets import StoredFile

Json = dict[str, Any]

MOTION_SUGGESTION = "mma.ctx.motion_suggestion"
READER_MOTION = "mma.ctx.gpt_reader_motion"
FEEDBACK_MOTION = "mma.ctx.gpt_feedback_motion"
FRAME_LOOKED_AT = 0.5
SUGGESTED_LINE = "Here is an idea for the movement."


async def video_animate(studio: PipelineContext, run: Run) -> None:
    caption = await _caption_of_start(studio, run)
    if run.order.type_for_me or run.order.suggest_only:
        prompt = await _suggest(studio, run, caption)
        if run.order.suggest_only:
            await end(run, Status.SUGGESTED, SUGGESTED_LINE, prompt=prompt)
            return
    else:
        prompt = run.order.preset_prompt or await _read_motion_brief(studio, run, caption)
    run.set("prompts.motion_prompt", prompt)
    file = await _film(studio, run, StepType.KLING_GENERATE, prompt, "Setting the picture in motion.")
    await _postscan(studio, run, StepType.POSTSCAN_OUTPUT_VIDEO, file)
    await finish_done(run)


async def video_tweak(studio: PipelineContext, run: Run) -> None:
    prompt = await _read_feedback(studio, run)
    file = await _film(studio, run, StepType.KLING_GENERATE_FEEDBACK, prompt, "Filming it again, your way.")
    await _postscan(studio, run, StepType.POSTSCAN_OUTPUT_VIDEO_FEEDBACK, file)
    await finish_done(run)


async def _caption_of_start(studio: PipelineContext, run: Run) -> str:
    return known_still_caption(run.order) or await scan(
        studio, run, StepType.SCAN_INPUT_STILL, "still", run.order.start_url or "", "scans.still_crt"
    )


async def _suggest(studio: PipelineContext, run: Run, caption: str) -> str:
    def read(answer: Json) -> Outcome:
        suggestion = answer["sugg_prompt"]
        return Outcome(
            output={"motion_sugg_prompt": suggestion, "sugg_prompt": suggestion},
            variables={"prompts.motion_sugg_prompt": suggestion, "prompts.sugg_prompt": suggestion},
            line=user_message(answer, "I have an idea for the movement."),
        )

    question = _motion_question(
        run,
        caption,
        StepType.MOTION_SUGGESTION,
        MOTION_SUGGESTION,
        read,
        "Thinking about a movement that suits it.",
    )
    output = await run.step(StepType.MOTION_SUGGESTION, ask(studio, run, question))
    return str(output["sugg_prompt"])


async def _read_motion_brief(studio: PipelineContext, run: Run, caption: str) -> str:
    def read(answer: Json) -> Outcome:
        prompt = answer["motion_prompt"]
        return Outcome(
            output={"motion_prompt": prompt},
            variables={"prompts.motion_prompt": prompt},
            line=user_message(answer, "I know how it should move."),
        )

    question = _motion_question(
        run, caption, StepType.GPT_READER_MOTION, READER_MOTION, read, "Reading how it should move."
    )
    output = await run.step(StepType.GPT_READER_MOTION, ask(studio, run, question))
    return str(output["motion_prompt"])


def _motion_question(
    run: Run, caption: str, step_type: StepType, context_key: str, read: Any, begin_line: str
) -> TextStep:
    order = run.order
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


async def _read_feedback(studio: PipelineContext, run: Run) -> str:
    parent, feedback = run.order.parent, run.order.feedback
    previous = (parent.prompt if parent else None) or ""
    caption = (parent.still_crt if parent else None) or ""

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
            "feedback": feedback.strip(),
            "avoid": avoid_text(run),
        },
        given={"previous_prompt": previous, "feedback": feedback, "still_crt": caption},
        read=read,
        begin_line="Reading your feedback.",
        input_key="input_gpt_feedback_motion",
    )
    output = await run.step(StepType.GPT_FEEDBACK_MOTION, ask(studio, run, question))
    return str(output["motion_prompt"])


async def _film(studio: PipelineContext, run: Run, step_type: StepType, prompt: str, begin_line: str) -> StoredFile:
    order = run.order
    frames = [("start_frame", order.start_url), ("end_frame", order.end_url)]
    wanted = MediaRequest(
        engine_id=order.flow.engine,
        prompt=prompt,
        images=tuple(ReferenceImage(role, url) for role, url in frames if url),
        inherited=_inherited(run),
        requested=_requested(run),
        begin_line=begin_line,
        end_line="The film is developed.",
    )
    return await generate(studio, run, step_type, wanted)


def _inherited(run: Run) -> Json:
    """A tweak goes on with its parent's settings; an end frame needs the pro mode (docs/contract/rows.md)."""
    order = run.order
    inherited = order.parent.engine_settings if order.parent and order.flow.is_tweak else {}
    return inherited | ({"mode": "pro"} if order.end_url else {})


def _requested(run: Run) -> Json:
    order = run.order
    stated: Json = {
        "duration": order.duration_seconds,
        "mode": None if order.end_url else order.kling_mode,
        "negative_prompt": order.negative_prompt,
        "aspect_ratio": order.aspect_ratio,
    }
    return {key: value for key, value in stated.items() if value} | order.settings.get(order.flow.engine, {})


async def _postscan(studio: PipelineContext, run: Run, step_type: StepType, file: StoredFile) -> None:
    async def frame() -> bytes:
        return await studio.assets.use_film(file.key, lambda video: decode.frame_at(video, FRAME_LOOKED_AT))

    await scan(studio, run, step_type, "video_frame", file.url, "scans.output_still_crt", frame)
