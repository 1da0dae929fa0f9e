"""The flow of an image job: the sources are looked at, each is edited once into a base image, and each variant is made
from the bases that exist. A later round makes what is missing (docs/decisions/0040-image-sets.md)."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from safelight.db.money import customers
from safelight.domain.errors.base import AssetUnreachable, AssetUnreadable, InvalidInput, SafelightError, StorageError
from safelight.domain.errors.results import NoSourceReadable, SlidesMissing
from safelight.domain.orders import ImageJob
from safelight.domain.sets import image_jobs
from safelight.domain.sets.image_jobs import SIZES, Position, Slide, closest_ratio
from safelight.domain.steps import StepType
from safelight.media import decode, post_processing
from safelight.pipelines.context import PipelineContext
from safelight.pipelines.engine.plans import Outcome, Plan
from safelight.pipelines.engine.run import Run
from safelight.pipelines.flows.image_job_lines import BaseLines, Counted, ValidationLines, VariantLines
from safelight.pipelines.flows.media_steps import MediaRequest, operation_plan
from safelight.pipelines.flows.set_endings import end_set, made_slides, must_have_made
from safelight.pipelines.flows.upload_lines import UploadLines
from safelight.pipelines.import_inputs import PictureImport
from safelight.providers.base import ReferenceImage
from safelight.storage import file_log
from safelight.storage.assets import HEADER_BYTES
from safelight.storage.buckets import Bucket
from safelight.storage.keys import EXTENSIONS

Json = dict[str, Any]

EDIT_CONTEXT = "mma.ctx.image_edit"
BASES_AT_ONCE = 4
VARIANTS_AT_ONCE = 4
VALIDATION_SECONDS_MAX = 900.0
VARIANT_SECONDS_MAX = 900.0
SLIDE_TRIES = 3
IMPORT_SECONDS = 15.0  # of one source, in a later round
SOURCE_ROLE = "source"
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class VariantItem:
    """A variant, and the sources whose pictures it lacks."""

    variant: int
    sources: tuple[int, ...]


async def image_job(context: PipelineContext, run: Run) -> None:
    job = ImageJobRound(context, run)
    sources = await job.validate()
    await job.make_bases(sources)
    await job.make_variants()
    must_have_made(run)
    await end_set(run)


class ImageJobRound:
    """One round of the job. What it has to make follows from the steps before it, which never change, so that a run
    that goes on elsewhere has the same steps to do."""

    def __init__(self, context: PipelineContext, run: Run) -> None:
        self._context, self._run = context, run
        self._order = order = run.order_as(ImageJob)
        self._folder = context.assets.names.result_folder(order.flow.mode, run.generation_id)
        made = {slide.position for slide in made_slides(run, before=run.first_step_no)}
        wanted = image_jobs.positions(order.variants, len(order.sources))
        self._missing = [position for position in wanted if position not in made]

    # --- validation ---------------------------------------------------------------------------------------------------

    async def validate(self) -> list[Json]:
        """Look at the sources that have no base image yet. Returns those that can be read.

        Raises:
            NoSourceReadable: none can, and there is no base image either.
        """
        known = self._bases(before=self._run.first_step_no)
        needed = sorted({position.source for position in self._missing} - known.keys())
        self._run.lines = ValidationLines(self._run)
        looked_at = await self._run.step(StepType.VALIDATION, partial(self._validation, needed, bool(known)))
        return [source for source in looked_at["sources"] if "error" not in source]

    async def _validation(self, needed: Sequence[int], has_bases: bool) -> Plan:
        async def act() -> Outcome:
            found = [await self._measured(number) for number in needed]
            if not has_bases and all("error" in source for source in found):
                raise NoSourceReadable([source["error"]["message"] for source in found])
            return Outcome({"sources": found})

        return Plan({"sources": list(needed)}, act, seconds_max=VALIDATION_SECONDS_MAX)

    async def _measured(self, number: int) -> Json:
        """The source with its address, size and ratio, or with the error that keeps it from being read."""
        try:
            url = await self._own_address(number)
            size = await self._size(url)
        except (AssetUnreachable, AssetUnreadable, InvalidInput) as error:
            return {"source": number, "error": {"code": error.code, "message": error.safe_message}}
        ratio = closest_ratio(*size) if self._order.aspect_ratio == AUTO else self._order.aspect_ratio
        return {"source": number, "url": url, "width": size[0], "height": size[1], "aspect_ratio": ratio}

    async def _own_address(self, number: int) -> str:
        """The address of our copy of the source. One that could not be had before is asked for again in a later round.

        Raises:
            AssetUnreachable: it cannot be had.
        """
        url, field = self._order.sources[number].url, f"sources.{number}.url"
        if await self._stored_at(url):
            return url
        noted = next((one for one in self._run.imported if one["field"] == field), {"field": field, "url": url})
        if "error" in noted and not self._run.first_step_no:
            raise AssetUnreachable(field, noted["error"])
        context = self._context
        imports = PictureImport(context.assets, context.fetcher, context.spool, context.sealer, IMPORT_SECONDS)
        return await imports.one(noted, self._order.pass_id)

    async def _size(self, url: str) -> tuple[int, int]:
        place = await self._stored_at(url)
        if place is None:
            raise AssetUnreadable(f"{url} is no file of this customer")
        bucket, key = place
        facts = await self._context.assets.read_whole(bucket, key, decode.probe_image)
        return facts.width, facts.height

    async def _stored_at(self, url: str) -> tuple[Bucket, str] | None:
        async with self._context.db.connection() as conn:
            pass_ids = await customers.pass_ids_of(conn, self._order.pass_id)
        return self._context.assets.stored_at(url, {*pass_ids, self._order.pass_id})

    # --- base images --------------------------------------------------------------------------------------------------

    def _bases(self, before: int | None = None) -> dict[int, Json]:
        """The base image of each source that has one."""
        steps = self._run.store.ended(StepType.BASE_GENERATION, before=before)
        return {step.payload.output["source"]: step.payload.output for step in steps if step.payload.error is None}

    async def make_bases(self, sources: Sequence[Json]) -> None:
        ended = self._run.store.ended(StepType.BASE_GENERATION, first=self._run.first_step_no)
        count = Counted(len(sources), len(ended), sum(step.payload.error is None for step in ended))
        make = partial(self._make_base, len(self._bases(before=self._run.first_step_no)), count)
        await self._run.each(StepType.BASE_GENERATION, sources, make, BASES_AT_ONCE)
        self._run.set("progress.bases", len(self._bases()))

    async def _make_base(self, known: int, count: Counted, run: Run, source: Json) -> Json:
        number = source["source"]
        prompt = self._order.prompt_of(number)
        run.lines = BaseLines(run, source, prompt, len(self._order.sources), count)
        template = await self._context.configuration.context(EDIT_CONTEXT)
        wrapped = f"{template.system}\n\n{template.render({'prompt': escaped(prompt)})}"
        width, height = SIZES[source["aspect_ratio"]]
        wanted = MediaRequest(
            engine_id=self._order.flow.engine,
            prompt=wrapped,
            images=(ReferenceImage(SOURCE_ROLE, source["url"]),),
            inherited={"size": f"{width}x{height}"},
            requested={"quality": self._order.quality} if self._order.quality else {},
            begin_line="",
            end_line="",
            recorded={"source": number, "original_prompt": prompt, **template.version.as_input("ctx")},
            result={"source": number},
            stem=f"{self._folder}/bases/{number + 1:03}",
            attempt_seconds=self._order.attempt_seconds,
            variables=lambda: {"progress.bases": known + count.succeeded + 1},
        )
        plan = partial(operation_plan, self._context, run, StepType.BASE_GENERATION, wanted)
        return await run.operation(StepType.BASE_GENERATION, plan)

    # --- variants -----------------------------------------------------------------------------------------------------

    async def make_variants(self) -> None:
        """Make what each variant lacks, from the base images that exist."""
        bases = self._bases()
        lacking = image_jobs.by_variant(position for position in self._missing if position.source in bases)
        items = [VariantItem(variant, tuple(sources)) for variant, sources in lacking.items()]
        ended = self._run.store.ended(StepType.VARIANT_CREATION, first=self._run.first_step_no)
        count = Counted(len(items), len(ended), len(ended))
        maker = VariantMaker(self._context, self._order, self._folder, bases, count, made_slides(self._run))
        await self._run.each(StepType.VARIANT_CREATION, items, maker.make, VARIANTS_AT_ONCE)


class VariantMaker:
    """Makes the pictures of variants: pure functions of the base image, the seed and the settings, so that doing it
    again is harmless."""

    def __init__(
        self,
        context: PipelineContext,
        order: ImageJob,
        folder: str,
        bases: dict[int, Json],
        count: Counted,
        made: Collection[object],
    ) -> None:
        self._context, self._order, self._folder = context, order, folder
        self._bases, self._count, self._made = bases, count, len(made)
        ratio, wanted = order.aspect_ratio, order.post_processing
        is_cropped = wanted.crop == AUTO and ratio != AUTO
        self._wanted = wanted.model_copy(update={"crop": ratio}) if is_cropped else wanted

    async def make(self, run: Run, item: VariantItem) -> Json:
        folder = f"{self._folder}/variant-{item.variant + 1:03}"
        lines = VariantLines(run, item.variant, self._order.variants, folder, self._count)
        run.lines = lines
        output = await run.step(StepType.VARIANT_CREATION, partial(self._plan, run, item, lines))
        for slide in output["slides"]:  # the step is written, so each has its row in `file_metadata`
            file_log.metadata_created(image_jobs.file_id(run.generation_id, Slide.read(slide).position))
        return output

    async def _plan(self, run: Run, item: VariantItem, lines: VariantLines) -> Plan:
        given = {
            "variant": item.variant,
            "variant_id": image_jobs.variant_id(run.generation_id, item.variant),
            "folder": lines.folder,
            "sources": list(item.sources),
            "settings": self._wanted.model_dump(mode="json"),
        }
        return Plan(given, partial(self._made_slides, run, item, lines), seconds_max=VARIANT_SECONDS_MAX)

    async def _made_slides(self, run: Run, item: VariantItem, lines: VariantLines) -> Outcome:
        """Raises StorageError where none can be stored: the storage is away, and is waited for."""
        slides: list[Json] = []
        errors: list[SafelightError] = []
        lines.forget()
        upload = UploadLines(run.generation_id, self._context.assets.public.service, len(item.sources))
        upload.begin()
        for number, source in enumerate(item.sources, 1):
            position = Position(item.variant, source)
            upload.file(number)
            try:
                # Once a picture could not be stored, the storage may be away: the next ones show it at once.
                tries = 1 if errors and not slides else SLIDE_TRIES
                slides.append(await self._slide(run, position, lines, tries))
            except (AssetUnreadable, InvalidInput, StorageError) as error:
                lines.slide_failed(position, self._key(position), error)
                errors.append(error)
        if not slides and all(isinstance(error, StorageError) for error in errors):
            raise errors[0]
        upload.end(len(slides), errors)
        self._made += len(slides)
        return Outcome(
            {"variant": item.variant, "slides": slides},
            {"progress.made": self._made},
            error=SlidesMissing(errors, len(item.sources)) if errors else None,
        )

    async def _slide(self, run: Run, position: Position, lines: VariantLines, tries: int) -> Json:
        """The record of the picture, once it is stored.

        Raises:
            AssetUnreadable, InvalidInput: the base image cannot be read.
            StorageError: it could not be stored, in so many tries.
        """
        for attempt in range(1, tries):
            try:
                return await self._stored_slide(run, position, lines)
            except StorageError:
                await asyncio.sleep(run.policy.pause(attempt, key=f"{run.generation_id}:{position}"))
        return await self._stored_slide(run, position, lines)

    async def _stored_slide(self, run: Run, position: Position, lines: VariantLines) -> Json:
        wanted, base = self._wanted, self._bases[position.source]
        assert wanted.seed is not None  # it was drawn when the order was accepted
        changes = wanted.drawn(wanted.seed, position.variant, position.source)
        lines.slide_begins(position, asdict(changes))
        provenance = {
            "job": run.generation_id,
            "variant": str(position.variant),
            "source": str(position.source),
            "seed": str(wanted.seed),
            "model": base["model"],
        }
        assets, key = self._context.assets, self._key(position)
        head = await assets.public.use(base["output_key"], lambda file: file.read(HEADER_BYTES))
        content, size = await assets.pool.run(
            base["bytes"] + post_processing.bytes_to_process(head),
            lambda: post_processing.processed_with_size(
                assets.public.read_now(base["output_key"]), wanted, changes, provenance
            ),
        )
        file_log.content_begins(content, customer=None, name=key.rpartition("/")[2], bucket="public")
        file_log.validated()  # it was made from a picture that was decoded
        stored = await assets.put(key, content, post_processing.MEDIA_TYPES[wanted.format])
        lines.slide_stored(position, key)
        return {
            "variant": position.variant,
            "source": position.source,
            "key": key,
            "url": stored.url,
            "media_type": stored.media_type,
            "width": size[0],
            "height": size[1],
            "bytes": stored.bytes,
            "sha256": stored.sha256,
            "changes": asdict(changes),
        }

    def _key(self, position: Position) -> str:
        extension = EXTENSIONS[post_processing.MEDIA_TYPES[self._wanted.format]]
        return f"{self._folder}/variant-{position.variant + 1:03}/{position.source + 1:03}.{extension}"


def escaped(text: str) -> str:
    """The text as it stands between quotation marks."""
    return text.strip().replace("\\", "\\\\").replace('"', '\\"')
