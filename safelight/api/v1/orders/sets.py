"""Orders of sets of results, image jobs and model runs: their bodies, and the order that is made of each."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from safelight.api.schemas.aliases import Short, WebUrl
from safelight.api.schemas.examples import SAMPLE_URL
from safelight.api.schemas.model_run_bodies import model_run_of
from safelight.api.schemas.problems import ClosedModel, invalid
from safelight.api.v1.orders.fields import File, FormList, FormObject, OrderContext, OrderedBody
from safelight.db.generations import templates
from safelight.domain.ids import new_id
from safelight.domain.orders import ImageJob, ModelRun
from safelight.domain.sets import model_runs
from safelight.domain.sets.image_jobs import (
    ATTEMPT_SECONDS,
    ATTEMPT_SECONDS_DEFAULT,
    ATTEMPTS,
    POSITIONS_MAX,
    PROMPT_CHARS_MAX,
    SOURCES_MAX,
    VARIANTS_MAX,
    Quality,
)
from safelight.domain.sets.post_processing import AspectRatio, PostProcessing
from safelight.pipelines.engine.retry import ATTEMPTS_MAX

Json = dict[str, Any]

NAME = "Image job"
PLATFORM = "web"
COUNT = "num_images"
FORM_FILES_MAX = 20
JobPrompt = Annotated[str, StringConstraints(max_length=PROMPT_CHARS_MAX, strip_whitespace=True)]


class SourceBody(ClosedModel):
    """A picture that is edited once. Without a prompt of its own, that of the job says what is changed in it."""

    url: WebUrl = Field(description="The picture.", examples=[SAMPLE_URL])
    prompt: JobPrompt = Field("", description="What to change in it.", examples=["A cup of blue glass"])


class PostProcessingBody(ClosedModel, PostProcessing):
    """Small changes to each picture, drawn from the seed and recorded; the same seed gives the same bytes. The preset
    gives what is not stated. A number is the most that is changed."""


class ImageJobBody(OrderedBody):
    """Variants of a set of source pictures. Each source is edited once, as its prompt says; each variant has a picture
    of each source."""

    FILES: ClassVar[Mapping[str, str]] = {"source_images": "sources"}

    kind: Literal["image_job"] = Field(examples=["image_job"])
    sources: Annotated[list[SourceBody], FormObject] = Field(
        [], max_length=SOURCES_MAX, description=f"At most {SOURCES_MAX}; in a form written out as JSON."
    )
    source_images: Annotated[list[str], FormList] = Field(
        [], max_length=FORM_FILES_MAX, description="Files, which follow `sources`: parts of a form.", examples=[[]]
    )
    source_prompts: Annotated[list[JobPrompt], FormList] = Field(
        [], max_length=FORM_FILES_MAX, description="The prompt of each of the files, in their order.", examples=[[]]
    )
    prompt: JobPrompt = Field("", description="For sources without a prompt of their own.", examples=["On pale stone"])
    variants: int = Field(1, ge=1, le=VARIANTS_MAX, description="Pictures of each source.", examples=[2])
    aspect_ratio: AspectRatio = Field("auto", description="`auto` is that of each source.", examples=["auto"])
    quality: Quality | None = Field(None, description="Else as the model's default says.", examples=["high"])
    post_processing: Annotated[PostProcessingBody, FormObject] = PostProcessingBody()
    attempts_max: int | None = Field(
        None, ge=ATTEMPTS[0], le=ATTEMPTS[1], description="How often a failing call is tried.", examples=[3]
    )
    attempt_seconds: float = Field(
        ATTEMPT_SECONDS_DEFAULT,
        ge=ATTEMPT_SECONDS[0],
        le=ATTEMPT_SECONDS[1],
        allow_inf_nan=False,
        description="The longest that one call may take.",
        examples=[120],
    )
    template_id: Short | None = Field(None, description="The template that it was made from.", examples=[None])

    @classmethod
    def files_max(cls, field: str) -> int:
        return SOURCES_MAX

    def with_addresses(self, field: str, urls: Sequence[str]) -> Self:
        prompts = self.source_prompts or [""] * len(urls)
        added = [SourceBody(url=url, prompt=prompt) for url, prompt in zip(urls, prompts, strict=True)]
        sources = [*self.sources, *added]
        return self.model_copy(update={"sources": sources, "source_images": [], "source_prompts": []})

    @model_validator(mode="after")
    def says_what_to_make(self) -> Self:
        files = len(self.source_images)
        if self.source_prompts and len(self.source_prompts) != files:
            raise ValueError(f"source_prompts: there are {len(self.source_prompts)} prompts for {files} source_images")
        count = len(self.sources) + files
        if not 1 <= count <= SOURCES_MAX:
            raise ValueError(f"sources: an image job needs 1 to {SOURCES_MAX} sources, not {count}")
        if self.variants * count > POSITIONS_MAX:
            said = f"{self.variants} variants x {count} sources are {self.variants * count} pictures"
            raise ValueError(f"variants: {said}; a job has at most {POSITIONS_MAX}")
        own = [*(one.prompt for one in self.sources), *(self.source_prompts or [""] * files)]
        if not self.prompt and "" in own:
            raise ValueError(f"sources.{own.index('')}.prompt: state one, or a prompt for all sources")
        return self


def _small(parameters: Json) -> Json:
    model_runs.check_parameters(parameters)
    return parameters


class ModelRunBody(OrderedBody):
    """Results of one model, as `GET /models` lists it. A parameter that it does not know is left out with a warning, a
    number beyond its bounds is moved to the nearest that is allowed, with a warning, and any other wrong value is
    refused before anything is charged."""

    FILES: ClassVar[Mapping[str, str]] = {"reference_image": "reference_image_url"}

    kind: Literal["model_run"] = Field(examples=["model_run"])
    model_id: str = Field(pattern=model_runs.MODEL_ID, examples=["fal-ai/flux-pro/v1.1-ultra"])
    prompt: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        min_length=1, max_length=model_runs.PROMPT_CHARS_MAX, examples=["A ceramic cup on pale stone"]
    )
    negative_prompt: Annotated[str, StringConstraints(strip_whitespace=True)] = Field(
        "", max_length=model_runs.NEGATIVE_PROMPT_CHARS_MAX, description="What it must not show.", examples=[""]
    )
    reference_image_url: WebUrl | None = Field(None, description="A picture to go by.", examples=[None])
    reference_image: File = None
    num_images: int | None = Field(
        None, ge=1, le=model_runs.RESULTS_MAX, description="How many results; each has the price.", examples=[1]
    )
    parameters: Annotated[Json, FormObject, AfterValidator(_small)] = Field(
        {}, description="Parameters of the model.", examples=[{"output_format": "png"}]
    )
    attempts_max: int | None = Field(
        None, ge=1, le=ATTEMPTS_MAX, description="How often a failing call is tried.", examples=[3]
    )

    @model_validator(mode="after")
    def counts_once(self) -> Self:
        if self.num_images is not None and self.parameters.get(COUNT) not in (None, self.num_images):
            raise ValueError("num_images: it is stated twice, here and in the parameters")
        return self


# --- the orders -----------------------------------------------------------------------------------------------------


async def image_job_of(context: OrderContext, body: ImageJobBody) -> ImageJob:
    """Raises InvalidInput: the template is not the customer's."""
    template = None
    if body.template_id:
        template = await templates.get(context.conn, body.template_id, context.customer.pass_id)
        if template is None:
            raise invalid("template_id", f"You have no template {body.template_id!r}.", code="TEMPLATE_NOT_FOUND")
    same = ("variants", "prompt", "aspect_ratio", "quality", "attempts_max", "attempt_seconds", "project_id")
    return ImageJob.model_validate(
        {name: getattr(body, name) for name in same}
        | {
            "pass_id": context.customer.pass_id,
            "session_id": new_id(),
            "platform": PLATFORM,
            "title": body.name or (template.name if template else NAME),
            "sources": [source.model_dump() for source in body.sources],
            "post_processing": body.post_processing.model_dump(),
            "template_id": UUID(template.template_id) if template else None,
            "template_name": template.name if template else None,
        }
    )


async def model_run_order_of(context: OrderContext, body: ModelRunBody) -> ModelRun:
    same = ("model_id", "prompt", "negative_prompt", "reference_image_url", "project_id", "name")
    count = {} if body.num_images is None else {COUNT: body.num_images}
    stated = {name: getattr(body, name) for name in same} | {"parameters": body.parameters | count}
    order = model_run_of(stated, pass_id=context.customer.pass_id, platform=PLATFORM)
    return order.model_copy(update={"attempts_max": body.attempts_max})


# --- bodies that order the same again -------------------------------------------------------------------------------


def body_of_image_job(order: ImageJob) -> Json:
    """The seed is left out: variants that are made again are drawn anew."""
    return {
        "sources": [source.model_dump() for source in order.sources],
        "prompt": order.prompt,
        "variants": order.variants,
        "aspect_ratio": order.aspect_ratio,
        "quality": order.quality,
        "post_processing": order.post_processing.model_dump(exclude={"seed"}, exclude_defaults=True),
        "attempts_max": order.attempts_max,
        "attempt_seconds": order.attempt_seconds,
    }


def body_of_model_run(order: ModelRun) -> Json:
    same = ("model_id", "prompt", "negative_prompt", "reference_image_url", "parameters", "attempts_max")
    return {name: getattr(order, name) for name in same}
