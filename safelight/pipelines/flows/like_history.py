"""The step that learns from what the customer liked before (docs/contract/rows.md)."""

from typing import Any

from safelight import telemetry
from safelight.db.generations import generations
from safelight.db.generations.generations import LikedItem
from safelight.db.operations import ops_rows
from safelight.domain.errors.base import SafelightError
from safelight.domain.steps import StepType
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.plans import Outcome, Plan
from safelight.pipelines.engine.run import Run
from safelight.pipelines.engine.run_store import OUTAGE_SECONDS_MAX
from safelight.pipelines.flows.text_steps import TextStep, plan_of
from safelight.providers.base import ReferenceImage

Json = dict[str, Any]

LIKE_HISTORY = "mma.ctx.like_history"
TAGS_MAX = 8


async def like_history(context: PipelineContext, run: Run) -> str:
    """Returns the customer's taste as comma-separated tags; empty where nothing was liked yet."""
    output = await run.step(StepType.LIKE_HISTORY, lambda: _plan(context, run))
    return str(output["style_history_csv"])


async def _plan(context: PipelineContext, run: Run) -> Plan:
    async with context.db.connection() as conn:
        liked = await generations.liked(conn, run.order.pass_id, run.order.like_window)
    given = {
        "window": run.order.like_window,
        "vision_intelligence": run.order.vision_intelligence,
        "likes": [{"item": like.item, "prompt": like.prompt, "url": like.url} for like in liked],
    }
    stated = run.order.style_history_csv
    if stated or not liked:
        return _answered(given, stated or "", "style_history_csv of the request" if stated else "no likes yet")
    return await _asked(context, run, given, liked)


def _answered(given: Json, csv: str, source: str) -> Plan:
    async def act() -> Outcome:
        return _outcome(csv, None)

    return Plan(input=given | {"source": source}, act=act, effect=False)


async def _asked(context: PipelineContext, run: Run, given: Json, liked: list[LikedItem]) -> Plan:
    question = TextStep(
        step_type=StepType.LIKE_HISTORY,
        context_key=LIKE_HISTORY,
        values={"liked_prompts": "\n".join(_sentences(run, liked))},
        given=given,
        read=lambda answer: _outcome(answer["style_history_csv"], "I remember what you liked before."),
        begin_line="Remembering what you liked.",
        images=_pictures(liked),
    )
    planned = await plan_of(context, run, question)()

    async def act() -> Outcome:
        # Taste is a help, not a need: where it cannot be read, operators are told and the run goes on.
        try:
            return await planned.act()
        except SafelightError as error:
            await _tell_operators(context, run, error)
            return _outcome("", None, warning=error.code)

    return Plan(planned.input, act, planned.provider, planned.model, planned.begin_line)


def _outcome(csv: str, line: str | None, warning: str | None = None) -> Outcome:
    tags = [tag.strip() for tag in csv.split(",") if tag.strip()][:TAGS_MAX]
    output: Json = {"style_history_csv": csv, "style_history_tags": tags}
    if warning:
        output["warning"] = warning
    return Outcome(output, {"history.style_history_csv": csv or None}, line)


def _sentences(run: Run, liked: list[LikedItem]) -> list[str]:
    """With vision the window shows prompts and pictures, without it pictures only (docs/contract/rows.md)."""
    if not run.order.vision_intelligence:
        return []
    return [f"- {like.prompt}" for like in liked if like.prompt]


def _pictures(liked: list[LikedItem]) -> tuple[ReferenceImage, ...]:
    return tuple(ReferenceImage("liked", like.url) for like in liked if like.url and like.content_type == "image")


async def _tell_operators(context: PipelineContext, run: Run, error: SafelightError) -> None:
    telemetry.warning(telemetry.Tag.GENERATION_PROCESSING, f"like_history: {error}", generation_id=run.generation_id)
    row = run.ops_row(error, level="warn")
    await context.db.retry_transient(lambda conn: ops_rows.insert(conn, row), seconds=OUTAGE_SECONDS_MAX)
