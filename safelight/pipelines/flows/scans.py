"""Steps that look at one picture and caption it."""

from collections.abc import Awaitable, Callable
from typing import Any

from safelight.domain.orders import INSPIRATIONS_SCANNED_MAX
from safelight.domain.steps import StepType
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.plans import Outcome, Plan
from safelight.pipelines.engine.run import Run
from safelight.pipelines.flows.text_steps import TextStep, plan_of, user_message
from safelight.providers.base import ReferenceImage

Json = dict[str, Any]

SCANNER = "mma.ctx.gpt_scanner"

_BEGIN_LINES = {
    "product": "Looking closely at your product.",
    "logo": "Studying your logo.",
    "inspiration": "Taking in your inspiration.",
    "still": "Looking at the picture.",
    "video_frame": "Watching the result once.",
}


async def scan(
    context: PipelineContext,
    run: Run,
    step_type: StepType,
    role: str,
    url: str,
    into: str,
    take_frame: Callable[[], Awaitable[bytes]] | None = None,
) -> str:
    """Caption one picture and store the caption under the variable path `into`. Returns the caption.

    `take_frame` gives the bytes where the picture is no file of its own, such as a frame of the video at `url`.
    """

    def read(answer: Json) -> Outcome:
        line = user_message(answer, "I had a good look.")
        return Outcome(
            output={"crt": answer["crt"], "userMessage_line": line},
            variables={into: _with_caption(run, into, answer["crt"])},
            line=line,
        )

    async def plan() -> Plan:
        content = await take_frame() if take_frame else None
        question = TextStep(
            step_type=step_type,
            context_key=SCANNER,
            values={"role": role},
            given={"role": role, "image_url": url},
            read=read,
            begin_line=_BEGIN_LINES[role],
            images=(ReferenceImage(role, url, content),),
        )
        return await plan_of(context, run, question)()

    output = await run.step(step_type, plan)
    return str(output["crt"])


async def scan_assets(context: PipelineContext, run: Run) -> None:
    """Caption what came with the request; an absent picture has no step."""
    assets = run.order.assets
    if assets.product:
        await scan(context, run, StepType.SCAN_PRODUCT, "product", assets.product, "scans.product_crt")
    if assets.logo:
        await scan(context, run, StepType.SCAN_LOGO, "logo", assets.logo, "scans.logo_crt")
    for url in assets.inspirations[:INSPIRATIONS_SCANNED_MAX]:
        await scan(context, run, StepType.SCAN_INSPIRATION, "inspiration", url, "scans.inspiration_crt")


def _with_caption(run: Run, into: str, caption: str) -> Any:
    """Inspirations are a list of captions; every other picture has one."""
    return [*run.variables["scans"]["inspiration_crt"], caption] if into == "scans.inspiration_crt" else caption
