"""The flows of a still: made from a product photo and a brief, then tweaked."""

from typing import Any

from safelight.domain.orders import Assets, Order, StillCreate, StillTweak, aspect_ratio_of_platform
from safelight.domain.steps import LAST_LOOK_OF, StepType
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.plans import Outcome
from safelight.pipelines.engine.run import Run
from safelight.pipelines.flows.like_history import like_history
from safelight.pipelines.flows.media_steps import MediaRequest, finish_done, generate
from safelight.pipelines.flows.scans import scan, scan_assets
from safelight.pipelines.flows.text_steps import TextStep, ask, avoid_text, user_message
from safelight.providers.base import ReferenceImage

Json = dict[str, Any]

READER = "mma.ctx.gpt_reader"
FEEDBACK_STILL = "mma.ctx.gpt_feedback_still"
INSPIRATIONS_SENT_MAX = 6


async def still_create(context: PipelineContext, run: Run) -> None:
    order = run.order_as(StillCreate)
    await scan_assets(context, run)
    taste = await like_history(context, run)
    prompt = order.preset_prompt or await _read_brief(context, run, order, taste)
    run.set("prompts.clean_prompt", prompt)
    lines = ("Setting up light and background.", "The picture is developed.")
    await _make(context, run, StepType.SEEDREAM_GENERATE, prompt, _reference_images(order.assets), lines)


async def still_tweak(context: PipelineContext, run: Run) -> None:
    order = run.order_as(StillTweak)
    picture = order.parent.output_url or ""  # acceptance refuses a tweak of nothing
    caption = order.parent.output_crt or await scan(
        context, run, StepType.SCAN_INPUT_STILL, "still", picture, "scans.still_crt"
    )
    prompt = await _read_feedback(context, run, order, caption)
    lines = ("Changing what you asked for.", "The new version is developed.")
    images = (ReferenceImage("parent_output", picture),)
    await _make(context, run, StepType.SEEDREAM_GENERATE_FEEDBACK, prompt, images, lines)


async def _make(
    context: PipelineContext,
    run: Run,
    step_type: StepType,
    prompt: str,
    images: tuple[ReferenceImage, ...],
    lines: tuple[str, str],
) -> None:
    """Make the still, look at it once, and deliver it. A tweak goes on with its parent's settings; a platform has a
    shape."""
    order = run.order
    shape = {"aspect_ratio": ratio} if (ratio := _aspect_ratio(order)) else {}
    stated = {"aspect_ratio": order.aspect_ratio} if order.aspect_ratio else {}
    wanted = MediaRequest(
        engine_id=order.flow.engine,
        prompt=prompt,
        images=images,
        inherited=order.inherited_settings | shape,
        requested=stated | order.stated_settings,
        ordered=frozenset(shape),
        begin_line=lines[0],
        end_line=lines[1],
    )
    file = await generate(context, run, step_type, wanted)
    await scan(context, run, LAST_LOOK_OF[step_type], "still", file.url, "scans.output_still_crt")
    await finish_done(run)


async def _read_brief(context: PipelineContext, run: Run, order: StillCreate, taste: str) -> str:
    scans = run.variables["scans"]
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
    return str((await ask(context, run, question))["clean_prompt"])


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
        ("ASPECT RATIO", _aspect_ratio(run.order)),
    ]
    return "\n".join(f"{label}: {text.strip()}" for label, text in lines if text)


async def _read_feedback(context: PipelineContext, run: Run, order: StillTweak, caption: str) -> str:
    previous = order.parent.prompt or ""

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
            "previous_prompt": previous.strip(),
            "output_crt": caption.strip(),
            "feedback": order.feedback.strip(),
            "avoid": avoid_text(run),
        },
        given={"previous_prompt": previous, "output_crt": caption, "feedback": order.feedback},
        read=read,
        begin_line="Reading your feedback.",
        input_key="input_gpt_feedback_still",
    )
    return str((await ask(context, run, question))["prompt"])


def _reference_images(assets: Assets) -> tuple[ReferenceImage, ...]:
    """Product, logo, inspirations, style hero: the order the image model is used to (docs/contract/rows.md)."""
    named = [
        ("product", assets.product),
        ("logo", assets.logo),
        *(("inspiration", url) for url in assets.inspirations[:INSPIRATIONS_SENT_MAX]),
        ("style_hero", assets.style_hero),
    ]
    return tuple(ReferenceImage(role, url) for role, url in named if url)


def _aspect_ratio(order: Order) -> str | None:
    inherited = order.parent.aspect_ratio if order.parent else None
    return order.aspect_ratio or inherited or aspect_ratio_of_platform(order.platform)
