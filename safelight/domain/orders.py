"""Orders: requests of customers in the one validated form that pipelines work with."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Mode = Literal["still", "video"]

# The engine that makes the result of a mode, by the name that the registry, settings and fields of the contract use.
ENGINE_BY_MODE: Mapping[Mode, str] = {"still": "seedream", "video": "kling"}

ASPECT_RATIOS = (
    "match_input_image", "9:16", "3:4", "2:3", "4:5", "1:1", "5:4", "4:3", "3:2", "16:9", "21:9",
)  # fmt: skip
LIKE_WINDOW_WITH_VISION = 5
LIKE_WINDOW_WITHOUT_VISION = 20
INSPIRATIONS_SCANNED_MAX = 4


class Flow(StrEnum):
    """The pipelines, by the name that `mg_mma_vars.meta.flow` holds."""

    STILL_CREATE = "still_create"
    STILL_TWEAK = "still_tweak"
    VIDEO_ANIMATE = "video_animate"
    VIDEO_TWEAK = "video_tweak"

    @property
    def mode(self) -> Mode:
        return "still" if self in (Flow.STILL_CREATE, Flow.STILL_TWEAK) else "video"

    @property
    def is_tweak(self) -> bool:
        return self in (Flow.STILL_TWEAK, Flow.VIDEO_TWEAK)

    @property
    def engine(self) -> str:
        return ENGINE_BY_MODE[self.mode]


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


class Order(Frozen):
    """One generation as it was accepted."""

    flow: Flow
    pass_id: str
    session_id: str
    platform: str
    title: str
    assets: Assets = Assets()
    parent: Parent | None = None
    brief: str = ""
    style: str = ""
    motion_brief: str = ""
    movement_style: str = ""
    type_for_me: bool = False
    suggest_only: bool = False
    aspect_ratio: str | None = None
    duration_seconds: float | None = None
    kling_mode: str | None = None
    negative_prompt: str = ""
    feedback: str = ""
    vision_intelligence: bool = True
    style_history_csv: str | None = None
    preset_prompt: str | None = None
    attempts_max: int | None = None
    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    informational: dict[str, Any] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()  # about parts of the request that are not done as stated

    @property
    def like_window(self) -> int:
        """The number of likes to learn from: 5 with their pictures if vision is on, else 20 (docs/contract/rows.md)."""
        return LIKE_WINDOW_WITH_VISION if self.vision_intelligence else LIKE_WINDOW_WITHOUT_VISION

    @property
    def start_url(self) -> str | None:
        """The first frame of a video: the stated one, the parent still, or the first frame of the parent video."""
        if self.assets.start or self.parent is None:
            return self.assets.start
        return self.parent.output_url if self.parent.mode == "still" else self.parent.start_url

    @property
    def end_url(self) -> str | None:
        return self.assets.end or (self.parent.end_url if self.parent else None)

    def pictures(self) -> dict[str, str]:
        """The URL of every picture that the pipeline may read, by the field that names it."""
        stated = {field: getattr(self.assets, name) for name, field in ASSET_FIELDS.items()}
        stated |= {f"{INSPIRATIONS_FIELD}.{number}": url for number, url in enumerate(self.assets.inspirations)}
        stated |= {f"parent.{name}": getattr(self.parent, name) for name in self._names_read_of_parent()}
        return {field: url for field, url in stated.items() if url}

    def with_pictures(self, urls: Mapping[str, str]) -> "Order":
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
        if self.parent is None or self.flow is Flow.STILL_CREATE:
            return ()
        if self.flow is Flow.STILL_TWEAK:
            return ("output_url",)
        start = () if self.assets.start else ("output_url" if self.parent.mode == "still" else "start_url",)
        return (*start, *(() if self.assets.end else ("end_url",)))


@dataclass(frozen=True, slots=True)
class Prices:
    """Credits that each kind of generation costs. Operators may set others: ask for them when they are needed."""

    still_credits: int
    video_credits: int

    def of(self, order: Order) -> int:
        """The price of an order. A suggestion alone is free (docs/contract/credits.md)."""
        if order.suggest_only:
            return 0
        return self.still_credits if order.flow.mode == "still" else self.video_credits


def aspect_ratio_of_platform(platform: str) -> str | None:
    """The aspect ratio of a platform's posts (docs/contract/legacy.md); None if the platform has none."""
    if platform == "tiktok" or "reel" in platform:
        return "9:16"
    if "youtube" in platform:
        return "16:9"
    return {"instagram-post": "3:4", "print": "2:3", "square": "1:1"}.get(platform)
