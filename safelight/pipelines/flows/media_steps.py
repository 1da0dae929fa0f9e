"""Steps that make the picture or the video: settings merged and recorded, the operation watched, the result copied to
our own storage before the step ends."""

import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

from safelight.db.generations.runs import Ending
from safelight.domain.errors.base import ProviderContractBroken
from safelight.domain.job_log import LogLine
from safelight.domain.preferences import engine_settings, hard_blocks
from safelight.domain.statuses import Status
from safelight.domain.steps import StepType
from safelight.media.publishing import converted_text
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.plans import OperationPlan, Outcome
from safelight.pipelines.engine.run import Run
from safelight.pipelines.flows.ingest_outputs import ingest
from safelight.pipelines.flows.measure import differences
from safelight.pipelines.registry import Engine
from safelight.pipelines.serving import STAND_IN
from safelight.providers.base import GenerationRequest, Operation, ReferenceImage, Succeeded
from safelight.storage.assets import StoredFile

Json = dict[str, Any]

OUTPUTS_MAX = 15
COMPARED = ("aspect_ratio", "duration")  # with what came
SIZES = ("width", "height", "seconds")  # of a result, as it is shown
FINAL_LINES = {"still": "Your picture is ready.", "video": "Your video is ready."}


@dataclass(frozen=True, slots=True)
class MediaRequest:
    """One file to be made. `requested` are the request's own settings, the last word in the merge. `inherited` lie
    below them: those of a tweak's parent, and what follows from something else of the request; `ordered` names
    those of them that the customer once chose.

    `recorded` is noted with the step's input, `result` with its output. The file is stored under a key that begins with
    `stem`, if there is one; it then is one of many, and the others that came with it are not kept. `attempt_seconds` is
    the time for one attempt, if there is another bound than the model's deadline. `variables` are set when it ends."""

    engine_id: str
    prompt: str
    images: tuple[ReferenceImage, ...]
    inherited: Json
    requested: Json
    begin_line: str
    end_line: str
    ordered: frozenset[str] = frozenset()
    recorded: Json = field(default_factory=dict)
    result: Json = field(default_factory=dict)
    stem: str | None = None
    attempt_seconds: float | None = None
    variables: Callable[[], Json] = dict


async def generate(context: PipelineContext, run: Run, step_type: StepType, wanted: MediaRequest) -> StoredFile:
    """Make the file and store it. Returns where it is."""
    return _stored_file(
        await run.operation(step_type, lambda recorded: operation_plan(context, run, step_type, wanted, recorded))
    )


def _stored_file(output: Json) -> StoredFile:
    return StoredFile(
        key=output["output_key"],
        url=output["output_url"],
        media_type=output["media_type"],
        bytes=output["bytes"],
        sha256=output["sha256"],
        **{name: output.get(name) for name in SIZES},
    )


async def operation_plan(
    context: PipelineContext, run: Run, step_type: StepType, wanted: MediaRequest, recorded: Json | None
) -> OperationPlan:
    """The plan of the operation that makes the file; `recorded` is the input that a resumed step goes on with."""
    given = recorded or await _input(context, run, wanted)
    engine = await _engine(context, wanted.engine_id, given)
    usd = Decimal(given.get("usd", "0"))
    limits = context.limits
    provider = context.adapters.media(engine, run.order.makes)

    async def started(key: str) -> Operation:
        """The pictures are read only now: a look at what is under way needs none of them."""
        images = await context.presign(run.order.pass_id, wanted.images)
        return await limits.track_start(engine, provider.start(_request(step_type, images, given, key)), usd=usd)

    return OperationPlan(
        input=given,
        provider=wanted.engine_id,
        adapter=engine.adapter,
        vendor=provider.name,
        model=engine.model,
        seconds_max=engine.deadline_seconds,
        check_every_seconds=engine.check_every_seconds,
        start=started,
        check=lambda operation: limits.track_poll(engine, provider.check(operation)),
        cancel=provider.cancel,
        look_up=provider.look_up,
        complete=lambda answer: _store(context, run, wanted, answer, given),
        admit=(lambda conn: limits.admit(conn, run, engine, usd)) if engine.limits else None,
        begin_line=wanted.begin_line,
        usd=str(usd),
        attempt_seconds=wanted.attempt_seconds,
    )


async def _engine(context: PipelineContext, engine_id: str, given: Json) -> Engine:
    """The engine that serves the step, as it was recorded; the limits are those of now."""
    return Engine(
        engine_id,
        given["adapter"],
        given["model"],
        given["deadline_seconds"],
        given.get("check_every_seconds", 0.0),
        limits=await context.configuration.limits(given["adapter"]),
    )


async def _input(context: PipelineContext, run: Run, wanted: MediaRequest) -> Json:
    """The input that the step records before anything starts; a resumed step goes on with just this. Settings are
    merged as docs/contract/rows.md says: provider defaults, then the customer's preferences, then the request."""
    engine = await context.serving(wanted.engine_id)
    engine.must_make(run.order.flow.mode)
    version, defaults = await context.configuration.provider_defaults(wanted.engine_id)
    preferred = engine_settings(run.preferences, wanted.engine_id)
    fitted = context.settings.fit(
        engine, defaults=defaults, preferred=preferred, inherited=wanted.inherited, requested=wanted.requested
    )
    resolved = _with_hard_blocks(run, fitted.settings)
    run.variables["settings"][wanted.engine_id] = resolved
    run.variables["meta"]["settings_versions"][version.key] = version.version
    return {
        "prompt": wanted.prompt,
        **version.as_input("settings"),
        "settings_resolved": resolved,
        "images": [{"role": image.role, "url": image.url} for image in wanted.images],
        "adapter": engine.adapter,
        "model": engine.model,
        "deadline_seconds": engine.deadline_seconds,
        "check_every_seconds": engine.check_every_seconds,
        "setting_warnings": [*run.order.warnings, *fitted.warnings],
        "settings_stated": sorted(fitted.stated),
        "ordered": {name: resolved.get(name) for name in COMPARED if name in fitted.stated | wanted.ordered},
        "usd": str(fitted.usd),
        "seed": resolved.get("seed", zlib.crc32(run.generation_id.encode())),
        **wanted.recorded,
    }


def _with_hard_blocks(run: Run, settings: Json) -> Json:
    """A tweak inherits those of its parent: each is there once."""
    if unwanted := settings.get("negative_prompt"):
        blocks = [block for block in hard_blocks(run.preferences) if block not in unwanted]
        return settings | {"negative_prompt": ", ".join([unwanted, *blocks])}
    return settings


def _request(
    step_type: StepType, images: tuple[ReferenceImage, ...], given: Json, attempt_key: str
) -> GenerationRequest:
    return GenerationRequest(
        step_type=step_type.value,
        model=given["model"],
        prompt=given["prompt"],
        images=images,
        settings=given["settings_resolved"],
        seed=given["seed"],
        attempt_key=attempt_key,
        stated=frozenset(given["settings_stated"]) if "settings_stated" in given else None,
    )


async def _store(context: PipelineContext, run: Run, wanted: MediaRequest, answer: Succeeded, given: Json) -> Outcome:
    if not answer.outputs:
        raise ProviderContractBroken(f"{wanted.engine_id} succeeded without a file", code="NO_URL")
    files = answer.outputs[: 1 if wanted.stem else OUTPUTS_MAX]
    named = {"mode": run.order.flow.mode, "generation_id": run.generation_id, "vendor": given["adapter"]}
    ingested = await ingest(context, files, **named, stem=wanted.stem)
    first, *others = ingested.files
    sizes = [{name: getattr(copy, name) for name in SIZES} for copy in ingested.files]
    unlike = differences(given.get("ordered", {}), sizes[0])
    converted = _conversions(ingested.files)
    warnings = (*given.get("setting_warnings", []), *answer.warnings, *ingested.failed, *converted, *unlike)
    return Outcome(
        output={
            "output_url": context.assets.url_of(first.key),
            "output_key": first.key,
            "media_type": first.media_type,
            "bytes": first.bytes,
            "sha256": first.sha256,
            **sizes[0],
            "more_outputs": [asdict(other) for other in others],
            "response": answer.response,
            "warnings": list(warnings),
            **(wanted.result | {"model": given["model"]} if wanted.result else {}),
        },
        variables=wanted.variables(),
        line=wanted.end_line,
        warnings=warnings,
    )


def _conversions(files: list[StoredFile]) -> tuple[str, ...]:
    """Sentences that say which formats were converted, each once."""
    changes = {(file.converted_from, file.media_type): None for file in files if file.converted_from}
    return tuple([converted_text(before, after) for before, after in changes if before])


async def finish_done(run: Run) -> None:
    """Done: the output URL becomes visible only now, together with the final status."""
    assert run.result  # the step that makes it has ended
    output, mode = run.result.payload.output, run.order.flow.mode
    kind = "seedream_image" if mode == "still" else "kling_video"
    run.set(f"outputs.{kind}_id", output["output_key"])
    run.set(f"outputs.{kind}_url", output["output_url"])
    for name in SIZES:
        if output.get(name) is not None:
            run.set(f"outputs.{name}", output[name])
    if run.result.payload.input.get("adapter") == STAND_IN:
        run.set("meta.stand_in", True)
    prompt = run.result.payload.input["prompt"]
    facts = {name: output.get(name) for name in ("media_type", "bytes", "sha256", *SIZES)}
    meta = {"result": facts, "warnings": output.get("warnings", [])}
    await end(run, Status.DONE, FINAL_LINES[mode], prompt=prompt, file=_stored_file(output), meta=meta)


async def end(
    run: Run, status: Status, line: str, *, prompt: str, file: StoredFile | None = None, meta: Json | None = None
) -> None:
    run.set("userMessages.final_line", line)
    lines = [LogLine("success", "completion", line)]
    await run.store.finish(
        Ending(
            status,
            lines,
            prompt=prompt,
            output_url=file.url if file else None,
            output_key=file.key if file else None,
            model=run.model,
            meta=meta or {},
        )
    )
    run.log("🎉", f"Generation {run.generation_id} is {status}")
