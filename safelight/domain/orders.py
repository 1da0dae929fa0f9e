"""Orders: requests of customers in the validated form that pipelines work with, one type for each flow."""

import secrets
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from pydantic_core import to_json

from safelight.domain.flows import Flow, Mode
from safelight.domain.sets.image_jobs import (
    ATTEMPT_SECONDS,
    ATTEMPT_SECONDS_DEFAULT,
    ATTEMPTS,
    NAME_CHARS_MAX,
    POSITIONS_MAX,
    PROMPT_CHARS_MAX,
    SOURCES_MAX,
    VARIANTS_MAX,
    ImageSource,
    Quality,
)
from safelight.domain.sets.model_runs import ModelRequest
from safelight.domain.sets.post_processing import SEED_MAX, AspectRatio, PostProcessing

ASPECT_RATIOS = (
    "match_input_image", "9:16", "3:4", "2:3", "4:5", "1:1", "5:4", "4:3", "3:2", "16:9", "21:9",
)  # fmt: skip
LIKE_WINDOW_WITH_VISION = 5
LIKE_WINDOW_WITHOUT_VISION = 20
INSPIRATIONS_SCANNED_MAX = 4


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


# The fields of a request that name one picture each, by the attribute of `Assets` that holds it.
ASSET_FIELDS: Mapping[str, str] = {
    "product": "assets.product_image_url",
    "logo": "assets.logo_image_url",
    "style_hero": "assets.style_hero_image_url",
    "start": "assets.start_image_url",
    "end": "assets.end_image_url",
}
INSPIRATIONS_FIELD = "assets.inspiration_image_urls"


class Assets(Frozen):
    """Public URLs of the pictures that came with the request."""

    product: str | None = None
    logo: str | None = None
    inspirations: tuple[str, ...] = ()
    style_hero: str | None = None
    start: str | None = None
    end: str | None = None


class Parent(Frozen):
    """The values that a tweak, or a video made from a still, takes over from its parent generation."""

    generation_id: str
    mode: Mode
    output_url: str | None = None
    prompt: str | None = None
    output_crt: str | None = None
    still_crt: str | None = None
    start_url: str | None = None
    end_url: str | None = None
    aspect_ratio: str | None = None
    session_id: str | None = None
    platform: str | None = None
    title: str | None = None
    movement_style: str | None = None
    engine_settings: dict[str, Any] = Field(default_factory=dict)


_PARENT_URLS = ("output_url", "start_url", "end_url")

# Fields that only some flows read, as `mg_mma_vars.inputs` names them, and what it holds if none is stated.
FLOW_INPUTS: Mapping[str, tuple[tuple[str, ...], Any]] = {
    "brief": (("userBrief", "brief"), ""),
    "style": (("style",), ""),
    "motion_brief": (("motion_user_brief",), ""),
    "movement_style": (("movement_style", "selected_movement_style"), ""),
    "type_for_me": (("type_for_me",), False),
    "suggest_only": (("suggest_only",), False),
    "duration_seconds": (("duration",), None),
    "kling_mode": (("mode",), ""),
    "negative_prompt": (("negative_prompt",), ""),
}
# In this order the fields of a request are hashed, those of all flows: orders of before had all of them.
HASHED = (
    "flow", "pass_id", "platform", "title", "assets", "parent", *list(FLOW_INPUTS)[:6], "aspect_ratio",
    *list(FLOW_INPUTS)[6:], "feedback", "vision_intelligence", "style_history_csv", "preset_prompt", "attempts_max",
    "settings", "informational",
)  # fmt: skip
PROMPT_FIELDS = ("preset_prompt", "brief", "motion_brief", "feedback", "prompt")
_NOT_STATED = {"kling_mode": None, "style_history_csv": None, "preset_prompt": None, "attempts_max": None}


class BaseOrder(Frozen):
    """The part of an order that every flow has. `unused` are fields of the request that only other flows read: they are
    shown with the generation. `warnings` are about parts of the request that are not done as stated."""

    flow: Flow
    pass_id: str
    session_id: str
    platform: str
    title: str
    assets: Assets = Assets()
    parent: Parent | None = None
    aspect_ratio: str | None = None
    vision_intelligence: bool = True
    style_history_csv: str | None = None
    attempts_max: int | None = None
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    project_id: str | None = None
    informational: dict[str, Any] = Field(default_factory=dict)
    unused: dict[str, Any] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _set_unused_apart(cls, stated: Any) -> Any:
        """Set apart what only other flows read: a request, and an order of before each flow had a type, has all."""
        given = dict(stated)
        unused = {name: given.pop(name) for name in HASHED if name in given and name not in cls.model_fields}
        return given | {"unused": given.get("unused", {}) | {name: one for name, one in unused.items() if one}}

    @property
    def is_free(self) -> bool:
        """True for a suggestion alone (docs/contract/credits.md)."""
        return False

    @property
    def positions(self) -> int:
        """The number of results, each of which has its price."""
        return 1

    @property
    def makes(self) -> Literal["still", "video"]:
        """The kind of each result."""
        return "video" if self.flow.mode == "video" else "still"

    @property
    def prompt_chars(self) -> int:
        """The length of what the customer wrote for this order."""
        return next((len(text) for name in PROMPT_FIELDS if (text := getattr(self, name, None))), 0)

    @property
    def like_window(self) -> int:
        """The number of likes to learn from: 5 with their pictures if vision is on, else 20 (docs/contract/rows.md)."""
        return LIKE_WINDOW_WITH_VISION if self.vision_intelligence else LIKE_WINDOW_WITHOUT_VISION

    @property
    def inherited_settings(self) -> dict[str, Any]:
        """The engine settings that a tweak goes on with: those of its parent."""
        return self.parent.engine_settings if self.parent and self.flow.is_tweak else {}

    @property
    def stated_settings(self) -> dict[str, Any]:
        """The settings that the request states for the engine of this flow."""
        return self.settings.get(self.flow.engine, {})

    def hashed(self) -> bytes:
        """The JSON by which two requests are the same. The session, which the server may have made up, is no part."""
        fields = self.model_dump(mode="json")
        absent = {name: default for name, (_, default) in FLOW_INPUTS.items()} | {"feedback": ""} | _NOT_STATED
        stated = absent | fields["unused"] | fields
        project = {"project_id": self.project_id} if self.project_id else {}  # orders of before had none
        return to_json({name: stated[name] for name in HASHED} | project)

    def with_draws(self) -> Self:
        """The order with what is drawn for it where the request does not state it. Its hash is that of the request."""
        return self

    def texts(self) -> dict[str, Any]:
        """The order by its fields; those with texts for a model are sealed where a record may not show them."""
        return self.model_dump(mode="json")

    def flow_inputs(self) -> dict[str, Any]:
        """The fields of FLOW_INPUTS by the names that the variable map has for them."""
        stated = {name: getattr(self, name, self.unused.get(name)) for name in FLOW_INPUTS}
        return {key: stated[name] or default for name, (keys, default) in FLOW_INPUTS.items() for key in keys}

    def pictures(self) -> dict[str, str]:
        """The URL of every picture that the pipeline may read, by the field that names it."""
        stated = {field: getattr(self.assets, name) for name, field in ASSET_FIELDS.items()}
        stated |= {f"{INSPIRATIONS_FIELD}.{number}": url for number, url in enumerate(self.assets.inspirations)}
        stated |= {f"parent.{name}": getattr(self.parent, name) for name in self._names_read_of_parent()}
        return {field: url for field, url in stated.items() if url}

    def with_pictures(self, urls: Mapping[str, str]) -> Self:
        """The same order with these URLs, by the fields of `pictures`."""
        assets = {name: urls[field] for name, field in ASSET_FIELDS.items() if field in urls}
        inspirations = tuple(
            urls.get(f"{INSPIRATIONS_FIELD}.{number}", url) for number, url in enumerate(self.assets.inspirations)
        )
        of_parent = {name: urls[f"parent.{name}"] for name in _PARENT_URLS if f"parent.{name}" in urls}
        return self.model_copy(
            update={
                "assets": self.assets.model_copy(update={**assets, "inspirations": inspirations}),
                "parent": self.parent.model_copy(update=of_parent) if self.parent else None,
            }
        )

    def _names_read_of_parent(self) -> tuple[str, ...]:
        return ()


class StillCreate(BaseOrder):
    flow: Literal[Flow.STILL_CREATE] = Flow.STILL_CREATE
    brief: str = ""
    style: str = ""
    preset_prompt: str | None = None


class StillTweak(BaseOrder):
    flow: Literal[Flow.STILL_TWEAK] = Flow.STILL_TWEAK
    parent: Parent
    feedback: str = ""

    def _names_read_of_parent(self) -> tuple[str, ...]:
        return ("output_url",)


class BaseVideoOrder(BaseOrder):
    """The part of an order that both flows of a video have."""

    movement_style: str = ""
    duration_seconds: float | None = None
    kling_mode: str | None = None
    negative_prompt: str = ""

    @property
    def start_url(self) -> str | None:
        """The first frame: the stated one, the parent still, or the first frame of the parent video."""
        if self.assets.start or self.parent is None:
            return self.assets.start
        return self.parent.output_url if self.parent.mode == "still" else self.parent.start_url

    @property
    def end_url(self) -> str | None:
        return self.assets.end or (self.parent.end_url if self.parent else None)

    @property
    def known_caption(self) -> str | None:
        """The caption of the first frame, if an earlier generation made it already."""
        if self.parent is None or self.assets.start not in (None, self.parent.output_url):
            return None
        return self.parent.output_crt if self.parent.mode == "still" else self.parent.still_crt

    def _names_read_of_parent(self) -> tuple[str, ...]:
        if self.parent is None:
            return ()
        start = () if self.assets.start else ("output_url" if self.parent.mode == "still" else "start_url",)
        return (*start, *(() if self.assets.end else ("end_url",)))


class VideoAnimate(BaseVideoOrder):
    flow: Literal[Flow.VIDEO_ANIMATE] = Flow.VIDEO_ANIMATE
    motion_brief: str = ""
    type_for_me: bool = False
    suggest_only: bool = False
    preset_prompt: str | None = None

    @property
    def is_free(self) -> bool:
        return self.suggest_only


class VideoTweak(BaseVideoOrder):
    flow: Literal[Flow.VIDEO_TWEAK] = Flow.VIDEO_TWEAK
    parent: Parent
    feedback: str = ""


class ImageJob(BaseOrder):
    """Variants of a set of source pictures: each source is edited once, and each variant has a picture of each source.
    The title is the name of the job. `prompt` is for the sources without one of their own."""

    flow: Literal[Flow.IMAGE_JOB] = Flow.IMAGE_JOB
    title: str = Field(min_length=1, max_length=NAME_CHARS_MAX)
    sources: tuple[ImageSource, ...] = Field(min_length=1, max_length=SOURCES_MAX)
    prompt: str = Field(default="", max_length=PROMPT_CHARS_MAX)
    variants: int = Field(default=1, ge=1, le=VARIANTS_MAX)
    aspect_ratio: AspectRatio = "auto"
    quality: Quality | None = None  # None: as the engine's defaults say
    post_processing: PostProcessing = PostProcessing()
    attempts_max: int | None = Field(default=None, ge=ATTEMPTS[0], le=ATTEMPTS[1])
    attempt_seconds: float = Field(default=ATTEMPT_SECONDS_DEFAULT, ge=ATTEMPT_SECONDS[0], le=ATTEMPT_SECONDS[1])
    template_id: UUID | None = None
    template_name: str | None = Field(default=None, max_length=NAME_CHARS_MAX)
    project_id: str | None = Field(default=None, max_length=NAME_CHARS_MAX)
    prompts: None = None  # those of the sources as they were written, where `restored` brings them

    @model_validator(mode="before")
    @classmethod
    def _read_prompts(cls, stated: Any) -> Any:
        """Take over the prompts that come beside the sources (`texts`)."""
        given = dict(stated)
        prompts = given.pop("prompts", None)
        if prompts:
            pairs = zip(given["sources"], prompts, strict=True)
            given["sources"] = [dict(source) | {"prompt": prompt} for source, prompt in pairs]
        return given

    @model_validator(mode="after")
    def _check_positions(self) -> Self:
        if self.positions > POSITIONS_MAX:
            count = f"{self.variants} variants x {len(self.sources)} sources"
            raise ValueError(f"variants: {count} are {self.positions} pictures; a job has at most {POSITIONS_MAX}")
        for number, source in enumerate(self.sources):
            if not (source.prompt or self.prompt).strip():
                raise ValueError(f"sources.{number}.prompt: state one, or a prompt for all sources")
        return self

    @property
    def positions(self) -> int:
        return self.variants * len(self.sources)

    def prompt_of(self, source: int) -> str:
        return self.sources[source].prompt or self.prompt

    def with_draws(self) -> Self:
        if self.post_processing.seed is not None:
            return self
        seed = secrets.randbelow(SEED_MAX + 1)
        return self.model_copy(update={"post_processing": self.post_processing.model_copy(update={"seed": seed})})

    def texts(self) -> dict[str, Any]:
        return super().texts() | {"prompts": [source.prompt for source in self.sources]}

    def hashed(self) -> bytes:
        return self.model_dump_json(exclude={"session_id"}).encode()

    def pictures(self) -> dict[str, str]:
        return {f"sources.{number}.url": source.url for number, source in enumerate(self.sources)}

    def with_pictures(self, urls: Mapping[str, str]) -> Self:
        sources = [
            source.model_copy(update={"url": urls.get(f"sources.{number}.url", source.url)})
            for number, source in enumerate(self.sources)
        ]
        return self.model_copy(update={"sources": tuple(sources)})


class ModelRun(ModelRequest, BaseOrder):
    """Results of one model that the customer chose, with parameters of that model. The title is the name of the run."""

    flow: Literal[Flow.MODEL_RUN] = Flow.MODEL_RUN
    title: str = Field(min_length=1, max_length=NAME_CHARS_MAX)
    project_id: str | None = Field(default=None, max_length=NAME_CHARS_MAX)

    def hashed(self) -> bytes:
        return self.model_dump_json(exclude={"session_id"}).encode()


# One generation as it was accepted.
Order = StillCreate | StillTweak | VideoAnimate | VideoTweak | ImageJob | ModelRun

_ORDERS: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="flow")])


def read_order(stored: Mapping[str, Any]) -> Order:
    """The order of the kind that its `flow` names."""
    return _ORDERS.validate_python(stored)


def aspect_ratio_of_platform(platform: str) -> str | None:
    """The aspect ratio of a platform's posts (docs/contract/legacy.md); None if the platform has none."""
    if platform == "tiktok" or "reel" in platform:
        return "9:16"
    if "youtube" in platform:
        return "16:9"
    return {"instagram-post": "3:4", "print": "2:3", "square": "1:1"}.get(platform)
