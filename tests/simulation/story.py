"""Two short stories with every kind of step: asked of a model, made in one write, made by a provider over time. In one
they follow one another; in the other eight of them are made side by side, and then the result."""

from collections.abc import Awaitable, Callable
from typing import Any

from safelight.domain.errors.base import StorageError
from safelight.domain.steps import StepType
from safelight.pipelines.engine.plans import OperationPlan, Outcome, Plan
from safelight.pipelines.engine.run import Run
from safelight.pipelines.flows.media_steps import finish_done
from safelight.providers.base import Operation, Succeeded
from tests.simulation.storage import ADDRESS

OPERATION_SECONDS_MAX = 600.0
STEPS = (
    StepType.SCAN_PRODUCT,
    StepType.LIKE_HISTORY,
    StepType.GPT_READER,
    StepType.SEEDREAM_GENERATE,
    StepType.POSTSCAN_OUTPUT_STILL,
)


ITEM = StepType.SCAN_INSPIRATION
ITEMS = range(8)  # three ask a model, two are made in one write, three are made by the provider
MADE_IN_ONE_WRITE = (3, 4)
PARALLEL_STEPS = (*(ITEM for _ in ITEMS), StepType.SEEDREAM_GENERATE)

MakePlan = Callable[[], Awaitable[Plan]]


async def story(process: Any, run: Run) -> None:
    for step_type in (StepType.SCAN_PRODUCT, StepType.LIKE_HISTORY, StepType.GPT_READER):
        await run.step(step_type, _question(process, run, has_effect=step_type is not StepType.LIKE_HISTORY))
    await run.operation(StepType.SEEDREAM_GENERATE, _operation(process, run))
    await run.step(StepType.POSTSCAN_OUTPUT_STILL, _question(process, run, has_effect=True))
    await finish_done(run)


async def parallel_story(process: Any, run: Run) -> None:
    results = await run.each(ITEM, ITEMS, lambda own, item: _item(process, own, item), process.weather.steps_at_once)
    assert [result.item for result in results] == [*ITEMS]
    await run.operation(StepType.SEEDREAM_GENERATE, _operation(process, run))
    await finish_done(run)


async def _item(process: Any, run: Run, item: int) -> Any:
    if item > max(MADE_IN_ONE_WRITE):
        return await run.operation(ITEM, _operation(process, run, item))
    return await run.step(ITEM, _question(process, run, has_effect=item not in MADE_IN_ONE_WRITE, item=item))


def place_of(item: int) -> str:
    """The path of the variable that an item sets."""
    return f"scans.item_{item}"


def _question(process: Any, run: Run, *, has_effect: bool, item: int | None = None) -> MakePlan:
    async def act() -> Outcome:
        process.world.note_act(run)
        if has_effect:
            await process.client.answer()
        return Outcome(output={"said": "a cup"}, line="Seen.", variables=_variables(item))

    async def plan() -> Plan:
        if run.result and process.weather.storage_fault():
            raise StorageError("the frame cannot be read")
        return Plan(input={"asked": "what is it"}, act=act, begin_line="Looking.", effect=has_effect)

    return plan


def _variables(item: int | None) -> dict[str, Any]:
    return {} if item is None else {place_of(item): "a cup"}


def _operation(process: Any, run: Run, item: int | None = None) -> Callable[[Any], Awaitable[OperationPlan]]:
    client = process.client

    async def start(attempt_key: str) -> Operation:
        process.world.note_act(run)
        return await client.start(attempt_key, lambda: process.world.is_stale(run))

    async def complete(answer: Succeeded) -> Outcome:
        key = f"{process.assets.names.result_folder('still', run.generation_id)}/{item or 1}.png"
        await client.store(key)
        file = {"output_key": key, "output_url": f"{ADDRESS}{key}", "media_type": "image/png", "bytes": 3, "sha256": ""}
        return Outcome(output=file, line="Developed.", variables=_variables(item))

    async def plan(recorded: Any) -> OperationPlan:
        return OperationPlan(
            input=recorded or {"prompt": "a cup"},
            provider="seedream",
            model="model",
            seconds_max=OPERATION_SECONDS_MAX,
            start=start,
            check=client.check,
            cancel=client.cancel,
            look_up=client.look_up,
            complete=complete,
            begin_line="Setting up.",
        )

    return plan
