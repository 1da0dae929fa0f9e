"""Answers about generations: accepted, as they are now, cancelled, and the events of their live log."""

from typing import Annotated, Any, Literal

from pydantic import MISSING, Field, WithJsonSchema

from safelight.api.schemas import examples, fields
from safelight.api.schemas.responses import CreditsCharged, Ok, ResponseModel, Stored, WithWarnings
from safelight.domain.job_log import Level
from safelight.domain.statuses import TERMINAL, Status

FinalStatus = Annotated[Status, Field(json_schema_extra={"enum": sorted(TERMINAL)})]


class Bill(ResponseModel):
    cost: fields.Count
    mode: fields.Mode


class Accepted(WithWarnings):
    """An order that was accepted and charged."""

    generation_id: fields.Uuid
    status: Literal[Status.QUEUED] = Status.QUEUED
    sse_url: str = Field(
        description="Where it can be followed live. Use it as it is: a user's holds a signature.",
        json_schema_extra={"format": "uri-reference"},
        examples=[f"/mma/stream/{examples.GENERATION}"],
    )
    generationId: fields.Uuid
    passId: fields.PassId
    parent_generation_id: str | None = Field(examples=[None])
    credits_cost: fields.Count
    credits: CreditsCharged
    billing: Bill


class Outputs(ResponseModel):
    """Width and height are those the result is shown with; only a video has `seconds`. Results of older versions have
    none of the three."""

    seedream_image_url: fields.StoredUriOrNull = Field(examples=[examples.STILL_URL])
    kling_video_url: fields.StoredUriOrNull = Field(examples=[None])
    width: fields.StoredWhole = Field(default=MISSING, examples=[1024])
    height: fields.StoredWhole = Field(default=MISSING, examples=[1280])
    seconds: fields.StoredNumber = MISSING


class ErrorContext(Stored):
    """The reason why a generation has no result, as far as its owner may read it. Generations of an older backend may
    say less, and have keys of their own."""

    code: fields.StoredTextOrNull = Field(default=MISSING, examples=["SEEDREAM_TIMEOUT"])
    message: fields.StoredTextOrNull = Field(
        default=MISSING,
        examples=["The picture service took too long to answer. Please try again. Your credits were returned."],
    )
    step: fields.StoredTextOrNull = Field(default=MISSING, examples=["seedream_generate"])
    provider: fields.StoredTextOrNull = Field(default=MISSING, examples=["seedream"])
    type: fields.StoredText = Field(default=MISSING, examples=["ProviderTimeout"])
    timestamp: fields.StoredTime = Field(default=MISSING, examples=["2025-12-19T08:00:09.120+00:00"])
    category: fields.StoredText = Field(default=MISSING, examples=["TIMEOUT"])
    httpStatus: fields.StoredWhole = Field(default=MISSING, examples=[504])
    isRetryable: Annotated[Any, WithJsonSchema({"type": "boolean"})] = Field(default=MISSING, examples=[True])


class CreditsOfGeneration(ResponseModel):
    balance: fields.Credits | None = Field(description="Null where its customer has no row any more.")
    cost: Annotated[Any, WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}]})] = Field(
        description="Null where an older backend made it.", examples=[1]
    )


class Generation(Ok):
    """An output is there only when the status is `done`. What was asked for, the prompts and the credits are shown to
    the owner and to operators; for others `mma_vars` is empty, and `prompt`, `credits` and `parent_generation_id` are
    null."""

    generation_id: fields.GenerationId
    status: Status = Field(examples=[Status.DONE])
    state: Status = Field(description="The same as `status`.", examples=[Status.DONE])
    status_text: str = Field(description="The status for a person who waits.", examples=["Ready."])
    mode: fields.Mode | None
    mma_vars: fields.Json = Field(
        description="The canonical variable map: all that is known of it so far.",
        examples=[{"version": "2025-12-19", "mode": "still", "prompts": {"clean_prompt": "A cup …"}}],
    )
    outputs: Outputs
    prompt: fields.Prompt | None = Field(description="What the engine was asked.")
    error: ErrorContext | None = Field(examples=[None])
    credits: CreditsOfGeneration | None
    parent_generation_id: str | None = Field(examples=[None])
    warnings: fields.StoredTexts = Field(
        description="What was not used, changed, or came otherwise than ordered. Shown to the owner.",
        examples=[["9:16 was ordered; the result is 1:1 (1024 x 1024)."]],
    )
    stand_in: bool = Field(description="Whether the result was made by the offline stand-in, not by a vendor's model.")
    created_at: fields.Time
    updated_at: fields.Time


class BalanceOrNone(ResponseModel):
    balance: fields.Credits | None


class Cancelling(WithWarnings):
    """The generation after a request to stop it."""

    generation_id: fields.GenerationId
    status: Status = Field(examples=[Status.CANCELLED])
    cancelled: bool = Field(examples=[True])
    too_late: bool | None = Field(description="Null while that is not known yet.")
    refunded_credits: fields.Count
    credits: BalanceOrNone


class Preferences(Stored):
    """The taste of a customer: likes, and subjects that must never be shown."""

    hard_blocks: fields.StoredTexts = Field(default=MISSING, examples=[[]])
    tag_weights: Annotated[Any, WithJsonSchema({"type": "object", "additionalProperties": {"type": "number"}})] = Field(
        default=MISSING, examples=[{"soft light": 1}]
    )
    updated_at: fields.StoredTime = MISSING
    source: fields.StoredText = MISSING


class EventStored(WithWarnings):
    status: Literal["ok"] = "ok"
    event_id: fields.GenerationId
    eventId: fields.GenerationId
    passId: fields.PassId
    preferences: Preferences | None


# --- the live log, by event -----------------------------------------------------------------------------------------


class ScanLine(ResponseModel):
    """One line of the job log."""

    index: fields.Count
    text: str
    level: Level
    step: str | None


class StatusNow(ResponseModel):
    """The status, whenever it changes."""

    status: Status


class Ended(ResponseModel):
    """The last event: how it ended."""

    status: FinalStatus
    error: ErrorContext | MISSING = MISSING


class Reset(ResponseModel):
    """The id that was asked for is beyond the last line: all lines follow, from the first."""

    last_seq: fields.Count


EVENTS: dict[str, type[ResponseModel]] = {"scan_line": ScanLine, "status": StatusNow, "done": Ended, "reset": Reset}
