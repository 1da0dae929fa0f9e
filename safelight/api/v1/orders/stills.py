"""Orders of a still or a video: their bodies, and the order that is made of each."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from safelight.api.schemas.aliases import Flag, Long, Short, WebUrl
from safelight.api.schemas.examples import SAMPLE_URL
from safelight.api.schemas.order_builder import DURATION_SECONDS_MAX, DURATION_SECONDS_MIN, OrderBuilder
from safelight.api.schemas.requests import INSPIRATIONS_MAX, CreateBody, SettingsBody
from safelight.api.v1.orders.fields import File, FormList, FormObject, OrderContext, OrderedBody
from safelight.domain.flows import Flow
from safelight.domain.orders import Order, StillCreate, VideoAnimate
from safelight.pipelines.engine.retry import ATTEMPTS_MAX

Json = dict[str, Any]

AspectRatio = Literal[
    "auto", "match_input_image", "9:16", "3:4", "2:3", "4:5", "1:1", "5:4", "4:3", "3:2", "16:9", "21:9"
]
Files = Annotated[
    list[str],
    FormList,
    Field(max_length=INSPIRATIONS_MAX, description="As `product_image`, at most 8.", examples=[[]]),
]


class GenerationBody(OrderedBody):
    """The fields that a still and a video have."""

    parent_id: Short | None = Field(None, description="The generation to go on from.", examples=[None])
    feedback: Long = Field("", description="What to change in the parent.", examples=[""])
    prompt: Long | None = Field(None, description="A prompt to use as it is.", examples=[None])
    platform: Short | None = Field(None, description="Where it will be shown.", examples=["instagram-post"])
    aspect_ratio: AspectRatio | None = Field(None, description="Width to height.", examples=["4:5"])
    settings: Annotated[Json, FormObject] = Field(
        {}, description="Settings of the model; `GET /models` lists them.", examples=[{}]
    )
    attempts_max: int | None = Field(
        None, ge=1, le=ATTEMPTS_MAX, description="How often a failing call is tried.", examples=[3]
    )
    learn_from_likes: Flag = Field(True, description="Use what this customer liked.", examples=[True])

    @classmethod
    def files_max(cls, field: str) -> int:
        return INSPIRATIONS_MAX

    @field_validator("settings")
    @classmethod
    def is_small(cls, value: Json) -> Json:
        return SettingsBody.is_small(value)

    @model_validator(mode="after")
    def has_a_parent_to_change(self) -> "GenerationBody":
        if self.feedback and not self.parent_id:
            raise ValueError("parent_id: `feedback` changes a generation; say which")
        return self


class StillBody(GenerationBody):
    """A picture: of a product, a brief, or both; or a change of an earlier one, by `parent_id` and `feedback`."""

    FILES: ClassVar[Mapping[str, str]] = {
        "product_image": "product_image_url",
        "logo_image": "logo_image_url",
        "style_hero_image": "style_hero_image_url",
        "inspiration_images": "inspiration_image_urls",
    }

    kind: Literal["still"] = Field(examples=["still"])
    brief: Long = Field("", description="What the picture should be.", examples=["A calm morning on a stone table"])
    style: Short = Field("", description="A style in a few words.", examples=["editorial still life"])
    product_image_url: WebUrl | None = Field(None, description="The product's photo.", examples=[SAMPLE_URL])
    logo_image_url: WebUrl | None = Field(None, description="A logo.", examples=[None])
    style_hero_image_url: WebUrl | None = Field(None, description="One picture whose style leads.", examples=[None])
    inspiration_image_urls: Annotated[list[WebUrl], FormList] = Field(
        [], max_length=INSPIRATIONS_MAX, description="Pictures whose mood to take up.", examples=[[]]
    )
    product_image: File = None
    logo_image: File = None
    style_hero_image: File = None
    inspiration_images: Files = Field(default=[])

    @model_validator(mode="after")
    def says_what_to_make(self) -> "StillBody":
        if self.parent_id and not self.feedback:
            raise ValueError("feedback: a change of a still needs to say what to change")
        if not (self.parent_id or self.brief or self.product_image_url or self.product_image or self.prompt):
            raise ValueError("brief or product_image_url: a still needs a brief or a product photo")
        return self


class VideoBody(GenerationBody):
    """A video that begins with a picture; with `parent_id` with that of a still, or with `feedback` a change of an
    earlier video."""

    FILES: ClassVar[Mapping[str, str]] = {"start_image": "start_image_url", "end_image": "end_image_url"}

    kind: Literal["video"] = Field(examples=["video"])
    motion: Long = Field("", description="How it should move.", examples=["A slow push-in"])
    movement_style: Short = Field("", description="A movement style.", examples=["slow push-in"])
    suggest_motion: Flag = Field(False, description="Have the movement suggested.", examples=[False])
    start_image_url: WebUrl | None = Field(None, description="The first frame.", examples=[SAMPLE_URL])
    end_image_url: WebUrl | None = Field(None, description="The last frame.", examples=[None])
    negative_prompt: Long = Field("", description="What it must not show.", examples=[""])
    duration_seconds: float | None = Field(
        None, ge=DURATION_SECONDS_MIN, le=DURATION_SECONDS_MAX, allow_inf_nan=False, examples=[5]
    )
    quality: Literal["standard", "pro"] | None = Field(None, description="The model's mode.", examples=["standard"])
    start_image: File = None
    end_image: File = None

    @model_validator(mode="after")
    def says_where_to_begin(self) -> "VideoBody":
        if not (self.parent_id or self.start_image_url or self.start_image):
            raise ValueError("start_image_url or parent_id: a video needs a frame to begin with")
        return self


# --- the orders -----------------------------------------------------------------------------------------------------


async def still_of(context: OrderContext, body: StillBody) -> Order:
    flow = Flow.STILL_TWEAK if body.parent_id else Flow.STILL_CREATE
    pictures = (
        "product_image_url", "logo_image_url", "style_hero_image_url", "inspiration_image_urls",
    )  # fmt: skip
    stated = {
        "assets": {name: getattr(body, name) for name in pictures},
        "inputs": {"brief": body.brief, "style": body.style},
        "feedback": {"still_feedback": body.feedback},
        "prompts": {"clean_prompt": body.prompt},
        "settings": {"seedream": body.settings},
    }
    return await _order(context, flow, body, stated)


async def video_of(context: OrderContext, body: VideoBody) -> Order:
    flow = Flow.VIDEO_TWEAK if body.parent_id and body.feedback else Flow.VIDEO_ANIMATE
    inputs = {
        "motion_user_brief": body.motion,
        "movement_style": body.movement_style,
        "type_for_me": body.suggest_motion,
        "duration": body.duration_seconds,
        "negative_prompt": body.negative_prompt,
        "kling_mode": body.quality,
    }
    stated = {
        "assets": {name: getattr(body, name) for name in ("start_image_url", "end_image_url")},
        "inputs": inputs,
        "feedback": {"motion_feedback": body.feedback},
        "prompts": {"motion_prompt": body.prompt},
        "settings": {"kling": body.settings},
    }
    return await _order(context, flow, body, stated)


async def _order(context: OrderContext, flow: Flow, body: GenerationBody, stated: Json) -> Order:
    """The order of the application code that the other routes share."""
    stated["inputs"] |= {"aspect_ratio": body.aspect_ratio, "vision": body.learn_from_likes}
    stated["settings"]["attempts_max"] = body.attempts_max
    envelope = CreateBody.model_validate(
        stated | {"title": body.name, "platform": body.platform, "parent_generation_id": body.parent_id}
    )
    assets, pass_id = context.services.assets, context.customer.pass_id
    order = await OrderBuilder(context.conn, assets, flow, envelope, pass_id, None).order()
    return order.model_copy(update={"project_id": body.project_id})


# --- bodies that order the same again -------------------------------------------------------------------------------


def body_of_still(order: StillCreate) -> Json:
    assets = order.assets
    return {
        "prompt": order.preset_prompt,
        "aspect_ratio": order.aspect_ratio,
        "platform": order.platform,
        "brief": order.brief,
        "style": order.style,
        "product_image_url": assets.product,
        "logo_image_url": assets.logo,
        "style_hero_image_url": assets.style_hero,
        "inspiration_image_urls": list(assets.inspirations),
        "settings": order.stated_settings,
    }


def body_of_video(order: VideoAnimate) -> Json:
    return {
        "prompt": order.preset_prompt,
        "aspect_ratio": order.aspect_ratio,
        "platform": order.platform,
        "motion": order.motion_brief,
        "movement_style": order.movement_style,
        "suggest_motion": order.type_for_me or None,
        "start_image_url": order.start_url,
        "end_image_url": order.end_url,
        "negative_prompt": order.negative_prompt,
        "duration_seconds": order.duration_seconds,
        "quality": order.kling_mode,
        "settings": order.stated_settings,
    }
