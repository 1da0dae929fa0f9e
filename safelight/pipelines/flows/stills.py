"""The stories of a still: made from a product photo and a brief, then tweaked."""

from typing import Any

from safelight.domain.orders import aspect_ratio_of_platform
from safelight.domain.steps import StepType
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.plans import Outcome
from safelight.pipelines.engine.run import Run
from safelight.pipelines.flows.like_history import like_history
from safelight.pipelines.flows.media_steps import MediaRequest, finish_done, generate
from safelight.pipelines.flows.scans import scan, scan_assets
from safelight.pipelines.flows.text_steps import TextStep, ask, avoid_text, user_message
from safelight.providers.base import ReferenceImage
from safelight.storage.assets import StoredFile

Json = dict[str, Any]

READER = "mma.ctx.gpt_reader"
FEEDBACK_STILL = "mma.ctx.gpt_feedback_still"
INSPIRATIONS_SENT_MAX = 6


async def still_create(studio: PipelineContext, run: Run) -> None:
    await scan_assets(studio, run)
    taste = await like_history(studio, run)
    prompt = run.order.preset_prompt or await _read_brief(studio, run, taste)
    run.set("prompts.clean_prompt", prompt)
    wanted = MediaRequest(
        engine_id=run.order.flow.engine,
        prompt=prompt,
        images=_reference_images(run),
        inherited=_inherited(run),
        requested=_requested(run),
        ordered=frozenset({"aspect_ratio"} if _aspect_ratio(run) else ()),
        begin_line="Setting up light and background.",
        end_line="The picture is developed.",
    )
    file = await generate(studio, run, StepType.SEEDREAM_GENERATE, wanted)
    await _postscan(studio, run, StepType.POSTSCAN_OUTPUT_STILL, file)
    await finish_done(run)


async def still_tweak(studio: PipelineContext, run: Run) -> None:
    parent = run.order.parent
    assert parent and parent.output_url  # noqa: PT018 - acceptance refuses a tweak of nothing
    caption = parent.output_crt or await scan(
        studio, run, StepType.SCAN_INPUT_STILL, "still", parent.output_url, "scans.still_crt"
    )
    prompt = await _read_feedback(studio, run, parent.prompt or "", caption)
    wanted = MediaRequest(
        engine_id=run.order.flow.engine,
        prompt=prompt,
        images=(ReferenceImage("parent_output", parent.output_url),),
        inherited=_inherited(run),
        requested=_requested(run),
        ordered=frozenset({"aspect_ratio"} if _aspect_ratio(run) else ()),
        begin_line="Changing what you asked for.",
        end_line="The new version is developed.",
    )
    file = await generate(studio, run, StepType.SEEDREAM_GENERATE_FEEDBACK, wanted)
    await _postscan(studio, run, StepType.POSTSCAN_OUTPUT_STILL_FEEDBACK, file)
    await finish_done(run)


async def _read_brief(studio: PipelineContext, run: Run, taste: str) -> str:
    scans, order = run.variables["scans"], run.order
    parts = {
        "product_crt": scans["product_crt"],
        "logo_crt": scans["logo_crt"],
        "inspiration_crt": scans["inspiration_crt"],
        "style": order.style,
        "userBrief": order.brief,
        "style_history_csv": taste,
    }

    def read(answer: Json) -> Outcome:
        line = user_message(answer, "I know how this should look.")
        return Outcome(
            output={"clean_prompt": answer["clean_prompt"], "userMessage_final": line},
            variables={"prompts.clean_prompt": answer["clean_prompt"]},
            line=line,
        )

    question = TextStep(
        step_type=StepType.GPT_READER,
        context_key=READER,
        values={"input_gpt_reader": _reader_text(run, parts)},
        given={"parts": parts},
        read=read,
        begin_line="Reading your brief.",
        input_key="input_gpt_reader",
    )
    output = await run.step(StepType.GPT_READER, ask(studio, run, question))
    return str(output["clean_prompt"])


def _reader_text(run: Run, parts: Json) -> str:
    """The parts, each as it is written after its label; an absent part has none."""
    lines = [
        ("PRODUCT", parts["product_crt"]),
        ("LOGO", parts["logo_crt"]),
        *(("INSPIRATION", caption) for caption in parts["inspiration_crt"]),
        ("STYLE", parts["style"]),
        ("BRIEF", parts["userBrief"]),
        ("LIKED STYLE", parts["style_history_csv"]),
        ("AVOID", avoid_text(run)),
        ("PLATFORM", run.order.platform),
        ("ASPECT RATIO", _aspect_ratio(run)),
    ]
    return "\n".join(f"{label}: {text.strip()}" for label, text in lines if text)


async def _read_feedback(studio: PipelineContext, run: Run, previous_prompt: str, caption: str) -> str:
    feedback = run.order.feedback

    def read(answer: Json) -> Outcome:
        prompt = answer["clean_prompt"]
        return Outcome(
            output={"prompt": prompt, "clean_prompt": prompt},
            variables={"prompts.clean_prompt": prompt},
            line=user_message(answer, "Got it, changing that."),
        )

    question = TextStep(
        step_type=StepType.GPT_FEEDBACK_STILL,
        context_key=FEEDBACK_STILL,
        values={
            "previous_prompt": previous_prompt.strip(),
            "output_crt": caption.strip(),
            "feedback": feedback.strip(),
            "avoid": avoid_text(run),
        },
        given={"previous_prompt": previous_prompt, "output_crt": caption, "feedback": feedback},
        read=read,
        begin_line="Reading your feedback.",
        input_key="input_gpt_feedback_still",
    )
    output = await run.step(StepType.GPT_FEEDBACK_STILL, ask(studio, run, question))
    return str(output["prompt"])


def _reference_images(run: Run) -> tuple[ReferenceImage, ...]:
    """Product, logo, inspirations, style hero: the order the image model is used to (docs/contract/rows.md)."""
    assets = run.order.assets
    named = [
        ("product", assets.product),
        ("logo", assets.logo),
        *(("inspiration", url) for url in assets.inspirations[:INSPIRATIONS_SENT_MAX]),
        ("style_hero", assets.style_hero),
    ]
    return tuple(ReferenceImage(role, url) for role, url in named if url)


def _aspect_ratio(run: Run) -> str | None:
    order = run.order
    inherited = order.parent.aspect_ratio if order.parent else None
    return order.aspect_ratio or inherited or aspect_ratio_of_platform(order.platform)


def _inherited(run: Run) -> Json:
    """A tweak goes on with its parent's settings; a platform has a shape."""
    ratio = _aspect_ratio(run)
    inherited = run.order.parent.engine_settings if run.order.parent and run.order.flow.is_tweak else {}
    return inherited | ({"aspect_ratio": ratio} if ratio else {})


def _requested(run: Run) -> Json:
    ratio = run.order.aspect_ratio
    return ({"aspect_ratio": ratio} if ratio else {}) | run.order.settings.get(run.order.flow.engine, {})


async def _postscan(studio: PipelineContext, run: Run, step_type: StepType, file: StoredFile) -> None:
    await scan(studio, run, step_type, "still", file.url, "scans.output_still_crt")
