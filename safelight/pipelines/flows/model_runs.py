"""The flow of a model run: its picture is looked at, the model makes all results in one paid operation, and each that
is stored is kept and paid. A later round makes what is missing (docs/decisions/0040-image-sets.md)."""

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from safelight import telemetry
from safelight.db.money import customers
from safelight.domain.errors.base import (
    AssetUnreadable,
    ConfigError,
    ProviderContractBroken,
    ProviderError,
    SafelightError,
    StorageError,
)
from safelight.domain.errors.results import SlidesMissing
from safelight.domain.orders import ModelRun
from safelight.domain.sets.image_jobs import Slide, file_id, positions
from safelight.domain.steps import StepType
from safelight.media import decode
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.plans import OperationPlan, Outcome, Plan
from safelight.pipelines.engine.run import Run
from safelight.pipelines.flows.ingest_outputs import ingest_file
from safelight.pipelines.flows.media_steps import MediaRequest, operation_plan
from safelight.pipelines.flows.set_endings import end_set, made_slides, must_have_made
from safelight.pipelines.flows.upload_lines import UploadLines
from safelight.pipelines.serving import STAND_IN
from safelight.providers.base import OutputFile, ReferenceImage, Succeeded
from safelight.providers.run_parameters import COUNT, REFERENCE_ROLE, resolved
from safelight.storage import file_log

Json = dict[str, Any]

VARIANT = 0  # results have a number of their own and no variants
STORE_TRIES = 3
SEED_MAX = 4_294_967_295
BEGIN_LINE = "The model is at work."
CHECK_LINE = "Your request is being checked."


async def model_run(context: PipelineContext, run: Run) -> None:
    making = ModelRunRound(context, run)
    await run.step(StepType.VALIDATION, making.validation)
    await run.operation(StepType.MODEL_GENERATE, making.operation)
    making.say_what_is_recorded()
    must_have_made(run)
    await end_set(run)


class ModelRunRound:
    """One round of the run, which makes the results that the rounds before it left out."""

    def __init__(self, context: PipelineContext, run: Run) -> None:
        self._context, self._run = context, run
        self._order = order = run.order_as(ModelRun)
        self._folder = context.assets.names.result_folder(order.flow.mode, run.generation_id)
        made = {slide.position for slide in made_slides(run, before=run.first_step_no)}
        self._missing = [one.source for one in positions(1, order.results) if one not in made]
        self._stored_now: list[Json] = []

    # --- validation ---------------------------------------------------------------------------------------------------

    async def validation(self) -> Plan:
        """Look at the picture before anything is paid for."""
        return Plan(
            {"model_id": self._order.model_id, "missing": self._missing}, self._validated, begin_line=CHECK_LINE
        )

    async def _validated(self) -> Outcome:
        url = self._order.reference_image_url
        if url is None:
            return Outcome({"reference": None})
        async with self._context.db.connection() as conn:
            pass_ids = await customers.pass_ids_of(conn, self._order.pass_id)
        place = self._context.assets.stored_at(url, {*pass_ids, self._order.pass_id})
        if place is None:
            raise AssetUnreadable("reference_image_url is no file of this customer")
        facts = await self._context.assets.read_whole(*place, decode.probe_image)
        return Outcome({"reference": {"width": facts.width, "height": facts.height}})

    # --- the results --------------------------------------------------------------------------------------------------

    async def operation(self, recorded: Json | None) -> OperationPlan:
        given = recorded or await self._input()
        wanted = MediaRequest(
            engine_id=self._order.flow.engine,
            prompt=self._order.prompt,
            images=self._images,
            inherited={},
            requested={},
            begin_line=BEGIN_LINE,
            end_line="",
        )
        plan = await operation_plan(self._context, self._run, StepType.MODEL_GENERATE, wanted, given)
        return replace(plan, complete=partial(self._stored, given))

    @property
    def _images(self) -> tuple[ReferenceImage, ...]:
        url = self._order.reference_image_url
        return (ReferenceImage(REFERENCE_ROLE, url),) if url else ()

    async def _input(self) -> Json:
        """The input that the step records before anything starts; a resumed step goes on with just this."""
        order, models = self._order, self._context.models
        if models is None:
            raise ConfigError("this process makes no model runs")
        offered, table = await models.offered(order.model_id), models.table(order.model_id)
        engine = await self._context.reachable(offered.engine)
        settings = resolved(table, order.values, has_reference=bool(self._images), results=len(self._missing))
        if "seed" in settings:  # another one for each round, lest the same pictures come again
            settings["seed"] = (settings["seed"] + self._run.round_no) % (SEED_MAX + 1)
        self._run.variables["settings"][order.flow.engine] = settings
        self._run.variables["meta"]["settings_versions"][offered.version.key] = offered.version.version
        if engine.adapter == STAND_IN:
            self._run.variables["meta"]["stand_in"] = True
        return {
            "model_id": order.model_id,
            "prompt": order.prompt,
            **offered.version.as_input("settings"),
            "settings_resolved": settings,
            "images": [{"role": image.role, "url": image.url} for image in self._images],
            "adapter": engine.adapter,
            "model": engine.model,
            "deadline_seconds": engine.deadline_seconds,
            "check_every_seconds": engine.check_every_seconds,
            "setting_warnings": list(order.warnings),
            "settings_stated": sorted({*order.values, COUNT} & settings.keys()),
            "missing": self._missing,
            "usd": str(engine.usd_of(table.seconds_of(settings)) * len(self._missing)),
            "seed": settings.get("seed", zlib.crc32(f"{self._run.generation_id}:{self._run.round_no}".encode())),
        }

    async def _stored(self, given: Json, answer: Succeeded) -> Outcome:
        """Store each result under its own number.

        Raises:
            StorageError: none can be stored now; the provider may still have them later.
            ProviderError: none can be had.
        """
        missing: list[int] = given["missing"]
        if not answer.outputs:
            raise ProviderContractBroken(f"{self._order.model_id} succeeded without a file", code="NO_URL")
        slides, errors = await self._slides(missing, answer.outputs, given["adapter"])
        if not slides:
            raise errors[0]
        self._stored_now = slides
        lacking = len(missing) - len(slides)
        absent = lacking - len(errors)
        errors += [ProviderContractBroken("the model made too few results", code="TOO_FEW_RESULTS")] * absent
        warnings = (*given["setting_warnings"], *answer.warnings, *self._count_warnings(missing, answer.outputs))
        first = slides[0]
        made = [*made_slides(self._run, before=self._run.first_step_no)]
        return Outcome(
            output={
                "slides": slides,
                "output_url": first["url"],
                "output_key": first["key"],
                **{name: first[name] for name in ("media_type", "bytes", "sha256")},
                "response": answer.response,
                "warnings": list(warnings),
            },
            variables={
                "outputs.results": [*(slide.record for slide in made), *slides],
                "progress.made": len(made) + len(slides),
            },
            warnings=warnings,
            error=SlidesMissing(errors, len(missing), "results of this run") if lacking else None,
        )

    async def _slides(
        self, missing: Sequence[int], files: Sequence[OutputFile], vendor: str
    ) -> tuple[list[Json], list[SafelightError]]:
        """The records of the files that could be stored, and an error for each other one."""
        slides: list[Json] = []
        errors: list[SafelightError] = []
        total = min(len(missing), len(files))
        upload = UploadLines(self._run.generation_id, self._context.assets.public.service, total)
        upload.begin()
        for number, (source, file) in enumerate(zip(missing, files, strict=False), 1):
            upload.file(number)
            try:
                slides.append(await self._slide(source, file, vendor))
            except (StorageError, ProviderError) as error:
                text = f"Result {source + 1} could not be kept: {error}"
                telemetry.warning(telemetry.Tag.STORAGE_FILE, text, generation_id=self._run.generation_id)
                errors.append(error)
        if slides or not isinstance(errors[0], StorageError):  # the storage may be back when the step is tried again
            upload.end(len(slides), errors)
        if slides:
            upload.primary_url()
        return slides, errors

    async def _slide(self, source: int, file: OutputFile, vendor: str) -> Json:
        """The record of the result, once it is stored, in at most STORE_TRIES tries."""
        for attempt in range(1, STORE_TRIES):
            try:
                return await self._stored_slide(source, file, vendor)
            except (StorageError, ProviderError) as error:
                if not error.retryable and not isinstance(error, StorageError):
                    raise
                await asyncio.sleep(self._run.policy.pause(attempt, key=f"{self._run.generation_id}:{source}"))
        return await self._stored_slide(source, file, vendor)

    async def _stored_slide(self, source: int, file: OutputFile, vendor: str) -> Json:
        stem = f"{self._folder}/{source + 1:03}"
        stored = await ingest_file(self._context, file, mode=self._order.makes, stem=stem, vendor=vendor)
        return {
            "variant": VARIANT,
            "source": source,
            "key": stored.key,
            "url": stored.url,
            "media_type": stored.media_type,
            "width": stored.width,
            "height": stored.height,
            "seconds": stored.seconds,
            "bytes": stored.bytes,
            "sha256": stored.sha256,
        }

    def say_what_is_recorded(self) -> None:
        """The step is written, so each result that it stored has its row in `file_metadata`."""
        for slide in self._stored_now:
            file_log.metadata_created(file_id(self._run.generation_id, Slide.read(slide).position))

    def _count_warnings(self, missing: Sequence[int], files: Sequence[OutputFile]) -> tuple[str, ...]:
        if len(files) == len(missing):
            return ()
        return (f"The model made {len(files)} results, not the {len(missing)} that it was asked for.",)
