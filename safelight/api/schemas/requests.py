"""The bodies of the MMA routes: every accepted spelling (docs/contract/mma.md), as an order's fields."""

import json
from itertools import islice
from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from safelight.api.schemas.aliases import AliasedModel, Flag, Long, Short, Url, aliased, is_absent, spellings
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

    product_image_url: Url | None = aliased(
        "productImageUrl|product_url|product_image_id", "The product's photo.", example=SAMPLE_URL
    )
    logo_image_url: Url | None = aliased("logoImageUrl|logo_url|logo_image_id", "A logo.")
    inspiration_image_urls: list[Url] = aliased(
        "inspirationImageUrls|style_image_urls|styleImageUrls|inspiration_urls|inspiration_image_ids",
        f"Pictures whose mood to take up, at most {INSPIRATIONS_MAX}.",
        default=[],
        joined=True,
        max_length=INSPIRATIONS_MAX,
    )
    style_hero_image_url: Url | None = aliased(
        "styleHeroImageUrl|style_hero_url|styleHeroUrl|style_hero_image_id", "One picture whose style leads."
    )
    start_image_url: Url | None = aliased(
        "startImageUrl|kling_start_image_url|image|image_url|imageUrl|kling_image_urls.0|input_still_image_id",
        "The frame a video begins with.",
    )
    end_image_url: Url | None = aliased(
        "endImageUrl|kling_end_image_url|kling_image_urls.1", "The frame a video ends with."
    )


class InputsBody(AliasedModel):
    """Texts and choices of the person who orders."""

    brief: Long = aliased(
        "userBrief|prompt", "What the picture should be.", default="", example="A calm morning on a stone table"
    )
    style: Short = aliased("", "A style in a few words.", default="", example="editorial still life")
    motion_user_brief: Long = aliased(
        "motionBrief|motion_description|motionDescription|prompt", "How the video should move.", default=""
    )
    movement_style: Short = aliased(
        "selected_movement_style|movementStyle", "A movement style.", default="", example="slow push-in"
    )
    type_for_me: Flag = aliased("typeForMe|use_suggestion", "Let us suggest the movement.", default=False)
    suggest_only: Flag = aliased("suggestOnly", "Stop after the suggestion; costs nothing.", default=False)
    aspect_ratio: Short | None = aliased("aspectRatio", "Width to height.", example="4:5")
    duration: float | None = aliased(
        "motion_duration_sec|motionDurationSec|duration_seconds|durationSeconds",
        "Seconds of video; clamped to 1…10.",
        example=5,
        allow_inf_nan=False,
    )
    negative_prompt: Long = aliased("negativePrompt", "What the video must not show.", default="")
    kling_mode: Short | None = aliased("mode", "`standard` or `pro`.")
    feedback_still: Long = aliased("", "What to change in a still.", default="")
    feedback_motion: Long = aliased("", "What to change in a video.", default="")
    feedback: Long = aliased("comment|tweak", "What to change.", default="")
    platform: Short | None = aliased("", "Where it will be shown.")
    vision: Flag | None = aliased("minaVisionEnabled", "Learn from what this customer liked.")
    start_image_url: Url | None = aliased("startImageUrl|parent_output_url", "The frame a video begins with.")
    end_image_url: Url | None = aliased("endImageUrl", "The frame a video ends with.")
    session_id: Short | None = aliased("sessionId", "The session.")
    idempotency_key: Short | None = aliased("idempotencyKey", "See the header `Idempotency-Key`.")
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
    vision_intelligence: Flag | None = aliased("", "Learn from what this customer liked (default true).")
    style_history_csv: Short | None = aliased("", "A taste to use instead of the learned one.")
    session_id: Short | None = aliased("sessionId", "The session.")
    session_title: Short | None = aliased("sessionTitle", "The session's title.")


class FeedbackBody(AliasedModel):
    still_feedback: Long = aliased(
        "feedback_still", "What to change in a still.", default="", example="darker background"
    )
    motion_feedback: Long = aliased("feedback_motion", "What to change in a video.", default="")
    text: Long = aliased("comment", "What to change.", default="")


class PromptsBody(AliasedModel):
    """Prompts to use as they are, instead of having them written."""

    clean_prompt: Long | None = aliased("", "The still's prompt.")
    motion_prompt: Long | None = aliased("sugg_prompt", "The video's prompt.")


class SettingsBody(AliasedModel):
    """Provider settings of this request alone; they win over preferences and defaults."""

    seedream: dict[str, Any] = Field(default={}, examples=[{"size": "2K"}])
    kling: dict[str, Any] = Field(default={}, examples=[{"duration": 5}])
    attempts_max: int | None = aliased(
        "attemptsMax|max_attempts", f"How often a failing call is tried, 1 to {ATTEMPTS_MAX}.", ge=1, le=ATTEMPTS_MAX
    )

    @field_validator("seedream", "kling")
    @classmethod
    def is_small(cls, value: dict[str, Any]) -> dict[str, Any]:
        if len(json.dumps(value)) > SETTINGS_CHARS_MAX:
            raise ValueError(f"may have at most {SETTINGS_CHARS_MAX} characters as JSON")
        return value


class ModeBody(AliasedModel):
    type_for_me: Flag = aliased("typeForMe", "Let us suggest the movement.", default=False)


class IdentityBody(AliasedModel):
    """The customer, if no access token names one (docs/contract/identity.md)."""

    pass_id: Short | None = aliased("passId", "The customer's stable id.", example="pass:user:42")
    customer_id: Short | None = aliased("customerId", "A pass id, or a shop's customer key.")


class CreateBody(IdentityBody):
    """The common envelope of create and tweak (docs/contract/mma.md)."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    session_id: Short | None = aliased("sessionId", "The session; a new one where it is absent or no uuid.")
    platform: Short | None = aliased("", "Where it will be shown.", example="instagram-post")
    title: Short | None = aliased("", "The session's title.")
    idempotency_key: Short | None = aliased("idempotencyKey", "As the header `Idempotency-Key`.")
    parent_generation_id: Short | None = aliased(
        "parentGenerationId|generation_id|generationId", "The generation to go on from."
    )
    assets: AssetsBody = AssetsBody()
    inputs: InputsBody = InputsBody()
    history: HistoryBody = HistoryBody()
    settings: SettingsBody = SettingsBody()
    feedback: FeedbackBody = FeedbackBody()
    prompts: PromptsBody = PromptsBody()
    mode: ModeBody = ModeBody()
    ignored_media: SkipJsonSchema[dict[str, str]] = Field(default={})  # the warning about each, by its URL

    @model_validator(mode="before")
    @classmethod
    def note_ignored_media(cls, given: Any) -> Any:
        """A mode that is a word, as some clients send it, says nothing that the route does not."""
        if not isinstance(given, dict):
            return given
        others = {key: value for key, value in given.items() if key != "mode" or not isinstance(value, str)}
        return others | {"ignored_media": ignored_media(given)}

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
