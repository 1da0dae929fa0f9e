"""The bodies of the MMA routes: every accepted spelling (docs/contract/mma.md), as an order's fields."""

import json
from itertools import islice
from typing import Annotated, Any

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from safelight.api.schemas.aliases import Alias, AliasedModel, Flag, Long, Short, Url, is_absent, spellings
from safelight.api.schemas.examples import SAMPLE_URL
from safelight.api.schemas.ignored_media import ignored_media
from safelight.pipelines.engine.retry import ATTEMPTS_MAX
from safelight.redaction import excerpt
from safelight.storage.web_urls import is_unsafe

INSPIRATIONS_MAX = 8
SETTINGS_CHARS_MAX = 4000
INFORMATIONAL_KEYS_MAX = 40
INFORMATIONAL_CHARS_MAX = 200


class AssetsBody(AliasedModel):
    """Pictures, each as a URL or as a key of our own storage. An empty text means absent."""

    product_image_url: Annotated[
        Url | None,
        Alias(
            "productImageUrl|product_url|product_image_id",
            "The product's photo.",
            example=SAMPLE_URL,
        ),
    ] = None
    logo_image_url: Annotated[Url | None, Alias("logoImageUrl|logo_url|logo_image_id", "A logo.")] = None
    inspiration_image_urls: Annotated[
        list[Url],
        Alias(
            "inspirationImageUrls|style_image_urls|styleImageUrls|inspiration_urls|inspiration_image_ids",
            f"Pictures whose mood to take up, at most {INSPIRATIONS_MAX}.",
            joined=True,
        ),
    ] = Field(default=[], max_length=INSPIRATIONS_MAX)
    style_hero_image_url: Annotated[
        Url | None,
        Alias(
            "styleHeroImageUrl|style_hero_url|styleHeroUrl|style_hero_image_id",
            "One picture whose style leads.",
        ),
    ] = None
    start_image_url: Annotated[
        Url | None,
        Alias(
            "startImageUrl|kling_start_image_url|image|image_url|imageUrl|kling_image_urls.0|input_still_image_id",
            "The frame a video begins with.",
        ),
    ] = None
    end_image_url: Annotated[
        Url | None,
        Alias("endImageUrl|kling_end_image_url|kling_image_urls.1", "The frame a video ends with."),
    ] = None


class InputsBody(AliasedModel):
    """Texts and choices of the person who orders."""

    brief: Annotated[
        Long,
        Alias("userBrief|prompt", "What the picture should be.", example="A calm morning on a stone table"),
    ] = ""
    style: Annotated[Short, Alias("", "A style in a few words.", example="editorial still life")] = ""
    motion_user_brief: Annotated[
        Long, Alias("motionBrief|motion_description|motionDescription|prompt", "How the video should move.")
    ] = ""
    movement_style: Annotated[
        Short, Alias("selected_movement_style|movementStyle", "A movement style.", example="slow push-in")
    ] = ""
    type_for_me: Annotated[Flag, Alias("typeForMe|use_suggestion", "Let us suggest the movement.")] = False
    suggest_only: Annotated[Flag, Alias("suggestOnly", "Stop after the suggestion; costs nothing.")] = False
    aspect_ratio: Annotated[Short | None, Alias("aspectRatio", "Width to height.", example="4:5")] = None
    duration: Annotated[
        float | None,
        Alias(
            "motion_duration_sec|motionDurationSec|duration_seconds|durationSeconds",
            "Seconds of video; clamped to 1…10.",
            example=5,
        ),
        Field(allow_inf_nan=False),
    ] = None
    negative_prompt: Annotated[Long, Alias("negativePrompt", "What the video must not show.")] = ""
    kling_mode: Annotated[Short | None, Alias("mode", "`standard` or `pro`.")] = None
    feedback_still: Annotated[Long, Alias("", "What to change in a still.")] = ""
    feedback_motion: Annotated[Long, Alias("", "What to change in a video.")] = ""
    feedback: Annotated[Long, Alias("comment|tweak", "What to change.")] = ""
    platform: Annotated[Short | None, Alias("", "Where it will be shown.")] = None
    vision: Annotated[Flag | None, Alias("minaVisionEnabled", "Learn from what this customer liked.")] = None
    start_image_url: Annotated[
        Url | None, Alias("startImageUrl|parent_output_url", "The frame a video begins with.")
    ] = None
    end_image_url: Annotated[Url | None, Alias("endImageUrl", "The frame a video ends with.")] = None
    session_id: Annotated[Short | None, Alias("sessionId", "The session.")] = None
    idempotency_key: Annotated[Short | None, Alias("idempotencyKey", "See the header `Idempotency-Key`.")] = None
    informational: dict[str, Any] = Field(default={}, description="Other plain values, kept with the generation.")

    @model_validator(mode="before")
    @classmethod
    def keep_other_values(cls, given: Any) -> Any:
        """Keys we do not act on but a client sent are kept with the generation: plain values only, and no URLs but
        those of http and https."""
        if not isinstance(given, dict):
            return given
        known = {name for field_name, field in cls.model_fields.items() for name in spellings(field_name, field)}
        others = (
            (key, value)
            for key, value in given.items()
            if key not in known and _is_plain(value) and not (isinstance(value, str) and is_unsafe(key, value))
        )
        kept = islice(others, INFORMATIONAL_KEYS_MAX)
        return given | {"informational": {excerpt(str(key), INFORMATIONAL_CHARS_MAX): value for key, value in kept}}


class HistoryBody(AliasedModel):
    vision_intelligence: Annotated[Flag | None, Alias("", "Learn from what this customer liked (default true).")] = None
    style_history_csv: Annotated[Short | None, Alias("", "A taste to use instead of the learned one.")] = None
    session_id: Annotated[Short | None, Alias("sessionId", "The session.")] = None
    session_title: Annotated[Short | None, Alias("sessionTitle", "The session's title.")] = None


class FeedbackBody(AliasedModel):
    still_feedback: Annotated[
        Long, Alias("feedback_still", "What to change in a still.", example="darker background")
    ] = ""
    motion_feedback: Annotated[Long, Alias("feedback_motion", "What to change in a video.")] = ""
    text: Annotated[Long, Alias("comment", "What to change.")] = ""


class PromptsBody(AliasedModel):
    """Prompts to use as they are, instead of having them written."""

    clean_prompt: Annotated[Long | None, Alias("", "The still's prompt.")] = None
    motion_prompt: Annotated[Long | None, Alias("sugg_prompt", "The video's prompt.")] = None


class SettingsBody(AliasedModel):
    """Provider settings of this request alone; they win over preferences and defaults."""

    seedream: dict[str, Any] = Field(default={}, examples=[{"size": "2K"}])
    kling: dict[str, Any] = Field(default={}, examples=[{"duration": 5}])
    attempts_max: Annotated[
        int | None, Alias("attemptsMax|max_attempts", f"How often a failing call is tried, 1 to {ATTEMPTS_MAX}.")
    ] = Field(default=None, ge=1, le=ATTEMPTS_MAX)

    @field_validator("seedream", "kling")
    @classmethod
    def is_small(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(value)) > SETTINGS_CHARS_MAX:
            raise ValueError(f"may have at most {SETTINGS_CHARS_MAX} characters as JSON")
        return value


class ModeBody(AliasedModel):
    type_for_me: Annotated[Flag, Alias("typeForMe", "Let us suggest the movement.")] = False


class IdentityBody(AliasedModel):
    """The customer, if no access token names one (docs/contract/identity.md)."""

    pass_id: Annotated[Short | None, Alias("passId", "The customer's stable id.", example="pass:user:42")] = None
    customer_id: Annotated[Short | None, Alias("customerId", "A pass id, or a shop's customer key.")] = None


class CreateBody(IdentityBody):
    """The common envelope of create and tweak (docs/contract/mma.md)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    session_id: Annotated[Short | None, Alias("sessionId", "The session; a new one where it is absent or no uuid.")] = (
        None
    )
    platform: Annotated[Short | None, Alias("", "Where it will be shown.", example="instagram-post")] = None
    title: Annotated[Short | None, Alias("", "The session's title.")] = None
    idempotency_key: Annotated[Short | None, Alias("idempotencyKey", "As the header `Idempotency-Key`.")] = None
    parent_generation_id: Annotated[
        Short | None, Alias("parentGenerationId|generation_id|generationId", "The generation to go on from.")
    ] = None
    assets: AssetsBody = AssetsBody()
    inputs: InputsBody = InputsBody()
    history: HistoryBody = HistoryBody()
    settings: SettingsBody = SettingsBody()
    feedback: FeedbackBody = FeedbackBody()
    prompts: PromptsBody = PromptsBody()
    mode: ModeBody = ModeBody()
    ignored_media: SkipJsonSchema[dict[str, str]] = Field(default={})  # what is said of each, by its URL

    @model_validator(mode="before")
    @classmethod
    def note_ignored_media(cls, given: Any) -> Any:
        return given | {"ignored_media": ignored_media(given)} if isinstance(given, dict) else given

    @model_validator(mode="before")
    @classmethod
    def mode_may_be_a_word(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("mode"), str):
            return {key: value for key, value in given.items() if key != "mode"}
        return given

    @property
    def type_for_me(self) -> bool:
        return self.inputs.type_for_me or self.mode.type_for_me

    @property
    def vision(self) -> bool:
        stated = (self.history.vision_intelligence, self.inputs.vision)
        return next((value for value in stated if value is not None), True)

    @property
    def still_feedback(self) -> str:
        found = (
            self.feedback.still_feedback, self.feedback.text, self.inputs.feedback_still, self.inputs.feedback,
        )  # fmt: skip
        return next(filter(None, found), "")

    @property
    def motion_feedback(self) -> str:
        found = (
            self.feedback.motion_feedback, self.inputs.feedback_motion, self.inputs.feedback, self.feedback.text,
        )  # fmt: skip
        return next(filter(None, found), "")

    @property
    def stated_session_id(self) -> str | None:
        return self.session_id or self.inputs.session_id or self.history.session_id

    @property
    def stated_idempotency_key(self) -> str | None:
        return self.idempotency_key or self.inputs.idempotency_key


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return not is_absent(value) and len(value) <= INFORMATIONAL_CHARS_MAX
    return isinstance(value, bool | int | float)
